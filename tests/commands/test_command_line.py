"""The frame of ``python -m blitz``: commands, exit codes, and readers that leave."""

import importlib
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blitz import __main__ as command_line
from blitz.base.errors import BlitzError


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
        ("train --hang-limit -1", "argument --hang-limit: '-1': give 0 seconds or more"),
        (
            "doctor --preflight-limit 0",
            "argument --preflight-limit: '0': give more than 0 seconds",
        ),
        *(
            (f"train {option} {number}", f"argument {option}: '{number}': give a")
            for option, number in [
                ("--epochs", "0"),
                ("--batch-size", "0"),
                ("--width", "0"),
                ("--workers", "-1"),
                ("--seed", "-1"),
                ("--lr", "0"),
                ("--momentum", "1"),
                ("--at-least", "101"),
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
        "import sys, types; from blitz import __main__ as m\n"
        "def run(asked):\n"
        "    while True: print('x' * 1000, flush=True)\n"
        "m.parser = lambda: types.SimpleNamespace(\n"
        "    parse_args=lambda _: types.SimpleNamespace(run=run))\n"
        "sys.exit(m.main([]))\n"
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


class Failed(BlitzError):
    exit_code = 1


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], int]:
    """Run the command line with a command that returns something or raises it."""

    def command(outcome: Any) -> int:
        def run(args: Any) -> Any:
            assert args.words == ["some", "words"]
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        def parse_args(words: Any) -> Any:
            return SimpleNamespace(words=words, run=run)

        monkeypatch.setattr(command_line, "parser", lambda: SimpleNamespace(parse_args=parse_args))
        return command_line.main(["some", "words"])

    return command


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (0, 0, ""),
        (143, 143, ""),
        (BlitzError("file f: it is damaged"), 2, "error: file f: it is damaged\n"),
        (Failed("no answer"), 1, "error: no answer\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
    ids=["done", "code", "unusable", "failed", "interrupted"],
)
def test_ends_with_the_commands_code_or_says_the_error_in_a_line(
    command: Callable[[Any], int],
    capsys: pytest.CaptureFixture[str],
    outcome: Any,
    code: int,
    said: str,
) -> None:
    assert command(outcome) == code

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", said)


def test_error_that_nobody_can_mend_keeps_its_traceback(command: Callable[[Any], int]) -> None:
    with pytest.raises(ZeroDivisionError):
        command(ZeroDivisionError())
