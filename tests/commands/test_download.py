"""``python -m blitz download``: what it hands on and prints; images/test_download has the rest."""

from pathlib import Path
from typing import Any

import pytest

from blitz.__main__ import main
from blitz.commands import download as command
from blitz.images import download
from blitz.images.cifar10 import DataError
from blitz.images.download import DownloadError
from tests.clocks import give_clock
from tests.conftest import Terminal


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked for; all of it is there at once."""
    calls: list[Any] = []

    def fetch(root: str, *, mirror: str | None, progress: Any) -> Path:
        calls.append((root, mirror))
        return Path(root)

    monkeypatch.setattr(download, "fetch", fetch)
    return calls


def test_options_are_handed_on(fetched: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download"]) == 0
    assert main(["download", "--out", "D", "--mirror", "http://m/"]) == 0

    assert fetched == [("data", None), ("D", "http://m/")]
    assert capsys.readouterr().out.splitlines()[1] == (
        "The official CIFAR-10 is in D: use it with --data D"
    )


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DownloadError("it failed"), 1, "error: it failed\n"),
        (DataError("no room"), 2, "error: no room\n"),
        (
            KeyboardInterrupt(),
            130,
            "interrupted; what came is kept, and the same command goes on\n",
        ),
    ],
    ids=["failed", "unusable", "interrupted"],
)
def test_what_ends_it_early_is_said(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    def fetch(*given: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr(download, "fetch", fetch)

    assert main(["download"]) == code
    assert capsys.readouterr().err == said


def test_progress_without_a_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    give_clock(monkeypatch, command, monotonic=lambda: now[0])

    with command.shown() as show:
        for now[0], received in [(0.0, 1_000_000), (1.0, 2_000_000), (30.0, 3_000_000)]:
            show(received, "")
        show(3_000_000, "the server fell silent")

    assert capsys.readouterr().out.splitlines() == [
        "1.0 of 170.5 MB",
        "3.0 of 170.5 MB",
        "3.0 of 170.5 MB: the server fell silent",
    ]


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")

    with command.shown() as show:
        show(50_000_000, "")
        show(85_000_000, "the server fell silent")

    assert "50.0M/170M" in stream.getvalue()
    assert "85.0M/170M" in stream.getvalue()
