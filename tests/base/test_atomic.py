"""Files that appear whole or not at all."""

import os
from pathlib import Path

import pytest

from blitz.base import files as atomic

PART = f".{'0123456789abcdef' * 2}.part"


class TestWrite:
    def test_replaces_what_was_there(self, tmp_path: Path) -> None:
        for content in (b"before", b"after"):
            atomic.write(tmp_path / "file", content)

        assert (tmp_path / "file").read_bytes() == b"after"
        assert os.listdir(tmp_path) == ["file"]

    def test_path_may_be_a_string(self, tmp_path: Path) -> None:
        atomic.write(str(tmp_path / "file"), b"content")

        assert (tmp_path / "file").read_bytes() == b"content"

    def test_is_on_the_disk_before_it_has_its_name(
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

        atomic.write(tmp_path / "file", b"content")

        file, folder = os.stat(tmp_path / "file").st_ino, os.stat(tmp_path).st_ino
        assert steps[:2] == [("flushed", file, 7), ("renamed", file, 7)]
        assert [step[:2] for step in steps[2:]] == [("flushed", folder)]

    def test_system_that_opens_no_folders_will_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "open", refuse)

        atomic.write(tmp_path / "file", b"content")

        assert (tmp_path / "file").read_bytes() == b"content"

    def test_leaves_nothing_where_it_fails(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()

        with pytest.raises(OSError, match="directory"):
            atomic.write(tmp_path / "folder", b"content")

        assert os.listdir(tmp_path) == ["folder"]

    def test_leaves_no_handle_open(self, tmp_path: Path) -> None:
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

        for number in range(5):
            atomic.write(tmp_path / str(number), b"content")

        after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        assert after == before


class TestSweep:
    def test_removes_what_killed_writers_left_and_nothing_else(self, tmp_path: Path) -> None:
        others = ["file", "file.part", PART[1:], f"{PART}.txt", f"x{PART}"]
        for name in (PART, *others):
            (tmp_path / name).write_text("")

        atomic.sweep(tmp_path)

        assert sorted(os.listdir(tmp_path)) == sorted(others)

    def test_knows_the_names_that_writers_give_each_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        beside: list[Path] = []
        with monkeypatch.context() as watched:
            watched.setattr(os, "replace", lambda source, path: beside.append(source))
            for _ in range(2):
                atomic.write(tmp_path / "file", b"content")
        assert len(set(beside)) == 2
        for path in beside:
            path.write_bytes(b"left")

        atomic.sweep(tmp_path)

        assert os.listdir(tmp_path) == []

    def test_passes_over_what_cannot_be_removed(self, tmp_path: Path) -> None:
        (tmp_path / PART).mkdir()
        (tmp_path / PART.replace("0", "f")).write_text("")

        atomic.sweep(tmp_path)

        assert os.listdir(tmp_path) == [PART]
