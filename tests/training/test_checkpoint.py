"""The checkpoint of a training: the losses it counts, the state it takes, what it refuses."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from blitz import classifier
from blitz.learning.running_loss import Report, RunningLoss
from blitz.learning.step import TrainingStep
from blitz.training import checkpoint
from blitz.training.checkpoint import Checkpoint, CheckpointError, Losses

REMEDY = "Start anew with another --out, or put the checkpoint back from a copy."


@pytest.fixture
def step() -> TrainingStep:
    """A step on a net of width 2, which was taken once."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        step = TrainingStep(classifier.Net(width=2), lr=0.5, momentum=0.25)
        step(torch.rand(3, 3, 32, 32), torch.tensor([1, 2, 3]))
    return step


def losses_of(*reports: Report) -> Losses:
    return Losses(RunningLoss(4, 2, 3, 1.5), RunningLoss(2, 2, 3, 0.5), [*reports], [*reports])


def saved_of(step: TrainingStep, **parts: Any) -> Checkpoint:
    made = Checkpoint(
        settings={"epochs": 3, "data": None},
        images="a digest",
        losses=losses_of(Report(1, 4, 0.5), Report(1, 5, 0.25, True)),
        seconds=2.5,
        launch="the third",
        **checkpoint.state_of(step),
    )
    return replace(made, **parts)


class TestLosses:
    def test_reports_fall_due_and_are_kept(self) -> None:
        losses = Losses(RunningLoss(4), RunningLoss(2))

        due = [losses.add(loss) for loss in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)]
        due.append(losses.end_epoch())
        due.append(losses.add(9.0))

        reports = [Report(1, 4, 2.5), Report(1, 7, 19 / 3, rest=True)]
        assert due == [[], [], [], reports[:1], [], [], [], reports[1:], []]
        assert losses.reports == reports
        assert losses.curve == [
            Report(1, 2, 1.5),
            Report(1, 4, 3.5),
            Report(1, 6, 5.5),
            Report(1, 7, 8.0, rest=True),
        ]
        assert (losses.running, losses.fine) == (RunningLoss(4, 2, 1, 9.0), RunningLoss(2, 2, 1, 9))

    def test_epoch_without_a_rest_ends_without_a_report(self) -> None:
        losses = Losses(RunningLoss(2), RunningLoss(1))

        assert [losses.add(1.0), losses.add(2.0)] == [[], [Report(1, 2, 1.5)]]

        assert losses.end_epoch() == []
        assert (losses.running.epoch, losses.running.batches) == (2, 0)
        assert losses.curve == [Report(1, 1, 1.0), Report(1, 2, 2.0)]


class TestState:
    def test_stays_as_it_was_when_the_training_goes_on(self, step: TrainingStep) -> None:
        state = checkpoint.state_of(step)
        before = copy.deepcopy(state)

        step(torch.zeros(1, 3, 32, 32), torch.tensor([1]))

        assert state.keys() == {"net", "optimizer", "generators"}
        momenta = before["optimizer"]["state"]
        assert len(momenta) == len(before["net"]) == 10
        for number, (name, weights) in enumerate(before["net"].items()):
            assert torch.equal(state["net"][name], weights)
            assert not torch.equal(step.net.state_dict()[name], weights)
            kept = state["optimizer"]["state"][number]["momentum_buffer"]
            assert torch.equal(kept, momenta[number]["momentum_buffer"])
        (group,) = state["optimizer"]["param_groups"]
        assert (group["lr"], group["momentum"]) == (0.5, 0.25)
        assert group["params"] == list(range(10))

    def test_is_on_the_cpu_wherever_the_net_is(self) -> None:
        with FakeTensorMode():
            weights = torch.ones(2, device="cuda")
            state = checkpoint._on_cpu({"a": [weights, {"b": weights}], "c": weights, "d": "text"})

        assert {part.device.type for part in (*state["a"][:1], state["a"][1]["b"], state["c"])} == {
            "cpu"
        }
        assert state["d"] == "text"

    def test_has_no_graph(self, step: TrainingStep) -> None:
        kept = checkpoint._on_cpu([step.net.fc3.bias])

        assert not kept[0].requires_grad

    def test_generator_is_where_it_stood(self, step: TrainingStep) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            stood = torch.get_rng_state()
            state = checkpoint.state_of(step)
            torch.rand(1)

        assert state["generators"].keys() == {"cpu"}
        assert torch.equal(state["generators"]["cpu"], stood)


