"""What chapter 1 does where there is an accelerator, without one."""

import pytest
import torch

from blitz import tensors


def test_guarded_move_goes_to_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("meta"))

    moved = tensors.to_accelerator(torch.ones(2, 3))

    assert (moved.device.type, moved.shape) == ("meta", (2, 3))
