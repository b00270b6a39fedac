"""Errors in one line."""

import pytest

from blitz.base.errors import first_line


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
