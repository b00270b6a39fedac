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


def _has_own_kernel(operation: str, device: torch.device) -> bool:
    """Return whether the backend computes an operation by itself that torch makes of others.

    Autograd then records it as one node: MPS has a linear and a max_pool2d of its own.
    """
    key = torch._C._dispatch_key_for_device(device.type)
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{operation}", key)


@pytest.fixture
def linear_node(device: torch.device) -> str:
    """The name of the node that a linear layer makes on the device for a batch."""
    return "LinearBackward0" if _has_own_kernel("linear", device) else "AddmmBackward0"


@pytest.fixture
def pool_node(device: torch.device) -> str:
    """The name of the node that max_pool2d makes on the device."""
    own = _has_own_kernel("max_pool2d", device)
    return "MaxPool2DBackward0" if own else "MaxPool2DWithIndicesBackward0"


@pytest.fixture
def linear_of_parts(device: torch.device, linear_node: str) -> None:
    """Skip where the backend records a linear layer as one node, which has its input first."""
    if linear_node != "AddmmBackward0":
        pytest.skip(f"{device.type} records a linear layer as {linear_node}, input first")