class TestFile:
    def test_comes_back_whole(self, tmp_path: Path, step: TrainingStep) -> None:
        saved = saved_of(step)

        checkpoint.save(tmp_path / "c.pt", saved)
        found = checkpoint.load(tmp_path / "c.pt")

        for name in ("settings", "images", "losses", "seconds", "launch"):
            assert getattr(found, name) == getattr(saved, name)
        assert found.optimizer["param_groups"] == saved.optimizer["param_groups"]
        for name, weights in saved.net.items():
            assert torch.equal(found.net[name], weights)
        for number, part in saved.optimizer["state"].items():
            kept = found.optimizer["state"][number]["momentum_buffer"]
            assert torch.equal(kept, part["momentum_buffer"])
        assert torch.equal(found.generators["cpu"], saved.generators["cpu"])

    def test_names_its_kind_and_format(self, tmp_path: Path, step: TrainingStep) -> None:
        checkpoint.save(tmp_path / "c.pt", saved_of(step))

        content = torch.load(tmp_path / "c.pt", weights_only=True)

        assert (content["kind"], content["format"]) == ("blitz checkpoint", 1)
        assert content["losses"]["running"] == {"every": 4, "epoch": 2, "batches": 3, "total": 1.5}

    def test_of_before_there_was_torchrun_is_of_no_start(
        self, tmp_path: Path, step: TrainingStep
    ) -> None:
        checkpoint.save(tmp_path / "c.pt", saved_of(step))
        content = torch.load(tmp_path / "c.pt", weights_only=True)
        del content["launch"]
        torch.save(content, tmp_path / "c.pt")

        assert checkpoint.load(tmp_path / "c.pt").launch == ""

    def test_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError) as refused:
            checkpoint.load(tmp_path / "c.pt")

        assert str(refused.value) == (
            f"{tmp_path / 'c.pt'}: cannot be read: No such file or directory. {REMEDY}"
        )

    def test_that_is_none_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "c.pt").write_bytes(b"text")

        with pytest.raises(CheckpointError, match=r"c\.pt: not a checkpoint, or a damaged one: "):
            checkpoint.load(tmp_path / "c.pt")

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            ([], f"holds something else than a checkpoint. {REMEDY}"),
            ({"kind": "another"}, f"holds something else than a checkpoint. {REMEDY}"),
            (
                {"kind": "blitz checkpoint", "format": 2},
                "is in format 2, and this version reads format 1. Go on with the version of blitz "
                "that wrote it, or start anew with another --out.",
            ),
            (
                {"kind": "blitz checkpoint", "format": 1},
                f"does not hold what a checkpoint must (KeyError: 'losses'). {REMEDY}",
            ),
        ],
        ids=["list", "kind", "format", "parts"],
    )
    def test_of_something_else_is_named(self, tmp_path: Path, content: object, fault: str) -> None:
        torch.save(content, tmp_path / "c.pt")

        with pytest.raises(CheckpointError) as refused:
            checkpoint.load(tmp_path / "c.pt")

        assert str(refused.value) == f"{tmp_path / 'c.pt'}: {fault}"

    @pytest.mark.parametrize("which", ["running", "fine"])
    @pytest.mark.parametrize(
        "wrong", [{"every": 0}, {"every": 2.0}, {"epoch": 0}, {"batches": -1}], ids=str
    )
    def test_counts_that_count_nothing_are_named(
        self, tmp_path: Path, step: TrainingStep, which: str, wrong: dict[str, Any]
    ) -> None:
        losses = losses_of()
        setattr(losses, which, replace(getattr(losses, which), **wrong))
        checkpoint.save(tmp_path / "c.pt", saved_of(step, losses=losses))

        with pytest.raises(CheckpointError) as refused:
            checkpoint.load(tmp_path / "c.pt")

        fault = f"{getattr(losses, which)} counts no batches"
        assert f"(ValueError: {fault})" in str(refused.value)

    def test_may_stand_at_the_first_batch(self, tmp_path: Path, step: TrainingStep) -> None:
        losses = Losses(RunningLoss(1), RunningLoss(1))

        checkpoint.save(tmp_path / "c.pt", saved_of(step, losses=losses))

        assert checkpoint.load(tmp_path / "c.pt").losses == losses


