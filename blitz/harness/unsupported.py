"""What a device does not have: a result of its own, neither held nor broken.

A backend says that it lacks an operation in an error of torch's dispatcher, in words of its own, or
in a warning that it falls back to the cpu. A dtype that it lacks was found by the preflight; a test
that meets the same error, or one that names that dtype, has met that gap. Where the words are not
known, it is tried: a call that the device refuses and the cpu performs is one that the device
lacks, and so are strides where none are seen on a tensor that was transposed.
"""

import copy
import io
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.overrides import resolve_name
from torch.utils import _pytree
from torch.utils._mode_utils import no_dispatch

from blitz import devices
from blitz.base import backend
from blitz.base.errors import first_line
from blitz.harness.device_use import DeviceUse, Refusal
from blitz.preflight import missing_in

SPELLINGS = {
    "float64": ("float64", "double"),
    "float16": ("float16", "half"),
    "bfloat16": ("bfloat16",),
    "int64": ("int64", "long"),
    "int32": ("int32",),
    "uint8": ("uint8", "byte"),
    "bool": ("bool",),
    "complex64": ("complex64", "complexfloat"),
}


def met(error: BaseException | None, device_type: str, known: Mapping[str, str]) -> str | None:
    """Return what the device lacks, as the error of a test says; None where it says no such thing.

    An error has behind it the one that ``pytest.raises`` met in place of what it expected.
    ``known`` are the gaps that the preflight found, with the first line of the error.
    """
    for cause in _causes(error):
        if isinstance(cause, AttributeError):
            if cause.obj is not None and cause.obj is getattr(torch, device_type, None):
                return f"torch.{device_type}.{cause.name}"
            continue
        dtype = _dtype(cause, known)
        if dtype is not None:
            return dtype
        missing = missing_in(cause)
        if missing is not None:
            return missing
    return None


def tried(error: BaseException, known: Mapping[str, str], use: DeviceUse) -> str | None:
    """Return what the device lacks, as trying shows; None where that explains no failure.

    Args:
        error: What ended the test.
        known: The gaps that the preflight found.
        use: What the test asked of torch, on which device.
    """
    device, refused = use.device, use.refused
    if refused is not None and any(is_same(cause, refused.error) for cause in _causes(error)):
        return _refusal(refused, device)
    lacking = re.search(OF_PYTHON, str(error))
    own = from_backend(error, device) or (lacking and hasattr(torch.Tensor, lacking[1]))
    if own or (_in_copying(error) and not _can_be_copied(device)):
        return f"{type(error).__name__}: {first_line(error)}"
    for dtype in known:
        named = getattr(torch, dtype, None) in use.dtypes
        if dtype in SPELLINGS and (named or _says(error, dtype, known[dtype])):
            return dtype
    if any(query in use.called for query in LAYOUT) and not _has_strides(device):
        return "strides"
    if any(query in use.called for query in ADDRESS) and not _has_addresses(device):
        return "addresses of storage"
    return None


def is_same(cause: BaseException, refused: Exception) -> bool:
    """Return whether an error is the one that was noted, which is kept as a copy."""
    return type(cause) is type(refused) and cause.args == refused.args


def _refusal(refused: Refusal, device: torch.device) -> str | None:
    """Return the call with the device's words if the cpu performs it and the device lives on."""
    name = resolve_name(refused.function) or getattr(refused.function, "__name__", "a call")
    said = f"{name}: {first_line(refused.error)}"
    if devices.why_unusable(device) is not None:
        return None
    if refused.function in BACKWARD:  # the history cannot be moved to the cpu
        return None if re.search(OF_AUTOGRAD, str(refused.error)) else said
    try:
        arguments, named = _on_cpu((refused.arguments, refused.named))
    except Exception:  # a device that computes late cannot give what it should have computed
        return said
    try:
        with torch._C.DisableTorchFunction(), no_dispatch():  # torchax takes the cpu's calls too
            refused.function(*arguments, **named)
    except Exception:  # the cpu may refuse as it likes
        return None
    return said


