"""The steps of ``python -m blitz train``, each by itself, with what lies around it made up."""

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from blitz import data, plots
from blitz.__main__ import parser
from blitz.base import progress
from blitz.base.errors import BlitzError
from blitz.commands import download as download_command
from blitz.commands import train
from blitz.images import download
from blitz.images.transfer import DownloadError
from blitz.learning import evaluation
from blitz.learning.evaluation import Accuracy
from blitz.learning.running_loss import Report
from blitz.parallel import processes as distributed
from blitz.training import checkpoint, weights
from blitz.training import loop as training
from blitz.training import record as run_record
from blitz.training.checkpoint import CheckpointError
from blitz.training.feeds import Part
from blitz.training.folder import RunFolder, RunFolderError
from blitz.training.loop import Diverged, Settings, Training
from blitz.training.weights import WeightsError


class Process(distributed.Processes):
    """One of some processes, which hears nothing of the others and notes what it is told."""

    def __init__(self, rank: int = 0, count: int = 1, signal: int = 0) -> None:
        self.part = Part(rank, count)
        self.signal = signal
        self.has_failed = False

    def largest(self, number: int) -> int:
        return max(number, self.signal)

    def failed(self) -> None:
        self.has_failed = True


FIRST = Process(0, 2)
SECOND = Process(1, 2)
TWO_CLASSES = Accuracy((1, 0, *8 * (0,)), (1, 3, *8 * (0,)))


def asked(*words: object) -> Any:
    """What is asked for by these words."""
    return parser().parse_args(["train", *map(str, words)])


