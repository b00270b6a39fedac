"""Files that appear whole or not at all, and files of tensors that are not trusted."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from blitz.base import files
from blitz.base.files import ReadError, WriteError

PART = f".{'0123456789abcdef' * 2}.part"


class TestWrite:
    @pytest.mark.parametrize("kind", [Path, str])
    def test_replaces_what_was_there(self, tmp_path: Path, kind: Any) -> None:
        for content in (b"before", b"after"):
            files.write(kind(tmp_path / "file"), content)

        assert (tmp_path / "file").read_bytes() == b"after"
        assert os.listdir(tmp_path) == ["file"]

    def test_content_is_on_the_disk_before_it_gets_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = []
        flush, rename = os.fsync, os.replace

        def fsync(handle: int) -> None:
            steps.append(("flushed", os.fstat(handle).st_ino, os.fstat(handle).st_size))
            flush(handle)

        def replace(beside: Path, path: Path) -> None:
            steps.append(("renamed", os.stat(beside).st_ino, os.stat(beside).st_size))
            rename(beside, path)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)

        files.write(tmp_path / "file", b"content")

        file, folder = os.stat(tmp_path / "file").st_ino, os.stat(tmp_path).st_ino
        assert steps[:2] == [("flushed", file, 7), ("renamed", file, 7)]
        assert [step[:2] for step in steps[2:]] == [("flushed", folder)]

    def test_works_where_folders_cannot_be_opened(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "open", refuse)

        files.write(tmp_path / "file", b"content")

        assert (tmp_path / "file").read_bytes() == b"content"

    def test_failure_names_the_file_and_leaves_nothing_beside_it(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()

        with pytest.raises(WriteError) as refused:
            files.write(tmp_path / "folder", b"content", "the picture")

        assert str(refused.value).startswith(
            f"{tmp_path / 'folder'}: the picture cannot be written there: Is a directory. An "
        )
        assert os.listdir(tmp_path) == ["folder"]

    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError("full")], ids=repr)
    def test_failure_keeps_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
    ) -> None:
        files.write(tmp_path / "file", b"before")

        def fsync(handle: int) -> None:
            raise error

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(WriteError, match="cannot be written there: full") as refused:
            files.write(tmp_path / "file", b"after")

        assert refused.value.strerror == "full"
        assert (tmp_path / "file").read_bytes() == b"before"
        assert os.listdir(tmp_path) == ["file"]


class TestSweep:
    def test_removes_what_killed_writers_left_and_nothing_else(self, tmp_path: Path) -> None:
        others = ["file", "file.part", PART[1:], f"{PART}.txt", f"x{PART}"]
        for name in (PART, *others):
            (tmp_path / name).write_text("")

        files.sweep(tmp_path)

        assert sorted(os.listdir(tmp_path)) == sorted(others)

    def test_knows_the_names_that_writers_use(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        beside: list[Path] = []
        with monkeypatch.context() as watched:
            watched.setattr(os, "replace", lambda source, path: beside.append(source))
            for _ in range(2):
                files.write(tmp_path / "file", b"content")
        for path in beside:
            path.write_bytes(b"left")

        files.sweep(tmp_path)

        assert len(set(beside)) == 2
        assert os.listdir(tmp_path) == []

    def test_passes_over_what_cannot_be_removed(self, tmp_path: Path) -> None:
        (tmp_path / PART).mkdir()
        (tmp_path / PART.replace("0", "f")).write_text("")

        files.sweep(tmp_path)

        assert os.listdir(tmp_path) == [PART]


class TestTensors:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        content = {"weights": torch.arange(1000.0), "epochs": 3}
        (tmp_path / "t.pt").write_bytes(files.dump(content))
        return tmp_path / "t.pt"

    def test_come_back(self, file: Path) -> None:
        content = files.read_tensors(file, "cpu", "a checkpoint")

        assert content["weights"].tolist() == list(range(1000))
        assert content["epochs"] == 3

    def test_go_to_the_device(self, file: Path) -> None:
        assert files.read_tensors(file, torch.device("meta"), "a checkpoint")["weights"].is_meta

    def test_single_wrong_bit_is_found(self, file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[content.index(torch.arange(1000.0).numpy().tobytes()) + 1234] ^= 1
        file.write_bytes(content)

        with pytest.raises(ReadError, match="not a checkpoint, or a damaged one: the checksum of"):
            files.read_tensors(file, "cpu", "a checkpoint")

    @pytest.mark.parametrize("keep", [0, 1000, -1])
    def test_cut_file_is_refused(self, file: Path, keep: int) -> None:
        file.write_bytes(file.read_bytes()[:keep])

        with pytest.raises(ReadError, match="not a checkpoint, or a damaged one"):
            files.read_tensors(file, "cpu", "a checkpoint")

    def test_code_in_a_file_does_not_run(self, tmp_path: Path) -> None:
        trace, path = tmp_path / "trace", tmp_path / "t.pt"
        torch.save({"more": MakesFolder(trace)}, path)

        with pytest.raises(ReadError, match="nothing of it was run"):
            files.read_tensors(path, "cpu", "a checkpoint")

        assert not trace.exists()
        torch.load(path, weights_only=False)  # the control: the file does run code
        assert trace.exists()

    def test_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ReadError, match=r"^cannot be read: No such file or directory$"):
            files.read_tensors(tmp_path / "none.pt", "cpu", "a checkpoint")


class MakesFolder:
    """Unpickling this makes the folder ``trace``."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)