def _on_cpu(given: Any) -> Any:
    def moved(part: Any) -> Any:
        if isinstance(part, torch.Tensor):
            there = part.detach().cpu().requires_grad_(part.requires_grad)
            return there if part.is_leaf else there.clone()
        if isinstance(part, torch.device):
            return torch.device("cpu")
        return "cpu" if isinstance(part, str) and _names_device(part) else part

    return _pytree.tree_map(moved, given)


def _names_device(text: str) -> bool:
    try:
        return torch.device(text).type not in ("cpu", "meta")
    except RuntimeError:
        return False


def _says(error: BaseException, dtype: str, known: str) -> bool:
    """Return whether a comparison met the dtype that the device gives in place of ``dtype``.

    It names both, or is one of printed tensors, whose text ends with the dtype.
    """
    instead = re.search(r"came back as (torch\.\w+)", known)
    if instead is None or not isinstance(error, AssertionError):
        return False
    named = set(re.findall(r"torch\.[a-z]+\d+", str(error)))
    return named == {f"torch.{dtype}", instead[1]} or f"={instead[1]})'" in str(error)


def from_backend(error: BaseException, device: torch.device) -> bool:
    """Return whether the package that brings ``device``, or one it calls, raised the error."""
    folders = backend.folders_of(device)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if any(folder in file.parents for folder in folders):
            return not re.search(OF_AUTOGRAD, str(error))
        if TORCH in file.parents or not INSTALLED.intersection(file.parts):
            return False
    return False


def _in_copying(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(Path(frame.filename) in COPYING for frame in frames)


def _can_be_copied(device: torch.device) -> bool:
    def copied() -> bool:
        layer = torch.nn.BatchNorm1d(2).to(device)
        torch.save(layer.state_dict(), io.BytesIO())
        return copy.deepcopy(layer).weight.device == layer.weight.device

    return _true(copied)


def _has_strides(device: torch.device) -> bool:
    return _true(lambda: torch.ones(2, 3).to(device).t().stride() == (1, 3))


def _has_addresses(device: torch.device) -> bool:
    def lie_apart() -> bool:
        x = torch.ones(3).to(device)
        return x[1:].data_ptr() - x.data_ptr() == x.element_size()

    return _true(lie_apart)


def _true(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except Exception:  # a backend without it may raise anything
        return False


TORCH = Path(torch.__file__).parent
INSTALLED = {"site-packages", "dist-packages"}
COPYING = (Path(copy.__file__), Path(torch.serialization.__file__))
LAYOUT = (
    torch.Tensor.stride,
    torch.Tensor.is_contiguous,
    torch.Tensor.as_strided,
    torch.Tensor.storage_offset,
)
ADDRESS = (torch.Tensor.data_ptr, torch.Tensor.untyped_storage)
BACKWARD = (torch.Tensor.backward, torch.autograd.backward, torch.autograd.grad)

OF_AUTOGRAD = (
    r"does not require grad|through the graph a second time|modified by an inplace operation"
    r"|returned an invalid gradient|grad can be implicitly created only|not to have been used"
)
"""Words of torch's engine for a history that is wrong, whatever the device."""

OF_PYTHON = r"\.([a-z]\w*)\(\) got an unexpected keyword argument"
"""Its words for a method of a backend's tensors that lacks an argument of torch's, as torchax's
``numpy`` lacks ``force``. A test calls it without a frame of the backend's."""


def _dtype(error: BaseException, known: Mapping[str, str]) -> str | None:
    if isinstance(error, AssertionError):
        return None  # a wrong value is no gap, whatever it names
    words = str(error).lower()
    for dtype, spellings in SPELLINGS.items():
        said = known.get(dtype)
        if said is not None and (first_line(error) == said or any(s in words for s in spellings)):
            return dtype
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
