"""What a device does not have: a result of its own, neither held nor broken.

A backend says that it lacks an operation in an error of torch's dispatcher, in words of its own, or
in a warning that it falls back to the cpu. A dtype that it lacks was found by the preflight; a test
that meets the same error, or one that names that dtype, has met that gap.
"""

from collections.abc import Iterator, Mapping

import torch

from blitz.base.errors import first_line
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

    Args:
        error: What ended the test; a ``pytest.raises`` that met another error has that one behind
            it.
        device_type: ``npu`` for ``npu:0``.
        known: The gaps that the preflight found, with the first line of the error that said so.
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
