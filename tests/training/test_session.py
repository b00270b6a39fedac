"""``python -m blitz train``: what it leaves behind, and that nothing is ever lost."""

import errno
import os
import random
import re
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from blitz import classifier, data, plots
from blitz.__main__ import main
from blitz.images import download
from blitz.images.download import DownloadError
from blitz.learning import evaluation, running_loss
from blitz.learning.step import TrainingStep
from blitz.training import checkpoint, feeds, loop, session, weights
from blitz.training.folder import RunFolder
from tests import small_images
from tests.conftest import SMALL, Train, assert_same_bits, assert_same_end, no_figure, result_in

FIGURE = plots.blank_figure


def small(patch: pytest.MonkeyPatch) -> None:
    """Checkpoints after every 3 batches, reports after every 4, and no pictures."""
    patch.setattr(loop, "CHUNK_IMAGES", 12)
    patch.setattr(running_loss, "REPORT_EVERY", 4)
    patch.setattr(plots, "blank_figure", no_figure)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)


@pytest.fixture(scope="module")
def reference(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the training as it ends without an interruption, its checkpoint kept."""
    folder = tmp_path_factory.mktemp("reference")
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        patch.setattr(RunFolder, "drop_checkpoint", lambda folder: None)
        with torch.random.fork_rng(devices=[]):
            assert main(["train", "--data", str(images), "--out", str(folder), *SMALL]) == 0
    return folder


def losses_in(folder: Path) -> list[float]:
    return [report["loss"] for report in result_in(folder)["loss_trace"]]


class TestWhatIsKept:
    def test_six_files_and_no_other(self, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("matplotlib")
        monkeypatch.setattr(plots, "blank_figure", FIGURE)
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # it could open a window
        monkeypatch.setattr(session, "CURVE_POINTS", 10)
        drawn, draw = [], plots.loss_curve
        monkeypatch.setattr(plots, "loss_curve", lambda *of: drawn.extend(of) or draw(*of))

        assert train() == 0

        pictures = {"samples.png", "predictions.png", "loss.png", "classes.png"}
        assert train.there() == {".lock", "model.pt", "result.json", *pictures}
        for name in pictures:
            assert (train.out / name).read_bytes().startswith(b"\x89PNG")
        (train.out / "other").touch()
        modes = {(train.out / name).stat().st_mode for name in ("model.pt", "result.json", "other")}
        assert len(modes) == 1
        printed, curve, _ = drawn
        assert [report.batches for report in (*printed[:4], *curve[:4])] == [
            4,
            8,
            10,
            4,
            3,
            6,
            9,
            10,
        ]

    def test_accuracy_is_that_of_the_model(self, reference: Path, images: Path) -> None:
        net = weights.load(reference / "model.pt")
        test = data.normalized(data.load("test", images))
        labels = evaluation.predict(net, test.tensors[0])

        assert result_in(reference)["correct"] == (labels == test.tensors[1]).sum().item()

    def test_files_that_are_not_taken_or_converted_are_counted(
        self, train: Train, tmp_path: Path
    ) -> None:
        wild = shutil.copytree(train.images, tmp_path / "wild")
        (wild / "train" / "cat" / "notes.txt").touch()
        Image.new("L", (50, 50)).save(wild / "train" / "cat" / "grey.png")

        assert train("--data", str(wild)) == 0

        origin = (
            f"40 of 40 train images of the class folders in {wild}, other files ignored: 1, 1 "
            "images converted to 32 x 32 pixels in RGB"
        )
        assert f"train images: {origin}\n" in train.capsys.readouterr().out
        assert result_in(train.out)["data"]["train"]["origin"] == origin


class TestLosses:
    def test_of_exact_are_those_of_the_tutorials_loop_to_the_last_bit(
        self, train: Train, one_thread: None
    ) -> None:
        losses = self.of_the_plain_loop(train.images)

        assert train("--exact") == 0

        expected = []
        for epoch in (1, 2, 3):
            a, b, c, d, e, f, g, h, i, j = losses[10 * (epoch - 1) : 10 * epoch]
            means = [(0.0 + a + b + c + d) / 4, (0.0 + e + f + g + h) / 4, (0.0 + i + j) / 2]
            expected += [
                {"epoch": epoch, "batches": batches, "loss": mean, "rest": batches == 10}
                for batches, mean in zip((4, 8, 10), means, strict=True)
            ]
        assert result_in(train.out)["loss_trace"] == expected

    def of_the_plain_loop(self, images: Path) -> list[float]:
        """The loss of each of 30 batches, by the loop of the tutorial's chapter."""
        dataset = data.load("train", images)
        dataset.transform = data.transform()
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
        self, train: Train, reference: Path, options: tuple[str, ...]
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside torch's threads
            assert train("--epochs", "1", *options) == 0

        assert result_in(train.out)["settings"]["feed"] == "loader"
        assert losses_in(train.out) == losses_in(reference)[:3]

    def test_of_the_default_are_close_to_exact(self, train: Train, reference: Path) -> None:
        assert train("--exact") == 0

        exact, default = losses_in(train.out), losses_in(reference)
        assert default == pytest.approx(exact, rel=1e-4)  # on some cpus they are equal

    def test_that_are_no_numbers_end_the_training(self, train: Train) -> None:
        assert train("--lr", "1e30") == 1

        assert re.match(
            r"error: the loss of batch [2-9] of epoch 1 is (nan|inf): the steps are too large. "
            r"Start anew with a learning rate below 1e\+30\.\n",
            train.said(),
        )
        saved = checkpoint.load(train.out / "checkpoint.pt")
        assert all(weight.isfinite().all() for weight in saved["net"].values())


def copy_that_trains(train: Train, *options: str) -> BaseProcess:
    """Train in a copy of this process, which ends with the exit code."""
    child = get_context("fork").Process(target=lambda: sys.exit(train(*options)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's threads are not used in it
        child.start()
    return child


def code_of(child: BaseProcess) -> int | None:
    child.join()
    return child.exitcode


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
class TestKilled:
    MOMENTS = 50

    def test_at_fifty_random_moments_a_training_ends_with_the_same_bits(
        self, train: Train, reference: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(RunFolder, "drop_checkpoint", lambda folder: None)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # a fork has no other threads
        # A killed fork may keep tqdm's own lock, which all forks share.
        monkeypatch.setattr(tqdm, "_lock", threading.RLock(), raising=False)
        chance, kills, halfway, finished = random.Random(0), 0, 0, 0
        started = time.monotonic()
        assert code_of(copy_that_trains(train)) == 0
        whole = time.monotonic() - started
        self.assert_finished(train, reference)

        while kills < self.MOMENTS:
            child = copy_that_trains(train, "--resume")
            time.sleep(chance.uniform(0, 1.2 * whole))  # some come too late to kill
            child.kill()
            if code_of(child) == 0:
                finished += 1
                self.assert_finished(train, reference)
                continue
            assert child.exitcode == -signal.SIGKILL
            kills += 1
            halfway += self.stands_halfway(train.out)

        assert code_of(copy_that_trains(train, "--resume")) == 0
        self.assert_finished(train, reference)
        assert halfway >= 10
        assert finished >= 3

    def stands_halfway(self, out: Path) -> bool:
        """Whether there is a checkpoint, a whole one, between the first batch and the last."""
        if not (out / "checkpoint.pt").exists():
            return False
        return 0 < batches_done(out) < 30

    def assert_finished(self, train: Train, reference: Path) -> None:
        """All is as in the reference; clears the folder."""
        assert_same_end(train.out, reference)
        assert train.there() == {".lock", "checkpoint.pt", "model.pt", "result.json"}
        shutil.rmtree(train.out)


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


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def batches_done(folder: Path) -> int:
    return len(checkpoint.load(folder / "checkpoint.pt")["losses"])


class TestInterrupted:
    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "TERM"]
    )
    def test_saves_and_says_how_to_go_on(
        self, train: Train, reference: Path, number: Any, code: int
    ) -> None:
        with signals(number):
            assert train() == code

        assert batches_done(train.out) == 9
        assert train.there() == {".lock", "checkpoint.pt"}
        said = "interrupted; all is saved; the same command with --resume goes on.\n"
        assert train.said() == said
        assert train("--resume") == 0
        assert_same_bits(train.out, reference)

    def test_a_second_time_at_once(self, train: Train, reference: Path) -> None:
        with signals(signal.SIGINT, signal.SIGINT):
            assert train() == 130

        assert batches_done(train.out) == 6
        assert "goes on" in train.said()
        assert train("--resume") == 0
        assert_same_bits(train.out, reference)

    def test_before_anything_was_trained(
        self, train: Train, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(data, "load", interrupted)

        assert train() == 130

        assert "interrupted; nothing was trained yet" in train.said()
        assert not train.out.exists()

    def test_after_the_training_was_done(
        self, train: Train, reference: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(evaluation, "predict", interrupted)
            assert train() == 130

        assert train("--resume") == 0
        assert_same_bits(train.out, reference)


@pytest.fixture
def unfinished(train: Train) -> Path:
    """A folder with a training that was interrupted after 9 of 30 batches."""
    with signals(signal.SIGINT):
        assert train() == 130
    train.said()
    return train.out


class TestResume:
    def test_takes_the_settings_from_the_checkpoint(self, train: Train) -> None:
        options = ["train", "--data", str(train.images), "--out", str(train.out)]
        assert main([*options, "--device", "cpu", "--epochs", "1", "--lr", "0.01"]) == 0
        finished = result_in(train.out)

        assert main([*options, "--resume"]) == 0

        assert "There is nothing left to do" in train.capsys.readouterr().out
        assert result_in(train.out) == finished

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

        assert losses_in(unfinished) == losses_in(reference)


WHOLE, HALF, OWN = "result.json", "checkpoint.pt", "model.pt"
REFUSALS = {
    (WHOLE, ""): "holds a finished training; nothing was changed",
    (WHOLE, "--resume --width 7"): "--width 7 (there: 6)",
    (HALF, ""): "holds an unfinished training; nothing was changed. The same command with",
    (HALF, "--resume --epochs 4 --lr 0.1"): "--epochs 4 (there: 3), --lr 0.1 (there: 0.001)",
    (HALF, "--resume --data other"): "its training had other images than those of --data",
    (OWN, ""): "holds other files; nothing was changed",
    (OWN, "--resume"): "holds other files; nothing was changed",
}


@pytest.mark.parametrize(("there", "options"), REFUSALS)
def test_nothing_is_overwritten(
    train: Train, reference: Path, monkeypatch: pytest.MonkeyPatch, there: str, options: str
) -> None:
    monkeypatch.chdir(train.out.parent)
    small_images.make(Path("other"), seed=1)
    train.out.mkdir()
    shutil.copy(reference / there, train.out)
    before = (train.out / there).read_bytes()
    words = f"train --data {train.images} --out out {options}".split()

    assert main(words) == 2

    assert REFUSALS[there, options] in train.said()
    assert (train.out / there).read_bytes() == before
    assert train.there() == {".lock", there}


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
        [(1, 0, "checkpoint"), (4, 9, "checkpoint"), (10, 23, "checkpoint"), (14, 30, "weights")],
    )
    def test_full_on_the_way_keeps_the_earlier_checkpoint(
        self,
        train: Train,
        reference: Path,
        monkeypatch: pytest.MonkeyPatch,
        writes: int,
        batches: int,
        what: str,
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full_after(2 * writes))  # a file and its folder
            assert train() == 1
            error = train.said()
            assert train("--resume") == 2  # not even its first checkpoint can be written

        assert f"the {what} cannot be written there: No space left on device" in error
        assert error.endswith("with room. Then the same command with --resume goes on.\n")
        assert train.there() == {".lock", "checkpoint.pt"}
        assert batches_done(train.out) == batches
        assert train("--resume") == 0
        assert_same_bits(train.out, reference)

    def test_folder_that_cannot_be_made(self, train: Train, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        assert train("--out", str(tmp_path / "file" / "out")) == 2

        assert "cannot be made or written to: " in train.said()


def test_accuracy_below_the_one_asked_for_fails(train: Train) -> None:
    assert train("--at-least", "100") == 1
    assert "less than the 100 % asked for" in train.said()

    assert train("--resume", "--at-least", "0") == 0


class TestDownload:
    def test_that_fails_leaves_nothing(self, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
        def fetch(root: Path, **_: object) -> None:
            raise DownloadError(f"{root}: it failed")

        monkeypatch.setattr(download, "fetch", fetch)

        assert main(["train", "--download", "--out", str(train.out)]) == 1

        assert "error: data: it failed" in train.said()
        assert not train.out.exists()

    def test_images_are_trained_on(self, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(download, "fetch", lambda root, progress: train.images)

        assert main(["train", "--download", "--out", str(train.out), *SMALL]) == 0

        assert result_in(train.out)["data"]["source"] == str(train.images)
