"""The frame of ``python -m blitz``: commands, exit codes, and readers that leave."""

import importlib
import runpy
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from blitz import __main__ as command_line
from blitz.base.errors import BlitzError
from blitz.commands import gaps


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_every_command_explains_itself(name: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main([name, "--help"])

    assert ended.value.code == 0
    module = importlib.import_module(f"blitz.commands.{name.replace('-', '_')}")
    shown = capsys.readouterr().out
    assert module.__doc__.strip() in shown
    assert shown.endswith(command_line.EXIT_CODES)


def test_first_help_lists_the_commands(wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command_line.main(["--help"])

    shown = " ".join(capsys.readouterr().out.split())
    assert "spec run the specification" in shown
    for name, purpose in command_line.COMMANDS.items():
        assert f"{name} {purpose}" in shown


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal on which no help is broken into more lines."""
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("learn", "argument COMMAND: invalid choice: 'learn'"),
        ("test", "the following arguments are required: --model"),
        ("predict --model M", "the following arguments are required: IMAGE"),
        ("predict a.png", "the following arguments are required: --model"),
        ("compare a", "the following arguments are required: B.json"),
        ("train --data D --download", "argument --download: not allowed with argument --data"),
        ("train --feed other", "argument --feed: invalid choice: 'other'"),
        ("doctor --preflight-limit 0", "argument --preflight-limit: '0': give more than 0 s"),
        *(
            (f"train {option} {number}", f"argument {option}: '{number}': give ")
            for option, number in [
                *(("--hang-limit", -1), ("--epochs", 0), ("--batch-size", 0), ("--width", 0)),
                *(("--workers", -1), ("--seed", -1), ("--lr", 0), ("--momentum", 1)),
                ("--at-least", 101),
            ]
        ),
    ],
)
def test_what_is_wrong_with_the_options_is_said(
    wide: None, capsys: pytest.CaptureFixture[str], words: str, fault: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line.main(words.split())

    assert f"error: {fault}" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from blitz.__main__ import parser; parser().format_help(); "
        "print([m for m in ('torch', 'torchvision', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"


def test_module_is_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["blitz", "compare", str(tmp_path / "1"), str(tmp_path / "2")])

    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(command_line.__file__, run_name="__main__")

    assert capsys.readouterr().err.startswith(f"error: {tmp_path / '1'}: ")


def test_reader_that_leaves_is_told_in_a_line_not_a_traceback() -> None:
    code = (
        "import sys; from blitz import __main__ as m; from blitz.commands import gaps\n"
        "def run(args):\n"
        "    while True: print('x' * 1000, flush=True)\n"
        "gaps.run = run\n"
        "sys.exit(m.main(['gaps', 'A.json']))\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    writer.stdout.readline()
    writer.stdout.close()

    said = writer.stderr.read()
    assert writer.wait() == command_line.FAILED
    assert said.splitlines() == ["error: output pipe closed"]
    writer.stderr.close()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BlitzError("file f: it is damaged"), 2, "error: file f: it is damaged\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ZeroDivisionError(), None, ""),
    ],
    ids=["unusable", "interrupted", "nobody's to mend"],
)
def test_error_that_a_user_can_mend_is_a_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int | None,
    said: str,
) -> None:
    def run(args: Any) -> None:
        raise error

    monkeypatch.setattr(gaps, "run", run)

    with pytest.raises(ZeroDivisionError) if code is None else nullcontext():
        assert command_line.main(["gaps", "A.json"]) == code

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", said)
