"""``python -m blitz train``: what it leaves behind, and that nothing is ever lost."""

import errno
import os
import random
import shlex
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from blitz import classifier, data, plots
from blitz.__main__ import main
from blitz.images import download
from blitz.images.download import DownloadError
from blitz.learning import evaluation, running_loss
from blitz.learning.step import TrainingStep
from blitz.training import checkpoint, feeds, loop, weights
from blitz.training.folder import RunFolder
from tests import small_images
from tests.conftest import SMALL, assert_same_bits, no_figure, result_in

FIGURE = plots.blank_figure


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints after every 3 batches, reports after every 4, and no pictures."""
    monkeypatch.setattr(loop, "CHUNK_IMAGES", 12)
    monkeypatch.setattr(running_loss, "REPORT_EVERY", 4)
    monkeypatch.setattr(plots, "blank_figure", no_figure)


@pytest.fixture(scope="module")
def reference(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the training as it ends without an interruption."""
    folder = tmp_path_factory.mktemp("reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CHUNK_IMAGES", 12)
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
        assert f"in {out}: model.pt, result.json; pictures need: pip install matplotlib" in printed

    def test_accuracy_is_that_of_the_model(self, reference: Path, images: Path) -> None:
        net = weights.load(reference / "model.pt")
        test = data.normalized(data.load("test", images))
        labels = evaluation.predict(net, test.tensors[0])

        assert result_in(reference)["correct"] == (labels == test.tensors[1]).sum().item()

    def test_files_that_are_not_taken_or_converted_are_counted(
        self, images: Path, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        wild = shutil.copytree(images, tmp_path / "wild")
        (wild / "train" / "cat" / "notes.txt").touch()
        Image.new("L", (50, 50)).save(wild / "train" / "cat" / "grey.png")

        assert main(["train", "--data", str(wild), "--out", str(out), *SMALL]) == 0

        origin = (
            f"40 of 40 train images of the class folders in {wild}, other files ignored: 1, 1 "
            "images converted to 32 x 32 pixels in RGB"
        )
        assert f"train images: {origin}\n" in capsys.readouterr().out
        assert result_in(out)["data"]["train"]["origin"] == origin


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread, as the training of small batches is."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TestLosses:
    def test_of_exact_are_those_of_the_tutorials_loop_to_the_last_bit(
        self, train: Callable[..., int], out: Path, images: Path, one_thread: None
    ) -> None:
        losses = self.of_the_plain_loop(images)

        assert train("--exact") == 0

        expected = []
        for epoch in (1, 2, 3):
            a, b, c, d, e, f, g, h, i, j = losses[10 * (epoch - 1) : 10 * epoch]
            means = [(0.0 + a + b + c + d) / 4, (0.0 + e + f + g + h) / 4, (0.0 + i + j) / 2]
            expected += [
                {"epoch": epoch, "batches": batches, "loss": mean, "rest": batches == 10}
                for batches, mean in zip((4, 8, 10), means, strict=True)
            ]
        assert result_in(out)["loss_trace"] == expected

    def of_the_plain_loop(self, images: Path) -> list[float]:
        """The loss of each of 30 batches, by the loop of the tutorial's chapter."""
        dataset = data.load("train", images, transform=data.transform())
        torch.manual_seed(0)
        net = classifier.Net()
        criterion = nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
        losses = []
        for epoch in (1, 2, 3):
            order = feeds.order(len(dataset), 0, epoch).tolist()
            batches = DataLoader(dataset, 4, sampler=order)
            losses += classifier.train(net, batches, criterion, optimizer, epochs=1, every=1)
        return [loss for _, _, loss in losses]

    @pytest.mark.parametrize("options", [("--feed", "loader"), ("--workers", "1")], ids=" ".join)
    def test_do_not_depend_on_the_feed_or_on_workers(
        self, train: Callable[..., int], out: Path, reference: Path, options: tuple[str, ...]
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside torch's threads
            assert train("--epochs", "1", *options) == 0

        assert result_in(out)["settings"]["feed"] == "loader"
        assert result_in(out)["loss_trace"] == result_in(reference)["loss_trace"][:3]

    def test_of_the_default_are_close_to_exact_and_not_equal(
        self, train: Callable[..., int], out: Path, reference: Path
    ) -> None:
        assert train("--exact") == 0

        exact, default = ([r["loss"] for r in result_in(f)["loss_trace"]] for f in (out, reference))
        assert default == pytest.approx(exact, rel=1e-4)
        assert default != exact

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
            time.sleep(chance.uniform(0, 1.2 * whole))  # some come too late to kill
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
        running = checkpoint.load(out / "checkpoint.pt").losses
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
    return checkpoint.load(folder / "checkpoint.pt").losses.batches


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

    def test_with_the_images_moved_goes_on(
        self, unfinished: Path, images: Path, tmp_path: Path, reference: Path
    ) -> None:
        moved = shutil.copytree(images, tmp_path / "moved")

        assert main(["train", "--out", str(unfinished), "--data", str(moved), "--resume"]) == 0

        assert result_in(unfinished)["loss_trace"] == result_in(reference)["loss_trace"]


WHOLE, HALF, OWN = "result.json", "checkpoint.pt", "model.pt"
REFUSALS = {
    (WHOLE, ""): "holds a finished training; nothing was changed",
    (WHOLE, "--resume --width 7"): "--width 7 (there: 6)",
    (HALF, ""): "holds an unfinished training; nothing was changed. Go on with it: python",
    (HALF, "--resume --epochs 4 --lr 0.1"): "--epochs 4 (there: 3), --lr 0.1 (there: 0.001)",
    (HALF, "--resume --data other"): "its training had other images than those of --data",
    (OWN, ""): "holds other files; nothing was changed",
    (OWN, "--resume"): "holds other files; nothing was changed",
}


class TestNothingIsOverwritten:
    @pytest.mark.parametrize(("there", "options"), REFUSALS)
    def test_what_is_there_is_left_as_it_is(
        self,
        reference: Path,
        images: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        there: str,
        options: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        small_images.make(tmp_path / "other", seed=1)
        out = tmp_path / "out"
        out.mkdir()
        shutil.copy(reference / there, out)
        before = (out / there).read_bytes()
        words = f"train --data {images} --out out {options}".split()

        assert main(words) == 2

        assert REFUSALS[there, options] in capsys.readouterr().err
        assert (out / there).read_bytes() == before
        assert set(os.listdir(out)) == {".lock", there}


def full_after(count: int) -> Callable[..., Any]:
    """A stand-in for os.fsync on a disk that is full after ``count`` calls."""
    calls = []

    def fsync(handle: Any) -> None:
        calls.append(handle)
        if len(calls) > count:
            raise OSError(errno.ENOSPC, "No space left on device")

    return fsync


class TestDisk:
    @pytest.mark.parametrize(
        ("writes", "batches", "what"),
        [(1, 0, "checkpoint"), (4, 9, "checkpoint"), (12, 23, "checkpoint"), (17, 30, "weights")],
    )
    def test_full_on_the_way_keeps_the_earlier_checkpoint(
        self,
        train: Callable[..., int],
        out: Path,
        reference: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        writes: int,
        batches: int,
        what: str,
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full_after(2 * writes))  # a file and its folder
            assert train() == 1

        error = capsys.readouterr().err
        assert f"the {what} cannot be written there: No space left on device" in error
        assert "Then go on with: python -m blitz train" in error
        assert sorted(os.listdir(out)) == [".lock", "checkpoint.pt"]
        running = checkpoint.load(out / "checkpoint.pt").losses
        assert 10 * (running.epoch - 1) + running.batches == batches
        assert train("--resume") == 0
        assert_same_bits(out, reference)

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

    def test_folder_that_cannot_be_made(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").touch()

        assert main(["train", "--out", str(tmp_path / "file" / "out")]) == 2

        assert "cannot be made or written to: " in capsys.readouterr().err


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
