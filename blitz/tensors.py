"""Chapter 1, Tensors: making, moving, indexing, joining, multiplying and sharing with NumPy.

What makes or moves a tensor takes a device; everything else leaves its tensors where they are.
"""

import reprlib
from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch

from blitz import devices

# The dtypes that torch and NumPy share, by the name they have in both.
_SHARED_DTYPES = (
    *("float16", "float32", "float64", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)


class Attributes(NamedTuple):
    """What every tensor says about itself."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device


class Spellings(NamedTuple):
    """One product, computed once by each of its spellings."""

    method: torch.Tensor
    operator: torch.Tensor


def from_data(data: Any, device: str | torch.device = "cpu") -> torch.Tensor:
    """A tensor of nested Python numbers, its dtype inferred from them, its values copied.

    Args:
        data: Numbers nested to any depth, every level of equal length; or a NumPy array.
        device: Where to make it.

    Raises:
        ValueError, TypeError, RuntimeError: ``data`` is ragged, not numeric, too large for an
            int64 or a tensor already; the class is the one that ``torch.tensor`` raises.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Tensor Initialization", directly from data.
    """
    where = devices.resolve(device)
    if isinstance(data, torch.Tensor):
        raise TypeError(
            f"data is a tensor of shape {tuple(data.shape)} already. Copy it with data.clone(), "
            "or move it with to_device."
        )
    try:
        return torch.tensor(data, device=where)
    except (ValueError, TypeError, RuntimeError) as error:
        raise type(error)(
            f"data {reprlib.repr(data)} cannot become a tensor: {error}. Give int, float, bool or "
            "complex numbers, nested in lists of equal length."
        ) from error


def from_numpy(array: np.ndarray, device: str | torch.device = "cpu") -> torch.Tensor:
    """A tensor of an array's shape, dtype and values: over its memory on the cpu, else a copy.

    Args:
        array: Of any shape; in native byte order, writable, with no negative stride.
        device: Where the tensor is to live.

    Raises:
        TypeError: ``array`` is no ``numpy.ndarray``, is masked, or has a dtype that torch lacks.
        ValueError: ``array`` is read-only, in foreign byte order or runs backwards.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Tensor Initialization", from a NumPy array; "NumPy array to Tensor".
    """
    where = devices.resolve(device)
    _refuse_array(array)
    return torch.from_numpy(array).to(where)


def ones_like(
    tensor: torch.Tensor,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> torch.Tensor:
    """Ones in the shape of ``tensor``, and of its dtype and on its device where none is given.

    Raises:
        TypeError: ``tensor`` is no tensor.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Tensor Initialization", from another tensor.
    """
    _refuse_other(tensor)
    return torch.ones_like(tensor, **_given(dtype, device))


def rand_like(
    tensor: torch.Tensor,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> torch.Tensor:
    """Uniform random numbers in [0, 1) in the shape of ``tensor``, of its dtype and on its device.

    Args:
        tensor: The pattern.
        dtype: Instead of the pattern's dtype; needed where that is bool or an integer dtype.
        device: Instead of the pattern's device.

    Raises:
        TypeError: the dtype, given or inherited, is bool or an integer; or ``tensor`` is none.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Tensor Initialization", from another tensor.
    """
    _refuse_other(tensor)
    wanted = tensor.dtype if dtype is None else dtype
    if not (wanted.is_floating_point or wanted.is_complex):
        raise TypeError(
            f"{wanted} cannot hold random numbers in [0, 1). Give a floating point dtype, such as "
            "dtype=torch.float32."
        )
    return torch.rand_like(tensor, **_given(dtype, device))


def rand(shape: Sequence[int], device: str | torch.device = "cpu") -> torch.Tensor:
    """Uniform random numbers in [0, 1) of the default dtype, in the given shape.

    Raises:
        TypeError, ValueError: ``shape`` is no sequence of whole numbers, 0 or more.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Tensor Initialization", with random or constant values.
    """
    return torch.rand(_size(shape), device=devices.resolve(device))


def ones(shape: Sequence[int], device: str | torch.device = "cpu") -> torch.Tensor:
    """Ones of the default dtype, in the given shape; raises as :func:`rand` does.

    Tutorial: "Tensor Initialization", with random or constant values.
    """
    return torch.ones(_size(shape), device=devices.resolve(device))


def zeros(shape: Sequence[int], device: str | torch.device = "cpu") -> torch.Tensor:
    """Zeros of the default dtype, in the given shape; raises as :func:`rand` does.

    Tutorial: "Tensor Initialization", with random or constant values.
    """
    return torch.zeros(_size(shape), device=devices.resolve(device))


def attributes(tensor: torch.Tensor) -> Attributes:
    """The shape, the dtype and the device of a tensor. Tutorial: "Tensor Attributes"."""
    return Attributes(tensor.shape, tensor.dtype, tensor.device)


def to_accelerator(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` on the first accelerator where one works, else ``tensor`` itself.

    The accelerator is tried, since ``is_available()`` also says yes for one that computes nothing.
    The tensor that came in stays where it is.

    Tutorial: "Tensor Operations", the guarded move.
    """
    found = devices.accelerator()
    if found is None or devices.why_unusable(found) is not None:
        return tensor
    return tensor.to(found)


def to_device(tensor: torch.Tensor, device: str | torch.device, copy: bool = False) -> torch.Tensor:
    """``tensor`` on ``device``: itself where it is there already, unless ``copy`` is set.

    Raises:
        TypeError: ``tensor`` is no tensor.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Tensor Operations", the unguarded move.
    """
    _refuse_other(tensor)
    return tensor.to(devices.resolve(device), copy=copy)


def set_column(tensor: torch.Tensor, column: int, value: float) -> torch.Tensor:
    """``tensor`` (rows, columns, ...), one column of it overwritten in place by ``value``.

    Raises:
        ValueError: ``tensor`` has fewer than two dimensions.
        IndexError: ``tensor`` has no such column.
        RuntimeError: ``tensor`` is a leaf that requires grad, or a view of one.

    Tutorial: "Tensor Operations", standard numpy-like indexing and slicing.
    """
    _refuse_recorded_leaf(tensor)
    if tensor.dim() < 2:
        raise ValueError(
            f"tensor of shape {tuple(tensor.shape)} has no columns. Give one of two dimensions or "
            "more, such as tensor.unsqueeze(0)."
        )
    tensor[:, column] = value
    return tensor


def cat(tensors: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """The tensors one after another along ``dim``, in new memory.

    Args:
        tensors: One or more, on one device, of equal shape but for dimension ``dim``.
        dim: The dimension that grows; -1 is the last.

    Raises:
        ValueError: there is no tensor, or they are on several devices.
        RuntimeError: the other dimensions differ, or a tensor has no dimension.
        IndexError: there is no such dimension.

    Tutorial: "Tensor Operations", joining tensors.
    """
    _refuse_to_join(tensors)
    return torch.cat(tuple(tensors), dim=dim)


def stack(tensors: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """The tensors, all of equal shape, one after another along a new dimension ``dim``.

    Raises:
        ValueError: there is no tensor, or they are on several devices.
        RuntimeError: the shapes differ.
        IndexError: there is no place ``dim`` for the new dimension.

    Tutorial: "Tensor Operations", joining tensors.
    """
    _refuse_to_join(tensors)
    return torch.stack(tuple(tensors), dim=dim)


def mul(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The product of each pair of elements; raises as :func:`elementwise_products` does.

    Tutorial: "Tensor Operations", multiplying tensors.
    """
    return left.mul(right)


def matmul(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The matrix product of (n, k) and (k, m); raises as :func:`matrix_products` does.

    Tutorial: "Tensor Operations", multiplying tensors.
    """
    return left.matmul(right)


def elementwise_products(left: torch.Tensor, right: torch.Tensor) -> Spellings:
    """The product of each pair of elements, as ``mul`` and as ``*``.

    Raises:
        RuntimeError: the shapes cannot be broadcast together.

    Tutorial: "Tensor Operations", multiplying tensors.
    """
    return Spellings(method=mul(left, right), operator=left * right)


def matrix_products(left: torch.Tensor, right: torch.Tensor) -> Spellings:
    """The product of (n, k) and (k, m), shaped (n, m), as ``matmul`` and as ``@``.

    Raises:
        RuntimeError: the inner sizes or the dtypes differ.

    Tutorial: "Tensor Operations", multiplying tensors.
    """
    return Spellings(method=matmul(left, right), operator=left @ right)


def add_(tensor: torch.Tensor, other: torch.Tensor | float) -> torch.Tensor:
    """``tensor`` itself, ``other`` added to it in place.

    Raises:
        RuntimeError: ``other`` does not fit in shape or dtype, or ``tensor`` is a leaf that
            requires grad, or a view of one.

    Tutorial: "Tensor Operations", in-place operations.
    """
    _refuse_recorded_leaf(tensor)
    return tensor.add_(other)


def copy_(tensor: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """``tensor`` itself, overwritten by the values of ``source``; raises as :func:`add_` does.

    Tutorial: "Tensor Operations", in-place operations.
    """
    _refuse_recorded_leaf(tensor)
    return tensor.copy_(source)


def t_(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` itself, (n, m), transposed in place to (m, n).

    Raises:
        RuntimeError: ``tensor`` has more than two dimensions, or is a leaf that requires grad.

    Tutorial: "Tensor Operations", in-place operations.
    """
    _refuse_recorded_leaf(tensor)
    return tensor.t_()


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """The array over the memory of a tensor on the cpu: what changes one changes the other.

    Raises:
        TypeError: ``tensor`` is not on the cpu, is sparse or has a dtype that NumPy lacks.
        RuntimeError: ``tensor`` requires grad. :func:`to_numpy_copy` takes it.

    Tutorial: "Tensor to NumPy array".
    """
    _refuse_tensor(tensor)
    return tensor.numpy()


def to_numpy_copy(tensor: torch.Tensor) -> np.ndarray:
    """An array of its own with the values that a tensor has now, tracked or not, on any device.

    Raises:
        TypeError: ``tensor`` has no values (meta), is sparse or has a dtype that NumPy lacks.

    Tutorial: "Bridge with NumPy".
    """
    _refuse_tensor(tensor)
    return tensor.numpy(force=True).copy()


def _given(dtype: torch.dtype | None, device: str | torch.device | None) -> dict[str, Any]:
    options = {"dtype": dtype, "device": None if device is None else devices.resolve(device)}
    return {name: option for name, option in options.items() if option is not None}


def _size(shape: Sequence[int]) -> torch.Size:
    if not (
        isinstance(shape, Sequence)
        and all(isinstance(size, Integral) and not isinstance(size, bool) for size in shape)
    ):
        raise TypeError(f"shape {shape!r} is no sequence of whole numbers. Give one, as in (2, 3).")
    if any(size < 0 for size in shape):
        raise ValueError(f"shape {shape!r} has a negative size. Give sizes of 0 or more.")
    return torch.Size(shape)


def _refuse_array(array: np.ndarray) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"array is a {type(array).__name__}, not a numpy.ndarray. Use from_data for Python "
            "numbers and lists, or numpy.asarray first."
        )
    what = f"array of shape {array.shape} and dtype {array.dtype}"
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{what} is masked; a tensor has no mask. Fill it first: array.filled(0).")
    if array.dtype.newbyteorder("=").name not in _SHARED_DTYPES:
        raise TypeError(
            f"{what} has no counterpart in torch, which takes {', '.join(_SHARED_DTYPES)}. "
            "Convert it first, as in array.astype('float32')."
        )
    if not array.dtype.isnative:
        raise ValueError(
            f"{what} is in foreign byte order. Convert it first: "
            "array.astype(array.dtype.newbyteorder('='))."
        )
    if min(array.strides, default=0) < 0:
        raise ValueError(
            f"{what} runs backwards: its strides {array.strides} hold a negative one, which no "
            "tensor can have. Copy it first: array.copy()."
        )
    if not array.flags.writeable:
        raise ValueError(
            f"{what} is read-only, and what is written to the tensor would reach it. Copy it "
            "first: array.copy()."
        )


def _refuse_other(tensor: torch.Tensor) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(
            f"tensor is a {type(tensor).__name__}, not a torch.Tensor. Make one of it first, with "
            "from_data or from_numpy."
        )


def _refuse_tensor(tensor: torch.Tensor) -> None:
    _refuse_other(tensor)
    what = f"tensor of shape {tuple(tensor.shape)} and dtype {tensor.dtype}"
    if tensor.is_meta:
        raise TypeError(f"{what} is on meta and has no values. Make it on the cpu or a device.")
    if tensor.layout is not torch.strided:
        raise TypeError(f"{what} is sparse, and an array is not. Convert it: tensor.to_dense().")
    if str(tensor.dtype).removeprefix("torch.") not in _SHARED_DTYPES:
        raise TypeError(f"{what} has no counterpart in NumPy. Convert it first: tensor.float().")


def _refuse_to_join(tensors: Sequence[torch.Tensor]) -> None:
    if len(tensors) == 0:
        raise ValueError("tensors is empty: there is nothing to join. Give one tensor or more.")
    where = sorted({str(tensor.device) for tensor in tensors})
    if len(where) > 1:
        raise ValueError(
            f"tensors are on {' and '.join(where)}. Move them to one device first, with to_device."
        )


def _refuse_recorded_leaf(tensor: torch.Tensor) -> None:
    _refuse_other(tensor)
    owner = tensor if tensor._base is None else tensor._base
    if owner.is_leaf and owner.requires_grad and torch.is_grad_enabled():
        raise RuntimeError(
            f"tensor of shape {tuple(tensor.shape)} is a leaf that requires grad, or a view of "
            "one: overwriting it would lose what gradients are taken of. Write inside "
            "torch.no_grad(), or use the operation without underscore."
        )
