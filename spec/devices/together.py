"""Layout, size and moment together: operations on larger tensors, in any layout, time and again."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from blitz.base import backend
from spec.devices.calls import LAYOUTS, Compared
from spec.devices.in_place import NUMBERS, PAIRS, PLACES, InPlace
from spec.devices.layouts import (
    EVERY_LAYOUT,
    Layout,
    expanded,
    inner,
    packed,
    rooms_after,
    rooms_expected,
    strided,
)
from spec.devices.operations import F32, FAMILIES, Operation, listed

CPU = torch.device("cpu")
DTYPES = (torch.bool, torch.uint8, torch.int32, torch.float16)
SIZES = ((1, 1), (5, 33), (129, 3), (4, 1024), (3, 4099), (2, 70_001))
"""Rows and columns: one, odd, a power of two, and more than 16 bits count."""

# Their arguments fit inputs of one size, their inputs are in a certain order, numbers that are
# alike may be found in any order, or float32 does not hold a place among many.
_OF_ONE_SIZE = {
    *("gather", "scatter", "scatter_add", "chunk", "as_strided", "reshape", "Tensor.view"),
    *("flatten", "unflatten", "broadcast_to", "block_diag", "searchsorted", "bucketize"),
    *("linalg.cross", "linalg.solve_triangular", "linalg.cholesky", "linalg.matrix_exp"),
    *("cummax", "quantile", "sinc"),
}
_OF_TWO_AT_LEAST = {
    *(o.name for family in ("indexing", "slicing") for o in FAMILIES[family]),
    *("std", "var", "var_mean", "nanmean", "cov", "corrcoef"),
}
_OF_ALL_PAIRS = {*FAMILIES["linear algebra"], *FAMILIES["slicing"]}  # products, parts one by one

# A slice repeated is a singular matrix, a tie in a sort and an index out of place.
OF_REPEATED = [
    operation
    for family in ("mathematics", "comparison", "logic", "activation", "transposing")
    for operation in FAMILIES[family]
]
# Others of the places depend on which of two equal indices comes last.
_ANY_ORDER = {"index_add_", "index_fill_", "masked_fill_", "masked_scatter_", "scatter_add_"}
IN_PLACE = [*NUMBERS, *PAIRS, *[method for method in PLACES if method.name in _ANY_ORDER]]


def sizes_of(operation: Operation, seed: int = 1) -> Iterator[tuple[str, Operation]]:
    """Give each size ``operation`` takes, its own at first, and it with numbers of that size."""
    yield "its own size", operation
    sizes = (*SIZES, (3, 400_001)) if operation in FAMILIES["reduction"] else SIZES
    for rows, columns in sizes if operation.name not in _OF_ONE_SIZE else ():
        few = operation in _OF_ALL_PAIRS and columns > 300
        fits = not few and _fits(operation.inputs, columns)
        if fits and (rows > 1 or operation.name not in _OF_TWO_AT_LEAST):
            yield f"{rows} x {columns}", larger(operation, rows, columns, seed)


# Two layouts for most sizes; all for the others.
_LAYOUTS_OF = {
    "1 x 1": ("packed", "inner"),
    "129 x 3": ("packed", "strided"),
    "4 x 1024": ("packed", "offset"),
    "2 x 70001": ("packed", "sliced"),
    "3 x 400001": ("packed", "inner"),
}


def layouts_of(size: str) -> dict[str, Layout]:
    """Return the layouts that are tried in a size."""
    return {name: LAYOUTS[name] for name in _LAYOUTS_OF.get(size, LAYOUTS)}


def _fits(inputs: Iterable[Any], columns: int) -> bool:
    """Tell whether no square among the inputs would be too large for memory."""
    return columns <= 1024 or all(np.shape(numbers) != (3, 3) for numbers in inputs)


def larger(operation: Operation, rows: int, columns: int, seed: int) -> Operation:
    """Return ``operation`` with random inputs, of other sizes where its own have 2 and 3."""
    random = np.random.default_rng(seed)
    inputs = tuple(_larger(numbers, rows, columns, random) for numbers in operation.inputs)
    return replace(operation, inputs=inputs)


def methods_of(method: InPlace) -> Iterator[tuple[str, InPlace]]:
    """Give each size, and ``method`` with random operand and arguments of that size."""
    for rows, columns in SIZES:
        if _fits([method.operand], columns) and (rows > 1 or method not in PLACES):
            random = np.random.default_rng(0)
            draw = partial(_larger, rows=rows, columns=columns, random=random)
            operand, arguments = draw(method.operand), tuple(method.with_arrays(draw))
            yield f"{rows} x {columns}", replace(method, operand=operand, arguments=arguments)


def _larger(numbers: Any, rows: int, columns: int, random: np.random.Generator) -> np.ndarray:
    """Draw floats, no two alike, from the smallest to the largest; all else from the numbers."""
    array = np.array(numbers)
    shape = [{2: rows, 3: columns}.get(length, length) for length in array.shape]
    if array.dtype.kind == "f" and np.isfinite(array).all():
        places = random.permutation(math.prod(shape)) + random.random(math.prod(shape))
        floats = np.interp(places, (0, len(places)), (array.min(), array.max()))
        # rounded as on the device: jumps of floor and its kin lie at the same numbers
        return floats.astype(np.float32).astype(np.float64).reshape(shape)
    return random.choice(array.ravel(), shape)


def results(operation: Operation, device: torch.device) -> Compared:
    """Compare with NumPy's what ``operation`` makes of inputs, and again once they are others."""
    both = zip(sizes_of(operation, seed=0), sizes_of(operation), strict=True)
    for (size, earlier), (_, later) in both:
        expected = {"first": earlier.expected(), "second": later.expected()}
        for name, layout in layouts_of(size).items():
            found = _twice(earlier, later, layout, device)
            for moment, tensors in found.items():
                yield f"{moment}, {size}, {name}", tensors, expected[moment]


