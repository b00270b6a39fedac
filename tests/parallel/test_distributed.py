"""``torchrun … -m blitz train``: several processes do what one does, and fail together."""

import itertools
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DistributedSampler

from blitz import classifier, data, plots
from blitz.__main__ import main
from blitz.learning import running_loss
from blitz.learning.step import TrainingStep
from blitz.parallel import processes
from blitz.parallel.joining import joined
from blitz.parallel.shares import Rank
from blitz.training import checkpoint, feeds, weights
from blitz.training import loop as training
from blitz.training.folder import RunFolder
from tests import ranks
from tests.conftest import SMALL, assert_same_end, no_figure, result_in
from tests.ranks import Outcome

Train = Callable[..., list[Outcome]]


def train_as(rank: int, arguments: Sequence[str], before: Callable[[int], object] | None) -> None:
    """The command in one process: reports after every 4 batches, a look after every 3."""
    small()
    if before is not None:
        before(rank)
    raise SystemExit(main(arguments))


def small(grace: float = 0.2) -> None:
    """Look at the training often, draw nothing, and keep the checkpoint for comparisons.

    Where no agent is there to end what is left of a group, that waits for one only shortly.
    """
    training.CHUNK_IMAGES = 12
    running_loss.REPORT_EVERY = 4
    vars(plots).update(blank_figure=no_figure)
    type.__setattr__(RunFolder, "drop_checkpoint", lambda folder: None)
    torch.set_num_threads(1)
    vars(processes).update(GRACE=grace)


def train_in(
    images: Path,
    folder: Path,
    count: int,
    *options: str,
    before: Callable[[int], object] | None = None,
    **limits: Any,
) -> list[Outcome]:
    """Run the command in so many processes on the small images."""
    arguments = ("train", "--data", str(images), "--out", str(folder), *SMALL, *options)
    return ranks.run(train_as, count, arguments, before, **limits)


@pytest.fixture
def train(images: Path, out: Path) -> Train:
    return partial(train_in, images, out)


def codes(outcomes: Sequence[Outcome]) -> list[int]:
    return [outcome.code for outcome in outcomes]


def parameters_in(folder: Path) -> dict[str, torch.Tensor]:
    return dict(weights.load(folder / "model.pt").state_dict())


def assert_close(folder: Path, other: Path) -> None:
    """The net, the losses and the accuracy in two folders agree to the precision of float32."""
    mine, theirs = parameters_in(folder), parameters_in(other)
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value)
    traces = [result_in(path)["loss_trace"] for path in (folder, other)]
    mine_, theirs_ = ([report["loss"] for report in trace] for trace in traces)
    assert mine_ == pytest.approx(theirs_, rel=1e-5)
    for key in ("correct", "total", "class_accuracy", "data"):
        assert result_in(folder)[key] == result_in(other)[key]


def whole(images: Path, folder: Path, count: int, *options: str) -> Path:
    """A folder with the training as so many processes do it, uninterrupted."""
    outcomes = train_in(images, folder, count, *options)
    assert codes(outcomes) == [0] * count, outcomes
    return folder


