"""The bar on a terminal, and no bar where there is none."""

import io
import sys
from typing import Any

import pytest

from blitz.base.progress import Bar


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _xterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def test_shows_how_much_is_done() -> None:
    stream = Terminal()
    with Bar(1000, "batches", done=250, stream=stream) as bar:
        bar.update(750)
        bar._bar.refresh()

    drawn = stream.getvalue().split("\r")
    assert "25%" in drawn[1]
    assert "750/1000" in "".join(drawn)
    assert drawn[-1].strip() == ""


def test_lines_stand_above_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(2, "batches", stream=Terminal()) as bar:
        bar.line("loss: 2.3")

    assert capsys.readouterr().out == "loss: 2.3\n"


def test_bytes_are_counted_in_thousands_and_millions() -> None:
    stream = Terminal()
    with Bar(170_000_000, "B", done=85_000_000, stream=stream, bytes=True):
        pass

    assert "85.0M/170M" in stream.getvalue()


@pytest.mark.parametrize("lack", ["terminal", "cursor", "tqdm"])
def test_without_a_terminal_or_tqdm_there_are_lines_alone(
    lack: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream: Any = io.StringIO() if lack == "terminal" else Terminal()
    monkeypatch.setenv("TERM", "dumb" if lack == "cursor" else "xterm")
    if lack == "tqdm":
        monkeypatch.setitem(sys.modules, "tqdm", None)

    with Bar(2, "batches", stream=stream) as bar:
        bar.update(1)
        bar.line("loss: 2.3")

    assert stream.getvalue() == ""
    assert capsys.readouterr().out == "loss: 2.3\n"