def _twice(
    earlier: Operation, later: Operation, layout: Layout, device: torch.device
) -> dict[str, list[torch.Tensor]]:
    views = [layout(t)[1] for t in earlier.tensors(device)]
    with torch.no_grad():
        first = [result.cpu().clone() for result in listed(earlier.on_tensors(*views))]
        for view, t in zip(views, later.tensors(device), strict=True):
            view.copy_(t)
        second = [result.cpu() for result in listed(later.on_tensors(*views))]
    return {"first": first, "second": second}


def results_of_expanded(operation: Operation, device: torch.device) -> Compared:
    """Compare what ``operation`` makes of expanded tensors with what it makes of copies."""
    for size, numbers in sizes_of(operation):
        copies = [expanded(t)[1].clone() for t in numbers.tensors(CPU)]
        views = [expanded(t)[1] for t in numbers.tensors(device)]
        found = [result.cpu() for result in listed(operation.on_tensors(*views))]
        yield size, found, listed(operation.on_tensors(*copies))


def results_of_nothing(operation: Operation, device: torch.device) -> Compared:
    """Compare with the cpu's what ``operation`` makes of tensors without rows or columns."""
    able = operation.name not in _OF_ONE_SIZE | _OF_TWO_AT_LEAST
    for rows, columns in ((0, 3), (2, 0)) if able else ():
        numbers = larger(operation, rows, columns, 0)
        expected = _unless_refused(operation, numbers.tensors(CPU))
        if expected is not None:
            found = listed(operation.on_tensors(*numbers.tensors(device)))
            yield f"{rows} x {columns}", [result.cpu() for result in found], expected


def results_in_dtypes(operation: Operation, device: torch.device) -> Compared:
    """Compare with the cpu's what ``operation`` makes of numbers in other dtypes than float32."""
    layouts = tuple(product(DTYPES, (packed, strided, inner)))
    for (size, numbers), (dtype, layout) in product(sizes_of(operation), layouts):
        # through int64, since a negative float has no value in uint8
        given = [t.long().to(dtype) if t.is_floating_point() else t for t in numbers.tensors(CPU)]
        moved = [layout(t.to(device))[1] for t in given]
        expected = _unless_refused(operation, [layout(t)[1] for t in given])
        if expected is not None:
            found = [result.cpu() for result in listed(operation.on_tensors(*moved))]
            yield f"{dtype}, {size}, {layout.__name__}", found, expected


def _unless_refused(operation: Operation, tensors: list[torch.Tensor]) -> list[torch.Tensor] | None:
    try:
        return listed(operation.on_tensors(*tensors))
    except (RuntimeError, IndexError, ValueError):
        return None


def gradients(operation: Operation, device: torch.device) -> Compared:
    """Compare results and gradients of ``operation`` with those of float64 on the cpu."""
    for size, numbers in sizes_of(operation):
        expected = _backward(numbers, packed, CPU, torch.float64)
        for name, layout in layouts_of(size).items():
            for what, tensors in _backward(numbers, layout, device).items():
                yield f"{what}, {size}, {name}", tensors, expected[what]


def gradients_of_expanded(operation: Operation, device: torch.device) -> Compared:
    """Compare with those of float64 on the cpu the gradients of tensors that were expanded."""
    for size, numbers in sizes_of(operation):
        expected = _backward(numbers, expanded, CPU, torch.float64)
        for what, tensors in _backward(numbers, expanded, device).items():
            yield f"{what}, {size}", tensors, expected[what]


def _backward(
    operation: Operation, layout: Layout, device: torch.device, of_floats: torch.dtype = F32
) -> dict[str, list[torch.Tensor]]:
    """Return an operation's results and gradients, with inputs and gradients in ``layout``.

    Backward runs twice with numbers, and once with the one that a sum expands.
    """
    tensors = operation.tensors(device, of_floats)
    leaves = [t.requires_grad_() for t in tensors if t.is_floating_point()]
    made = listed(operation.on_tensors(*[layout(t)[1] for t in tensors]))
    floats = [result for result in made if result.is_floating_point()]
    weights = [torch.arange(r.numel(), device=device).view(r.shape) % 7 + 1.0 for r in floats]
    grad = partial(torch.autograd.grad, retain_graph=True, materialize_grads=True)
    given = [layout(weight.to(of_floats))[1] for weight in weights]
    found = {
        "results": floats,
        "gradients": grad(floats, leaves, given),
        "second backward": grad(floats, leaves, given),
        "gradients of a sum": grad([result.sum() for result in floats], leaves),
    }
    return {name: [t.detach().cpu().to(F32) for t in made] for name, made in found.items()}


