"""Refusals in a device's own words.

The specification matches the words of torch's cpu kernels. The tutorial promises no wording on
other devices: there any error of torch's kinds is the refusal, unless it says that the device
lacks the operation.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

OF_TORCH = (RuntimeError, ValueError, TypeError, IndexError)
"""What torch raises from a kernel; NotImplementedError is a RuntimeError."""


@contextlib.contextmanager
def in_any_words(
    gap: Callable[[BaseException], str | None], from_torch: Callable[[BaseException], bool]
) -> Iterator[None]:
    """Let ``pytest.raises`` pass over ``match``, and over which of torch's kinds an error is.

    Args:
        gap: Says what an error shows to be missing, or None. An error that does is raised again:
            what a device lacks it does not refuse.
        from_torch: Says whether a call of torch raised an error; then it may be of any kind.
    """
    strict: Any = pytest.raises

    @contextlib.contextmanager
    def raises(expected: Any, *, match: Any = None, **more: Any) -> Iterator[Any]:
        kinds = expected if isinstance(expected, tuple) else (expected,)
        if not any(issubclass(kind, (*OF_TORCH, AttributeError)) for kind in kinds):
            with strict(expected, match=match, **more) as caught:
                yield caught
            return
        with strict(Exception, **more) as caught:
            yield caught
        error = caught.value
        del caught  # its frames hold it, and it holds tensors that a test may go on to move
        of_torch = isinstance(error, (*kinds, *OF_TORCH)) or from_torch(error)
        if not of_torch or gap(error) is not None:
            raise error
        del error

    def raises_or_calls(expected: Any, *arguments: Any, **more: Any) -> Any:
        return (strict if arguments else raises)(expected, *arguments, **more)

    setattr(pytest, "raises", raises_or_calls)  # noqa: B010 - mypy takes it for an assignment
    try:
        yield
    finally:
        pytest.raises = strict
