"""``python -m blitz train``: what it leaves behind, and that nothing is ever lost."""

import errno
import json
import math
import os
import platform
import random
import shlex
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from blitz import classifier, data, devices, plots
from blitz.__main__ import main
from blitz.base import interrupts, versions
from blitz.images import download
from blitz.images.download import DownloadError
from blitz.learning import evaluation, running_loss
from blitz.learning.evaluation import Accuracy
from blitz.learning.running_loss import Report, RunningLoss
from blitz.learning.step import TrainingStep
from blitz.parallel import processes as distributed
from blitz.training import checkpoint, feeds, weights
from blitz.training import loop as training
from blitz.training import record as run_record
from blitz.training.checkpoint import CheckpointError
from blitz.training.folder import RunFolder
from blitz.training.weights import WeightsError
from tests import small_images

FIGURE = plots.blank_figure
SMALL = ("--device", "cpu", "--epochs", "3", "--checkpoint-every", "0")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 39 training images, ten batches of 4 with a short last one, and 12 for tests."""
    return small_images.make(tmp_path_factory.mktemp("images"))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints after every 3 batches, reports after every 4, and no pictures."""
    monkeypatch.setattr(training, "CHUNK_IMAGES", 12)
    monkeypatch.setattr(running_loss, "REPORT_EVERY", 4)
    monkeypatch.setattr(plots, "blank_figure", no_figure)


def no_figure(width: int, height: Any) -> None:
    raise plots.NoMatplotlib("no matplotlib in these tests")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def train(images: Path, out: Path) -> Callable[..., int]:
    """Run the command on the small images; its exit code."""

    def train(*options: str) -> int:
        return main(["train", "--data", str(images), "--out", str(out), *SMALL, *options])

    return train


def result_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def assert_same_bits(folder: Path, reference: Path) -> None:
    """The net, the losses and the accuracy in two folders are the same, to the last bit."""
    mine, theirs = (weights.load(path / "model.pt") for path in (folder, reference))
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
    mine, theirs = result_in(folder), result_in(reference)
    for key in ("loss_trace", "accuracy", "class_accuracy", "settings", "data"):
        assert mine[key] == theirs[key]


