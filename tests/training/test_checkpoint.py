"""The checkpoint of a training: the state it takes, and what is refused in its place."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz import classifier
from blitz.__main__ import main
from blitz.learning.running_loss import Report, RunningLoss
from blitz.learning.step import TrainingStep
from blitz.training import checkpoint
from blitz.training.checkpoint import Checkpoint
from tests.conftest import SMALL, MakesFolder, no_figure


@pytest.fixture
def step() -> TrainingStep:
    """A step on a net of width 2, which was taken once."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        step = TrainingStep(classifier.Net(width=2), lr=0.5, momentum=0.25)
        step(torch.rand(3, 3, 32, 32), torch.tensor([1, 2, 3]))
    return step


def saved_of(step: TrainingStep) -> Checkpoint:
    reports = [Report(1, 4, 0.5), Report(1, 5, 0.25, True)]
    return Checkpoint(
        settings={"epochs": 3, "data": None},
        images="a digest",
        losses=RunningLoss(4, 2, 3, 1.5, reports),
        curve=RunningLoss(2, 2, 3, 0.5, reports[:1]),
        seconds=2.5,
        launch="the third",
        **checkpoint.state_of(step),
    )


class TestState:
    def test_of_a_backend_without_a_generator_has_that_of_the_cpu(self, step: TrainingStep) -> None:
        step.device = torch.device("vulkan")

        saved = saved_of(step)
        checkpoint.restore("c.pt", saved, step)

        assert saved.generators.keys() == {"cpu"}

    def test_generator_of_an_accelerator_goes_on_wherever_it_is(
        self, step: TrainingStep, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        there, here = torch.device("cuda", 0), torch.device("cuda", 1)
        state, got = torch.tensor([7]), {}

        def set_rng_state(state: torch.Tensor, device: torch.device) -> None:
            got[device] = state

        module = SimpleNamespace(
            get_rng_state={there: state, here: torch.tensor([9])}.__getitem__,
            set_rng_state=set_rng_state,
        )
        monkeypatch.setattr(torch, "get_device_module", {there: module, here: module}.__getitem__)

        step.device = there
        saved = saved_of(step)
        step.device = here
        checkpoint.restore("c.pt", saved, step)

        assert saved.generators["cuda:0"] is got[here] is state
        assert (saved.generators.keys(), got.keys()) == ({"cpu", "cuda:0"}, {here})


def test_restored_step_goes_on_by_its_own_rates(step: TrainingStep, tmp_path: Path) -> None:
    other = TrainingStep(classifier.Net(width=2), lr=0.125, momentum=0.75)
    batch = torch.rand(3, 3, 32, 32), torch.tensor([1, 2, 3])

    checkpoint.save(tmp_path / "c.pt", saved_of(step))
    checkpoint.restore("c.pt", checkpoint.load(tmp_path / "c.pt"), other)

    for group in step.optimizer.param_groups:
        group.update(lr=0.125, momentum=0.75)
    assert step(*batch) == other(*batch)
    for one, another in zip(step.net.parameters(), other.net.parameters(), strict=True):
        assert torch.equal(one, another)


@pytest.fixture(scope="module")
def halfway(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the checkpoint of a training on the small images holds."""
    out = tmp_path_factory.mktemp("halfway")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blitz.plots.blank_figure", no_figure)
        patch.setattr("blitz.training.folder.RunFolder.drop_checkpoint", lambda folder: None)
        assert main(["train", "--data", str(images), "--out", str(out), *SMALL]) == 0
    return torch.load(out / "checkpoint.pt", weights_only=True)


MUST = "does not hold what a checkpoint must ("
MOMENTUM = {"momentum_buffer": torch.zeros(2)}
NARROW = {"conv1.weight": torch.zeros(6, 3, 5, 5)}
HARMS: dict[str, tuple[str, Any, str]] = {
    "list": ("", [], "is not a checkpoint"),
    "kind": ("kind", "another", "is not a checkpoint"),
    "older format": ("format", 1, "is in format 1, and this version reads format 3"),
    "text format": ("format", "3", "is in format '3', and this version reads format 3"),
    "code": ("more", MakesFolder(Path("trace")), "nothing of it was run"),
    "no net": ("net", ..., f"{MUST}KeyError: 'net')"),
    "net None": ("net", None, f"{MUST}TypeError: 'NoneType'"),
    "net of 7": ("net", classifier.Net(width=7).state_dict(), f"{MUST}RuntimeError: Error(s)"),
    "half a net": ("net", NARROW, f"{MUST}RuntimeError: Error(s) in loading state_dict"),
    "optimizer": ("optimizer", {}, f"{MUST}KeyError: 'state')"),
    "momentum": (
        "optimizer.state",
        {1: MOMENTUM},
        f"{MUST}ValueError: momentum_buffer of parameter 1 has shape (2,))",
    ),
    "parameter": ("optimizer.state", {99: MOMENTUM}, f"{MUST}IndexError: list index"),
    "generators": ("generators", {}, f"{MUST}KeyError: 'cpu')"),
    "generator": ("generators.cpu", torch.zeros(2), f"{MUST}TypeError: "),
    "losses": ("losses", {}, f"{MUST}KeyError: 'reports')"),
    "curve": ("curve", {}, f"{MUST}KeyError: 'reports')"),
    "report": ("losses.reports", [{}], f"{MUST}TypeError: "),
    "every 0": ("losses.every", 0, "ValueError: 0 counts no batches)"),
    "every 2.0": ("losses.every", 2.0, "ValueError: 2.0 counts no batches)"),
    "epoch 0": ("losses.epoch", 0, "ValueError: 0 counts no batches)"),
    "batches -1": ("losses.batches", -1, "ValueError: 0 counts no batches)"),
    "seconds": ("seconds", "soon", f"{MUST}ValueError: could not convert string to float"),
    "settings": ("settings", 3, f"{MUST}TypeError: 'int' object is not iterable)"),
    "some settings": ("settings", {"epochs": 3}, "holds no settings of a training"),
    "images": ("images", "others", "its training had other images than those of --data"),
    "batch": ("losses.batches", 11, "stands at batch 11 of epoch 4, which this training does not"),
    "place": ("settings.epochs", 1, "stands at batch 0 of epoch 4, which this training does not"),
}
"""Where the content is changed, to what (... takes it out), and what is said."""


def harmed(content: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    if not place:
        return value
    name, _, below = place.partition(".")
    changed = {**content, name: harmed(content.get(name), below, value)}
    return {name: value for name, value in changed.items() if value is not ...}


@pytest.mark.parametrize(("place", "value", "message"), HARMS.values(), ids=HARMS)
def test_harmed_checkpoint_is_refused_and_left_as_it_is(
    halfway: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    value: Any,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(harmed(halfway, place, value), "checkpoint.pt")
    before = Path("checkpoint.pt").read_bytes()

    assert main(["train", "--out", ".", "--resume"]) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: checkpoint.pt: ")
    assert message in error
    assert error.count("\n") == 1
    assert "another --out" in error or "the version of blitz that wrote it" in error
    assert Path("checkpoint.pt").read_bytes() == before
    assert sorted(os.listdir()) == [".lock", "checkpoint.pt"]
