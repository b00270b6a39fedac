"""Proof of work: a test of a device counts only where something was computed on that device.

Calls of torch are watched where Python makes them, above autograd and the dispatcher: a watch down
there gets in the way of backends that are written in Python themselves.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class Idle(AssertionError):
    """A test of a device passed, and no call of torch in it gave a tensor on that device."""


class DeviceUse(TorchFunctionMode):
    """Counts the calls of torch that take or give a tensor on ``device``: ``count``."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.count = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += _touches(self.device, result) or _touches(self.device, args)
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
