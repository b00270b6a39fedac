"""Tensor operations as data: what each makes of plain numbers, in torch and, apart, in NumPy.

An :class:`Operation` is one row: its name in torch, its call on tensors, the same in NumPy on
arrays, and the numbers both start from. A :class:`Sampler` is a row of the one family that has no
fixed result: it says which values can be drawn, and how often.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

F32, F64, I32, I64, BOOL = torch.float32, torch.float64, torch.int32, torch.int64, torch.bool
C64 = torch.complex64

# Why an operation is left out on meta, where tensors have a shape and no values.
BY_VALUE = "the shape of its result depends on values"
READS_VALUES = "it looks at values on its way"
NO_META_KERNEL = "torch cannot tell the shape of its result without computing it"


@dataclass(frozen=True, eq=False)
class Operation:
    """One tensor operation, and the same in NumPy.

    Attributes:
        name: The name below ``torch``, such as ``linalg.solve`` or ``Tensor.view``; where several
            rows use one operation, the name is followed by what this row does with it.
        on_tensors: The call. Takes one tensor for each of ``inputs``; where there are none (the
            operation makes a tensor), takes the device. Gives a tensor or a sequence of them.
        on_arrays: The same in NumPy, without torch. Takes one float64, int64, bool or complex128
            array for each of ``inputs``.
        inputs: Plain numbers, nested; floats become float32 tensors, whole numbers int64.
        dtype: Of the result, or of each result.
        not_on_meta: Why it is left out where tensors have no values; empty where it is not.
    """

    name: str
    on_tensors: Callable[..., Any]
    on_arrays: Callable[..., Any]
    inputs: tuple[Any, ...] = ()
    dtype: torch.dtype | tuple[torch.dtype, ...] = F32
    not_on_meta: str = ""

    @property
    def torch_name(self) -> str:
        """The name below ``torch`` alone."""
        return self.name.split(" ")[0]

    def tensors(self, device: torch.device, of_floats: torch.dtype = F32) -> list[torch.Tensor]:
        """The inputs as tensors on ``device``."""
        return [tensor_of(numbers, device, of_floats) for numbers in self.inputs]

    def results(self, device: torch.device) -> list[torch.Tensor]:
        """What torch makes of the inputs on ``device``."""
        tensors = self.tensors(device)
        return listed(self.on_tensors(*tensors) if tensors else self.on_tensors(device))

    def expected(self) -> list[torch.Tensor]:
        """What NumPy makes of the inputs, as tensors of the stated dtypes on the cpu.

        Raises:
            TypeError: NumPy gives another kind of number (bool, whole, real, complex) than stated.
        """
        with np.errstate(all="ignore"):  # infinities are results here
            results = listed(self.on_arrays(*[np.array(numbers) for numbers in self.inputs]))
        dtypes = self.dtype if isinstance(self.dtype, tuple) else (self.dtype,) * len(results)
        return [_tensor(*pair) for pair in zip(results, dtypes, strict=True)]


def tensor_of(numbers: Any, device: torch.device, of_floats: torch.dtype = F32) -> torch.Tensor:
    """Nested numbers or an array as a tensor on ``device``; whole numbers as int64."""
    array = np.array(numbers)
    dtype = {"f": of_floats, "i": I64, "b": BOOL, "c": C64}[array.dtype.kind]
    return torch.from_numpy(array).to(dtype).to(device)


def listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def _tensor(result: Any, dtype: torch.dtype) -> torch.Tensor:
    array, stated = np.asarray(result), torch.empty(0, dtype=dtype).numpy().dtype
    if array.dtype.kind != stated.kind:
        raise TypeError(f"NumPy gives {array.dtype}, the row states {dtype}")
    return torch.from_numpy(array.astype(stated, order="C"))


# The numbers. No two alike in a tensor, no symmetry, no square where none is needed, halves and
# quarters so that float32 holds them exactly.
A = [[0.5, -2.0, 3.25], [-1.25, 4.0, 0.75]]
B = [[2.0, 0.25, -1.5], [1.75, -0.5, 3.0]]
POSITIVE = [[0.5, 2.0, 3.25], [1.25, 4.0, 0.75]]
UNIT = [[0.5, -0.25, 0.75], [-0.875, 0.125, 0.0]]
ROW = [10.0, -20.0, 30.5]
COLUMN = [[100.0], [-200.0]]
VECTOR = [3.0, -1.0, 2.5, 0.75, -4.0]
TALL = [[1.0, 2.0], [-3.0, 0.5], [0.25, 4.0]]
BLOCK = [[[1.0, -2.0], [3.0, 4.5], [0.5, 6.0]], [[-7.0, 8.0], [9.0, -0.25], [11.0, 2.0]]]
SQUARE = [[4.0, 1.0, -2.0], [0.5, 3.0, 1.0], [1.0, -1.5, 5.0]]
POSITIVE_DEFINITE = [[4.0, 1.0, 0.5], [1.0, 3.0, -0.25], [0.5, -0.25, 2.0]]
LOWER = [[2.0, 0.0, 0.0], [-1.0, 4.0, 0.0], [0.5, 3.0, 0.25]]
MATRICES = [[[1.0, -0.5], [2.0, 3.0], [0.0, 4.0]], [[-1.5, 6.0], [0.25, 1.0], [7.0, -2.0]]]
AWKWARD = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.5, -2.5]
INTS = [[7, -3, 12], [5, 0, -8]]
DIVISORS = [[2, 5, -4], [-3, 6, 3]]
BITS = [[12, 5, 9], [3, 6, 1]]
FLAGS = [[True, False, True], [False, False, True]]
OTHER_FLAGS = [[True, True, False], [False, True, True]]
COMPLEX = [[1 + 2j, -0.5 + 1j, 3 - 4j], [0.25 - 1j, -2 - 3j, 1.5 + 0j]]


def _assigned(x: Any, place: Any, value: Any) -> Any:
    """``x`` after ``x[place] = value``; for tensors and arrays alike."""
    x[place] = value
    return x


def _softmax(a: np.ndarray, axis: int) -> np.ndarray:
    return np.exp(a) / np.exp(a).sum(axis=axis, keepdims=True)


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


_erf = np.vectorize(math.erf)


CREATION = (
    Operation(
        "arange",
        lambda device: torch.arange(2, 14, 3, device=device),
        lambda: np.arange(2, 14, 3),
        dtype=I64,
    ),
    Operation(
        "linspace",
        lambda device: torch.linspace(-1, 2, 7, device=device),
        lambda: np.linspace(-1, 2, 7),
    ),
    Operation(
        "logspace",
        lambda device: torch.logspace(-1, 2, 4, base=2, device=device),
        lambda: np.logspace(-1, 2, 4, base=2),
    ),
    Operation("eye", lambda device: torch.eye(2, 3, device=device), lambda: np.eye(2, 3)),
    Operation("zeros", lambda device: torch.zeros(2, 3, device=device), lambda: np.zeros((2, 3))),
    Operation("ones", lambda device: torch.ones(2, 3, device=device), lambda: np.ones((2, 3))),
    Operation(
        "full",
        lambda device: torch.full((2, 3), 2.5, device=device),
        lambda: np.full((2, 3), 2.5),
    ),
    Operation("zeros_like", lambda t: torch.zeros_like(t), lambda a: np.zeros_like(a), (A,)),
    Operation("ones_like", lambda t: torch.ones_like(t), lambda a: np.ones_like(a), (INTS,), I64),
    Operation("full_like", lambda t: torch.full_like(t, 7), lambda a: np.full_like(a, 7), (A,)),
    Operation(
        "tril_indices",
        lambda device: torch.tril_indices(3, 4, device=device),
        lambda: np.stack(np.tril_indices(3, 0, 4)),
        dtype=I64,
    ),
    Operation(
        "triu_indices",
        lambda device: torch.triu_indices(3, 4, device=device),
        lambda: np.stack(np.triu_indices(3, 0, 4)),
        dtype=I64,
    ),
    Operation(
        "hann_window",
        lambda device: torch.hann_window(7, periodic=False, device=device),
        lambda: np.hanning(7),
    ),
    Operation(
        "meshgrid",
        lambda s, t: torch.meshgrid(s, t, indexing="ij"),
        lambda a, b: np.meshgrid(a, b, indexing="ij"),
        (ROW, VECTOR),
    ),
    Operation(
        "complex",
        lambda s, t: torch.complex(s, t),
        lambda a, b: a + 1j * b,
        (A, B),
        C64,
    ),
)

TRANSPOSING = (
    Operation("t", lambda t: torch.t(t), lambda a: a.T, (A,)),
    Operation("Tensor.T", lambda t: t.T, lambda a: a.T, (TALL,)),
    Operation("Tensor.mT", lambda t: t.mT, lambda a: np.swapaxes(a, -1, -2), (BLOCK,)),
    Operation(
        "transpose",
        lambda t: torch.transpose(t, 0, 2),
        lambda a: np.swapaxes(a, 0, 2),
        (BLOCK,),
    ),
    Operation(
        "swapaxes",
        lambda t: torch.swapaxes(t, 0, 1),
        lambda a: np.swapaxes(a, 0, 1),
        (BLOCK,),
    ),
    Operation(
        "permute",
        lambda t: torch.permute(t, (2, 0, 1)),
        lambda a: np.transpose(a, (2, 0, 1)),
        (BLOCK,),
    ),
    Operation(
        "movedim",
        lambda t: torch.movedim(t, 0, 2),
        lambda a: np.moveaxis(a, 0, 2),
        (BLOCK,),
    ),
    Operation("adjoint", lambda t: torch.adjoint(t), lambda a: a.conj().T, (COMPLEX,), C64),
    Operation("flip", lambda t: torch.flip(t, (0, 2)), lambda a: a[::-1, :, ::-1], (BLOCK,)),
    Operation("fliplr", lambda t: torch.fliplr(t), lambda a: np.fliplr(a), (A,)),
    Operation("flipud", lambda t: torch.flipud(t), lambda a: np.flipud(a), (A,)),
    Operation("rot90", lambda t: torch.rot90(t), lambda a: np.rot90(a), (A,)),
    Operation("roll", lambda t: torch.roll(t, 2, 1), lambda a: np.roll(a, 2, axis=1), (A,)),
)

INDEXING = (
    Operation("Tensor.__getitem__ row", lambda t: t[1], lambda a: a[1], (A,)),
    Operation("Tensor.__getitem__ element", lambda t: t[1, -1], lambda a: a[1, -1], (A,)),
    Operation("Tensor.__getitem__ list", lambda t: t[[1, 0, 1]], lambda a: a[[1, 0, 1]], (A,)),
    Operation(
        "Tensor.__getitem__ pairs",
        lambda t, i, j: t[i, j],
        lambda a, i, j: a[i, j],
        (A, [1, 0, 1, 0], [2, 1, 0, 0]),
    ),
    Operation(
        "Tensor.__getitem__ mask",
        lambda t: t[t > 0.6],
        lambda a: a[a > 0.6],
        (A,),
        not_on_meta=BY_VALUE,
    ),
    Operation("Tensor.__getitem__ None", lambda t: t[:, None], lambda a: a[:, None], (A,)),
    Operation(
        "Tensor.__setitem__ mask",
        lambda t: _assigned(t, t > 0.6, -1.0),
        lambda a: _assigned(a, a > 0.6, -1.0),
        (A,),
    ),
    Operation("select", lambda t: torch.select(t, 1, 2), lambda a: a[:, 2], (BLOCK,)),
    Operation(
        "index_select",
        lambda t, i: torch.index_select(t, 1, i),
        lambda a, i: np.take(a, i, axis=1),
        (A, [2, 0, 2, 1]),
    ),
    Operation("take", lambda t, i: torch.take(t, i), lambda a, i: np.take(a, i), (A, [4, 0, 5])),
    Operation(
        "take_along_dim",
        lambda t, i: torch.take_along_dim(t, i, 1),
        lambda a, i: np.take_along_axis(a, i, 1),
        (A, [[2, 0], [1, 2]]),
    ),
    Operation(
        "gather",
        lambda t, i: torch.gather(t, 0, i),
        lambda a, i: a[i, np.arange(3)],
        (A, [[1, 0, 1], [0, 0, 1], [1, 1, 0]]),
    ),
    Operation(
        "scatter",
        lambda t, i, s: torch.scatter(t, 1, i, s),
        lambda a, i, b: _assigned(a, (np.arange(2)[:, None], i), b),
        (A, [[2, 0], [1, 2]], [[7.0, 8.0], [9.0, -6.0]]),
    ),
    Operation(
        "scatter_add",
        lambda t, i, s: torch.scatter_add(t, 1, i, s),
        lambda a, i, b: np.stack(
            [row + np.bincount(j, w, minlength=3) for row, j, w in zip(a, i, b, strict=True)]
        ),
        (A, [[2, 2], [1, 0]], [[7.0, 8.0], [9.0, -6.0]]),
    ),
    Operation(
        "index_add",
        lambda t, i, s: torch.index_add(t, 0, i, s),
        lambda a, i, b: a + [(i == row) @ b for row in range(len(a))],
        (A, [1, 1, 0], SQUARE),
    ),
    Operation(
        "index_copy",
        lambda t, i, s: torch.index_copy(t, 1, i, s),
        lambda a, i, b: _assigned(a, (slice(None), i), b),
        (A, [2, 0], [[7.0, 8.0], [9.0, -6.0]]),
    ),
    Operation(
        "index_fill",
        lambda t, i: torch.index_fill(t, 1, i, 9.5),
        lambda a, i: _assigned(a, (slice(None), i), 9.5),
        (A, [2, 0]),
    ),
    Operation(
        "index_put",
        lambda t, i, j, s: torch.index_put(t, (i, j), s),
        lambda a, i, j, b: _assigned(a, (i, j), b),
        (A, [1, 0], [0, 2], [7.5, -8.5]),
    ),
    Operation(
        "masked_fill",
        lambda t, mask: torch.masked_fill(t, mask, 9.5),
        lambda a, mask: np.where(mask, 9.5, a),
        (A, FLAGS),
    ),
    Operation(
        "masked_select",
        lambda t, mask: torch.masked_select(t, mask),
        lambda a, mask: np.extract(mask, a),
        (A, FLAGS),
        not_on_meta=BY_VALUE,
    ),
    Operation(
        "where",
        lambda mask, s, t: torch.where(mask, s, t),
        lambda mask, a, b: np.where(mask, a, b),
        (FLAGS, A, B),
    ),
    Operation(
        "nonzero",
        lambda t: torch.nonzero(t),
        lambda a: np.transpose(np.nonzero(a)),
        (INTS,),
        I64,
        not_on_meta=BY_VALUE,
    ),
    Operation(
        "argwhere",
        lambda mask: torch.argwhere(mask),
        lambda mask: np.argwhere(mask),
        (FLAGS,),
        I64,
        not_on_meta=BY_VALUE,
    ),
    Operation("diagonal", lambda t: torch.diagonal(t, 1), lambda a: np.diagonal(a, 1), (A,)),
    Operation("diag", lambda t: torch.diag(t), lambda a: np.diag(a), (VECTOR,)),
)

SLICING = (
    Operation("Tensor.__getitem__ rows", lambda t: t[1:], lambda a: a[1:], (TALL,)),
    Operation("Tensor.__getitem__ columns", lambda t: t[:, :2], lambda a: a[:, :2], (A,)),
    Operation("Tensor.__getitem__ step", lambda t: t[:, ::2], lambda a: a[:, ::2], (A,)),
    Operation("Tensor.__getitem__ negative", lambda t: t[-2:-1], lambda a: a[-2:-1], (TALL,)),
    Operation("Tensor.__getitem__ ellipsis", lambda t: t[..., 1], lambda a: a[..., 1], (BLOCK,)),
    Operation(
        "Tensor.__setitem__ column",
        lambda t: _assigned(t, (slice(None), 1), 0.0),
        lambda a: _assigned(a, (slice(None), 1), 0.0),
        (A,),
    ),
    Operation("narrow", lambda t: torch.narrow(t, 1, 1, 2), lambda a: a[:, 1:3], (A,)),
    Operation(
        "split",
        lambda t: torch.split(t, 2),
        lambda a: np.split(a, [2, 4]),
        (VECTOR,),
    ),
    Operation(
        "chunk",
        lambda t: torch.chunk(t, 3, dim=1),
        lambda a: np.array_split(a, 3, axis=1),
        (BLOCK,),
    ),
    Operation(
        "tensor_split",
        lambda t: torch.tensor_split(t, (1, 4)),
        lambda a: np.split(a, [1, 4]),
        (VECTOR,),
    ),
    Operation("unbind", lambda t: torch.unbind(t, 1), lambda a: [*a.swapaxes(0, 1)], (A,)),
    Operation("tril", lambda t: torch.tril(t, -1), lambda a: np.tril(a, -1), (SQUARE,)),
    Operation("triu", lambda t: torch.triu(t), lambda a: np.triu(a), (SQUARE,)),
    Operation(
        "Tensor.unfold",
        lambda t: t.unfold(0, 3, 2),
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 3)[::2],
        (VECTOR,),
    ),
    Operation(
        "as_strided",
        lambda t: torch.as_strided(t, (2, 2), (3, 2)),
        lambda a: a[:, [0, 2]],
        (A,),
    ),
)

SHAPING = (
    Operation("reshape", lambda t: torch.reshape(t, (3, 2)), lambda a: a.reshape(3, 2), (A,)),
    Operation("Tensor.view", lambda t: t.view(3, -1), lambda a: a.reshape(3, 2), (A,)),
    Operation("ravel", lambda t: torch.ravel(t), lambda a: a.ravel(), (A,)),
    Operation("flatten", lambda t: torch.flatten(t, 1), lambda a: a.reshape(2, 6), (BLOCK,)),
    Operation(
        "unflatten",
        lambda t: torch.unflatten(t, 1, (3, 1)),
        lambda a: a.reshape(2, 3, 1),
        (A,),
    ),
    Operation(
        "squeeze",
        lambda t: torch.squeeze(t),
        lambda a: np.squeeze(a),
        ([[[[1.5, -2.0]], [[0.25, 4.0]], [[3.0, 7.5]]]],),
    ),
    Operation(
        "unsqueeze",
        lambda t: torch.unsqueeze(t, 1),
        lambda a: np.expand_dims(a, 1),
        (A,),
    ),
    Operation(
        "broadcast_to",
        lambda t: torch.broadcast_to(t, (2, 3)),
        lambda a: np.broadcast_to(a, (2, 3)),
        (COLUMN,),
    ),
    Operation(
        "Tensor.expand",
        lambda t: t.expand(2, -1),
        lambda a: np.stack([a, a]),
        (ROW,),
    ),
    Operation("tile", lambda t: torch.tile(t, (2, 2)), lambda a: np.tile(a, (2, 2)), (A,)),
    Operation("Tensor.repeat", lambda t: t.repeat(3, 1), lambda a: np.tile(a, (3, 1)), (A,)),
    Operation(
        "repeat_interleave",
        lambda t: torch.repeat_interleave(t, 2, dim=1),
        lambda a: np.repeat(a, 2, axis=1),
        (A,),
    ),
    Operation(
        "nn.functional.pad",
        lambda t: torch.nn.functional.pad(t, (1, 2), value=9.0),
        lambda a: np.pad(a, ((0, 0), (1, 2)), constant_values=9.0),
        (A,),
    ),
)

JOINING = (
    Operation(
        "cat",
        lambda s, t: torch.cat([s, t], dim=1),
        lambda a, b: np.concatenate([a, b], axis=1),
        (A, COLUMN),
    ),
    Operation(
        "stack",
        lambda s, t: torch.stack([s, t], dim=1),
        lambda a, b: np.stack([a, b], axis=1),
        (A, B),
    ),
    Operation("hstack", lambda s, t: torch.hstack([s, t]), lambda a, b: np.hstack([a, b]), (A, B)),
    Operation("vstack", lambda s, t: torch.vstack([s, t]), lambda a, b: np.vstack([a, b]), (A, B)),
    Operation("dstack", lambda s, t: torch.dstack([s, t]), lambda a, b: np.dstack([a, b]), (A, B)),
    Operation(
        "column_stack",
        lambda s, t: torch.column_stack([s, t]),
        lambda a, b: np.column_stack([a, b]),
        (ROW, TALL),
    ),
    Operation(
        "block_diag",
        lambda s, t: torch.block_diag(s, t),
        lambda a, b: np.block([[a, np.zeros((2, 2))], [np.zeros((3, 3)), b]]),
        (A, TALL),
    ),
)

MATHEMATICS = (
    Operation("add", lambda s, t: torch.add(s, t), lambda a, b: a + b, (A, ROW)),
    Operation("sub", lambda s, t: torch.sub(s, t, alpha=2), lambda a, b: a - 2 * b, (A, B)),
    Operation("mul", lambda s, t: torch.mul(s, t), lambda a, b: a * b, (A, COLUMN)),
    Operation("div", lambda s, t: torch.div(s, t), lambda a, b: a / b, (INTS, DIVISORS)),
    Operation(
        "floor_divide",
        lambda s, t: torch.floor_divide(s, t),
        lambda a, b: a // b,
        (INTS, DIVISORS),
        I64,
    ),
    Operation(
        "remainder",
        lambda s, t: torch.remainder(s, t),
        lambda a, b: a % b,
        (INTS, DIVISORS),
        I64,
    ),
    Operation("fmod", lambda s, t: torch.fmod(s, t), lambda a, b: np.fmod(a, b), (A, B)),
    Operation("pow", lambda s, t: torch.pow(s, t), lambda a, b: a**b, (POSITIVE, B)),
    Operation(
        "float_power",
        lambda s: torch.float_power(s, 2),
        lambda a: np.float_power(a, 2),
        (INTS,),
        F64,
    ),
    Operation("square", lambda t: torch.square(t), lambda a: a * a, (A,)),
    Operation("sqrt", lambda t: torch.sqrt(t), lambda a: np.sqrt(a), (POSITIVE,)),
    Operation("rsqrt", lambda t: torch.rsqrt(t), lambda a: 1 / np.sqrt(a), (POSITIVE,)),
    Operation("reciprocal", lambda t: torch.reciprocal(t), lambda a: 1 / a, (A,)),
    Operation("neg", lambda t: torch.neg(t), lambda a: -a, (A,)),
    Operation("abs", lambda t: torch.abs(t), lambda a: np.abs(a), (A,)),
    Operation("sign", lambda t: torch.sign(t), lambda a: np.sign(a), (UNIT,)),
    Operation("exp", lambda t: torch.exp(t), lambda a: np.exp(a), (A,)),
    Operation("exp2", lambda t: torch.exp2(t), lambda a: np.exp2(a), (A,)),
    Operation("expm1", lambda t: torch.expm1(t), lambda a: np.expm1(a), ([1e-6, -1e-7, 2.0],)),
    Operation("log", lambda t: torch.log(t), lambda a: np.log(a), ([0.0, 0.5, math.inf],)),
    Operation("log2", lambda t: torch.log2(t), lambda a: np.log2(a), (POSITIVE,)),
    Operation("log10", lambda t: torch.log10(t), lambda a: np.log10(a), (POSITIVE,)),
    Operation("log1p", lambda t: torch.log1p(t), lambda a: np.log1p(a), ([1e-6, -0.5, 2.0],)),
    Operation("sin", lambda t: torch.sin(t), lambda a: np.sin(a), (A,)),
    Operation("cos", lambda t: torch.cos(t), lambda a: np.cos(a), (A,)),
    Operation("tan", lambda t: torch.tan(t), lambda a: np.tan(a), (A,)),
    Operation("asin", lambda t: torch.asin(t), lambda a: np.arcsin(a), (UNIT,)),
    Operation("acos", lambda t: torch.acos(t), lambda a: np.arccos(a), (UNIT,)),
    Operation("atan", lambda t: torch.atan(t), lambda a: np.arctan(a), (A,)),
    Operation("atan2", lambda s, t: torch.atan2(s, t), lambda a, b: np.arctan2(a, b), (A, B)),
    Operation("sinh", lambda t: torch.sinh(t), lambda a: np.sinh(a), (A,)),
    Operation("cosh", lambda t: torch.cosh(t), lambda a: np.cosh(a), (A,)),
    Operation("hypot", lambda s, t: torch.hypot(s, t), lambda a, b: np.hypot(a, b), (A, B)),
    Operation("floor", lambda t: torch.floor(t), lambda a: np.floor(a), (A,)),
    Operation("ceil", lambda t: torch.ceil(t), lambda a: np.ceil(a), (A,)),
    Operation(
        "round", lambda t: torch.round(t), lambda a: np.round(a), ([0.5, 1.5, 2.5, -0.5, -1.7],)
    ),
    Operation("trunc", lambda t: torch.trunc(t), lambda a: np.trunc(a), (A,)),
    Operation("frac", lambda t: torch.frac(t), lambda a: a - np.trunc(a), (A,)),
    Operation("clamp", lambda t: torch.clamp(t, -1, 2), lambda a: np.clip(a, -1, 2), (A,)),
    Operation("lerp", lambda s, t: torch.lerp(s, t, 0.25), lambda a, b: a + (b - a) / 4, (A, B)),
    Operation(
        "addcmul",
        lambda r, s, t: torch.addcmul(r, s, t, value=0.5),
        lambda a, b, c: a + b * c / 2,
        (ROW, A, B),
    ),
    Operation("erf", lambda t: torch.erf(t), lambda a: _erf(a), (A,)),
    Operation(
        "lgamma", lambda t: torch.lgamma(t), lambda a: np.vectorize(math.lgamma)(a), (POSITIVE,)
    ),
    Operation("sinc", lambda t: torch.sinc(t), lambda a: np.sinc(a), (UNIT,)),
    Operation("deg2rad", lambda t: torch.deg2rad(t), lambda a: np.deg2rad(a), (ROW,)),
    Operation(
        "logaddexp", lambda s, t: torch.logaddexp(s, t), lambda a, b: np.logaddexp(a, b), (A, B)
    ),
    Operation("maximum", lambda s, t: torch.maximum(s, t), lambda a, b: np.maximum(a, b), (A, B)),
    Operation("minimum", lambda s, t: torch.minimum(s, t), lambda a, b: np.minimum(a, b), (A, B)),
    Operation(
        "copysign", lambda s, t: torch.copysign(s, t), lambda a, b: np.copysign(a, b), (A, B)
    ),
    Operation(
        "gcd", lambda s, t: torch.gcd(s, t), lambda a, b: np.gcd(a, b), (INTS, DIVISORS), I64
    ),
    Operation(
        "nan_to_num",
        lambda t: torch.nan_to_num(t, 7.0, 8.0, -9.0),
        lambda a: np.nan_to_num(a, nan=7.0, posinf=8.0, neginf=-9.0),
        (AWKWARD,),
    ),
    Operation("angle", lambda t: torch.angle(t), lambda a: np.angle(a), (COMPLEX,)),
    Operation("conj", lambda t: torch.conj(t), lambda a: np.conj(a), (COMPLEX,), C64),
    Operation("cumsum", lambda t: torch.cumsum(t, 1), lambda a: np.cumsum(a, axis=1), (A,)),
    Operation("cumprod", lambda t: torch.cumprod(t, 0), lambda a: np.cumprod(a, axis=0), (A,)),
    Operation(
        "cummax",
        lambda t: torch.cummax(t, 0),
        lambda a: [np.maximum.accumulate(a), np.array([0, 0, 2, 2, 4])],
        ([3.0, -1.0, 3.5, 0.75, 4.0],),
        (F32, I64),
    ),
    Operation("diff", lambda t: torch.diff(t, dim=1), lambda a: np.diff(a, axis=1), (A,)),
    Operation(
        "trapezoid",
        lambda t: torch.trapezoid(t, dx=0.5),
        lambda a: (a[:, 1:] + a[:, :-1]).sum(axis=1) / 4,
        (A,),
    ),
    Operation("fft.rfft", lambda t: torch.fft.rfft(t), lambda a: np.fft.rfft(a), (VECTOR,), C64),
)

COMPARISON = (
    Operation("eq", lambda s, t: torch.eq(s, t), lambda a, b: a == b, (INTS, [7, -8, 12]), BOOL),
    Operation("ne", lambda s, t: torch.ne(s, t), lambda a, b: a != b, (INTS, [7, -8, 12]), BOOL),
    Operation("lt", lambda s, t: torch.lt(s, t), lambda a, b: a < b, (INTS, [7, 0, -9]), BOOL),
    Operation("le", lambda s, t: torch.le(s, t), lambda a, b: a <= b, (INTS, [7, 0, -9]), BOOL),
    Operation("gt", lambda s, t: torch.gt(s, t), lambda a, b: a > b, (INTS, [6, -3, 12]), BOOL),
    Operation("ge", lambda s, t: torch.ge(s, t), lambda a, b: a >= b, (INTS, [6, -3, 12]), BOOL),
    Operation(
        "isclose",
        lambda s, t: torch.isclose(s, t),
        lambda a, b: np.isclose(a, b),
        ([1.0, 1.0, math.inf, math.nan], [1.000001, 1.01, math.inf, math.nan]),
        BOOL,
    ),
    Operation(
        "isin",
        lambda s, t: torch.isin(s, t),
        lambda a, b: np.isin(a, b),
        (INTS, [0, 5, -3, 9]),
        BOOL,
    ),
    Operation("isnan", lambda t: torch.isnan(t), lambda a: np.isnan(a), (AWKWARD,), BOOL),
    Operation("isinf", lambda t: torch.isinf(t), lambda a: np.isinf(a), (AWKWARD,), BOOL),
    Operation("isfinite", lambda t: torch.isfinite(t), lambda a: np.isfinite(a), (AWKWARD,), BOOL),
    Operation("signbit", lambda t: torch.signbit(t), lambda a: np.signbit(a), (A,), BOOL),
)

LOGIC = (
    Operation(
        "logical_and",
        lambda s, t: torch.logical_and(s, t),
        lambda a, b: np.logical_and(a, b),
        (INTS, OTHER_FLAGS),
        BOOL,
    ),
    Operation(
        "logical_or",
        lambda s, t: torch.logical_or(s, t),
        lambda a, b: np.logical_or(a, b),
        ([[1, 0, 12], [0, 7, 0]], FLAGS),
        BOOL,
    ),
    Operation(
        "logical_xor",
        lambda s, t: torch.logical_xor(s, t),
        lambda a, b: np.logical_xor(a, b),
        (INTS, FLAGS),
        BOOL,
    ),
    Operation(
        "logical_not", lambda t: torch.logical_not(t), lambda a: np.logical_not(a), (INTS,), BOOL
    ),
    Operation(
        "bitwise_and", lambda s, t: torch.bitwise_and(s, t), lambda a, b: a & b, (INTS, BITS), I64
    ),
    Operation(
        "bitwise_or", lambda s, t: torch.bitwise_or(s, t), lambda a, b: a | b, (INTS, BITS), I64
    ),
    Operation(
        "bitwise_xor", lambda s, t: torch.bitwise_xor(s, t), lambda a, b: a ^ b, (INTS, BITS), I64
    ),
    Operation("bitwise_not", lambda t: torch.bitwise_not(t), lambda a: ~a, (INTS,), I64),
    Operation(
        "bitwise_left_shift",
        lambda s, t: torch.bitwise_left_shift(s, t),
        lambda a, b: a << b,
        (BITS, [1, 3, 2]),
        I64,
    ),
    Operation("all", lambda t: torch.all(t, 1), lambda a: np.all(a, axis=1), (INTS,), BOOL),
    Operation("any", lambda t: torch.any(t, 0), lambda a: np.any(a, axis=0), (FLAGS,), BOOL),
)

REDUCTION = (
    Operation("sum", lambda t: torch.sum(t, 1), lambda a: np.sum(a, axis=1), (BLOCK,)),
    Operation("prod", lambda t: torch.prod(t, 0), lambda a: np.prod(a, axis=0), (A,)),
    Operation(
        "mean",
        lambda t: torch.mean(t, (0, 2), keepdim=True),
        lambda a: np.mean(a, axis=(0, 2), keepdims=True),
        (BLOCK,),
    ),
    Operation("nansum", lambda t: torch.nansum(t), lambda a: np.nansum(a), ([1.5, math.nan, 2.0],)),
    Operation(
        "nanmean", lambda t: torch.nanmean(t), lambda a: np.nanmean(a), ([1.5, math.nan, 2.0],)
    ),
    Operation("median", lambda t: torch.median(t), lambda a: np.median(a), (VECTOR,)),
    Operation(
        "quantile",
        lambda t: torch.quantile(t, 0.3, dim=1),
        lambda a: np.quantile(a, 0.3, axis=1),
        (A,),
    ),
    Operation(
        "mode",
        lambda t: torch.mode(t)[0],
        lambda a: np.unique(a)[np.argmax(np.unique(a, return_counts=True)[1])],
        ([4, 2, 9, 2, 9, 9, 0],),
        I64,
    ),
    Operation(
        "std",
        lambda t: [torch.std(t, 0), torch.std(t)],
        lambda a: [np.std(a, axis=0, ddof=1), np.std(a, ddof=1)],
        (TALL,),
    ),
    Operation(
        "var",
        lambda t: [torch.var(t, 1), torch.var(t)],
        lambda a: [np.var(a, axis=1, ddof=1), np.var(a, ddof=1)],
        (A,),
    ),
    Operation(
        "var_mean",
        lambda t: torch.var_mean(t, 1),
        lambda a: [np.var(a, axis=1, ddof=1), np.mean(a, axis=1)],
        (A,),
    ),
    Operation(
        "max",
        lambda t: torch.max(t, 1),
        lambda a: [np.max(a, axis=1), np.argmax(a, axis=1)],
        (A,),
        (F32, I64),
    ),
    Operation(
        "min",
        lambda t: torch.min(t, 0),
        lambda a: [np.min(a, axis=0), np.argmin(a, axis=0)],
        (A,),
        (F32, I64),
    ),
    Operation("amax", lambda t: torch.amax(t, (0, 2)), lambda a: a.max(axis=(0, 2)), (BLOCK,)),
    Operation("amin", lambda t: torch.amin(t, (0, 1)), lambda a: a.min(axis=(0, 1)), (BLOCK,)),
    Operation("aminmax", lambda t: torch.aminmax(t), lambda a: [a.min(), a.max()], (A,)),
    Operation("argmax", lambda t: torch.argmax(t), lambda a: np.argmax(a), (A,), I64),
    Operation("argmin", lambda t: torch.argmin(t, 1), lambda a: np.argmin(a, axis=1), (A,), I64),
    Operation(
        "logsumexp",
        lambda t: torch.logsumexp(t, 1),
        lambda a: a.max() + np.log(np.exp(a - a.max()).sum(axis=1)),
        ([[1000.0, 1000.5], [999.25, 1001.0]],),
    ),
    Operation(
        "count_nonzero",
        lambda t: torch.count_nonzero(t, 1),
        lambda a: np.count_nonzero(a, axis=1),
        (INTS,),
        I64,
    ),
    Operation("cov", lambda t: torch.cov(t), lambda a: np.cov(a), (A,), not_on_meta=READS_VALUES),
    Operation(
        "corrcoef",
        lambda t: torch.corrcoef(t),
        lambda a: np.corrcoef(a),
        (A,),
        not_on_meta=READS_VALUES,
    ),
    Operation(
        "bincount",
        lambda t: torch.bincount(t),
        lambda a: np.bincount(a),
        ([1, 4, 1, 0, 4, 4],),
        I64,
        not_on_meta=BY_VALUE,
    ),
    Operation(
        "histc",
        lambda t: torch.histc(t, bins=4, min=-2, max=2),
        lambda a: np.histogram(a, bins=4, range=(-2, 2))[0].astype(float),
        (A,),
    ),
)

SORTING = (
    Operation(
        "sort",
        lambda t: torch.sort(t, dim=1, descending=True),
        lambda a: [-np.sort(-a, axis=1), np.argsort(-a, axis=1)],
        (A,),
        (F32, I64),
    ),
    Operation(
        "argsort", lambda t: torch.argsort(t, dim=0), lambda a: np.argsort(a, axis=0), (TALL,), I64
    ),
    Operation("msort", lambda t: torch.msort(t), lambda a: np.sort(a, axis=0), (TALL,)),
    Operation(
        "topk",
        lambda t: torch.topk(t, 2),
        lambda a: [np.sort(a)[:-3:-1], np.argsort(a)[:-3:-1]],
        (VECTOR,),
        (F32, I64),
    ),
    Operation(
        "kthvalue",
        lambda t: torch.kthvalue(t, 2),
        lambda a: [np.partition(a, 1)[1], np.argsort(a)[1]],
        (VECTOR,),
        (F32, I64),
    ),
    Operation(
        "unique",
        lambda t: torch.unique(t, return_counts=True),
        lambda a: np.unique(a, return_counts=True),
        ([3, -1, 3, 7, -1, 3],),
        I64,
        not_on_meta=BY_VALUE,
    ),
    Operation(
        "searchsorted",
        lambda s, t: torch.searchsorted(s, t, right=True),
        lambda a, b: np.searchsorted(a, b, side="right"),
        ([-2.0, 0.5, 3.25], A),
        I64,
    ),
    Operation(
        "bucketize",
        lambda s, t: torch.bucketize(s, t),
        lambda a, b: np.digitize(a, b, right=True),
        (A, [-2.0, 0.5, 3.25]),
        I64,
    ),
)

LINEAR_ALGEBRA = (
    Operation("matmul", lambda s, t: torch.matmul(s, t), lambda a, b: a @ b, (A, BLOCK)),
    Operation("mm", lambda s, t: torch.mm(s, t), lambda a, b: a @ b, (A, TALL)),
    Operation("mv", lambda s, t: torch.mv(s, t), lambda a, b: a @ b, (A, ROW)),
    Operation(
        "bmm", lambda s, t: torch.bmm(s, t.mT), lambda a, b: a @ b.swapaxes(1, 2), (BLOCK, MATRICES)
    ),
    Operation(
        "dot", lambda s, t: torch.dot(s, t), lambda a, b: np.dot(a, b), (ROW, [2.0, 1.5, 0.5])
    ),
    Operation("inner", lambda s, t: torch.inner(s, t), lambda a, b: np.inner(a, b), (A, B)),
    Operation("outer", lambda s, t: torch.outer(s, t), lambda a, b: np.outer(a, b), (ROW, VECTOR)),
    Operation("kron", lambda s, t: torch.kron(s, t), lambda a, b: np.kron(a, b), (A, TALL)),
    Operation(
        "tensordot",
        lambda s, t: torch.tensordot(s, t, dims=([0, 1], [1, 0])),
        lambda a, b: np.tensordot(a, b, axes=([0, 1], [1, 0])),
        (BLOCK, TALL),
    ),
    Operation(
        "einsum",
        lambda s, t: torch.einsum("ij,bjk->kib", s, t),
        lambda a, b: np.einsum("ij,bjk->kib", a, b),
        (A, BLOCK),
    ),
    Operation(
        "addmm",
        lambda r, s, t: torch.addmm(r, s, t, beta=2, alpha=0.5),
        lambda a, b, c: 2 * a + b @ c / 2,
        (COLUMN, A, TALL),
    ),
    Operation(
        "cdist",
        lambda s, t: torch.cdist(s, t),
        lambda a, b: np.sqrt(((a[:, None] - b) ** 2).sum(axis=-1)),
        (A, SQUARE),
    ),
    Operation("trace", lambda t: torch.trace(t), lambda a: np.trace(a), (A,)),
    Operation(
        "linalg.cross", lambda s, t: torch.linalg.cross(s, t), lambda a, b: np.cross(a, b), (A, B)
    ),
    Operation(
        "linalg.vecdot",
        lambda s, t: torch.linalg.vecdot(s, t),
        lambda a, b: (a * b).sum(axis=-1),
        (A, B),
    ),
    Operation(
        "linalg.vector_norm",
        lambda t: torch.linalg.vector_norm(t, 3, dim=1),
        lambda a: (np.abs(a) ** 3).sum(axis=1) ** (1 / 3),
        (A,),
    ),
    Operation(
        "linalg.matrix_norm",
        lambda t: torch.linalg.matrix_norm(t),
        lambda a: np.linalg.norm(a),
        (A,),
    ),
    Operation(
        "linalg.norm",
        lambda t: torch.linalg.norm(t, 1),
        lambda a: np.linalg.norm(a, 1),
        (A,),
    ),
    Operation(
        "linalg.det", lambda t: torch.linalg.det(t), lambda a: np.linalg.det(a), (SQUARE[::-1],)
    ),
    Operation(
        "linalg.slogdet",
        lambda t: torch.linalg.slogdet(t),
        lambda a: [*np.linalg.slogdet(a)],
        ([[0.0, 2.0], [3.0, 1.0]],),
    ),
    Operation("linalg.inv", lambda t: torch.linalg.inv(t), lambda a: np.linalg.inv(a), (SQUARE,)),
    Operation("linalg.pinv", lambda t: torch.linalg.pinv(t), lambda a: np.linalg.pinv(a), (A,)),
    Operation(
        "linalg.solve",
        lambda s, t: torch.linalg.solve(s, t),
        lambda a, b: np.linalg.solve(a, b),
        (SQUARE, TALL),
    ),
    Operation(
        "linalg.solve_triangular",
        lambda s, t: torch.linalg.solve_triangular(s, t, upper=False),
        lambda a, b: np.linalg.solve(a, b),
        (LOWER, TALL),
    ),
    Operation(
        "linalg.lstsq",
        lambda s, t: torch.linalg.lstsq(s, t)[0],
        lambda a, b: np.linalg.lstsq(a, b, rcond=None)[0],
        (TALL, SQUARE),
        not_on_meta=NO_META_KERNEL,
    ),
    Operation(
        "linalg.matrix_power",
        lambda t: torch.linalg.matrix_power(t, 3),
        lambda a: np.linalg.matrix_power(a, 3),
        (SQUARE,),
    ),
    Operation(
        "linalg.matrix_exp",
        lambda t: torch.linalg.matrix_exp(t),
        lambda a: sum(np.linalg.matrix_power(a, n) / math.factorial(n) for n in range(20)),
        ([[0.5, -1.0], [0.25, 0.75]],),
    ),
    Operation(
        "linalg.matrix_rank",
        lambda t: torch.linalg.matrix_rank(t),
        lambda a: np.linalg.matrix_rank(a),
        ([[1.0, 2.0, -1.0], [2.0, 4.0, -2.0], [0.5, 0.0, 3.0]],),
        I64,
    ),
    Operation(
        "linalg.cholesky",
        lambda t: torch.linalg.cholesky(t),
        lambda a: np.linalg.cholesky(a),
        (POSITIVE_DEFINITE,),
    ),
    Operation(
        "linalg.qr",
        lambda t: torch.abs(torch.linalg.qr(t)[1]),  # unique but for the signs of its rows
        lambda a: np.abs(np.linalg.qr(a)[1]),
        (TALL,),
    ),
    Operation(
        "linalg.svdvals",
        lambda t: torch.linalg.svdvals(t),
        lambda a: np.linalg.svd(a, compute_uv=False),
        (A,),
    ),
    Operation(
        "linalg.svd",
        lambda t: torch.abs(torch.linalg.svd(t, full_matrices=False)[2]),  # up to signs
        lambda a: np.abs(np.linalg.svd(a, full_matrices=False)[2]),
        (A,),
    ),
    Operation(
        "linalg.eigvalsh",
        lambda t: torch.linalg.eigvalsh(t),
        lambda a: np.linalg.eigvalsh(a),
        (POSITIVE_DEFINITE,),
    ),
    Operation(
        "linalg.eigh",
        lambda t: torch.abs(torch.linalg.eigh(t)[1]),  # up to signs
        lambda a: np.abs(np.linalg.eigh(a)[1]),
        (POSITIVE_DEFINITE,),
    ),
    Operation(
        "linalg.multi_dot",
        lambda r, s, t: torch.linalg.multi_dot([r, s, t]),
        lambda a, b, c: a @ b @ c,
        (A, TALL, B),
    ),
)

ACTIVATION = (
    Operation("relu", lambda t: torch.relu(t), lambda a: np.maximum(a, 0), (BLOCK,)),
    Operation("sigmoid", lambda t: torch.sigmoid(t), lambda a: _sigmoid(a), (A,)),
    Operation("tanh", lambda t: torch.tanh(t), lambda a: np.tanh(a), (A,)),
    Operation("softmax", lambda t: torch.softmax(t, 1), lambda a: _softmax(a, 1), (A,)),
    Operation(
        "log_softmax",
        lambda t: torch.log_softmax(t, 0),
        lambda a: np.log(_softmax(a, 0)),
        (A,),
    ),
    Operation(
        "nn.functional.gelu",
        lambda t: torch.nn.functional.gelu(t),
        lambda a: a * (1 + _erf(a / math.sqrt(2))) / 2,
        (A,),
    ),
    Operation(
        "nn.functional.silu",
        lambda t: torch.nn.functional.silu(t),
        lambda a: a * _sigmoid(a),
        (A,),
    ),
    Operation(
        "nn.functional.elu",
        lambda t: torch.nn.functional.elu(t, alpha=0.5),
        lambda a: np.where(a > 0, a, np.expm1(a) / 2),
        (A,),
    ),
    Operation(
        "nn.functional.leaky_relu",
        lambda t: torch.nn.functional.leaky_relu(t),
        lambda a: np.where(a > 0, a, a / 100),
        (A,),
    ),
    Operation(
        "nn.functional.softplus",
        lambda t: torch.nn.functional.softplus(t),
        lambda a: np.log1p(np.exp(a)),
        (A,),
    ),
    Operation(
        "nn.functional.hardtanh",
        lambda t: torch.nn.functional.hardtanh(t),
        lambda a: np.clip(a, -1, 1),
        (A,),
    ),
    Operation(
        "nn.functional.one_hot",
        lambda t: torch.nn.functional.one_hot(t, 4),
        lambda a: np.eye(4, dtype=int)[a],
        ([2, 0, 3],),
        I64,
    ),
)

FAMILIES: dict[str, tuple[Operation, ...]] = {
    "creation": CREATION,
    "transposing": TRANSPOSING,
    "indexing": INDEXING,
    "slicing": SLICING,
    "shaping": SHAPING,
    "joining": JOINING,
    "mathematics": MATHEMATICS,
    "comparison": COMPARISON,
    "logic": LOGIC,
    "reduction": REDUCTION,
    "sorting": SORTING,
    "linear algebra": LINEAR_ALGEBRA,
    "activation": ACTIVATION,
}
OPERATIONS: list[Operation] = [operation for rows in FAMILIES.values() for operation in rows]


@dataclass(frozen=True, eq=False)
class Sampler:
    """One operation that draws random numbers, and what it draws them from.

    Attributes:
        name: The name below ``torch``.
        draw: Gives ``DRAWS`` numbers, one-dimensional, on the device it is given.
        allowed: For an array of draws, which of them can occur at all.
        share: The share of draws that are at most ``x``: the distribution function.
        points: Where the distribution function is compared.
        dtype: Of the draws.
        not_on_meta: Why it is left out where tensors have no values; empty where it is not.
    """

    name: str
    draw: Callable[[torch.device], torch.Tensor]
    allowed: Callable[[np.ndarray], np.ndarray]
    share: Callable[[float], float]
    points: Sequence[float]
    dtype: torch.dtype = F32
    not_on_meta: str = ""

    def error(self, draws: np.ndarray) -> float:
        """The greatest difference between the share of draws up to a point and the one expected."""
        return max(abs(float(np.mean(draws <= x)) - self.share(x)) for x in self.points)

    def correlation(self, draws: np.ndarray) -> float:
        """Of a draw's being low with the next one's being low: 0 where draws are independent."""
        middle = min(self.points, key=lambda x: abs(self.share(x) - 0.5))
        low = draws <= middle
        return float(np.corrcoef(low[1:], low[:-1])[0, 1])


DRAWS = 10_000
# By the inequality of Dvoretzky, Kiefer, Wolfowitz and Massart the shares of 10,000 draws are wrong
# by more than this once in 30 million runs.
LARGEST_ERROR = 0.03
# More than 5 standard deviations of the correlation between 10,000 independent neighbours.
LARGEST_CORRELATION = 0.05


def _normal(mean: float, deviation: float) -> Callable[[float], float]:
    return lambda x: (1 + math.erf((x - mean) / deviation / math.sqrt(2))) / 2


def _whole(stop: int) -> dict[str, Any]:
    """The whole numbers from 0 to ``stop``, all equally likely."""
    return {
        "allowed": lambda a: (a >= 0) & (a < stop) & (a == np.floor(a)),
        "share": lambda x: (math.floor(x) + 1) / stop,
        "points": range(0, stop, max(1, stop // 20)),
    }


def _counts(chances: Sequence[float]) -> dict[str, Any]:
    """The whole numbers from 0 on, each with its chance; the chances of the rest are negligible."""
    return {
        "allowed": lambda a: (a >= 0) & np.isfinite(a) & (a == np.floor(a)),
        "share": lambda x: sum(chances[: int(x) + 1]),
        "points": range(len(chances)),
    }


FROM_0_TO_1: dict[str, Any] = {
    "allowed": lambda a: (a >= 0) & (a < 1),
    "share": lambda x: x,
    "points": np.linspace(0, 1, 21).tolist(),
}
BELL: dict[str, Any] = {
    "allowed": np.isfinite,
    "share": _normal(0, 1),
    "points": np.linspace(-3, 3, 25).tolist(),
}
BELL_AT_3: dict[str, Any] = {
    "allowed": np.isfinite,
    "share": _normal(3, 0.5),
    "points": np.linspace(1.5, 4.5, 25).tolist(),
}
THREE_IN_TEN = {**_counts([0.7, 0.3]), "allowed": lambda a: np.isin(a, [0, 1])}


def _empty(device: torch.device) -> torch.Tensor:
    return torch.empty(DRAWS, device=device)


SAMPLERS: list[Sampler] = [
    Sampler("rand", lambda device: torch.rand(DRAWS, device=device), **FROM_0_TO_1),
    Sampler("rand_like", lambda device: torch.rand_like(_empty(device)), **FROM_0_TO_1),
    Sampler("randn", lambda device: torch.randn(DRAWS, device=device), **BELL),
    Sampler("randn_like", lambda device: torch.randn_like(_empty(device)), **BELL),
    Sampler(
        "normal",
        lambda device: torch.normal(3.0, 0.5, (DRAWS,), device=device),
        **BELL_AT_3,
    ),
    Sampler("Tensor.normal_", lambda device: _empty(device).normal_(3.0, 0.5), **BELL_AT_3),
    Sampler(
        "Tensor.uniform_",
        lambda device: _empty(device).uniform_(-2, 3),
        allowed=lambda a: (a >= -2) & (a < 3),
        share=lambda x: (x + 2) / 5,
        points=np.linspace(-2, 3, 21).tolist(),
    ),
    Sampler(
        "randint",
        lambda device: torch.randint(7, (DRAWS,), device=device),
        dtype=I64,
        **_whole(7),
    ),
    Sampler("randint_like", lambda device: torch.randint_like(_empty(device), 7), **_whole(7)),
    Sampler("Tensor.random_", lambda device: _empty(device).random_(7), **_whole(7)),
    Sampler(
        "randperm",
        lambda device: torch.randperm(DRAWS, device=device),
        dtype=I64,
        **_whole(DRAWS),
    ),
    Sampler(
        "bernoulli",
        lambda device: torch.bernoulli(torch.full((DRAWS,), 0.3, device=device)),
        **THREE_IN_TEN,
    ),
    Sampler("Tensor.bernoulli_", lambda device: _empty(device).bernoulli_(0.3), **THREE_IN_TEN),
    Sampler(
        "multinomial",
        lambda device: torch.multinomial(
            torch.tensor([1.0, 2.0, 0.0, 5.0], device=device), DRAWS, replacement=True
        ),
        allowed=lambda a: np.isin(a, [0, 1, 3]),
        share=lambda x: [0.125, 0.375, 0.375, 1.0][int(x)],
        points=range(4),
        dtype=I64,
    ),
    Sampler(
        "binomial",
        lambda device: torch.binomial(
            torch.full((DRAWS,), 4.0, device=device), torch.full((DRAWS,), 0.3, device=device)
        ),
        not_on_meta=NO_META_KERNEL,
        **{
            **_counts([math.comb(4, k) * 0.3**k * 0.7 ** (4 - k) for k in range(5)]),
            "allowed": lambda a: np.isin(a, range(5)),
        },
    ),
    Sampler(
        "poisson",
        lambda device: torch.poisson(torch.full((DRAWS,), 2.5, device=device)),
        **_counts([math.exp(-2.5) * 2.5**k / math.factorial(k) for k in range(12)]),
    ),
    Sampler(
        "Tensor.geometric_",
        lambda device: _empty(device).geometric_(0.3),
        **{
            **_counts([0.0, *[0.3 * 0.7**k for k in range(20)]]),
            "allowed": lambda a: (a >= 1) & np.isfinite(a) & (a == np.floor(a)),
        },
    ),
    Sampler(
        "Tensor.exponential_",
        lambda device: _empty(device).exponential_(2.0),
        allowed=lambda a: (a >= 0) & np.isfinite(a),
        share=lambda x: 1 - math.exp(-2 * x),
        points=np.linspace(0, 3, 21).tolist(),
    ),
    Sampler(
        "Tensor.log_normal_",
        lambda device: _empty(device).log_normal_(0.5, 0.75),
        allowed=lambda a: (a > 0) & np.isfinite(a),
        share=lambda x: _normal(0.5, 0.75)(math.log(x)),
        points=np.linspace(0.1, 8, 25).tolist(),
    ),
    Sampler(
        "Tensor.cauchy_",
        lambda device: _empty(device).cauchy_(1.0, 2.0),
        allowed=np.isfinite,
        share=lambda x: 0.5 + math.atan((x - 1) / 2) / math.pi,
        points=np.linspace(-9, 11, 21).tolist(),
    ),
    Sampler(
        "nn.functional.dropout",
        lambda device: torch.nn.functional.dropout(torch.ones(DRAWS, device=device), 0.75),
        allowed=lambda a: np.isin(a, [0, 4]),
        share=lambda x: 0.75 if x < 4 else 1.0,
        points=[0, 4],
    ),
]


def overloads_called(*calls: Callable[[], Any]) -> set[str]:
    """The operators below ``calls``, as torch's dispatcher names them: ``aten::add.Tensor``."""
    called: set[str] = set()

    class Record(TorchDispatchMode):
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # else torch loads its compiler, for seconds, to leave this class alone

        def __torch_dispatch__(
            self,
            func: Any,
            types: Any,
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> Any:
            called.add(func.name())
            return func(*args, **(kwargs or {}))

    with Record():
        for call in calls:
            call()
    return called


def overloads_for_the_cpu_only() -> set[str]:
    """The operators of this build that have a way to run on the cpu and none to run on CUDA."""
    runs_on = torch._C._dispatch_has_computed_kernel_for_dispatch_key
    return {
        name
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("aten::") and runs_on(name, "CPU") and not runs_on(name, "CUDA")
    }
