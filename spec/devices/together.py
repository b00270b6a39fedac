"""Layout, size and moment together: operations on larger tensors, in any layout, time and again."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from spec.devices.in_place import NUMBERS, PAIRS, PLACES, InPlace
from spec.devices.layouts import (
    EVERY_LAYOUT,
    OF_ITS_STRIDES,
    Layout,
    expanded,
    rooms_after,
    rooms_expected,
)
from spec.devices.operations import F32, FAMILIES, OPERATIONS, Operation, listed

CPU = torch.device("cpu")
LAYOUTS = {name: layout for name, layout in EVERY_LAYOUT.items() if "channels" not in name}
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

WITH_INPUTS = [o for o in OPERATIONS if o.inputs and o.torch_name not in OF_ITS_STRIDES]

# A slice repeated is a singular matrix, a tie in a sort and an index out of place.
OF_REPEATED = [
    operation
    for family in ("mathematics", "comparison", "logic", "activation", "transposing")
    for operation in FAMILIES[family]
]
# Others of the places depend on which of two equal indices comes last.
_ANY_ORDER = {"index_add_", "index_fill_", "masked_fill_", "masked_scatter_", "scatter_add_"}
IN_PLACE = [*NUMBERS, *PAIRS, *[method for method in PLACES if method.name in _ANY_ORDER]]


def sizes_of(operation: Operation) -> Iterator[tuple[str, Operation, Operation]]:
    """Give each size ``operation`` takes, its own at first, and it twice, with other numbers."""
    yield "its own size", operation, operation
    for rows, columns in SIZES if operation.name not in _OF_ONE_SIZE else ():
        few = operation in _OF_ALL_PAIRS and columns > 300
        if (
            not few
            and _fits(operation.inputs, columns)
            and (rows > 1 or operation.name not in _OF_TWO_AT_LEAST)
        ):
            earlier, later = (larger(operation, rows, columns, seed) for seed in (0, 1))
            yield f"{rows} x {columns}", earlier, later


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


Compared = Iterator[tuple[str, list[torch.Tensor], list[torch.Tensor]]]
"""Where, what was found there and what was expected."""


def results(operation: Operation, device: torch.device) -> Compared:
    """Compare with NumPy's what ``operation`` makes of inputs, and again once they are others."""
    for size, earlier, later in sizes_of(operation):
        expected = {"first": earlier.expected(), "second": later.expected()}
        for name, layout in LAYOUTS.items():
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
    for size, _, numbers in sizes_of(operation):
        copies = [expanded(t)[1].clone() for t in numbers.tensors(CPU)]
        views = [expanded(t)[1] for t in numbers.tensors(device)]
        found = [result.cpu() for result in listed(operation.on_tensors(*views))]
        yield size, found, listed(operation.on_tensors(*copies))


def gradients(operation: Operation, layouts: dict[str, Layout], device: torch.device) -> Compared:
    """Compare results and gradients of ``operation`` with those of float64 on the cpu."""
    for size, _, numbers in sizes_of(operation):
        expected = {}
        for name, layout in layouts.items():
            if not expected:  # the same in all layouts
                expected = _backward(numbers, layout, CPU, torch.float64)
            for what, tensors in _backward(numbers, layout, device).items():
                yield f"{what}, {size}, {name}", tensors, expected[what]


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
        expected = rooms_expected(larger, LAYOUTS)
        for name, room in rooms_after(larger, device, LAYOUTS).items():
            yield f"{size}, {name}", [room], [expected[name]]


def copies(source: torch.device, target: torch.device) -> Compared:
    """Compare copies between any two layouts, dtypes and sizes, and what lies beside them."""
    sizes = [(2, 3, 4, 5), (5, 33), (3, 4099), (70_001,), (0, 3), ()]
    dtypes = [(F32, F32), (torch.int64, F32), (F32, torch.int32)]
    layouts = product(EVERY_LAYOUT.items(), repeat=2)
    for ((a, of_source), (b, of_target)), size, (given, wanted) in product(layouts, sizes, dtypes):
        t = (torch.arange(math.prod(size)) % 97 + 1).view(size)
        view = of_source(t.to(source, given))[1]
        room, made = of_target(torch.zeros(size, dtype=wanted, device=target))
        expected_room, expected = of_target(torch.zeros(size, dtype=wanted))
        expected.copy_(t)
        made.copy_(view)
        yield f"{size}, {given}, {a} to {b}", [room.cpu()], [expected_room]


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


def hundred_times(change: Callable[[], Any]) -> None:
    for _ in range(100):
        change()