def changes(method: InPlace, device: torch.device) -> Compared:
    """Compare with the cpu's the memory that ``method`` changed a part of."""
    for size, larger in methods_of(method):
        expected = rooms_expected(larger, layouts_of(size))
        for name, room in rooms_after(larger, device, layouts_of(size)).items():
            yield f"{size}, {name}", [room], [expected[name]]


def copies(source: torch.device, target: torch.device) -> Compared:
    """Compare copies between any two layouts, dtypes and sizes, and what lies beside them."""
    sizes = [(2, 3, 4, 5), (5, 33), (3, 4099), (70_001,), (0, 3), ()]
    dtypes = [(F32, F32), (torch.int64, F32), (F32, torch.int32), *[(d, d) for d in DTYPES]]
    layouts = product(EVERY_LAYOUT.items(), repeat=2)
    for ((a, of_source), (b, of_target)), size, (given, wanted) in product(layouts, sizes, dtypes):
        t = (torch.arange(math.prod(size)) % 97).view(size).to(given)
        view = of_source(t.to(source))[1]
        room, made = of_target(torch.zeros(size, dtype=wanted, device=target))
        expected_room, expected = of_target(torch.zeros(size, dtype=wanted))
        expected.copy_(t)
        made.copy_(view)
        yield f"{size}, {given} to {wanted}, {a} to {b}", [room.cpu()], [expected_room]


def assert_same(compared: Compared, least: float = 1e-6) -> None:
    """Compare floats to 1e-4 of the largest, or ``least``, and all else exactly.

    Raises:
        AssertionError: The first that differs, and where.
    """
    for where, found, expected in compared:
        for here, there in zip(found, expected, strict=True):
            tolerances = {"rtol": 0.0, "atol": 0.0}
            if there.is_floating_point() or there.is_complex():
                sizes = there[there.isfinite()].abs()
                unit = sizes.max().item() if len(sizes) > 0 else 0.0
                tolerances = {"rtol": 1e-4, "atol": max(1e-4 * unit, least)}
            message = partial("{}: {}".format, where)
            torch.testing.assert_close(here, there, **tolerances, equal_nan=True, msg=message)


def drawn(draw: Callable[[torch.Tensor], torch.Tensor], device: torch.device) -> list[list[float]]:
    """Return draws of one to 8,193 numbers after the same seed: all of odd counts."""
    backend.seed(5, [device])
    counts = (1, 3, 5, *[2**power + 1 for power in range(4, 14)])
    return [draw(torch.zeros(count, 1, device=device)).flatten().tolist() for count in counts]


def drawn_from_one_state(draw: Callable[..., torch.Tensor], device: torch.device) -> list[Any]:
    """Return draws with one state of the generator, which was kept between other draws."""

    def once() -> Any:
        return draw(torch.zeros(33, 1, device=device)).tolist()

    once()
    with backend.forked_generators([device]) as restored:
        if device not in restored:
            pytest.skip(f"{device.type} does not show the state of its generator")
        first, _ = once(), once()
    return [first, once()]


def means_of_draws(
    draw: Callable[[torch.Tensor, float], torch.Tensor], means: list[float], device: torch.device
) -> list[float]:
    """Return the means of 4,099 numbers drawn with each argument in turn."""
    return [draw(torch.zeros(4099, device=device), mean).float().mean().item() for mean in means]


def hundred_times(change: Callable[[], Any]) -> None:
    for _ in range(100):
        change()


Program = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _written(x: torch.Tensor, place: Any, value: Any) -> torch.Tensor:
    changed = x * 2
    changed[place] = value
    return changed * x


def _second_derivative(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():  # also where a caller has turned it off
        (slope,) = torch.autograd.grad((x.sin() * w).sum(), x, create_graph=True)
    return slope * x


PROGRAMS: dict[str, Program] = {
    "row set to zero": lambda x, w: _written(x, 1, 0.0) * w,
    "columns set to zero": lambda x, w: _written(x, (slice(None), slice(1, None, 2)), 0.0) * w,
    "row set to another": lambda x, w: _written(x, 0, w[1] * 3),
    "masked": lambda x, w: _written(x, x.detach() > 0, 0.0) * w,
    "masked_fill": lambda x, w: (x * 2).masked_fill_(w.detach() > 0, 7.0) * w,
    "row added to": lambda x, w: (x * 2).index_add_(0, torch.tensor([1], device=x.device), w[:1]),
    "slice multiplied": lambda x, w: _sliced_times(x * 1, w),
    "in place": lambda x, w: (x * w).mul_(3).add_(x).relu_(),
    "second derivative": _second_derivative,
    "one column of a step": lambda x, w: x[:, 1 :: x.shape[1]] * w.sum(),
}


def _sliced_times(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    x[:, 1:].mul_(w[:, 1:])
    return x * 2