@pytest.fixture(scope="module")
def alone(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole(images, tmp_path_factory.mktemp("alone"), 1)


@pytest.fixture(scope="module")
def two(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole(images, tmp_path_factory.mktemp("two"), 2)


def at_step(number: int, victim: int, what: Callable[[], object], rank: int) -> None:
    """Have ``what`` done before the training step of that number, in the process ``victim``."""
    taken, take = itertools.count(1), TrainingStep.__call__

    def step(self: TrainingStep, *batch: Any) -> Any:
        if rank == victim and next(taken) == number:
            what()
        return take(self, *batch)

    type.__setattr__(TrainingStep, "__call__", step)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def freeze() -> None:
    """Stand still, also where a shell ends meanwhile, with which the kernel wakes its group."""
    os.setpgid(0, 0)
    send(signal.SIGSTOP)


def fail() -> None:
    raise ValueError("the disk of rank 1 is on fire")


def stops_at_step_8(rank: int) -> None:
    at_step(8, rank, partial(send, signal.SIGTERM), rank)


def killed_near(victim: int, step: int, seconds: float, rank: int) -> None:
    """Kill process ``victim`` so many seconds after it began that step."""
    kill = partial(send, signal.SIGKILL)
    at_step(step, victim, lambda: threading.Timer(seconds, kill).start(), rank)


def killed_after(victim: int, seconds: float, rank: int) -> None:
    """Kill process ``victim`` so many seconds after it began."""
    if rank == victim:
        threading.Timer(seconds, partial(send, signal.SIGKILL)).start()


def loads_in_the_first_only(rank: int) -> None:
    if rank == 1:
        vars(data).update(load=None)


def the_first_loads_slowly(rank: int) -> None:
    load = data.load

    def slowly(*arguments: Any, **options: Any) -> data.Images:
        time.sleep(2.5)
        return load(*arguments, **options)

    vars(data).update(load=slowly)


class TestSameAsOne:
    @pytest.mark.parametrize(
        ("count", "options"),
        [(2, ()), (3, ()), (2, ("--feed", "loader", "--workers", "1", "--epochs", "1"))],
        ids=["two", "three, which do not divide a batch", "loader"],
    )
    def test_parameters_losses_and_accuracy(
        self,
        count: int,
        options: tuple[str, ...],
        train: Train,
        out: Path,
        alone: Path,
        images: Path,
        tmp_path: Path,
    ) -> None:
        if options:
            alone = whole(images, tmp_path / "alone", 1, *options)

        outcomes = train(count, *options)

        assert codes(outcomes) == [0] * count, outcomes
        assert_close(out, alone)
        assert result_in(out)["processes"] == count

    def test_the_others_are_silent_and_load_nothing(
        self, train: Train, out: Path, alone: Path
    ) -> None:
        first, second = train(2, before=loads_in_the_first_only)

        assert (first.code, second.code) == (0, 0), second
        assert "[3,    10] loss: " in first.output
        assert "Accuracy of the network on the 12 test images" in first.output
        assert second.output == ""


class TestAnotherNumberOfProcesses:
    @pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
    def test_goes_on_to_the_same_place(
        self, before: int, after: int, train: Train, out: Path, alone: Path
    ) -> None:
        stopped = train(before, before=stops_at_step_8)
        halfway = len(checkpoint.load(out / "checkpoint.pt")["losses"])

        outcomes = train(after, "--resume")

        assert codes(stopped) == [143] * before, stopped
        assert halfway == 9
        assert codes(outcomes) == [0] * after, outcomes
        assert_close(out, alone)

    def test_stopped_by_a_signal_to_one_all_stop_and_the_first_says_how_to_go_on(
        self, train: Train, out: Path, two: Path
    ) -> None:
        first, second = train(2, before=partial(at_step, 8, 1, partial(send, signal.SIGTERM)))

        assert (first.code, second.code) == (143, 143)
        assert "interrupted; all is saved; the same command with --resume" in first.output
        assert second.output == ""
        assert codes(train(2, "--resume")) == [0, 0]
        assert_same_end(out, two)


class TestFailures:
    def test_error_of_one_is_shown_and_ends_the_others(self, train: Train, out: Path) -> None:
        first, second = train(2, before=partial(at_step, 8, 1, fail))

        assert (first.code, second.code) == (1, 1)
        assert second.output.startswith("error: rank 1 failed:\nTraceback")
        assert "ValueError: the disk of rank 1 is on fire" in second.output
        assert "error: " not in first.output
        assert len(checkpoint.load(out / "checkpoint.pt")["losses"]) == 6

    def test_error_of_the_first_as_it_prepares_ends_the_others_silently(
        self, train: Train, images: Path
    ) -> None:
        first, second = train(2, "--data", str(images / "nowhere"))

        assert (first.code, second.code) == (2, 1)
        assert first.output.startswith("error: rank 0: ")
        assert second.output == ""

    def test_error_of_all_is_shown_once(self, train: Train) -> None:
        outcomes = train(3, "--batch-size", "2")

        assert codes(outcomes) == [2, 2, 2]
        said = "".join(outcome.output for outcome in outcomes)
        assert said.count("a batch of 2 cannot be shared out among 3 processes") == 1

    def test_loss_that_is_no_number_is_said_once(self, train: Train) -> None:
        first, second = train(2, "--lr", "1e30")

        assert (first.code, second.code) == (1, 1)
        assert (first.output + second.output).count("the steps are too large") == 1

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--device", "cpu:0"), "each process has a device of its own. Name the kind alone"),
            (("--feed", "captured"), "feed 'captured' cannot be used"),
        ],
        ids=["one device", "captured"],
    )
    def test_what_several_cannot_use_is_refused(
        self, options: tuple[str, ...], words: str, train: Train
    ) -> None:
        outcomes = train(2, *options)

        assert codes(outcomes) == [2, 2]
        assert words in "".join(outcome.output for outcome in outcomes)

    def test_killed_one_ends_the_run_within_seconds(self, train: Train, out: Path) -> None:
        killed = partial(at_step, 8, 1, partial(send, signal.SIGKILL))

        first, second = train(2, before=killed, limit=20)

        assert second.code == -signal.SIGKILL
        assert first.code == 1
        assert "error: another process no longer answers: it hangs, was killed" in first.output
        assert len(checkpoint.load(out / "checkpoint.pt")["losses"]) == 6