@pytest.fixture(scope="module")
def reference(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the training as it ends without an interruption."""
    folder = tmp_path_factory.mktemp("reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "CHUNK_IMAGES", 12)
        patch.setattr(running_loss, "REPORT_EVERY", 4)
        patch.setattr(RunFolder, "drop_checkpoint", lambda folder: None)
        patch.setattr(plots, "blank_figure", no_figure)
        with torch.random.fork_rng(devices=[]):
            assert main(["train", "--data", str(images), "--out", str(folder), *SMALL]) == 0
    return folder


class TestWhatIsKept:
    def test_six_files_and_no_other(
        self, train: Callable[..., int], out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("matplotlib")
        monkeypatch.setattr(plots, "blank_figure", FIGURE)
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # it could open a window

        assert train() == 0

        pictures = {"samples.png", "predictions.png", "loss.png", "classes.png"}
        assert set(os.listdir(out)) == {".lock", "model.pt", "result.json", *pictures}
        for name in pictures:
            assert (out / name).read_bytes().startswith(b"\x89PNG")

    def test_without_matplotlib_the_rest_is_kept_and_what_is_missing_is_said(
        self,
        train: Callable[..., int],
        out: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(plots, "blank_figure", FIGURE)
        for module in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
            monkeypatch.setitem(sys.modules, module, None)

        assert train() == 0

        assert set(os.listdir(out)) == {".lock", "model.pt", "result.json"}
        printed = capsys.readouterr().out
        assert "no samples.png: pictures need matplotlib" in printed
        assert "no predictions.png, no loss.png, no classes.png: pictures need" in printed
        assert "pip install matplotlib" in printed

    def test_model_is_the_state_dict_alone(self, reference: Path) -> None:
        state = torch.load(reference / "model.pt", weights_only=True)

        assert state.keys() == classifier.Net().state_dict().keys()

    def test_result_says_what_was_done_and_how_it_came_out(
        self, reference: Path, images: Path
    ) -> None:
        result = result_in(reference)

        assert result["settings"] == {
            "data": str(images),
            "epochs": 3,
            "batch_size": 4,
            "lr": 0.001,
            "momentum": 0.9,
            "width": 6,
            "seed": 0,
            "threads": 1,
            "workers": 0,
            "feed": "resident",
            "fast": False,
        }
        assert result["device"] == "cpu"
        assert result["versions"]["torch"] == torch.__version__
        assert result["data"]["source"] == str(images)
        assert result["data"]["train"]["images"] == 39
        assert result["data"]["test"]["images"] == result["total"] == 12
        assert list(result["class_accuracy"]) == list(data.CLASSES)
        assert result["accuracy"] == 100 * result["correct"] / 12
        assert result["images_per_second"] == pytest.approx(3 * 39 / result["seconds"])

    def test_accuracy_is_that_of_the_model(self, reference: Path, images: Path) -> None:
        net = weights.load(reference / "model.pt")
        test = data.normalized(data.load("test", images))
        labels = evaluation.predict(net, test.tensors[0])

        assert result_in(reference)["correct"] == (labels == test.tensors[1]).sum().item()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread, as the training of small batches is."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TestLosses:
    def test_are_those_of_the_tutorials_loop_to_the_last_bit(
        self, reference: Path, images: Path, one_thread: None
    ) -> None:
        losses = self.of_the_plain_loop(images)

        trace = result_in(reference)["loss_trace"]

        expected = []
        for epoch in (1, 2, 3):
            a, b, c, d, e, f, g, h, i, j = losses[10 * (epoch - 1) : 10 * epoch]
            means = [(0.0 + a + b + c + d) / 4, (0.0 + e + f + g + h) / 4, (0.0 + i + j) / 2]
            expected += [
                {"epoch": epoch, "batches": batches, "loss": mean, "rest": batches == 10}
                for batches, mean in zip((4, 8, 10), means, strict=True)
            ]
        assert trace == expected

    def of_the_plain_loop(self, images: Path) -> list[float]:
        """The loss of each of 30 batches, by the tutorial's own means."""
        dataset = data.load("train", images, transform=data.transform())
        torch.manual_seed(0)
        net = classifier.Net()
        criterion = nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
        losses = []
        for epoch in (1, 2, 3):
            order = feeds.order(len(dataset), 0, epoch).tolist()
            for inputs, labels in torch.utils.data.DataLoader(dataset, 4, sampler=order):
                optimizer.zero_grad()
                loss = criterion(net(inputs), labels)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        return losses

    def test_are_printed_with_the_rest_of_each_epoch(
        self, train: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert train() == 0

        lines = [line for line in capsys.readouterr().out.splitlines() if "] loss: " in line]
        places = [f"[{epoch}, {batch:5d}]" for epoch in (1, 2, 3) for batch in (4, 8, 10)]
        assert [line[:10] for line in lines] == places

    def test_do_not_depend_on_the_feed(
        self, train: Callable[..., int], out: Path, reference: Path
    ) -> None:
        assert train("--feed", "loader") == 0

        assert result_in(out)["settings"]["feed"] == "loader"
        assert result_in(out)["loss_trace"] == result_in(reference)["loss_trace"]

    def test_do_not_depend_on_workers(
        self, train: Callable[..., int], out: Path, reference: Path
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside torch's threads
            assert train("--workers", "1", "--epochs", "1") == 0

        assert result_in(out)["settings"]["feed"] == "loader"
        assert result_in(out)["loss_trace"] == result_in(reference)["loss_trace"][:3]

    def test_fast_ones_are_close(
        self, train: Callable[..., int], out: Path, reference: Path
    ) -> None:
        assert train("--fast") == 0

        exact, fast = (result_in(folder)["loss_trace"] for folder in (reference, out))
        assert [report["loss"] for report in fast] == pytest.approx(
            [report["loss"] for report in exact], rel=1e-4
        )

    def test_depend_on_the_seed(
        self, train: Callable[..., int], out: Path, reference: Path
    ) -> None:
        assert train("--seed", "1") == 0

        assert result_in(out)["loss_trace"] != result_in(reference)["loss_trace"]

    def test_that_are_no_numbers_end_the_training(
        self, train: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert train("--lr", "1e30") == 1

        error = capsys.readouterr().err
        assert "the steps are too large. Start anew with a learning rate below 1e+30" in error
        saved = checkpoint.load(out / "checkpoint.pt")
        assert all(weight.isfinite().all() for weight in saved.net.values())


def in_child(work: Callable[[], object]) -> int:
    """Do ``work`` in a forked process, silently; its process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's threads are not used in it
        child = os.fork()
    if child:
        return child
    code = 70
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        code = work()
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """The exit code of a child, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
class TestKilled:
    MOMENTS = 50

    def test_at_fifty_random_moments_a_training_ends_with_the_same_bits(
        self, train: Callable[..., int], out: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(RunFolder, "drop_checkpoint", lambda folder: None)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # a fork has no other threads
        chance, kills, halfway, finished = random.Random(0), 0, 0, 0
        whole = self.seconds_of(train)
        self.assert_finished(out, reference)

        while kills < self.MOMENTS:
            child = in_child(lambda: train("--resume"))
            time.sleep(chance.uniform(0, whole))
            os.kill(child, signal.SIGKILL)
            code = ended(child)
            if code == 0:
                finished += 1
                self.assert_finished(out, reference)
                continue
            assert code == -signal.SIGKILL
            kills += 1
            halfway += self.stands_halfway(out)

        assert ended(in_child(lambda: train("--resume"))) == 0
        self.assert_finished(out, reference)
        assert halfway >= 10
        assert finished >= 3

    def seconds_of(self, train: Callable[..., int]) -> float:
        """How long a whole training takes."""
        started = time.monotonic()
        assert ended(in_child(train)) == 0
        return time.monotonic() - started

    def stands_halfway(self, out: Path) -> bool:
        """Whether there is a checkpoint, a whole one, between the first batch and the last."""
        if not (out / "checkpoint.pt").exists():
            return False
        running = checkpoint.load(out / "checkpoint.pt").losses.running
        return (1, 0) < (running.epoch, running.batches) < (4, 0)

    def assert_finished(self, out: Path, reference: Path) -> None:
        """All is as in the reference, momentum and generators included; clears the folder."""
        mine, theirs = (checkpoint.load(path / "checkpoint.pt") for path in (out, reference))
        assert mine.losses == theirs.losses
        for number, state in theirs.optimizer["state"].items():
            momentum = mine.optimizer["state"][number]["momentum_buffer"]
            assert torch.equal(momentum, state["momentum_buffer"])
        assert torch.equal(mine.generators["cpu"], theirs.generators["cpu"])
        assert_same_bits(out, reference)
        assert set(os.listdir(out)) == {".lock", "checkpoint.pt", "model.pt", "result.json"}
        shutil.rmtree(out)


@contextmanager
def signals(*numbers: Any) -> Iterator[None]:
    """Send this process signals in the middle of its eighth step."""
    steps = []
    take = TrainingStep.__call__

    def take_and_send(step: Any, *batch: Any) -> Any:
        loss = take(step, *batch)
        steps.append(loss)
        if len(steps) == 8:
            for number in numbers:
                os.kill(os.getpid(), number)
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", take_and_send)
        yield


def batches_done(folder: Path) -> int:
    return checkpoint.load(folder / "checkpoint.pt").losses.running.batches


class TestInterrupted:
    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "TERM"]
    )
    def test_saves_and_says_the_command_that_goes_on(
        self,
        train: Callable[..., int],
        out: Path,
        reference: Path,
        capsys: pytest.CaptureFixture[str],
        number: Any,
        code: int,
    ) -> None:
        with signals(number):
            assert train() == code

        assert batches_done(out) == 9
        assert sorted(os.listdir(out)) == [".lock", "checkpoint.pt"]
        error = capsys.readouterr().err
        assert "interrupted; all is saved. Go on with:" in error
        command = shlex.split(error.splitlines()[-1])
        assert command[:4] == ["python", "-m", "blitz", "train"]
        assert main(command[3:]) == 0
        assert_same_bits(out, reference)

    def test_a_second_time_at_once(
        self,
        train: Callable[..., int],
        out: Path,
        reference: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with signals(signal.SIGINT, signal.SIGINT):
            assert train() == 130

        assert batches_done(out) == 6
        assert "Go on with:" in capsys.readouterr().err
        assert train("--resume") == 0
        assert_same_bits(out, reference)

    def test_handlers_are_as_they_were(self, train: Callable[..., int], out: Path) -> None:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

        assert train() == 0

        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

    def test_before_anything_was_trained(
        self,
        train: Callable[..., int],
        out: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(data, "load", interrupted)

        assert train() == 130

        assert "interrupted; nothing was trained yet" in capsys.readouterr().err
        assert not out.exists()

    def test_after_the_training_was_done(
        self, train: Callable[..., int], out: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(evaluation, "evaluate", interrupted)
            assert train() == 130

        assert train("--resume") == 0
        assert_same_bits(out, reference)

    def test_workers_leave_it_to_their_parent(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        try:
            interrupts.left_to_parent(0)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGINT, before)


@pytest.fixture
def unfinished(train: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a training that was interrupted after 9 of 30 batches."""
    with signals(signal.SIGINT):
        assert train() == 130
    capsys.readouterr()
    return out


class TestResume:
    def test_takes_the_settings_from_the_checkpoint(
        self, images: Path, out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ["train", "--data", str(images), "--out", str(out)]
        assert main([*options, "--device", "cpu", "--epochs", "1", "--lr", "0.01"]) == 0
        finished = result_in(out)

        assert main([*options, "--resume"]) == 0

        assert "There is nothing left to do" in capsys.readouterr().out
        assert result_in(out) == finished

    def test_without_options_ends_with_the_same_bits(
        self, unfinished: Path, reference: Path
    ) -> None:
        assert main(["train", "--out", str(unfinished), "--resume"]) == 0

        assert_same_bits(unfinished, reference)

    def test_without_a_training_starts_one(
        self, train: Callable[..., int], out: Path, reference: Path
    ) -> None:
        assert train("--resume") == 0

        assert_same_bits(out, reference)

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            (("--epochs", "4"), "--epochs 4 (there: 3)"),
            (("--batch-size", "5"), "--batch-size 5 (there: 4)"),
            (("--lr", "0.01"), "--lr 0.01 (there: 0.001)"),
            (("--momentum", "0.5"), "--momentum 0.5 (there: 0.9)"),
            (("--width", "7"), "--width 7 (there: 6)"),
            (("--seed", "1"), "--seed 1 (there: 0)"),
        ],
        ids=lambda value: value[0] if isinstance(value, tuple) else "",
    )
    def test_with_other_settings_is_refused_and_names_them(
        self,
        unfinished: Path,
        train: Callable[..., int],
        capsys: pytest.CaptureFixture[str],
        options: tuple[str, ...],
        named: str,
    ) -> None:
        before = (unfinished / "checkpoint.pt").read_bytes()

        assert train("--resume", *options) == 2

        error = capsys.readouterr().err
        assert f"other settings than those given: {named}. Leave them out" in error
        assert (unfinished / "checkpoint.pt").read_bytes() == before

    def test_with_other_settings_is_refused_when_finished(
        self, train: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert train() == 0

        assert train("--resume", "--width", "7") == 2

        assert "--width 7 (there: 6)" in capsys.readouterr().err

    def test_with_other_images_is_refused(
        self, unfinished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = small_images.make(tmp_path / "other")
        (other / "train" / "frog" / "99.png").write_bytes(
            (other / "train" / "frog" / "06.png").read_bytes()
        )

        assert main(["train", "--out", str(unfinished), "--data", str(other), "--resume"]) == 2

        assert "its training had other images than those of --data" in capsys.readouterr().err

    def test_with_the_images_moved_goes_on(
        self, unfinished: Path, images: Path, tmp_path: Path, reference: Path
    ) -> None:
        moved = shutil.copytree(images, tmp_path / "moved")

        assert main(["train", "--out", str(unfinished), "--data", str(moved), "--resume"]) == 0

        assert result_in(unfinished)["loss_trace"] == result_in(reference)["loss_trace"]

    def test_sweeps_up_what_a_killed_writer_left(
        self, unfinished: Path, train: Callable[..., int]
    ) -> None:
        part = unfinished / f".{'0' * 32}.part"
        part.write_bytes(b"half a checkpoint")
        own = unfinished / ".notes.part"
        own.touch()

        assert train("--resume") == 0

        assert not part.exists()
        assert own.exists()


class TestNothingIsOverwritten:
    def test_finished_training_is_refused(
        self, train: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert train() == 0
        before = {path.name: path.read_bytes() for path in out.iterdir()}

        assert train() == 2

        assert "holds a finished training; nothing was changed" in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before

    def test_unfinished_training_is_refused(
        self, unfinished: Path, train: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = (unfinished / "checkpoint.pt").read_bytes()

        assert train() == 2

        error = capsys.readouterr().err
        assert "holds an unfinished training; nothing was changed. Go on with it: python" in error
        assert (unfinished / "checkpoint.pt").read_bytes() == before

    @pytest.mark.parametrize("resume", [(), ("--resume",)], ids=["", "resume"])
    def test_files_of_the_users_own_are_refused(
        self,
        train: Callable[..., int],
        out: Path,
        capsys: pytest.CaptureFixture[str],
        resume: tuple[str, ...],
    ) -> None:
        out.mkdir()
        (out / "model.pt").write_bytes(b"mine")

        assert train(*resume) == 2

        assert "holds other files; nothing was changed" in capsys.readouterr().err
        assert (out / "model.pt").read_bytes() == b"mine"

    def test_second_process_is_refused(
        self, train: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with RunFolder(out).held():
            assert train() == 2

        assert f"another training is writing to {out}" in capsys.readouterr().err


def full_after(count: int) -> Callable[..., Any]:
    """A stand-in for os.fsync on a disk that is full after ``count`` calls."""
    calls = []

    def fsync(handle: Any) -> None:
        calls.append(handle)
        if len(calls) > count:
            raise OSError(errno.ENOSPC, "No space left on device")

    return fsync


class TestDisk:
    @pytest.mark.parametrize("writes", [1, 4, 12])
    def test_full_on_the_way_keeps_the_earlier_checkpoint(
        self,
        train: Callable[..., int],
        out: Path,
        reference: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        writes: int,
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full_after(2 * writes))  # a file and its folder
            assert train() == 1

        error = capsys.readouterr().err
        assert "the checkpoint cannot be written there: No space left on device" in error
        assert "Then go on with: python -m blitz train" in error
        assert sorted(os.listdir(out)) == [".lock", "checkpoint.pt"]
        running = checkpoint.load(out / "checkpoint.pt").losses.running
        assert 10 * (running.epoch - 1) + running.batches == self.done_after(writes)
        assert train("--resume") == 0
        assert_same_bits(out, reference)

    def done_after(self, writes: int) -> int:
        """Batches that are done at the last of so many writes."""
        return [0, 3, 6, 9, 10, 10, 13, 16, 19, 20, 20, 23][writes - 1]

    def test_full_at_the_end_keeps_the_training(
        self,
        train: Callable[..., int],
        out: Path,
        reference: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(weights, "save", self.full)
            assert train() == 1

        assert "Then go on with: python -m blitz train" in capsys.readouterr().err
        assert train("--resume") == 0
        assert_same_bits(out, reference)

    def full(self, net: Any, path: Path) -> None:
        raise WeightsError(f"{path}: the weights cannot be written there: full.")

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
    def test_really_too_small_for_a_checkpoint(self, train: Callable[..., int], out: Path) -> None:
        import resource

        def limited() -> int:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            return train()

        assert ended(in_child(limited)) == 2
        assert not out.exists()

    def test_read_only_keeps_the_earlier_checkpoint(
        self,
        unfinished: Path,
        train: Callable[..., int],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        before = (unfinished / "checkpoint.pt").read_bytes()

        def read_only(*_: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", read_only)
            assert train("--resume") == 2

        assert "cannot be written there: Read-only file system" in capsys.readouterr().err
        assert (unfinished / "checkpoint.pt").read_bytes() == before

    @pytest.mark.parametrize("place", ["file/out", "file"])
    def test_folder_that_cannot_be_made(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
    ) -> None:
        (tmp_path / "file").touch()

        assert main(["train", "--out", str(tmp_path / place)]) == 2

        assert "cannot be made or written to: " in capsys.readouterr().err


class Obeys:
    """Unpickling this runs code, which leaves a folder."""

    def __init__(self, trace: Any) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def tampered(unfinished: Path) -> Callable[..., Path]:
    """Change what the checkpoint holds; its path."""

    def change(**parts: Any) -> Path:
        path = unfinished / "checkpoint.pt"
        content = torch.load(path, weights_only=True)
        torch.save({**content, **parts}, path)
        return path

    return change


class TestRecord:
    PARTS = {  # noqa: RUF012
        "settings": {"seed": 3},
        "device": "cpu",
        "data": {"train": {"digest": "d1"}},
        "accuracy": 50,
    }

    @pytest.fixture
    def record_of(self) -> Callable[..., dict[str, Any]]:
        def record_of(*counts: tuple[int, ...], seconds: float = 2.0) -> dict[str, Any]:
            trained: Any = SimpleNamespace(
                settings=training.Settings(data="there", seed=3, threads=2),
                seconds=seconds,
                feed=SimpleNamespace(name="resident"),
                processes=SimpleNamespace(part=feeds.Part(1, 2)),
                images=10,
                images_digest="d1",
                losses=SimpleNamespace(reports=[Report(1, 2, 0.5)]),
            )
            train = data.Images(["a", "b"], [0, 1], "ours")
            test = data.Images(["c"], [0], "theirs")
            return run_record.of(trained, train, test, Accuracy(*counts))

        return record_of

    def test_holds_all_of_the_training(self, record_of: Callable[..., dict[str, Any]]) -> None:
        record = record_of((1, *9 * (0,)), (2, *9 * (0,)))

        assert record.pop("versions") == run_record.versions()
        assert record == {
            "format": 1,
            "settings": {
                "data": "there",
                "epochs": 2,
                "batch_size": 4,
                "lr": 0.001,
                "momentum": 0.9,
                "width": 6,
                "seed": 3,
                "threads": 2,
                "workers": 0,
                "feed": "resident",
                "fast": False,
            },
            "device": "cpu",
            "device_name": "cpu",
            "processes": 2,
            "data": {
                "source": "there",
                "train": {"origin": "ours", "images": 2, "digest": "d1"},
                "test": {"origin": "theirs", "images": 1},
            },
            "loss_trace": [{"epoch": 1, "batches": 2, "loss": 0.5, "rest": False}],
            "accuracy": 50.0,
            "correct": 1,
            "total": 2,
            "class_accuracy": {**dict.fromkeys(data.CLASSES), data.CLASSES[0]: 50.0},
            "seconds": 2.0,
            "images_per_second": 5.0,
        }

    def test_no_time_is_no_rate(self, record_of: Callable[..., dict[str, Any]]) -> None:
        record = record_of(10 * (1,), 10 * (1,), seconds=0.0)

        assert record["images_per_second"] is None

    def test_every_class_has_a_rate(self, record_of: Callable[..., dict[str, Any]]) -> None:
        with pytest.raises(ValueError, match="zip"):
            record_of((1, 1), (1, 2))

    def test_versions_are_of_what_computed_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (run_record, versions):
            monkeypatch.setattr(module, "installed", lambda package: f"{package}'s")

        assert run_record.versions() == {
            "blitz": "blitz's",
            "torch": str(torch.__version__),
            "torchvision": "torchvision's",
            "numpy": "numpy's",
            "python": platform.python_version(),
        }

    def test_content_is_json_that_people_read(self) -> None:
        assert run_record.content({"a": "é", "b": [1]}) == (
            '{\n  "a": "é",\n  "b": [\n    1\n  ]\n}\n'.encode()
        )
        with pytest.raises(ValueError, match="JSON"):
            run_record.content({"a": float("nan")})

    def test_comes_back(self, tmp_path: Path) -> None:
        file = tmp_path / "result.json"
        file.write_bytes(run_record.content(self.PARTS))

        assert run_record.read(file) == self.PARTS
        assert run_record.settings_of(self.PARTS) == {"seed": 3, "device": "cpu"}

    @pytest.mark.parametrize(
        ("wrong", "fault"),
        [
            ({"settings": None}, "TypeError"),
            ({"data": {}}, "KeyError: 'train'"),
            ({"data": {"train": {}}}, "KeyError: 'digest'"),
            ({"accuracy": "good"}, "ValueError: could not convert"),
            ({"accuracy": None}, "TypeError"),
        ],
        ids=str,
    )
    def test_that_lacks_something_is_refused(
        self, tmp_path: Path, wrong: dict[str, Any], fault: str
    ) -> None:
        file = tmp_path / "result.json"
        file.write_bytes(run_record.content({**self.PARTS, **wrong}))

        with pytest.raises(
            run_record.RecordError, match=rf"json is not the result of a training \({fault}"
        ):
            run_record.read(file)

    def test_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(run_record.RecordError, match="FileNotFoundError"):
            run_record.read(tmp_path / "result.json")


class Noted(distributed.Processes):
    """One process that notes what it is told, and finds every loss to be 1."""

    launch = "the third"

    def __init__(self) -> None:
        self.steps: list[tuple[int, bool]] = []

    def mean(self, numbers: Sequence[float]) -> list[float]:
        return [1.0 for _ in numbers]

    def at_step(self, steps: int, busy: bool = True) -> None:
        self.steps.append((steps, busy))


class TestSettings:
    SAVED = asdict(training.Settings(data="there", batch_size=8))
    WHERE = Path("c.pt")

    def test_one_thread_does_little_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
        monkeypatch.setattr(devices, "pick", lambda: torch.device("meta"))

        assert training.chosen({"device": "cpu"}) == training.Settings()
        assert training.chosen({"device": "cpu", "width": 24}).threads == 5
        assert training.chosen({"device": "cpu", "batch_size": 16}).threads == 5
        assert training.chosen({"epochs": 3}) == training.Settings(
            epochs=3, device="meta", threads=5
        )

    def test_saved_ones_come_back_but_for_those_that_may_change(self) -> None:
        free = {"data": "here", "workers": 2, "feed": "loader"}

        assert training.resumed({}, self.SAVED, self.WHERE) == training.Settings(**self.SAVED)
        same = {"batch_size": 8, "device": "cpu"}
        assert training.resumed({**free, **same}, self.SAVED, self.WHERE) == (
            training.Settings(batch_size=8, data="here", workers=2, feed="loader")
        )

    def test_device_may_be_named_by_its_kind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        named = {"cuda": "cuda:0", "cuda:1": "cuda:1"}
        monkeypatch.setattr(devices, "resolve", named.__getitem__)
        saved = {**self.SAVED, "device": "cuda:0"}

        assert training.resumed({"device": "cuda"}, saved, self.WHERE).device == "cuda:0"
        with pytest.raises(CheckpointError, match=r"--device cuda:1 \(there: cuda:0\)"):
            training.resumed({"device": "cuda:1"}, saved, self.WHERE)

    def test_others_are_named(self) -> None:
        given = {"batch_size": 4, "workers": 2, "lr": 0.5}

        with pytest.raises(CheckpointError) as refused:
            training.resumed(given, self.SAVED, self.WHERE)

        assert str(refused.value).startswith(
            "c.pt: its training has other settings than those given: --batch-size 4 (there: 8), "
            "--lr 0.5 (there: 0.001). Leave them out"
        )

    @pytest.mark.parametrize(
        "wrong",
        [
            {"epochs": "3"},
            {"epochs": 3.0},
            {"epochs": None},
            {"lr": 1},
            {"fast": 1},
            {"device": 0},
            {"data": 3},
            {"feed": ["resident"]},
            {"more": 1},
        ],
        ids=str,
    )
    def test_what_is_none_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(CheckpointError, match=r"c\.pt: holds no settings of a training"):
            training.resumed({}, {**self.SAVED, **wrong}, self.WHERE)

    @pytest.mark.parametrize("name", sorted(SAVED))
    def test_what_lacks_one_is_refused(self, name: str) -> None:
        saved = {key: value for key, value in self.SAVED.items() if key != name}

        with pytest.raises(CheckpointError, match="holds no settings"):
            training.resumed({}, saved, self.WHERE)


class TestTraining:
    """The training by itself, on images that are all black."""

    @pytest.fixture
    def few(self) -> Iterator[data.Images]:
        with torch.random.fork_rng(devices=[]):
            yield data.Images(np.zeros((39, 32, 32, 3), np.uint8), 39 * [3], "ours")

    def test_digest_is_of_labels_and_pixels(self) -> None:
        pixels = np.arange(2 * 32 * 32 * 3).astype(np.uint8).reshape(2, 32, 32, 3)
        labels = b"\x07" + 7 * b"\0" + b"\x01" + 7 * b"\0"

        known = blake2b(labels + pixels.tobytes(), digest_size=16).hexdigest()

        assert training.digest(data.Images(pixels, [7, 1], "")) == known
        apart = np.repeat(pixels, 2, axis=0)[::2]
        assert training.digest(data.Images(apart, [7, 1], "")) == known

    @pytest.mark.parametrize("folder", ["/data/train", "elsewhere"])
    def test_digest_of_files_is_of_labels_and_names(self, folder: str) -> None:
        files = [f"{folder}/cat/a.png", f"{folder}/dog/b.png"]
        labels = b"\x07" + 7 * b"\0" + b"\x01" + 7 * b"\0"

        known = blake2b(labels + b"cat/a.png\ndog/b.png", digest_size=16).hexdigest()

        assert training.digest(data.Images(files, [7, 1], "")) == known

    def test_goes_by_its_settings(self, few: data.Images) -> None:
        settings = training.Settings(epochs=65, lr=0.5, momentum=0.25, fast=True)

        made = training.Training(settings, few)

        (group,) = made._step.optimizer.param_groups
        assert (group["lr"], group["momentum"], made._step.exact) == (0.5, 0.25, False)
        assert (made.feed.name, made.images, made.seconds) == ("resident", 65 * 39, 0.0)
        assert made.images_digest == training.digest(few)
        assert made.losses.running.every == 4
        assert repr(made.losses.fine.every) == "6"  # about a hundred points of 650 batches

    def test_defaults(self, few: data.Images) -> None:
        made = training.Training(training.Settings(), few, images_digest="known")

        assert made.images_digest == "known"
        assert made._step.exact
        assert made.losses.fine.every == 1

    def test_feed_and_net_are_for_the_process_and_its_device(
        self, few: data.Images, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls, device = [], torch.device("meta")

        def make(*given: Any, **named: Any) -> Any:
            calls.append((*given, named))
            return SimpleNamespace(batches=10)

        processes = Noted()
        monkeypatch.setattr(feeds, "make", make)
        monkeypatch.setattr(processes, "device", {"the first's": device}.__getitem__)
        monkeypatch.setattr(processes, "part", feeds.Part(1, 2))
        settings = training.Settings(batch_size=6, seed=3, device="the first's")

        made = training.Training(settings, few, processes)

        named = {
            "batch_size": 6,
            "seed": 3,
            "device": device,
            "workers": 0,
            "part": feeds.Part(1, 2),
        }
        assert calls == [(None, few, named)]
        assert all(parameter.is_meta for parameter in made.net.parameters())

    @pytest.mark.parametrize("loss", [math.nan, math.inf])
    def test_loss_that_is_no_number_is_told_with_its_place(
        self, few: data.Images, loss: float
    ) -> None:
        made = training.Training(training.Settings(lr=0.25), few)
        made.losses.running.epoch, made.losses.running.batches = 2, 4

        with pytest.raises(training.Diverged) as diverged:
            made._add(loss)

        assert str(diverged.value) == (
            f"the loss of batch 5 of epoch 2 is {loss}: the steps are too large. Start anew with "
            "a learning rate below 0.25."
        )

    def test_workers_need_the_loader(self, few: data.Images) -> None:
        loader: Any = training.Training(training.Settings(workers=2), few).feed
        resident = training.Training(training.Settings(workers=2, feed="resident"), few).feed

        assert (loader.name, loader._workers, resident.name) == ("loader", 2, "resident")

    def test_first_weights_are_the_seeds(self, few: data.Images) -> None:
        first = []
        for seed in (1, 1, 2):
            torch.rand(1)
            made = training.Training(training.Settings(seed=seed), few)
            first.append(made.net.fc3.bias.tolist())

        assert first[0] == first[1] != first[2]

    def test_orders_are_the_seeds(self, few: data.Images) -> None:
        feed = training.Training(training.Settings(seed=5), few).feed

        assert torch.equal(feed.share.places(), feeds.order(39, 5, feed.share.epoch))

    @pytest.mark.parametrize(
        ("batch_size", "images", "size"), [(4, 12, 3), (13, 12, 1), (1, 99, 99), (1, 102, 100)]
    )
    def test_chunks_are_of_so_many_images(
        self,
        few: data.Images,
        monkeypatch: pytest.MonkeyPatch,
        batch_size: int,
        images: int,
        size: int,
    ) -> None:
        asked = []

        def train(step: object, epoch: int, start: int, chunk: int) -> Iterator[list[float]]:
            asked.append((step, epoch, start, chunk))
            return iter(())

        monkeypatch.setattr(training, "CHUNK_IMAGES", images)
        made = training.Training(training.Settings(batch_size=batch_size), few)
        monkeypatch.setattr(made.feed, "train", train)
        made.losses.running.batches = 2
        list(made._rest_of_epoch())

        assert asked == [(made._step, 1, 2, size)]
        made.losses.running.batches = made.feed.batches
        assert list(made._rest_of_epoch()) == []
        assert len(asked) == 1

    def test_goes_to_the_end_and_tells(self, few: data.Images) -> None:
        processes = Noted()
        made = training.Training(training.Settings(), few, processes)
        made.seconds = 1000.0

        reports = [report for due in made.chunks() for report in due]

        assert reports == [
            Report(epoch, batches, 1.0, rest)
            for epoch in (1, 2)
            for batches, rest in [(4, False), (8, False), (10, True)]
        ]
        assert processes.steps == [(0, True), (20, False)]
        assert 1000 < made.seconds < 1100
        assert made.checkpoint().launch == "the third"

    def test_time_of_a_chunk_is_in_the_checkpoint_behind_it(self, few: data.Images) -> None:
        made = training.Training(training.Settings(), few)

        next(made.chunks())

        assert made.checkpoint().seconds > 0

    def test_goes_on_from_where_another_was(self, few: data.Images) -> None:
        other, made = (training.Training(training.Settings(seed=n), few) for n in (1, 2))
        other.losses.add(0.5)
        other.seconds = 7.0

        saved = other.checkpoint()
        made.go_on_from(saved, Path("c.pt"))

        assert (made.losses, made.seconds, made.done) == (other.losses, 7.0, 1)
        assert torch.equal(made.net.fc3.bias, other.net.fc3.bias)
        assert saved.settings == asdict(other.settings)

    @pytest.mark.parametrize(
        ("epoch", "batches", "refused"),
        [(1, 10, False), (1, 11, True), (3, 0, False), (4, 0, True)],
    )
    def test_place_has_to_be_there(
        self, few: data.Images, epoch: int, batches: int, refused: bool
    ) -> None:
        made = training.Training(training.Settings(), few)
        saved = made.checkpoint()
        saved.losses.running.epoch, saved.losses.running.batches = epoch, batches

        words = rf"c\.pt: stands at batch {batches} of epoch {epoch}, "
        with pytest.raises(CheckpointError, match=words) if refused else nullcontext():
            made.go_on_from(saved, Path("c.pt"))

    def test_other_state_is_refused(self, few: data.Images) -> None:
        made = training.Training(training.Settings(), few)

        with pytest.raises(CheckpointError, match=r"c\.pt: its training had other images"):
            made.go_on_from(replace(made.checkpoint(), images="others"), Path("c.pt"))
        with pytest.raises(CheckpointError, match=r"c\.pt: does not hold what"):
            made.go_on_from(replace(made.checkpoint(), net={}), Path("c.pt"))


class TestUntrusted:
    def test_code_in_a_checkpoint_does_not_run(
        self,
        tampered: Callable[..., Path],
        train: Callable[..., int],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        trace = tmp_path / "trace"
        path = tampered(more=Obeys(trace))

        assert train("--resume") == 2

        assert "nothing of it was run" in capsys.readouterr().err
        assert not trace.exists()
        torch.load(path, weights_only=False)  # the control: the file does run code
        assert trace.exists()

    @pytest.mark.parametrize("number", [2, 0, None, "1"])
    def test_other_format_is_named(
        self,
        tampered: Callable[..., Path],
        train: Callable[..., int],
        capsys: pytest.CaptureFixture[str],
        number: int | str | None,
    ) -> None:
        path = tampered(format=number)
        before = path.read_bytes()

        assert train("--resume") == 2

        error = capsys.readouterr().err
        assert f"is in format {number!r}, and this version reads format 1" in error
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        ("parts", "damage"),
        [
            ({"seconds": "soon"}, r"\(ValueError: could not convert string to float: 'soon'\)"),
            ({"net": None}, r"\(TypeError: 'NoneType'"),
        ],
        ids=["seconds", "net"],
    )
    def test_damage_is_named(
        self, tampered: Callable[..., Path], parts: dict[str, Any], damage: str
    ) -> None:
        with pytest.raises(
            CheckpointError,
            match=rf"pt: does not hold what a checkpoint must {damage}.* Start anew",
        ):
            checkpoint.load(tampered(**parts))

    def test_reports_and_curve_come_back(self, tampered: Callable[..., Path]) -> None:
        losses = torch.load(tampered(), weights_only=True)["losses"]
        reports, curve = ({"epoch": 1, "batches": n, "loss": 0.5, "rest": False} for n in (2, 3))

        path = tampered(losses={**losses, "reports": [reports], "curve": [curve, curve]})

        found = checkpoint.load(path).losses
        assert found.reports == [Report(1, 2, 0.5)]
        assert found.curve == 2 * [Report(1, 3, 0.5)]

    @pytest.mark.parametrize("which", ["running", "fine"])
    @pytest.mark.parametrize(
        ("wrong", "refused"),
        [
            ({"every": 0}, True),
            ({"every": 2.0}, True),
            ({"epoch": 0}, True),
            ({"batches": -1}, True),
            ({"every": 1, "epoch": 1, "batches": 0}, False),
        ],
        ids=str,
    )
    def test_counts_that_count_nothing_are_refused(
        self, tampered: Callable[..., Path], wrong: dict[str, float], refused: bool, which: str
    ) -> None:
        losses = torch.load(tampered(), weights_only=True)["losses"]
        path = tampered(losses={**losses, which: {**losses[which], **wrong}})

        with (
            pytest.raises(CheckpointError, match="counts no batches") if refused else nullcontext()
        ):
            checkpoint.load(path)

    @pytest.mark.parametrize("first", [None, 3, torch.tensor(1.0)], ids=str)
    def test_net_of_no_width_is_refused(self, unfinished: Path, first: Any) -> None:
        path = unfinished / "checkpoint.pt"
        found = replace(checkpoint.load(path), net={"conv1.weight": first})

        with pytest.raises(CheckpointError, match=r"holds a net of width unknown, .* say 6"):
            checkpoint.check_width(path, found, 6)

    def test_start_by_torchrun_may_be_missing(self, tampered: Callable[..., Path]) -> None:
        path = tampered(launch="the third")
        assert checkpoint.load(path).launch == "the third"

        content = torch.load(path, weights_only=True)
        del content["launch"]
        torch.save(content, path)

        assert checkpoint.load(path).launch == ""

    @pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
    def test_single_wrong_bit_is_found(
        self,
        unfinished: Path,
        train: Callable[..., int],
        capsys: pytest.CaptureFixture[str],
        part: float,
    ) -> None:
        path = unfinished / "checkpoint.pt"
        content = bytearray(path.read_bytes())
        weights = checkpoint.load(path).net["fc1.weight"].numpy().tobytes()
        content[content.index(weights) + int(part * len(weights))] ^= 1
        path.write_bytes(content)

        assert train("--resume") == 2

        assert "not a checkpoint, or a damaged one: the checksum of" in capsys.readouterr().err
        assert path.read_bytes() == content

    @pytest.mark.parametrize("keep", [0, 1000, -1])
    def test_cut_file_is_refused(
        self,
        unfinished: Path,
        train: Callable[..., int],
        capsys: pytest.CaptureFixture[str],
        keep: int,
    ) -> None:
        path = unfinished / "checkpoint.pt"
        path.write_bytes(path.read_bytes()[:keep])

        assert train("--resume") == 2

        assert "not a checkpoint, or a damaged one" in capsys.readouterr().err

    def test_model_is_no_checkpoint(
        self,
        reference: Path,
        out: Path,
        train: Callable[..., int],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        out.mkdir()
        shutil.copy(reference / "model.pt", out / "checkpoint.pt")

        assert train("--resume") == 2

        assert "holds something else than a checkpoint" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "parts",
        [
            {"net": classifier.Net(width=7).state_dict()},
            {"net": None},
            {"optimizer": {}},
            {"optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}}},
            {"optimizer": {"state": {99: {"momentum_buffer": torch.zeros(2)}}}},
            {"generators": {}},
            {"generators": {"cpu": torch.zeros(2)}},
            {"losses": {}},
            {"losses": {"running": {"every": "4"}, "fine": {}, "reports": [], "curve": []}},
            {"seconds": "soon"},
            {"settings": {"epochs": 3}},
            {"settings": 3},
        ],
        ids=lambda parts: " ".join(f"{name} {str(part)[:20]}" for name, part in parts.items()),
    )
    def test_wrong_parts_are_refused(
        self,
        tampered: Callable[..., Path],
        train: Callable[..., int],
        capsys: pytest.CaptureFixture[str],
        parts: Any,
    ) -> None:
        path = tampered(**parts)
        before = path.read_bytes()

        assert train("--resume") == 2

        assert f"error: {path}: " in capsys.readouterr().err
        assert path.read_bytes() == before

    def test_width_that_is_not_the_nets_is_refused_before_a_net_is_made(
        self, tampered: Callable[..., Path], unfinished: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings = checkpoint.load(unfinished / "checkpoint.pt").settings
        tampered(settings={**settings, "width": 2**60})

        assert main(["train", "--out", str(unfinished), "--resume"]) == 2

        assert f"a net of width 6, and its settings say {2**60}" in capsys.readouterr().err

    def test_result_that_is_none_is_refused(
        self, out: Path, train: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        out.mkdir()
        (out / "result.json").write_text("[]")

        assert train("--resume") == 2

        assert "result.json is not the result of a training" in capsys.readouterr().err


def test_accuracy_below_the_one_asked_for_fails(
    train: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--at-least", "100") == 1
    assert "less than the 100 % asked for" in capsys.readouterr().err

    assert train("--resume", "--at-least", "0") == 0


@pytest.mark.parametrize(
    ("failure", "code"), [(DownloadError, 1), (data.DataError, 2)], ids=["on the way", "unusable"]
)
def test_download_that_fails(
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: Any,
    code: int,
) -> None:
    def fetch(root: Path, **_: object) -> None:
        raise failure(f"{root}: it failed")

    monkeypatch.setattr(download, "fetch", fetch)

    assert main(["train", "--download", "--out", str(out)]) == code

    assert "error: data: it failed" in capsys.readouterr().err
    assert not out.exists()


def test_downloaded_images_are_trained_on(
    images: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "fetch", lambda root, mirror, progress: images)

    assert main(["train", "--download", "--out", str(out), *SMALL]) == 0

    assert result_in(out)["data"]["source"] == str(images)


def test_generators_go_on_where_they_were(tmp_path: Path) -> None:
    step = TrainingStep(classifier.Net())
    state = checkpoint.state_of(step)
    drawn = torch.rand(3)
    losses = checkpoint.Losses(RunningLoss(), RunningLoss())
    checkpoint.save(
        tmp_path / "c.pt",
        checkpoint.Checkpoint(settings={}, images="", losses=losses, seconds=0.0, **state),
    )

    checkpoint.restore(tmp_path / "c.pt", checkpoint.load(tmp_path / "c.pt"), step)

    assert torch.equal(torch.rand(3), drawn)


def saved_of(step: TrainingStep, **parts: Any) -> checkpoint.Checkpoint:
    losses = checkpoint.Losses(RunningLoss(), RunningLoss())
    state = checkpoint.state_of(step) | parts
    return checkpoint.Checkpoint(settings={}, images="", losses=losses, seconds=0.0, **state)


def test_checkpoint_of_a_backend_without_a_generator_has_that_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    step = TrainingStep(classifier.Net())
    step.device = torch.device("vulkan")

    saved = saved_of(step)
    checkpoint.save(tmp_path / "c.pt", saved)
    checkpoint.restore(tmp_path / "c.pt", saved, step)

    assert saved.generators.keys() == {"cpu"}


def test_generator_of_an_accelerator_goes_on_wherever_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, here = torch.device("cuda", 0), torch.device("cuda", 1)
    state, got = torch.tensor([7]), {}

    def set_rng_state(state: torch.Tensor, device: torch.device) -> None:
        got[device] = state

    module = SimpleNamespace(get_rng_state={there: state}.__getitem__, set_rng_state=set_rng_state)
    monkeypatch.setattr(torch, "get_device_module", {there: module, here: module}.__getitem__)
    step = TrainingStep(classifier.Net())

    step.device = there
    saved = saved_of(step)
    step.device = here
    checkpoint.restore("c.pt", saved, step)

    assert saved.generators["cuda:0"] is got[here] is state
    assert (saved.generators.keys(), got.keys()) == ({"cpu", "cuda:0"}, {here})


def test_momentum_of_another_shape_is_named() -> None:
    step = TrainingStep(classifier.Net())
    saved = saved_of(step, optimizer={"state": {0: {"momentum_buffer": torch.zeros(2)}}})

    words = r"c\.pt: .*\(ValueError: momentum_buffer of parameter 0 has shape \(2,\)\)\. Start"
    with pytest.raises(CheckpointError, match=words):
        checkpoint.restore("c.pt", saved, step)


def test_mirror_needs_download(
    train: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--mirror", "http://localhost/"]) == 2

    assert "give both" in capsys.readouterr().err


def test_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none.pt: cannot be read: No such file"):
        checkpoint.load(tmp_path / "none.pt")