class TestRestore:
    def test_goes_on_as_if_it_had_never_ended(self, step: TrainingStep) -> None:
        saved = saved_of(step)
        other = TrainingStep(classifier.Net(width=2), lr=0.125, momentum=0.75)
        batch = torch.ones(2, 3, 32, 32), torch.tensor([1, 2])

        with torch.random.fork_rng(devices=[]):
            checkpoint.restore("c.pt", saved, other)
            assert torch.equal(torch.get_rng_state(), saved.generators["cpu"])

        for group in step.optimizer.param_groups:
            group.update(lr=0.125, momentum=0.75)
        assert step(*batch) == other(*batch)
        for one, another in zip(step.net.parameters(), other.net.parameters(), strict=True):
            assert torch.equal(one, another)

    def test_learning_rate_is_not_the_files_to_change(self, step: TrainingStep) -> None:
        saved = saved_of(step)
        other = TrainingStep(classifier.Net(width=2), lr=0.125, momentum=0.75)

        with torch.random.fork_rng(devices=[]):
            checkpoint.restore("c.pt", saved, other)

        (group,) = other.optimizer.param_groups
        assert (group["lr"], group["momentum"]) == (0.125, 0.75)

    @pytest.mark.parametrize(
        ("parts", "fault"),
        [
            ({"optimizer": {}}, "KeyError: 'state'"),
            ({"generators": {}}, "KeyError: 'cpu'"),
            (
                {"optimizer": {"state": {1: {"momentum_buffer": torch.zeros(3)}}}},
                "ValueError: momentum_buffer of parameter 1 has shape (3,)",
            ),
        ],
        ids=["optimizer", "generators", "shape"],
    )
    def test_state_of_something_else_is_named(
        self, step: TrainingStep, parts: dict[str, Any], fault: str
    ) -> None:
        saved = saved_of(step, **parts)

        with pytest.raises(CheckpointError) as refused:
            checkpoint.restore("c.pt", saved, step)

        assert str(refused.value) == (
            f"c.pt: does not hold what a checkpoint must ({fault}). {REMEDY}"
        )

    def test_numbers_beside_the_momentum_have_no_shape(self, step: TrainingStep) -> None:
        saved = saved_of(step)
        saved.optimizer["state"][0]["steps"] = 3

        with torch.random.fork_rng(devices=[]):
            checkpoint.restore("c.pt", saved, step)

        assert step.optimizer.state_dict()["state"][0]["steps"] == 3


class TestWidth:
    def test_that_fits_is_taken(self, step: TrainingStep) -> None:
        checkpoint.check_width("c.pt", saved_of(step), 2)

    @pytest.mark.parametrize(
        ("net", "found"),
        [
            ({"conv1.weight": torch.zeros(4, 3)}, "4"),
            ({"conv1.weight": torch.tensor(1.0)}, "unknown"),
            ({"conv1.weight": [1, 2]}, "unknown"),
            ({}, "unknown"),
        ],
        ids=["other", "scalar", "list", "none"],
    )
    def test_that_does_not_fit_is_named(
        self, step: TrainingStep, net: dict[str, Any], found: str
    ) -> None:
        with pytest.raises(CheckpointError) as refused:
            checkpoint.check_width("c.pt", saved_of(step, net=net), 2)

        assert str(refused.value) == (
            f"c.pt: holds a net of width {found}, and its settings say 2. {REMEDY}"
        )