class TestCommandThatTests:
    def test_the_first_shows_the_accuracy_of_all_images(self, images: Path, alone: Path) -> None:
        arguments = ("test", "--model", str(alone / "model.pt"), "--data", str(images))

        first, *others = ranks.run(train_as, 3, (*arguments, "--device", "cpu"), None)

        accuracy = int(result_in(alone)["accuracy"])
        assert f"Accuracy of the network on the 12 test images: {accuracy} %" in first.output
        assert (first.code, others) == (0, [(0, ""), (0, "")])

    def test_file_that_is_not_there_is_named_once(self, images: Path, tmp_path: Path) -> None:
        arguments = ("test", "--model", str(tmp_path / "none.pt"), "--data", str(images))

        first, second = ranks.run(train_as, 2, (*arguments, "--device", "cpu"), None)

        assert (first.code, second.code) == (2, 1)
        assert (first.output + second.output).count("none.pt") == 1


class TestHangs:
    """One that hangs is named by the others, whose sums it keeps waiting."""

    @pytest.mark.parametrize(
        ("count", "victim", "hangs"),
        [
            (2, 1, freeze),
            (3, 1, partial(time.sleep, 60)),
            (3, 0, partial(time.sleep, 60)),
        ],
        ids=["frozen", "asleep", "the first"],
    )
    def test_is_named(
        self, count: int, victim: int, hangs: Callable[[], object], train: Train, out: Path
    ) -> None:
        before = partial(at_step, 8, victim, hangs)

        ended = train(count, "--hang-limit", "1", before=before, together=True)

        said = "".join(outcome.output for outcome in ended)
        assert said.count("error: ") == 1, said
        assert f"error: rank {victim} no longer answers: it hangs, was killed" in said
        assert ended[victim].code < 0
        assert len(checkpoint.load(out / "checkpoint.pt")["losses"]) == 6

    def test_download_that_takes_longer_than_the_limit_is_waited_for(
        self, train: Train, out: Path, alone: Path
    ) -> None:
        assert codes(train(2, "--hang-limit", "1", before=the_first_loads_slowly)) == [0, 0]

        assert_close(out, alone)


class TestKilled:
    MOMENTS = int(os.environ.get("BLITZ_KILLS", "4"))

    def test_at_random_moments_a_training_ends_with_the_same_bits(
        self, train: Train, out: Path, two: Path
    ) -> None:
        chance, kills = random.Random(0), 0

        while kills < self.MOMENTS:
            rank, step = chance.randrange(2), chance.randint(1, 20)
            near = partial(killed_near, rank, step, chance.uniform(0, 0.03))
            if chance.random() < 0.3:  # as the processes join and prepare
                near = partial(killed_after, rank, chance.uniform(0, 0.5))
            ended = train(2, "--resume", before=near, together=True)
            if codes(ended) == [0, 0]:
                assert_same_end(out, two)
                shutil.rmtree(out)
                continue
            kills += ended[rank].code == -signal.SIGKILL
            torn = {path.suffix for path in out.glob("[!.]*")} - {".pt", ".json", ".part"}
            assert not torn

        assert codes(train(2, "--resume")) == [0, 0]
        assert_same_end(out, two)


def test_share_is_that_of_torchs_sampler_where_everything_divides() -> None:
    order = feeds.order(24, 5, 2)

    for rank in range(4):
        torchs = DistributedSampler(range(24), 4, rank, shuffle=False)
        assert Rank(rank, 4).share(order, 8).tolist() == order[list(torchs)].tolist()


def test_one_process_of_torchrun_joins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")

    with joined("cpu", 5.0) as alone:
        assert alone is processes.ALONE
        assert not torch.distributed.is_initialized()


def test_net_on_an_accelerator_is_joined_there(monkeypatch: pytest.MonkeyPatch) -> None:
    joined_on: list[Any] = []
    stand_in = lambda net, device_ids: joined_on.append(device_ids)  # noqa: E731
    monkeypatch.setattr(processes, "DistributedDataParallel", stand_in)
    two = processes.Group(torch.distributed.HashStore(), Rank(0, 2))

    for place in ("cpu", "meta"):
        two.parallel(classifier.Net().to(place))

    assert joined_on == [None, [torch.device("meta")]]
