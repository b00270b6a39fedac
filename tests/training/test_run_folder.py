"""The folder of a training: what lies in it, how it is written to, who may."""

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from blitz.base import files as atomic
from blitz.base import locks
from blitz.training.folder import Content, RunFolder, RunFolderError


def test_files_have_the_names_that_are_promised(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))

    assert folder.path == tmp_path
    files = [folder.checkpoint, folder.model, folder.result]
    assert files == [tmp_path / name for name in ("checkpoint.pt", "model.pt", "result.json")]


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
    folder = RunFolder(tmp_path)

    folder.write("a.txt", b"former")
    folder.write("a.txt", b"new")

    assert (tmp_path / "a.txt").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("error", "fault"),
    [(OSError(errno.ENOSPC, "It is full"), "It is full"), (OSError("odd"), "odd")],
    ids=["strerror", "text"],
)
def test_file_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any, fault: str
) -> None:
    def write(path: object, content: bytes) -> None:
        raise error

    monkeypatch.setattr(atomic, "write", write)

    with pytest.raises(RunFolderError) as refused:
        RunFolder(tmp_path).write("a.txt", b"")

    assert str(refused.value) == (
        f"{tmp_path / 'a.txt'} cannot be written: {fault}. Make room, or choose a folder that you "
        "may write to."
    )


def test_checkpoint_is_dropped_if_there_is_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoint.touch()

    folder.drop_checkpoint()
    folder.drop_checkpoint()

    assert os.listdir(tmp_path) == []


class TestHeld:
    def test_folder_is_made_and_goes_again_if_it_stays_empty(self, tmp_path: Path) -> None:
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

        assert os.listdir(folder.path) == ["a.txt"]

    def test_halves_of_files_are_swept_away(self, tmp_path: Path) -> None:
        (tmp_path / f".{'0' * 32}.part").touch()

        with RunFolder(tmp_path).held():
            assert os.listdir(tmp_path) == []

    @pytest.mark.skipif(sys.platform == "win32", reason="the system has no locks of folders")
    def test_half_of_a_file_that_another_training_writes_is_left_to_it(
        self, tmp_path: Path
    ) -> None:
        half = tmp_path / f".{'0' * 32}.part"

        with RunFolder(tmp_path).held():
            half.touch()
            with pytest.raises(RunFolderError), RunFolder(tmp_path).held():
                pass

            assert half.exists()

    @pytest.mark.skipif(sys.platform == "win32", reason="the system has no locks of folders")
    @pytest.mark.parametrize(
        ("error", "fault"),
        [
            (
                TimeoutError(),
                "another training is writing to {0}. Wait for it, or choose another --out.",
            ),
            (
                PermissionError(errno.EACCES, "It is not yours"),
                "{0} cannot be opened: It is not yours. Choose another --out.",
            ),
            (PermissionError("odd"), "{0} cannot be opened: odd. Choose another --out."),
        ],
        ids=["held", "strerror", "text"],
    )
    def test_folder_that_cannot_be_held_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, fault: str
    ) -> None:
        def held(path: Path, *, deadline: float) -> None:
            assert (path, deadline) == (tmp_path, 0)
            raise error

        monkeypatch.setattr(locks, "held", held)

        with pytest.raises(RunFolderError) as refused, RunFolder(tmp_path).held():
            pass

        assert str(refused.value) == fault.format(tmp_path)

    def test_file_in_its_place_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "out"

        with pytest.raises(RunFolderError) as refused, RunFolder(path).held():
            pass

        assert (
            str(refused.value) == f"{path} cannot be made: Not a directory. Choose another --out."
        )
