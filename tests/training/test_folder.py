"""The folder of a training: what it holds, and that one training writes there."""

import os
import signal
import time
import warnings
from pathlib import Path

import pytest

from blitz.base.files import WriteError
from blitz.training.folder import Content, RunFolder, RunFolderError


@pytest.mark.parametrize(
    ("files", "content"),
    [
        ("", Content.NOTHING),
        ("notes.txt", Content.NOTHING),
        ("checkpoint.pt", Content.UNFINISHED),
        ("checkpoint.pt model.pt loss.png", Content.UNFINISHED),
        ("checkpoint.pt result.json", Content.FINISHED),
        ("result.json", Content.FINISHED),
        *((name, Content.OTHER) for name in ("model.pt", *RunFolder.PICTURES)),
    ],
)
def test_what_is_there_tells_how_far_it_came(tmp_path: Path, files: str, content: Content) -> None:
    for name in files.split():
        (tmp_path / name).touch()

    assert RunFolder(tmp_path).content() is content


def test_file_is_written_in_the_place_of_the_former(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))

    folder.write("a.txt", b"former")
    folder.write("a.txt", b"new")

    assert (tmp_path / "a.txt").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"a\.txt: a\.txt cannot be written there: No such file"):
        RunFolder(tmp_path / "none").write("a.txt", b"")


def test_checkpoint_is_dropped_if_there_is_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoint.touch()

    folder.drop_checkpoint()
    folder.drop_checkpoint()

    assert os.listdir(tmp_path) == []


class TestHeld:
    def test_folder_is_made_and_removed_if_it_stays_empty(self, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path / "a" / "b")

        with folder.held():
            assert folder.path.is_dir()

        assert not folder.path.exists()

    def test_folder_that_was_there_stays(self, tmp_path: Path) -> None:
        with RunFolder(tmp_path).held():
            pass

        assert tmp_path.is_dir()

    def test_what_was_written_stays(self, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path / "a")

        with folder.held():
            folder.write("a.txt", b"new")

        assert sorted(os.listdir(folder.path)) == [".lock", "a.txt"]

    def test_second_training_is_refused_and_sweeps_nothing(self, tmp_path: Path) -> None:
        half = tmp_path / f".{'0' * 32}.part"
        half.touch()

        with RunFolder(tmp_path).held():
            assert not half.exists()
            half.touch()
            with pytest.raises(RunFolderError) as refused, RunFolder(tmp_path).held():
                pass
            assert half.exists()

        assert str(refused.value) == (
            f"another training is writing to {tmp_path}. Wait for it, or choose another --out."
        )
        with RunFolder(tmp_path).held():
            assert not half.exists()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
    def test_forked_worker_does_not_keep_the_lock(self, tmp_path: Path) -> None:
        ready, report = os.pipe()
        with warnings.catch_warnings(), RunFolder(tmp_path).held():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside torch's threads
            child = os.fork()
            if not child:
                os.write(report, b"!")
                time.sleep(60)
                os._exit(0)
            assert os.read(ready, 1) == b"!"
        try:
            with RunFolder(tmp_path).held():
                pass
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    def test_file_in_its_place_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "out"

        with pytest.raises(RunFolderError) as refused, RunFolder(path).held():
            pass

        assert str(refused.value) == (
            f"{path} cannot be made or written to: Not a directory. Choose another --out."
        )