def noted(outcome: Any = None) -> Any:
    """A function that returns ``outcome``, or raises it, and what it was called with."""
    calls: list[Any] = []

    def function(*given: Any, **named: Any) -> Any:
        calls.append((*given, named) if named else given)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    function.calls = calls
    return function


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A folder to train in, which is there and empty."""
    (tmp_path / "out").mkdir()
    return RunFolder(tmp_path / "out")


def images_of(count: int, origin: str = "ours") -> data.Images:
    """So many images, each a little brighter than the one before, of one class after the other."""
    pixels = np.arange(count).astype(np.uint8).reshape(-1, 1, 1, 1)
    whole = np.broadcast_to(pixels, (count, 32, 32, 3)).copy()
    return data.Images(whole, [number % 10 for number in range(count)], origin)


def course_of(count: int = 30, processes: Any = distributed.ALONE, **settings: Any) -> Training:
    with torch.random.fork_rng(devices=[]):
        return Training(Settings(**settings), images_of(count), processes)


def prepared_of(course: Training, saved: Any = None, test: int = 4) -> Any:
    return train._Prepared(
        course.settings, saved, images_of(30), images_of(test, "theirs"), course.images_digest
    )


class TestRun:
    @pytest.mark.parametrize("code", [0, 1, 130])
    def test_joins_the_others_and_tells_them_of_a_failure(
        self, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        processes, calls, among = Process(), [], noted(code)

        @contextmanager
        def joined(*given: object) -> Iterator[Process]:
            calls.append(given)
            yield processes

        monkeypatch.setattr(distributed, "joined", joined)
        monkeypatch.setattr(train, "_run_among", among)
        args = asked("--device", "cpu", "--hang-limit", "7")

        assert train.run(args) == code

        assert calls == [("cpu", 7.0)]
        assert among.calls == [(processes, args)]
        assert processes.has_failed == (code != 0)

    def test_the_first_holds_the_folder_and_speaks(
        self,
        folder: RunFolder,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        args, process = asked("--out", folder.path), Process()

        def run(*given: Any) -> int:
            assert given[0] is args
            assert given[1].path == folder.path
            assert given[2] is process
            with pytest.raises(RunFolderError, match="another training is writing"):
                RunFolder(folder.path).held().__enter__()
            print("heard")
            return 5

        monkeypatch.setattr(train, "_run", run)

        assert train._run_among(process, args) == 5

        assert capsys.readouterr().out == "heard\n"
        with folder.held():
            pass

    def test_another_leaves_the_folder_alone_and_is_silent(
        self,
        folder: RunFolder,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def run(*_: Any) -> int:
            print("unheard")
            sys.stdout.write("nor this")
            return 5

        monkeypatch.setattr(train, "_run", run)

        with folder.held():
            assert train._run_among(SECOND, asked("--out", folder.path)) == 5
        print("heard again")

        assert capsys.readouterr().out == "heard again\n"

    @pytest.mark.parametrize(
        ("error", "code", "said"),
        [
            (DownloadError("no answer"), 1, "error: no answer\n"),
            (
                KeyboardInterrupt(),
                130,
                "interrupted; nothing was trained yet. Go on with:\n"
                "  python -m blitz train --out {out} --resume\n",
            ),
        ],
        ids=["download", "interrupted"],
    )
    def test_what_ends_it_early_is_said(
        self,
        folder: RunFolder,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        error: BaseException,
        code: int,
        said: str,
    ) -> None:
        monkeypatch.setattr(train, "_run", noted(error))

        assert train._run_among(Process(), asked("--out", folder.path)) == code

        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("", said.format(out=folder.path))

    def test_where_nothing_is_left_to_do_nothing_is_done(
        self, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare = noted(1)
        monkeypatch.setattr(train, "_prepare", prepare)
        args, process = asked(), Process()

        assert train._run(args, folder, process) == 1

        assert prepare.calls == [(args, folder, process)]

    def test_trains_on_the_settings_threads(
        self, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = torch.get_num_threads()
        course, args, process = course_of(threads=before + 1), asked(), Process()
        prepared = prepared_of(course)
        make, begin = noted(course), noted()

        def train_and_keep(*given: Any) -> int:
            assert given == (args, course, prepared, folder)
            assert make.calls == [(prepared, folder, process)]
            assert begin.calls == [(course, prepared.train, folder)]
            assert torch.get_num_threads() == before + 1
            return 3

        monkeypatch.setattr(train, "_prepare", noted(prepared))
        monkeypatch.setattr(train, "_course", make)
        monkeypatch.setattr(train, "_begin", begin)
        monkeypatch.setattr(train, "_train_and_keep", train_and_keep)

        assert train._run(args, folder, process) == 3

        assert torch.get_num_threads() == before

    def test_threads_are_as_they_were_after_a_failure(self) -> None:
        before = torch.get_num_threads()

        with pytest.raises(ZeroDivisionError), train._threads(before + 1):
            raise ZeroDivisionError

        assert torch.get_num_threads() == before


class TestPrepare:
    @pytest.fixture
    def loaded(self, monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
        """The images that are loaded, as made up, by split and folder."""
        loaded = {}

        def load(split: str, source: Any) -> data.Images:
            images = images_of({"train": 1200, "test": 3}[split], split)
            loaded[split, source] = images
            return images

        monkeypatch.setattr(data, "load", load)
        return loaded

    def test_a_new_training_has_its_settings_and_images(
        self,
        folder: RunFolder,
        loaded: dict[Any, Any],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (folder.path / "train").mkdir()
        args = asked("--device", "cpu", "--epochs", "3", "--data", folder.path)

        prepared: Any = train._prepare(args, folder, Process())

        source = str(folder.path)
        assert prepared.settings == Settings(epochs=3, data=source, threads=1)
        assert prepared.saved is None
        assert loaded == {("train", source): prepared.train, ("test", source): prepared.test}
        assert prepared.digest == training.digest(prepared.train)
        assert capsys.readouterr().out == (
            f"images: 1,200 for training, 3 for the test: the class folders in {source}\n"
        )

    def test_images_are_named_before_the_slow_look_at_them(
        self, folder: RunFolder, loaded: dict[Any, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = noted()
        monkeypatch.setattr(train, "print", said, raising=False)

        train._prepare(asked("--device", "cpu"), folder, Process())

        assert said.calls == [
            (
                "images: 1,200 for training, 3 for the test: made on the spot, no file, no network",
                {"flush": True},
            )
        ]

    def test_several_get_the_pixels_and_not_the_names_of_files(
        self, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class OfFiles(data.Images):
            def pixels(self) -> np.ndarray:
                return images_of(2).pixels()

        of_files = OfFiles(["a/b.png", "a/c.png"], [3, 4], "theirs")
        monkeypatch.setattr(data, "load", lambda *_: of_files)

        prepared: Any = train._prepare(asked("--device", "cpu"), folder, FIRST)

        for images in (prepared.train, prepared.test):
            assert (images.items == images_of(2).items).all()
            assert (images.labels, images.origin) == ([3, 4], "theirs")
        assert prepared.digest == training.digest(of_files)
        alone: Any = train._prepare(asked("--device", "cpu"), folder, Process())
        assert alone.train is alone.test is of_files

    def test_an_unfinished_one_goes_on(self, folder: RunFolder, loaded: dict[Any, Any]) -> None:
        course = course_of(epochs=5)
        course.losses.add(0.5)
        checkpoint.save(folder.checkpoint, course.checkpoint())

        prepared: Any = train._prepare(asked("--resume", "--workers", "1"), folder, Process())

        assert prepared.settings == Settings(epochs=5, workers=1)
        assert prepared.saved.losses == course.losses

    def test_one_that_torchrun_starts_again_goes_on_unasked(
        self, folder: RunFolder, loaded: dict[Any, Any]
    ) -> None:
        course, process = course_of(), Process()
        saved = replace(course.checkpoint(), launch="the third")
        checkpoint.save(folder.checkpoint, saved)
        process.restarted, process.launch = True, "the third"

        prepared: Any = train._prepare(asked(), folder, process)

        assert prepared.saved.images == course.images_digest

    def test_one_on_weights_of_another_width_does_not_go_on(
        self, folder: RunFolder, loaded: dict[Any, Any]
    ) -> None:
        saved = course_of().checkpoint()
        checkpoint.save(folder.checkpoint, replace(saved, settings={**saved.settings, "width": 7}))

        with pytest.raises(CheckpointError, match=r"checkpoint\.pt: holds a net of width 6, .* 7"):
            train._prepare(asked("--resume"), folder, Process())

    def test_one_with_other_settings_does_not_go_on(
        self, folder: RunFolder, loaded: dict[Any, Any]
    ) -> None:
        checkpoint.save(folder.checkpoint, course_of().checkpoint())

        with pytest.raises(CheckpointError, match=r"checkpoint\.pt: .* --seed 2 \(there: 0\)"):
            train._prepare(asked("--resume", "--seed", "2"), folder, Process())

    def test_a_finished_one_is_told_of(
        self, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder.result.touch()
        finished = noted(7)
        monkeypatch.setattr(train, "_already_finished", finished)
        args = asked("--resume", "--seed", "2")

        assert train._prepare(args, folder, Process()) == 7

        assert finished.calls == [(args, {"seed": 2}, folder)]


class TestRefuseToOverwrite:
    GO_ON = "Go on with it: python -m blitz train --out {out} --resume\nOr choose another --out."

    @pytest.mark.parametrize(
        ("file", "resume", "said"),
        [
            (None, False, None),
            (None, True, None),
            ("checkpoint.pt", False, f"an unfinished training; nothing was changed. {GO_ON}"),
            ("checkpoint.pt", True, None),
            (
                "result.json",
                False,
                "a finished training; nothing was changed. Choose another --out, or move it away.",
            ),
            ("result.json", True, None),
            *(
                (
                    "model.pt",
                    resume,
                    "other files; nothing was changed. Choose another --out, or move them away.",
                )
                for resume in (False, True)
            ),
        ],
    )
    def test_what_is_there_decides(
        self, folder: RunFolder, file: str | None, resume: bool, said: str | None
    ) -> None:
        if file:
            (folder.path / file).touch()
        args = asked("--out", folder.path)
        args.resume = resume

        if said is None:
            train._refuse_to_overwrite(args, folder, Process())
            return
        with pytest.raises(RunFolderError) as refused:
            train._refuse_to_overwrite(args, folder, Process())

        assert str(refused.value) == f"{folder.path} holds {said.format(out=folder.path)}"

    @pytest.mark.parametrize(
        ("restarted", "launch", "taken"),
        [(True, "the third", True), (True, "another", False), (False, "the third", False)],
    )
    def test_torchrun_goes_on_with_what_it_began(
        self, folder: RunFolder, restarted: bool, launch: str, taken: bool
    ) -> None:
        saved = replace(course_of().checkpoint(), launch="the third")
        checkpoint.save(folder.checkpoint, saved)
        process = Process()
        process.restarted, process.launch = restarted, launch
        args = asked("--out", folder.path)

        if taken:
            train._refuse_to_overwrite(args, folder, process)
            return
        with pytest.raises(RunFolderError, match="holds an unfinished training"):
            train._refuse_to_overwrite(args, folder, process)

    def test_restart_does_not_overwrite_what_is_finished(self, folder: RunFolder) -> None:
        folder.result.touch()
        process = Process()
        process.restarted = True

        with pytest.raises(RunFolderError, match="holds a finished training"):
            train._refuse_to_overwrite(asked("--out", folder.path), folder, process)


class TestGiven:
    ALL = (
        "--epochs 1 --batch-size 2 --lr 0.5 --momentum 0 --width 3 --device cpu --workers 0 "
        "--seed 0 --feed loader --fast"
    )

    def test_settings_are_those_that_were_given(self) -> None:
        assert train._given(asked()) == {}
        assert train._given(asked(*self.ALL.split())) == {
            "epochs": 1,
            "batch_size": 2,
            "lr": 0.5,
            "momentum": 0.0,
            "width": 3,
            "device": "cpu",
            "workers": 0,
            "seed": 0,
            "feed": "loader",
            "fast": True,
        }

    def test_folder_is_kept_from_the_root_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)

        assert train._given(asked("--data", "there")) == {"data": str(tmp_path / "there")}

    @pytest.mark.parametrize("mirror", [(), ("--mirror", "http://m/")], ids=["", "mirror"])
    def test_download_goes_to_its_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: tuple[str, ...]
    ) -> None:
        fetch, shown = noted(Path("data")), noted("shown")
        monkeypatch.setattr(download, "fetch", fetch)
        monkeypatch.setattr(download_command, "shown", shown)
        monkeypatch.chdir(tmp_path)

        given = train._given(asked("--download", *mirror))

        assert given == {"data": str(tmp_path / "data")}
        told = {"mirror": mirror[1] if mirror else None, "progress": "shown"}
        assert fetch.calls == [("data", told)]
        assert shown.calls == [(sys.stderr,)]

    def test_mirror_alone_says_nothing(self) -> None:
        with pytest.raises(BlitzError) as refused:
            train._given(asked("--mirror", "http://m/"))

        assert str(refused.value) == "--mirror says where --download fetches from: give both."


class TestCourse:
    def test_new_one_is_at_its_beginning(self, folder: RunFolder) -> None:
        prepared = prepared_of(course_of(seed=3))._replace(digest="known")

        course = train._course(prepared, folder, SECOND)

        assert (course.settings, course.processes) == (prepared.settings, SECOND)
        assert (course.images_digest, course.images, course.done) == ("known", 60, 0)

    def test_saved_one_stands_where_it_stood(self, folder: RunFolder) -> None:
        other = course_of()
        other.losses.add(0.5)

        course = train._course(prepared_of(other, other.checkpoint()), folder, Process())

        assert course.done == 1

    def test_saved_one_on_other_images_is_refused(self, folder: RunFolder) -> None:
        other = course_of()
        prepared = prepared_of(other, replace(other.checkpoint(), images="others"))

        with pytest.raises(CheckpointError) as refused:
            train._course(prepared, folder, Process())

        assert str(refused.value).startswith(f"{folder.checkpoint}: its training had other images")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What pictures are drawn of; instead of a picture there is its number of arguments."""
    drawn: dict[str, Any] = {}

    def of(name: str) -> Callable[..., Any]:
        def draw(*given: Any) -> int:
            drawn[name] = given
            return len(given)

        return draw

    for name in ("sample_grid", "loss_curve", "class_bars"):
        monkeypatch.setattr(plots, name, of(name))
    monkeypatch.setattr(plots, "png", lambda count: f"a picture of {count}".encode())
    return drawn


