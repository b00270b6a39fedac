"""Files that appear whole or not at all, and files of tensors that are not trusted."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from blitz.base import files
from blitz.base.errors import BlitzError
from blitz.base.files import WriteError

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
    def test_removes_what_killed_writers_left_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        others = ["file", "file.part", PART[1:], f"{PART}.txt", f"x{PART}"]
        beside: list[Path] = []
        with monkeypatch.context() as watched:
            watched.setattr(os, "replace", lambda source, path: beside.append(source))
            for _ in range(2):
                files.write(tmp_path / "file", b"content")
        for path in (*beside, *(tmp_path / name for name in others)):
            path.write_text("")

        files.sweep(tmp_path)

        assert len(set(beside)) == 2
        assert sorted(os.listdir(tmp_path)) == sorted(others)

    def test_passes_over_what_cannot_be_removed(self, tmp_path: Path) -> None:
        (tmp_path / PART).mkdir()
        (tmp_path / PART.replace("0", "f")).write_text("")

        files.sweep(tmp_path)

        assert os.listdir(tmp_path) == [PART]


class TestReadTensors:
    def test_tensors_of_a_device_that_is_not_there_come_to_the_cpu(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
            (tmp_path / "file").write_bytes(files.dump(torch.arange(3)))

        tensor = files.read_tensors(tmp_path / "file", "a file of weights", "Save it.")

        assert (tensor.device.type, tensor.tolist()) == ("cpu", [0, 1, 2])

    def test_missing_file_is_named_with_fault_and_remedy(self, tmp_path: Path) -> None:
        with pytest.raises(BlitzError) as refused:
            files.read_tensors(tmp_path / "file", "a file of weights", "Save it.")

        said = f"{tmp_path / 'file'}: cannot be read: No such file or directory. Save it."
        assert str(refused.value) == said
