"""What the tests of several packages share: small images, a training on them, its result."""

import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from blitz import classifier, plots
from blitz.__main__ import main
from blitz.training import checkpoint
from tests import small_images

SMALL = ("--device", "cpu", "--epochs", "3", "--checkpoint-every", "0")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 39 training images, ten batches of 4 with a short last one, and 12 for tests."""
    return small_images.make(tmp_path_factory.mktemp("images"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


class Train(NamedTuple):
    """``blitz train`` on the small images, as a function of its options; gives the exit code."""

    images: Path
    out: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *options: str) -> int:
        return main(["train", "--data", str(self.images), "--out", str(self.out), *SMALL, *options])

    def said(self) -> str:
        """What it wrote to stderr since the last look."""
        return self.capsys.readouterr().err

    def there(self) -> set[str]:
        """The names in its folder."""
        return set(os.listdir(self.out))


@pytest.fixture
def train(images: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> Train:
    return Train(images, out, capsys)


class Terminal(io.StringIO):
    """A stream that draws bars."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def no_figure(width: float, height: float) -> Any:
    """A stand-in for plots.blank_figure where matplotlib is missing."""
    raise plots.NoMatplotlib("no matplotlib in these tests")


class MakesFolder:
    """Unpickling this makes the folder ``trace``."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def result_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def assert_same_bits(folder: Path, reference: Path) -> None:
    """The net, the losses and the accuracy in two folders are the same, to the last bit."""
    mine, theirs = (
        torch.load(path / "model.pt", weights_only=True) for path in (folder, reference)
    )
    assert mine.keys() == theirs.keys() == classifier.Net().state_dict().keys()
    for name in mine:
        assert torch.equal(mine[name], theirs[name])
    mine, theirs = result_in(folder), result_in(reference)
    for key in ("loss_trace", "accuracy", "class_accuracy", "settings", "data"):
        assert mine[key] == theirs[key]


def assert_same_end(folder: Path, reference: Path) -> None:
    """So are the checkpoints that are left there, momentum included."""
    assert_same_bits(folder, reference)
    mine, theirs = (checkpoint.load(path / "checkpoint.pt") for path in (folder, reference))
    assert torch.equal(mine["losses"], theirs["losses"])
    for number, state in theirs["optimizer"]["state"].items():
        momentum = mine["optimizer"]["state"][number]["momentum_buffer"]
        assert torch.equal(momentum, state["momentum_buffer"])