class TestBegin:
    def test_checkpoint_is_there_before_anything_is_said(
        self, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        course, images = course_of(), images_of(30)

        def introduce(*given: Any) -> None:
            assert given == (course, images, folder)
            assert checkpoint.load(folder.checkpoint).images == course.images_digest

        monkeypatch.setattr(train, "_introduce", introduce)

        train._begin(course, images, folder)

        assert folder.checkpoint.exists()

    SETTINGS = (
        "settings: 2 x 1,000 batches of 2, learning rate 0.001, momentum 0.9, width 6, seed 0\n"
    )
    SOME = "some images: plane   car  bird   cat\n"

    def test_says_what_is_trained_and_shows_some_images(
        self, folder: RunFolder, drawn: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        images, course = images_of(30), course_of(2000, batch_size=2)

        train._introduce(course, images, folder)

        assert capsys.readouterr().out == (
            f"device: cpu; feed: resident, since {course.feed.why}\n{self.SETTINGS}{self.SOME}"
        )
        shown, labels = drawn["sample_grid"]
        whole = data.normalized(images).tensors
        assert torch.equal(shown, whole[0][:24])
        assert torch.equal(labels, whole[1][:24])
        assert os.listdir(folder.path) == ["samples.png"]

    def test_says_how_many_train_and_what_is_done(
        self, folder: RunFolder, drawn: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        course = course_of(2000, processes=FIRST, batch_size=2)
        course.losses.running.epoch, course.losses.running.batches = 2, 234

        train._introduce(course, images_of(30), folder)

        assert capsys.readouterr().out == (
            f"device: 2 processes, the first on cpu; feed: resident, since {course.feed.why}\n"
            f"{self.SETTINGS}going on after 1,234 of 2,000 batches\n{self.SOME}"
        )

    def test_is_said_at_once(
        self, folder: RunFolder, drawn: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = noted()
        monkeypatch.setattr(train, "print", said, raising=False)

        train._introduce(course_of(), images_of(30), folder)

        assert said.calls[-1] == (self.SOME.strip(), {"flush": True})

    def test_source_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "train").mkdir()

        assert train._source(Settings()) == data.describe(None)
        assert train._source(Settings(data=str(tmp_path))) == f"the class folders in {tmp_path}"

    def test_first_images_are_of_the_same_origin(self) -> None:
        images = images_of(30)

        first = train._first(images, 3)

        assert (first.items == images.items[:3]).all()
        assert (first.labels, first.origin) == ([0, 1, 2], "ours")


class Course:
    """A training of 4 batches that takes none; a second goes by with each pair of them."""

    batches, images, seconds = 4, 4000, 2.0

    def __init__(self, clock: Any, processes: Any = None, signal: int | None = None) -> None:
        self.clock, self.signal = clock, signal
        self.processes = processes or Process()
        self.done = 0

    def chunks(self) -> Iterator[list[Report]]:
        for done in range(2, self.batches + 1, 2):
            self.done = done
            self.clock[0] += 1.0
            if self.signal is not None:
                os.kill(os.getpid(), self.signal)
            yield [Report(1, self.done, 0.5)]

    def checkpoint(self) -> Any:
        return f"after {self.done}"


class Bar:
    """Notes what is shown of a training."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.notes: list[Any] = [(given, named)]

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.notes.append("away")

    def line(self, text: str) -> None:
        self.notes.append(text)

    def update(self, done: int) -> None:
        self.notes.append(done)


class TestTrain:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        now = [100.0]
        monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=lambda: now[0]))
        return now

    @pytest.fixture
    def saved(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        save = noted()
        monkeypatch.setattr(checkpoint, "save", save)
        return save.calls

    @pytest.fixture
    def shown(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What the bar is told."""
        bars: list[Any] = []

        def bar(*given: Any, **named: Any) -> Bar:
            made = Bar(*given, **named)
            bars.append(made.notes)
            return made

        monkeypatch.setattr(progress, "Bar", bar)
        return bars

    def test_shows_the_way_to_the_end(
        self,
        folder: RunFolder,
        clock: list[float],
        saved: list[Any],
        shown: list[Any],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        course: Any = Course(clock)

        assert train._train(asked(), course, folder) is None

        reports = ["[1,     2] loss: 0.500", 2, "[1,     4] loss: 0.500", 4]
        assert shown == [[((4, "batches", 0), {"stream": sys.stderr}), *reports, "away"]]
        assert saved == [(folder.checkpoint, "after 4")]
        assert capsys.readouterr().out == "training took 2 s: 2,000 images/s\n"

    def test_bar_begins_where_the_training_stands(
        self, folder: RunFolder, clock: list[float], saved: list[Any], shown: list[Any]
    ) -> None:
        course: Any = Course(clock)
        course.done = 3

        train._train(asked(), course, folder)

        assert shown[0][0][0] == (4, "batches", 3)

    def test_time_is_said_at_once(
        self,
        folder: RunFolder,
        clock: list[float],
        saved: list[Any],
        shown: list[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        said, course = noted(), Course(clock)
        monkeypatch.setattr(train, "print", said, raising=False)

        train._train(asked(), course, folder)

        assert said.calls == [("training took 2 s: 2,000 images/s", {"flush": True})]

    @pytest.mark.parametrize(
        ("every", "places"),
        [("0", [2, 4, 4]), ("0.9", [2, 4, 4]), ("1", [2, 4, 4]), ("1.5", [4, 4]), ("2.5", [4])],
    )
    def test_checkpoints_come_as_often_as_asked_for(
        self,
        folder: RunFolder,
        clock: list[float],
        saved: list[Any],
        shown: list[Any],
        every: str,
        places: list[int],
    ) -> None:
        course: Any = Course(clock)

        train._train(asked("--checkpoint-every", every), course, folder)

        assert saved == [(folder.checkpoint, f"after {done}") for done in places]

    def test_time_to_the_next_checkpoint_counts_from_the_one_before(
        self, folder: RunFolder, clock: list[float], saved: list[Any], shown: list[Any]
    ) -> None:
        course: Any = Course(clock)
        course.batches = 10

        train._train(asked("--checkpoint-every", "1.5"), course, folder)

        assert saved == [(folder.checkpoint, f"after {done}") for done in (4, 8, 10)]

    def test_another_shows_and_saves_nothing(
        self, folder: RunFolder, clock: list[float], saved: list[Any], shown: list[Any]
    ) -> None:
        course: Any = Course(clock, SECOND)

        assert train._train(asked("--checkpoint-every", "0"), course, folder) is None

        assert saved == []
        assert shown[0][0][1] == {"stream": sys.stdout}  # which is silent in the others

    @pytest.mark.parametrize("leads", [True, False], ids=["first", "another"])
    @pytest.mark.parametrize("from_another", [True, False], ids=["told", "signalled"])
    def test_signal_to_one_stops_all_after_the_same_batch(
        self,
        folder: RunFolder,
        clock: list[float],
        saved: list[Any],
        shown: list[Any],
        capsys: pytest.CaptureFixture[str],
        leads: bool,
        from_another: bool,
    ) -> None:
        number = signal.SIGTERM
        process = Process(0 if leads else 1, 2, number if from_another else 0)
        course: Any = Course(clock, process, None if from_another else number)

        assert train._train(asked(), course, folder) == number

        assert shown[0][-2:] == [2, "away"]
        assert saved == ([(folder.checkpoint, "after 2")] if leads else [])
        assert capsys.readouterr().out == ""


class TestTrainAndKeep:
    @pytest.fixture
    def steps(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        """Give the training and the test an outcome each; both are noted."""

        def steps(trained: Any = None, kept: Any = 55.0) -> Any:
            both = noted(trained), noted(kept)
            monkeypatch.setattr(train, "_train", both[0])
            monkeypatch.setattr(train, "_keep", both[1])
            return both

        return steps

    def test_what_was_trained_is_tested_and_judged(
        self, folder: RunFolder, steps: Callable[..., Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        trained, kept = steps()
        course, args = course_of(), asked("--at-least", "55.5")
        prepared = prepared_of(course)

        assert train._train_and_keep(args, course, prepared, folder) == 1

        assert trained.calls == [(args, course, folder)]
        assert kept.calls == [(course, prepared, folder)]
        assert capsys.readouterr().err == (
            "the accuracy is 55.0 %, less than the 55.5 % asked for\n"
        )
        assert train._train_and_keep(asked(), course, prepared, folder) == 0

    def test_what_was_stopped_is_not_tested(
        self, folder: RunFolder, steps: Callable[..., Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, kept = steps(trained=signal.SIGTERM)
        folder.checkpoint.touch()
        course = course_of()

        code = train._train_and_keep(
            asked("--out", folder.path), course, prepared_of(course), folder
        )

        assert (code, kept.calls) == (143, [])
        assert capsys.readouterr().err == (
            "interrupted; all is saved. Go on with:\n"
            f"  python -m blitz train --out {folder.path} --resume\n"
        )

    @pytest.mark.parametrize(
        ("process", "said"),
        [(Process(), "error: too far\n"), (FIRST, "error: too far\n"), (SECOND, "")],
        ids=["alone", "first", "second"],
    )
    def test_loss_that_is_no_number_is_said_by_the_first(
        self,
        folder: RunFolder,
        steps: Callable[..., Any],
        capsys: pytest.CaptureFixture[str],
        process: Process,
        said: str,
    ) -> None:
        steps(trained=Diverged("too far"))
        course = course_of(processes=process)

        assert train._train_and_keep(asked(), course, prepared_of(course), folder) == 1

        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("", said)

    @pytest.mark.parametrize("kind", [CheckpointError, RunFolderError, WeightsError])
    def test_disk_that_is_full_is_said_and_how_to_go_on(
        self,
        folder: RunFolder,
        steps: Callable[..., Any],
        capsys: pytest.CaptureFixture[str],
        kind: type[Exception],
    ) -> None:
        steps(kept=kind("the disk is full"))
        course = course_of()

        assert train._train_and_keep(asked("--out", "o"), course, prepared_of(course), folder) == 1

        assert capsys.readouterr().err == (
            "error: the disk is full\nThen go on with: python -m blitz train --out o --resume\n"
        )

    @pytest.mark.parametrize(
        ("limit", "code"), [((), 0), (("--at-least", "50"), 0), (("--at-least", "50.1"), 1)]
    )
    def test_accuracy_has_to_be_what_was_asked_for(
        self, capsys: pytest.CaptureFixture[str], limit: tuple[str, ...], code: int
    ) -> None:
        assert train._judged(asked(*limit), 50.0) == code

        assert bool(capsys.readouterr().err) == bool(code)


class TestKeep:
    def test_figures_are_shown_before_files_are_written(
        self,
        folder: RunFolder,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        course = course_of(processes=FIRST)
        prepared = prepared_of(course)
        evaluate, said = noted(TWO_CLASSES), noted()
        written: list[Any] = []

        def write(*given: Any) -> None:
            assert given[:2] == (course, prepared)
            assert torch.equal(given[2].tensors[0], data.normalized(prepared.test).tensors[0])
            assert given[3:] == (TWO_CLASSES, folder)
            assert len(said.calls) == 1
            written.append(given)

        monkeypatch.setattr(distributed, "evaluate", evaluate)
        monkeypatch.setattr(train, "_write", write)
        monkeypatch.setattr(train, "print", said, raising=False)

        assert train._keep(course, prepared, folder) == 25.0

        assert len(written) == 1
        ((net, test, processes),) = evaluate.calls
        assert (net, processes, len(test)) == (course.net, FIRST, 4)
        assert said.calls == [
            (TWO_CLASSES.line(), *TWO_CLASSES.class_lines(), {"sep": "\n", "flush": True})
        ]

    def test_all_there_is_is_written(
        self, folder: RunFolder, drawn: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        course = course_of()
        course.seconds = 2.0
        course.losses.reports = [Report(1, 8, 0.5, True)]
        course.losses.curve = [Report(1, 1, 0.25)]
        prepared = prepared_of(course, test=30)
        test = data.normalized(prepared.test)
        folder.checkpoint.touch()

        train._write(course, prepared, test, TWO_CLASSES, folder)

        assert capsys.readouterr().out == (
            f"in {folder.path}: model.pt, result.json, samples.png, predictions.png, loss.png, "
            "classes.png\n"
        )
        files = {"model.pt", "result.json", "predictions.png", "loss.png", "classes.png"}
        assert set(os.listdir(folder.path)) == files
        loaded = weights.load(folder.model, width=None)
        assert torch.equal(loaded.fc3.bias, course.net.fc3.bias)
        record = run_record.of(course, prepared.train, prepared.test, TWO_CLASSES)
        assert folder.result.read_bytes() == run_record.content(record)
        images, labels, answers = drawn["sample_grid"]
        assert torch.equal(images, test.tensors[0][:24])
        assert torch.equal(labels, test.tensors[1][:24])
        assert torch.equal(answers, evaluation.predict(course.net, images))
        assert drawn["loss_curve"] == (course.losses.reports, course.losses.curve, 8)
        assert drawn["class_bars"] == (TWO_CLASSES,)
        for name, count in (("predictions", 3), ("loss", 3), ("classes", 1)):
            assert (folder.path / f"{name}.png").read_bytes() == f"a picture of {count}".encode()

    def test_result_comes_last_but_for_the_checkpoint(
        self, folder: RunFolder, drawn: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        course = course_of()
        prepared = prepared_of(course)
        order: list[str] = []
        monkeypatch.setattr(weights, "save", lambda *_: order.append("model.pt"))
        monkeypatch.setattr(RunFolder, "write", lambda _, name, content: order.append(name))
        monkeypatch.setattr(RunFolder, "drop_checkpoint", lambda _: order.append("dropped"))

        train._write(course, prepared, data.normalized(prepared.test), TWO_CLASSES, folder)

        pictures = ["predictions.png", "loss.png", "classes.png"]
        assert order == ["model.pt", *pictures, "result.json", "dropped"]

    def test_without_matplotlib_only_the_rest_is_named(
        self,
        folder: RunFolder,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        course = course_of()
        prepared = prepared_of(course)
        monkeypatch.setattr(plots, "sample_grid", noted(plots.NoMatplotlib("no matplotlib here")))

        train._write(course, prepared, data.normalized(prepared.test), TWO_CLASSES, folder)

        assert capsys.readouterr().out == (
            "no predictions.png, no loss.png, no classes.png: no matplotlib here\n"
            f"in {folder.path}: model.pt, result.json\n"
        )

    def test_missing_matplotlib_is_said_at_once(
        self, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = noted()
        monkeypatch.setattr(train, "print", said, raising=False)
        fault = plots.NoMatplotlib("none here")

        assert train._draw(folder, {"a.png": noted(fault), "b.png": noted()}) == []

        assert said.calls == [("no a.png, no b.png: none here", {"flush": True})]


class TestAlreadyFinished:
    RECORD = {  # noqa: RUF012
        "settings": {
            **{k: v for k, v in vars(Settings(data="there")).items() if k != "device"},
            "feed": "resident",
        },
        "device": "cpu",
        "data": {"train": {"digest": "d"}},
        "accuracy": 51.25,
    }

    @pytest.mark.parametrize(
        ("limit", "code", "said"),
        [("51", 0, ""), ("52", 1, "the accuracy is 51.2 %, less than the 52 % asked for\n")],
    )
    def test_accuracy_is_said_and_judged(
        self,
        folder: RunFolder,
        capsys: pytest.CaptureFixture[str],
        limit: str,
        code: int,
        said: str,
    ) -> None:
        folder.result.write_bytes(run_record.content(self.RECORD))
        folder.checkpoint.touch()
        args = asked("--at-least", limit)

        assert train._already_finished(args, {"seed": 0, "device": "cpu"}, folder) == code

        printed = capsys.readouterr()
        assert printed.out == (
            f"{folder.path} holds the whole of this training: 51.2 % of the test images named "
            "right. There is nothing left to do.\n"
        )
        assert printed.err == said
        assert os.listdir(folder.path) == ["result.json"]

    def test_other_settings_are_refused(self, folder: RunFolder) -> None:
        folder.result.write_bytes(run_record.content(self.RECORD))

        with pytest.raises(CheckpointError) as refused:
            train._already_finished(asked(), {"seed": 1}, folder)

        assert str(refused.value).startswith(f"{folder.result}: its training has other settings")
        assert "--seed 1 (there: 0)" in str(refused.value)


class TestHowToGoOn:
    EACH = (
        "--data 'my images' --epochs 1 --batch-size 2 --lr 0.5 --momentum 0.25 --width 3 "
        "--device cpu --workers 0 --seed 0 --feed loader --fast"
    )

    @pytest.mark.parametrize(
        ("words", "command"),
        [
            ("", "--out blitz-run --resume"),
            (f"{EACH} --out 'my net' --at-least 3", f"--out 'my net' {EACH} --resume"),
            ("--download", "--out blitz-run --download --resume"),
            ("--download --mirror U", "--out blitz-run --mirror U --download --resume"),
            ("--resume --hang-limit 3", "--out blitz-run --resume"),
        ],
    )
    def test_settings_are_repeated_in_the_words_of_a_shell(
        self, monkeypatch: pytest.MonkeyPatch, words: str, command: str
    ) -> None:
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)

        again = train._command(asked(*shlex.split(words)))

        assert again == f"python -m blitz train {command}"

    @pytest.mark.parametrize(
        ("beside", "started"),
        [(None, ["python"]), ("1", ["python"]), ("2", ["torchrun", "--nproc-per-node", "2"])],
    )
    def test_several_are_started_by_torchrun(
        self, monkeypatch: pytest.MonkeyPatch, beside: str | None, started: list[str]
    ) -> None:
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
        if beside:
            monkeypatch.setenv("LOCAL_WORLD_SIZE", beside)

        assert train._started_by() == started
        assert train._command(asked()).startswith(" ".join([*started, "-m", "blitz", "train"]))

    @pytest.mark.parametrize("trained", [True, False])
    @pytest.mark.parametrize("process", [Process(), SECOND], ids=["first", "another"])
    def test_interrupted_one_says_what_is_saved(
        self,
        folder: RunFolder,
        capsys: pytest.CaptureFixture[str],
        trained: bool,
        process: Process,
    ) -> None:
        if trained:
            folder.checkpoint.touch()

        assert train._stopped(asked("--out", "o"), folder, signal.SIGINT, process) == 130

        kept = "all is saved" if trained else "nothing was trained yet"
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err == (
            f"interrupted; {kept}. Go on with:\n  python -m blitz train --out o --resume\n"
            if process.leads
            else ""
        )
