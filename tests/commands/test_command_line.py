"""The frame of ``python -m blitz``: commands, exit codes, and readers that leave."""

import importlib
import os
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


def test_unknown_command_ends_with_2_and_names_the_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main(["learn"])

    assert ended.value.code == 2
    assert "'learn'" in capsys.readouterr().err


def help_of(*command: str) -> None:
    with pytest.raises(SystemExit, match="0"):
        command_line.main([*command, "--help"])


def lines_of(shown: str) -> list[str]:
    """The lines of a help, without the columns that they are set in."""
    return [" ".join(line.split()) for line in shown.splitlines() if line.strip()]


EXIT_CODES = [
    "exit codes:",
    "0 it is done, or the answer is yes",
    "1 it failed on the way, or the answer is no",
    "2 an argument or an input cannot be used",
    "130 interrupted from the keyboard",
]
HELP = "-h, --help show this help message and exit"


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal on which no help is broken into more lines."""
    monkeypatch.setenv("COLUMNS", "1000")


def test_first_help_lists_the_commands(wide: None, capsys: pytest.CaptureFixture[str]) -> None:
    help_of()

    shown = lines_of(capsys.readouterr().out)
    assert shown[:2] == [
        "usage: python -m blitz [-h] COMMAND ...",
        "The executable 60 Minute Blitz.",
    ]
    spec = "spec run the specification; takes pytest's own arguments"
    purposes = [f"{name} {purpose}" for name, purpose in command_line.COMMANDS.items()]
    assert " ".join(shown[2:]) == " ".join(
        ["positional arguments: COMMAND", spec, *purposes, "options:", HELP, *EXIT_CODES]
    )
    assert shown[-5:] == EXIT_CODES


def given(*words: str) -> dict[str, Any]:
    """What is understood of a command line, but for what runs it."""
    understood = vars(command_line.parser().parse_args(words))
    module = importlib.import_module(f"blitz.commands.{words[0]}")
    assert understood.pop("run") is module.run
    return understood


TRAIN = {
    **dict.fromkeys(("data", "mirror", "epochs", "batch_size", "lr", "momentum", "width")),
    **dict.fromkeys(("device", "workers", "seed", "feed", "exact", "at_least")),
    "command": "train",
    "download": False,
    "out": "blitz-run",
    "resume": False,
    "checkpoint_every": 10.0,
    "hang_limit": 120.0,
}


@pytest.mark.parametrize(
    ("words", "understood"),
    [
        ("train", TRAIN),
        (
            "train --data D --epochs 1 --batch-size 1 --lr 0.5 --momentum 0.25 --width 1 "
            "--device cuda --workers 0 --seed 0 --feed loader --exact --out O --resume "
            "--checkpoint-every 2.5 --hang-limit 3.5 --at-least 50.5",
            {
                **TRAIN,
                "data": "D",
                "epochs": 1,
                "batch_size": 1,
                "lr": 0.5,
                "momentum": 0.25,
                "width": 1,
                "device": "cuda",
                "workers": 0,
                "seed": 0,
                "feed": "loader",
                "exact": True,
                "out": "O",
                "resume": True,
                "checkpoint_every": 2.5,
                "hang_limit": 3.5,
                "at_least": 50.5,
            },
        ),
        (
            "train --download --mirror U --feed captured",
            {**TRAIN, "download": True, "mirror": "U", "feed": "captured"},
        ),
        (
            "test --model M",
            {"command": "test", "model": "M", "data": None, "device": None, "batch_size": 100},
        ),
        (
            "test --model M --data D --device cpu --batch-size 1",
            {"command": "test", "model": "M", "data": "D", "device": "cpu", "batch_size": 1},
        ),
        (
            "predict --model M a.png b.png",
            {"command": "predict", "model": "M", "device": "cpu", "images": ["a.png", "b.png"]},
        ),
        (
            "compare a b --device cpu",
            {"command": "compare", "before": Path("a"), "after": Path("b"), "device": "cpu"},
        ),
        (
            "compare a b",
            {"command": "compare", "before": Path("a"), "after": Path("b"), "device": None},
        ),
    ],
)
def test_options_are_understood(words: str, understood: dict[str, Any]) -> None:
    assert given(*words.split()) == understood


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("test", "the following arguments are required: --model"),
        ("predict --model M", "the following arguments are required: IMAGE"),
        ("predict a.png", "the following arguments are required: --model"),
        ("compare a", "the following arguments are required: B.json"),
        ("test --model M --batch-size 0", "argument --batch-size: '0': give a whole number, 1 or"),
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


def test_what_a_reader_that_left_did_not_take_goes_nowhere(
    command: Callable[[Any], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "out"
    with file.open("w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        print("in the buffer")

        assert command(BrokenPipeError()) == 1

        with open(os.devnull, "rb") as nowhere:
            assert os.path.sameopenfile(nowhere.fileno(), stream.fileno())
    assert file.read_text(encoding="utf-8") == ""
    assert capsys.readouterr().err == ("error: output pipe closed\n")
