"""Fixtures that several files of the specification share."""

import pytest
import torch


def _hide_accelerators(monkeypatch: pytest.MonkeyPatch, *, but: str = "") -> None:
    custom = torch._C._get_privateuse1_backend_name()
    modules = {name: getattr(torch, name, None) for name in ("cuda", "xpu", "mtia", custom)}
    for name, module in [*modules.items(), ("mps", torch.backends.mps)]:
        if module is not None and name != but:
            monkeypatch.setattr(module, "is_available", lambda: False)


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the machine's accelerators, if it has any, from torch.cuda.is_available and its kin."""
    _hide_accelerators(monkeypatch)


@pytest.fixture
def no_other_accelerator(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    """Hide accelerators of other types than ``device``: DataParallel takes CUDA first."""
    _hide_accelerators(monkeypatch, but=device.type)
