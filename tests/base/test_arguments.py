"""What options take, to the last number, and what they say of the first that they do not."""

import argparse
import ast
from collections.abc import Callable

import pytest

from blitz.base import arguments

MOST = 2**63 - 1


class TestNumbers:
    # Each is made in the test, not as this module is imported, or its mutants would go unseen.

    @pytest.mark.parametrize(
        ("kind", "taken"),
        [
            (lambda text: arguments.whole(3)(text), ["3", "4", str(MOST)]),
            (lambda text: arguments.whole(0, 5)(text), ["0", "5"]),
            (arguments.rate, ["1e-9", "1", "2.5"]),
            (arguments.momentum, ["0", "0.5", "0.999"]),
            (arguments.seconds, ["0", "0.5", "1e9"]),
            (arguments.time_limit, ["0.001", "1", "1e9"]),
            (arguments.minutes, ["0.001", "1", "1e9"]),
            (arguments.percent, ["0", "0.5", "100"]),
        ],
    )
    def test_taken(self, kind: Callable[[str], float], taken: list[str]) -> None:
        for text in taken:
            assert kind(text) == ast.literal_eval(text)

    @pytest.mark.parametrize(
        ("kind", "refused", "words"),
        [
            (
                lambda text: arguments.whole(3)(text),
                ["2", "-9", "3.0", "three", str(MOST + 1)],
                "3 or more",
            ),
            (lambda text: arguments.whole(0, 5)(text), ["-1", "6", "", "nan"], "0 to 5"),
            (lambda text: arguments.whole(0, MOST - 1)(text), [str(MOST)], f"0 to {MOST - 1}"),
            (arguments.rate, ["0", "-1", "inf", "nan", "fast"], "above 0"),
            (arguments.momentum, ["-0.001", "1", "nan", "much"], "0 to less than 1"),
            (arguments.seconds, ["-0.001", "inf", "nan", "soon"], "0 seconds or more"),
            (arguments.time_limit, ["0", "-1", "inf", "nan", "soon"], "more than 0 seconds"),
            (arguments.minutes, ["0", "-1", "inf", "nan", "soon"], "more than 0 minutes"),
            (arguments.percent, ["-0.001", "100.001", "nan", "all"], "0 to 100"),
        ],
    )
    def test_refused(self, kind: Callable[[str], float], refused: list[str], words: str) -> None:
        for text in refused:
            with pytest.raises(argparse.ArgumentTypeError) as error:
                kind(text)
            assert str(error.value).startswith(f"{text!r}: give ")
            assert str(error.value).endswith(words)
