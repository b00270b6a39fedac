"""The bar on a terminal, and no bar where there is none."""

import io
import subprocess
import sys

import pytest

from blitz.base import progress
from tests.conftest import Terminal


@pytest.fixture(autouse=True)
def _xterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def test_shows_how_much_is_done() -> None:
    stream = Terminal()
    with progress.bar(1000, "batches", 250, file=stream) as bar:
        bar.update(500)
        bar.refresh()

    drawn = stream.getvalue().split("\r")
    assert "25%" in drawn[1]
    assert "750/1000" in "".join(drawn)
    assert drawn[-1].strip() == ""


@pytest.mark.parametrize("lack", ["terminal", "cursor", "wish"])
def test_without_a_terminal_there_are_lines_alone(
    lack: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO() if lack == "terminal" else Terminal()
    monkeypatch.setenv("TERM", "dumb" if lack == "cursor" else "xterm")

    with progress.bar(2, "batches", shown=lack != "wish", file=stream) as bar:
        bar.update(1)
        progress.line("loss: 2.3")

    assert stream.getvalue() == ""
    assert capsys.readouterr().out == "loss: 2.3\n"


def test_without_tqdm_there_are_lines_alone() -> None:
    code = "import sys; sys.modules['tqdm'] = None\nfrom blitz.base import progress\n"
    code += "with progress.bar(2, 'batches') as bar:\n    bar.update(1); progress.line('loss: 2.3')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.returncode, done.stdout, done.stderr) == (0, "loss: 2.3\n", "")
