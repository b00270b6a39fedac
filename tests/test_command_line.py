"""The frame of ``python -m blitz``: commands, exit codes, and readers that leave."""

import argparse
import ast
import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from blitz import __main__ as command_line
from blitz.commands import options
from blitz.errors import first_line


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_every_command_explains_itself(name: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main([name, "--help"])

    assert ended.value.code == 0
    module = importlib.import_module(f"blitz.commands.{name.replace('-', '_')}")
    shown = capsys.readouterr().out
    assert module.__doc__.strip().splitlines()[0] in shown
    assert "exit codes:" in shown


def test_unknown_command_ends_with_2_and_names_the_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main(["learn"])

    assert ended.value.code == 2
    assert "'learn'" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from blitz.__main__ import parser; parser().format_help(); "
        "print([m for m in ('torch', 'torchvision', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"


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
    assert said.splitlines() == [
        "error: nobody reads what this command prints any more; it stopped"
    ]
    writer.stderr.close()


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ("it broke\nand more", "it broke"),
        ("", "RuntimeError"),
        ("word " * 99, "word " * 58 + "word …"),
    ],
    ids=["lines", "nothing", "long"],
)
def test_errors_are_told_in_one_short_line(said: str, first: str) -> None:
    assert first_line(RuntimeError(said)) == first


MOST = 2**63 - 1


class TestNumbers:
    """What an option takes, to the last number, and what it says of the first that it does not."""

    # Each is made in the test, not as this module is imported, or its mutants would go unseen.

    @pytest.mark.parametrize(
        ("kind", "taken"),
        [
            (lambda text: options.whole(3)(text), ["3", "4", str(MOST)]),
            (lambda text: options.whole(0, 5)(text), ["0", "5"]),
            (options.rate, ["1e-9", "1", "2.5"]),
            (options.momentum, ["0", "0.5", "0.999"]),
            (options.seconds, ["0", "0.5", "1e9"]),
            (options.minutes, ["0.001", "1", "1e9"]),
            (options.percent, ["0", "0.5", "100"]),
        ],
    )
    def test_taken(self, kind: Callable[[str], float], taken: list[str]) -> None:
        for text in taken:
            assert kind(text) == ast.literal_eval(text)

    @pytest.mark.parametrize(
        ("kind", "refused", "words"),
        [
            (
                lambda text: options.whole(3)(text),
                ["2", "-9", "3.0", "three", str(MOST + 1)],
                "3 or more",
            ),
            (lambda text: options.whole(0, 5)(text), ["-1", "6", "", "nan"], "0 to 5"),
            (lambda text: options.whole(0, MOST - 1)(text), [str(MOST)], f"0 to {MOST - 1}"),
            (options.rate, ["0", "-1", "inf", "nan", "fast"], "above 0"),
            (options.momentum, ["-0.001", "1", "nan", "much"], "0 to less than 1"),
            (options.seconds, ["-0.001", "inf", "nan", "soon"], "0 seconds or more"),
            (options.minutes, ["0", "-1", "inf", "nan", "soon"], "more than 0 minutes"),
            (options.percent, ["-0.001", "100.001", "nan", "all"], "0 to 100"),
        ],
    )
    def test_refused(self, kind: Callable[[str], float], refused: list[str], words: str) -> None:
        for text in refused:
            with pytest.raises(argparse.ArgumentTypeError) as error:
                kind(text)
            assert str(error.value).startswith(f"{text!r}: give ")
            assert str(error.value).endswith(words)
