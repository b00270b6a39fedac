"""Proof of work: a test of a device counts only where something was computed on that device.

Calls of torch are watched where Python makes them, above autograd and the dispatcher: a watch down
there gets in the way of backends that are written in Python themselves.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class Idle(AssertionError):
    """A test of a device passed, and no call of torch in it gave a tensor on that device."""


@dataclass(frozen=True)
class Refusal:
    """A call of torch that raised an error, with what it was given."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    error: Exception


class DeviceUse(TorchFunctionMode):
    """What a test asks of torch on its device.

    Attributes:
        count: How many calls took or gave a tensor on the device.
        called: The functions that were called.
        dtypes: The dtypes that were named for tensors there.
        refused: The last call that raised an error.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.count = 0
        self.called: set[Any] = set()
        self.dtypes: set[torch.dtype] = set()
        self.refused: Refusal | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        self.called.add(func)
        try:
            result = func(*args, **named)
        except Exception as error:
            # Without the tensors themselves and the frames that hold them: Module.to swaps a
            # parameter only where nothing else refers to it.
            given = _detached(args), _detached(named)
            self.refused = Refusal(func, *given, _without_frames(error))
            raise
        touches = _touches(self.device, result) or _touches(self.device, args)
        self.count += touches
        if touches:
            given = (*args, *named.values())
            self.dtypes.update(each for each in given if isinstance(each, torch.dtype))
        return result

    def check(self, fixtures: Iterable[Any] = ()) -> None:
        """Raise :class:`Idle` where nothing was computed on the device.

        Args:
            fixtures: What was made before the test began, for tests that only look at it.
        """
        if self.count == 0 and not any(_touches(self.device, made, 2) for made in fixtures):
            raise Idle(
                f"nothing in this test gave a tensor on {self.device}: whatever it checked was "
                "computed elsewhere"
            )


def _without_frames(error: Exception) -> Exception:
    try:
        return type(error)(*error.args)
    except Exception:  # a backend's own error may be made from something else than its args
        return error


def _detached(given: Any) -> Any:
    """Return what a call was given, with each tensor as another one over its memory."""
    if isinstance(given, torch.Tensor):
        return given.data.requires_grad_(given.requires_grad)  # detach() would keep its base
    if type(given) in (list, tuple):
        return type(given)(map(_detached, given))
    if type(given) is dict:
        return {name: _detached(value) for name, value in given.items()}
    return given


def _touches(device: torch.device, thing: Any, deep: int = 0) -> bool:
    """Return whether a tensor in ``thing``, ``deep`` levels into objects, is on ``device``."""
    if isinstance(thing, torch.Tensor):
        return thing.device == device
    if isinstance(thing, list | tuple):
        return any(_touches(device, part, deep) for part in thing)
    if isinstance(thing, nn.Module):
        return any(parameter.device == device for parameter in thing.parameters())
    if deep and hasattr(thing, "__dict__"):
        return any(_touches(device, part, deep - 1) for part in vars(thing).values())
    return False
