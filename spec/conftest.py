"""Fixtures that several files of the specification share."""

import pickle
from copy import deepcopy
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from blitz import classifier, graph
from blitz.base import backend

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


@pytest.fixture
def torchs_accelerator(device: torch.device) -> None:
    """Raise what counts as a gap where torch.accelerator does not know the device, as torchax's."""
    found = torch.accelerator.current_accelerator()
    if found is None or found.type != device.type:
        raise NotImplementedError(f"torch.accelerator does not know {device.type}")


def _node(operation: str, tried: torch.Tensor, of_parts: str) -> str:
    """Return the name of the node that an operation makes on a device, ``tried`` there.

    Torch makes it of others, ``of_parts``, except where the backend brings a kernel: MPS has a
    linear and a max_pool2d of its own, and XLA a max_pool2d with its own history.
    """
    key = torch._C._dispatch_key_for_device(tried.device.type)
    kernels = [
        torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{operation}", of)
        for of in (key, f"Autograd{key}")
    ]
    name = "" if tried.grad_fn is None else graph.of(tried).names()[0]
    return name if any(kernels) and operation.replace("_", "") in name.lower() else of_parts


@pytest.fixture
def linear_node(device: torch.device) -> str:
    """The name of the node that a linear layer makes on the device for a batch."""
    batch = torch.ones(4, 2, device=device, requires_grad=True)
    weight, bias = torch.ones(3, 2, device=device), torch.ones(3, device=device)
    tried = nn.functional.linear(batch, weight, bias)
    return _node("linear", tried, of_parts="AddmmBackward0")


@pytest.fixture
def pool_node(device: torch.device) -> str:
    """The name of the node that max_pool2d makes on the device."""
    image = torch.ones(1, 1, 2, 2, device=device, requires_grad=True)
    tried = nn.functional.max_pool2d(image, 2)
    return _node("max_pool2d", tried, of_parts="MaxPool2DWithIndicesBackward0")


@pytest.fixture
def linear_of_parts(device: torch.device, linear_node: str) -> None:
    """Skip where the backend records a linear layer as one node, which has its input first."""
    if linear_node != "AddmmBackward0":
        pytest.skip(f"{device.type} records a linear layer as {linear_node}, input first")


@pytest.fixture
def pool_of_parts(device: torch.device, pool_node: str) -> None:
    """Skip where the backend's max_pool2d has a node of its own."""
    if pool_node != "MaxPool2DWithIndicesBackward0":
        pytest.skip(f"{device.type} records max_pool2d as {pool_node}")


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


# CIFAR-10's own file of names, whose digest torchvision keeps in CIFAR10.meta.
BATCHES_META = (
    b"\x80\x02}q\x01(U\x13num_cases_per_batchq\x02M\x10'U\x0blabel_namesq\x03]q\x04("
    b"U\x08airplaneq\x05U\nautomobileq\x06U\x04birdq\x07U\x03catq\x08U\x04deerq\t"
    b"U\x03dogq\nU\x04frogq\x0bU\x05horseq\x0cU\x04shipq\rU\x05truckq\x0e"
    b"eU\x07num_visq\x0fM\x00\x0cu."
)


@pytest.fixture(scope="session")
def cifar10_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with files like CIFAR-10's, two images in each batch, and their digests."""
    folder = tmp_path_factory.mktemp("cifar10")
    (folder / "cifar-10-batches-py").mkdir()
    pixels = (np.arange(6 * 2 * 3072) * 7 % 256).astype(np.uint8).reshape(6, 2, 3072)
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    content = {n: {"data": pixels[k], "labels": [9 - k, k]} for k, n in enumerate(names)}
    (folder / "cifar-10-batches-py" / "batches.meta").write_bytes(BATCHES_META)
    digests = {}
    for name, batch in content.items():
        written = pickle.dumps(batch)
        (folder / "cifar-10-batches-py" / name).write_bytes(written)
        digests[name] = md5(written).hexdigest()
    return folder, digests


@pytest.fixture
def cifar10_folder(
    cifar10_files: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder whose few images torchvision's CIFAR10 takes for the official ones."""
    from torchvision.datasets import CIFAR10

    folder, digests = cifar10_files
    for files in ("train_list", "test_list"):
        own = [[name, digests[name]] for name, _ in getattr(CIFAR10, files)]
        monkeypatch.setattr(CIFAR10, files, own)
    monkeypatch.setattr(CIFAR10, "url", "file:///nothing/is/downloaded")
    return folder


class Training(NamedTuple):
    """A net before and after its training, and what was reported on the way."""

    untrained: classifier.Net
    net: classifier.Net
    reports: list[tuple[int, int, float]]


@pytest.fixture(scope="session")
def trainings() -> dict[torch.device, Training]:
    """One training for each device, shared by the tests in whatever order they run."""
    return {}


@pytest.fixture
def trained(
    trainings: dict[torch.device, Training],
    device: torch.device,
    train_set: TensorDataset,
    pytestconfig: pytest.Config,
) -> Training:
    """The tutorial's net after its recipe: 2 epochs in batches of 4; real images take longer."""
    if device not in trainings:
        count = 3000 if pytestconfig.getoption("--data") is None else 8000
        images = TensorDataset(*(tensor[:count].to(device) for tensor in train_set.tensors))
        trainings[device] = _training(images, device)
    return deepcopy(trainings[device])


def _training(images: TensorDataset, device: torch.device) -> Training:
    with backend.forked_generators([device]):
        torch.manual_seed(0)
        net = classifier.Net().to(device)
        untrained = deepcopy(net)
        criterion = nn.CrossEntropyLoss()
        optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
        loader = DataLoader(images, batch_size=4, shuffle=True)
        reports = classifier.train(net, loader, criterion, optimizer, every=len(loader) // 2)
    return Training(untrained, net, reports)


@pytest.fixture
def testloader(device: torch.device, test_set: TensorDataset) -> DataLoader[list[torch.Tensor]]:
    """The test images in batches of 4, on the device."""
    moved = TensorDataset(*(tensor.to(device) for tensor in test_set.tensors))
    return DataLoader(moved, batch_size=4, shuffle=False)
