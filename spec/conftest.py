"""Fixtures that several files of the specification share."""

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from torchvision.models import ResNet


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


@pytest.fixture(scope="session")
def untouched_resnet18(device: torch.device) -> "ResNet":
    """ResNet-18 with random weights, built once; a test takes a copy of it, ``model``."""
    from torchvision.models import resnet18

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # drawn on the cpu, so the same on every device
        return resnet18().to(device)


@pytest.fixture
def model(untouched_resnet18: "ResNet") -> "ResNet":
    """ResNet-18 in train mode, on the device of the test, for it to change as it likes."""
    return deepcopy(untouched_resnet18)


@pytest.fixture
def numbered_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Weights at hand where torchvision downloads those of ResNet-18 to, its first tensor full of
    0, the second of 1, and so on."""
    from torchvision.models import resnet18

    with torch.device("meta"):
        shapes = resnet18().state_dict()
    weights = {
        name: torch.tensor(number, dtype=like.dtype).expand(like.shape)
        for number, (name, like) in enumerate(shapes.items())
    }
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    torch.save(weights, file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delattr(torch.hub, "download_url_to_file")  # no network, whatever happens
    return weights
