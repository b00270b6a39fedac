"""The tool that repeats the specification: what it notices, and what it asks xdist for."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flakes
import forked
import pytest
import small_house

CONTENTS = (
    small_house.PAGE
    + """
T1 = ["first", "second", "third"]
"""
)

TESTS = """
import torch

done = []

class TestJoining:
    def test_first(self):
        '''One is one.'''
        done.append(1)

    def test_second(self):
        '''Two is two.'''
        assert SECOND

    def test_third(self):
        '''Three is three.'''
        assert THIRD
"""


@pytest.fixture
def repeat(tmp_path: Path) -> Callable[..., forked.Done]:
    """Repeat a small specification in a copy of this process."""

    def repeat(*options: str, second: str = "True", third: str = "True") -> forked.Done:
        tests = TESTS.replace("SECOND", second).replace("THIRD", third)
        spec = small_house.make(tmp_path, CONTENTS, tests)

        def run() -> int:
            sys.__stderr__ = sys.stderr  # type: ignore[misc]  # of this copy of the process
            flakes._import_what_tests_would = lambda: None  # these would not
            return flakes.main([str(spec), "--workers", *options])

        return forked.call(run)

    return repeat


def test_sound_tests_come_out_the_same_each_time(repeat: Callable[..., forked.Done]) -> None:
    done = repeat("--orders", "2")

    assert done.code == 0, done.output
    said = [line.partition("] ")[2] for line in done.output.splitlines() if "passed" in line]
    assert said == [
        f"{threads}, {what}: 3 passed"
        for threads in ("1 thread", "2 threads")
        for what in (
            "usual order",
            "random order 0",
            "random order 1",
            "each test alone",
            "test_1.py alone",
        )
    ]


@pytest.mark.parametrize(
    ("flaw", "options", "noticed"),
    [
        (
            {"second": "done"},
            ["--orders", "0"],
            "1 thread, each test alone: .*::test_second failed",
        ),
        (
            {"second": "done"},
            ["--orders", "8", "--no-alone"],
            r"1 thread, random order \d: .*::test_second failed",
        ),
        (
            {"third": "torch.get_num_threads() == 1"},
            ["--orders", "0", "--no-alone"],
            "2 threads, usual order: .*::test_third failed",
        ),
    ],
    ids=["needs_the_one_before", "needs_an_order", "needs_one_thread"],
)
def test_flake_is_noticed(
    repeat: Callable[..., forked.Done], flaw: Any, options: list[str], noticed: str
) -> None:
    done = repeat(*options, **flaw)

    assert done.code == 1
    assert re.search(f"OTHERWISE {noticed}", done.output), done.output


def test_tests_that_are_red_anyway_are_no_flake(repeat: Callable[..., forked.Done]) -> None:
    done = repeat("--orders", "0", "--no-alone", third="False")

    assert done.code == 1
    assert "not green in the usual order: " in done.output
    assert "OTHERWISE" not in done.output


def test_workers_get_their_threads_each(tmp_path: Path) -> None:
    two = "torch.get_num_threads() == 2"
    spec = small_house.make(tmp_path, CONTENTS, TESTS.replace("SECOND", two).replace("THIRD", two))

    assert flakes._spread([str(spec)], 2, threads=2) == "3 passed"
    assert flakes._spread([str(spec)], 2, threads=1) == "2 failed, 1 passed"
