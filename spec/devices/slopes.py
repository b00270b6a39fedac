"""What a gradient has to be: the slope of what NumPy computes, by differences.

Both sides look at one number, the sum of a row's float results with the weights 1, 2, 3, …, so
that no two elements of a result are alike.
"""

import numpy as np
import torch

from spec.devices.operations import FAMILIES, Operation, listed

# Float results without a slope: constants, counts, and jumps at a number of the row.
_FLAT = {"zeros_like", "full_like", "histc"}
_JUMPING = {"fmod", "sign", "floor", "ceil", "round", "trunc", "frac"}
# They read one half of a matrix; the gradient is shared out between both.
_OF_ONE_HALF = {"linalg.solve_triangular", "linalg.cholesky", "linalg.eigvalsh", "linalg.eigh"}
_ONLY_LATELY = {"aminmax"}  # torch 2.11 has no derivative of it


def gradients(operation: Operation, device: torch.device) -> list[torch.Tensor]:
    """Autograd's gradient of the weighted sum in each float input of ``operation``, on the cpu.

    Raises:
        RuntimeError: No float result requires a gradient.
    """
    tensors = operation.tensors(device)
    leaves = [tensor.requires_grad_() for tensor in tensors if tensor.is_floating_point()]
    # Some operations write into their inputs, which a leaf does not allow.
    results = operation.on_tensors(*[t * 1 if t.requires_grad else t for t in tensors])
    floats = [r for r in listed(results) if r.is_floating_point()]
    weights = [torch.arange(1.0, 1 + r.numel(), device=device).view(r.shape) for r in floats]
    found = torch.autograd.grad(floats, leaves, weights, materialize_grads=True)
    return [gradient.cpu() for gradient in found]


def slopes(operation: Operation, step: float = 1e-5) -> list[torch.Tensor]:
    """The slope of the weighted sum in each float input of ``operation``, in float32.

    NaN or infinite where a step up or down leaves the numbers that the operation is defined for.
    """
    arrays = [np.array(numbers) for numbers in operation.inputs]
    found = []
    for array in arrays:
        if array.dtype.kind == "f":
            slope = np.empty(array.shape)
            for place in np.ndindex(array.shape):
                value = array[place]
                array[place] = value + step
                above = _results(operation, arrays)
                array[place] = value - step
                below = _results(operation, arrays)
                array[place] = value
                slope[place] = sum(map(_rise, below, above)) / (2 * step)
            found.append(torch.from_numpy(slope).float())
    return found


def _results(operation: Operation, arrays: list[np.ndarray]) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        results = listed(operation.on_arrays(*[array.copy() for array in arrays]))
    return [result for result in map(np.asarray, results) if result.dtype.kind == "f"]


def _rise(below: np.ndarray, above: np.ndarray) -> float:
    """By how much the weighted sum rises; two infinities of one sign, or two NaN, are level."""
    level = (above == below) | (np.isnan(above) & np.isnan(below))
    rise = np.subtract(above, below, out=np.zeros(above.shape), where=~level)
    return float(rise.ravel() @ np.arange(1, 1 + rise.size))


def _has_slope(operation: Operation) -> bool:
    dtypes = operation.dtype if isinstance(operation.dtype, tuple) else (operation.dtype,)
    floats = [np.array(numbers).dtype.kind == "f" for numbers in operation.inputs]
    return (
        any(dtype.is_floating_point for dtype in dtypes)
        and any(floats)
        and operation.name not in _FLAT | _JUMPING | _OF_ONE_HALF | _ONLY_LATELY
    )


SMOOTH = [
    operation
    for family, operations in FAMILIES.items()
    if family not in ("comparison", "logic")
    for operation in operations
    if _has_slope(operation)
]
"""The rows whose float results change with a float input, and smoothly."""
