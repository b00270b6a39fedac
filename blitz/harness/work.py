"""Proof of work: a test of a device counts only where something was computed on that device."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Idle(AssertionError):
    """A test of a device passed, and no operation in it gave a tensor on that device."""


class Work(TorchDispatchMode):
    """Counts the operations, below autograd, that give a tensor on ``device``: ``count``."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += any(
            isinstance(leaf, torch.Tensor) and leaf.device == self.device
            for leaf in tree_leaves(result)
        )
        return result

    def check(self) -> None:
        """Raise :class:`Idle` where nothing was computed on the device."""
        if self.count == 0:
            raise Idle(
                f"no operation of this test gave a tensor on {self.device}: whatever it checked "
                "was computed elsewhere"
            )
