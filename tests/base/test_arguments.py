"""What options take, to the last number, and what they say of the first that they do not."""

import argparse
import ast
from collections.abc import Callable

import pytest

from blitz.base import arguments


class TestNumbers:
    @pytest.mark.parametrize(
        ("kind", "taken"),
        [
            (arguments.whole(3), ["3", "4", str(2**63 - 1)]),
            (arguments.rate, ["1e-9", "1", "2.5"]),
            (arguments.momentum, ["0", "0.5", "0.999"]),
            (arguments.seconds, ["0", "0.5", "1e9"]),
            (arguments.time_limit, ["0.001", "1", "1e9"]),
            (arguments.percent, ["0", "0.5", "100"]),
        ],
    )
    def test_taken(self, kind: Callable[[str], float], taken: list[str]) -> None:
        for text in taken:
            assert kind(text) == ast.literal_eval(text)

    @pytest.mark.parametrize(
        ("kind", "refused", "words"),
        [
            (arguments.whole(3), ["2", "-9", "3.0", "three", "", str(2**63)], "3 or more"),
            (arguments.rate, ["0", "-1", "inf", "nan", "fast"], "above 0"),
            (arguments.momentum, ["-0.001", "1", "nan", "much"], "0 to less than 1"),
            (arguments.seconds, ["-0.001", "inf", "nan", "soon"], "0 seconds or more"),
            (arguments.time_limit, ["0", "-1", "inf", "nan", "soon"], "more than 0 seconds"),
            (arguments.percent, ["-0.001", "100.001", "nan", "all"], "0 to 100"),
        ],
    )
    def test_refused(self, kind: Callable[[str], float], refused: list[str], words: str) -> None:
        for text in refused:
            with pytest.raises(argparse.ArgumentTypeError) as error:
                kind(text)
            assert str(error.value).startswith(f"{text!r}: give ")
            assert str(error.value).endswith(words)
