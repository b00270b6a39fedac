"""Fixtures of the specification, and its plug-in."""

import blitz.harness.before_torch  # noqa: F401

# isort: split
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from blitz import data
from blitz.base import backend
from blitz.harness.context import CONTEXT

pytest_plugins = ["blitz.harness.plugin"]


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """The device a claim is checked on; the only way a test gets one."""
    made: torch.device = request.param
    return made


@pytest.fixture
def second(device: torch.device) -> torch.device:
    """The accelerator beside the one in use; the test is skipped on a machine that has one only."""
    count = torch.get_device_module(device).device_count()
    if count < 2:
        pytest.skip(f"needs two accelerators of one type, and this machine has {count}")
    return torch.device(device.type, (device.index + 1) % count)


@pytest.fixture(scope="session")
def train_images(pytestconfig: pytest.Config) -> data.Images:
    """The training images: no more than 8,000, as many of each class."""
    return data.load("train", pytestconfig.getoption("--data"), count=8000)


@pytest.fixture(scope="session")
def train_set(train_images: data.Images) -> TensorDataset:
    """The training images and their labels as tensors, normalized as the tutorial does."""
    return data.normalized(train_images)


@pytest.fixture(scope="session")
def test_set(pytestconfig: pytest.Config) -> TensorDataset:
    """The same of the test images: no more than 400, as many of each class."""
    return data.normalized(data.load("test", pytestconfig.getoption("--data"), count=400))


@pytest.fixture(scope="session")
def several() -> Callable[..., list[Any]]:
    """Call ``several(function, count, *arguments)``: in as many processes, with the rank first."""

    def run(function: Callable[..., Any], count: int, *arguments: Any, limit: float = 60) -> Any:
        with get_context("forkserver").Pool(count) as pool:
            calls = [(rank, *arguments) for rank in range(count)]
            return pool.starmap_async(function, calls, chunksize=1).get(limit)

    return run


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For a chapter whose nets and batches are too small to share out among the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _same_start(pytestconfig: pytest.Config) -> Iterator[None]:
    """Every test starts from the same seed, and leaves the generators as they were."""
    used = pytestconfig.stash[CONTEXT].selection.alive()
    with backend.forked_generators(used):
        backend.seed(0, used)
        yield
