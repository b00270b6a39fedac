"""The lines that a run adds to pytest's own, each to the letter."""

import platform
from pathlib import Path

import pytest
import torch

from blitz.base import versions
from blitz.harness import contents, summary
from blitz.harness.outcomes import (
    BROKEN,
    HELD,
    KNOWN,
    NO_DEVICE,
    NOT_RUN,
    UNSUPPORTED,
    Outcome,
    Results,
)
from blitz.harness.selection import META, Selected, Selection
from tests import small_house

CPU = Selected("cpu")

ACCOUNTS = [
    "12 claims: 8 in the text followed, 1 only in the English original, 1 only in older revisions, "
    "2 our own",
    "8 tested, 1 left to the benchmarks (pytest --benchmark-only), 1 slips in a listing, "
    "2 no test can check",
]


class TestHeader:
    def test_versions_devices_threads_and_images_are_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(versions, "installed", lambda name: f"<{name}>")
        gaps = {"float64": "no double here", "aten::sum": "not here"}
        devices = (CPU, Selected("xpu:0", gaps=gaps, model="Arc"), META)

        assert summary.header(Selection(devices, ("xpu:1 hung", "xpu:2 hung")), 3, "made") == [
            f"torch {torch.__version__}, torchvision <torchvision>, NumPy <numpy>, "
            f"Python {platform.python_version()}",
            "devices: cpu, xpu:0 (Arc), meta; xpu:1 hung; xpu:2 hung",
            "unsupported on xpu:0: float64, aten::sum",
            "threads: 3",
            "images: made",
        ]


class TestLines:
    @pytest.fixture
    def book(self, tmp_path: Path) -> contents.Contents:
        return contents.load(small_house.make_whole(tmp_path) / "contents.toml")

    def test_verdict_tells_claims_devices_and_what_is_untrue(self, book: contents.Contents) -> None:
        found = Results()
        outcomes = [
            ("T3", NO_DEVICE, HELD, ""),
            ("T9", NO_DEVICE, HELD, ""),
            ("T10", NO_DEVICE, HELD, ""),
            ("T1", "meta", NOT_RUN, "needs values"),
            ("T1", "xpu:1", UNSUPPORTED, "float64"),
            ("T2", "xpu:1", KNOWN, "profile: rounds"),
            ("T1", "xpu:0", BROKEN, "2 is not 3"),
            ("T1", "cpu", HELD, ""),
            ("T1", "cpu", HELD, ""),
        ]
        for number, (key, device, state, reason) in enumerate(outcomes):
            found._outcomes[str(number)] = Outcome(str(number), key, device, state, reason)

        assert list(summary.lines(book, found, None)) == [
            *ACCOUNTS,
            "  cpu:         1 claims held, 0 broken, 0 not run (2 tests ran)",
            "  xpu:0:       0 claims held, 1 broken, 0 not run (1 tests ran)",
            "  xpu:1:       0 claims held, 0 broken, 1 unsupported, 1 known gap, 0 not run "
            "(1 tests ran)",
            "               1 unsupported: float64",
            "               1 known gap: profile: rounds",
            "  meta:        0 claims held, 0 broken, 1 not run (0 tests ran)",
            "               1 not run: needs values",
            "  no device:   3 claims held, 0 broken, 0 not run (3 tests ran)",
            "",
            "No longer true, or never true:",
            "  T3  changed in 2.0: the text says Habits are zeros. Now: Habits are None.",
            "  T4  slip in a listing: A quote & a brace are missing.",
            "",
            "Wrong in the translation only:",
            "  T9  the text says Biases are errors. The English says Biases are biases. Now: "
            "Biases are added.",
        ]

    def test_what_is_untrue_is_told_of_claims_that_ran_and_slips_of_their_sections(
        self, book: contents.Contents
    ) -> None:
        slip = "  T4  slip in a listing: A quote & a brace are missing."

        assert list(summary.untrue(book, {"T1"})) == [slip]
        assert [line[:4] for line in summary.untrue(book, ["T3"])] == ["  T3", "  T4"]
        assert [line[:4] for line in summary.untrue(book, ["T8", "T9"])] == ["  T8"]
        assert list(summary.mistranslated(book, ["T8", "T3"])) == []


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("  T1  a bb ccc dddd eeeee", ["  T1  a bb ccc", "      dddd", "      eeeee"]),
        ("  a b:   1 2  3 4 5", ["  a b:   1 2  3", "         4 5"]),
        ("    why it was-not so", ["    why it", "    was-not so"]),
        ("many words of a head", ["many words of a", "head"]),
        ("  fits in  here", ["  fits in  here"]),
        ("averyverylongword it is", ["averyverylongword", "it is"]),
        ("", [""]),
    ],
)
def test_long_lines_go_on_under_their_text(line: str, lines: list[str]) -> None:
    assert summary.wrapped(line, 15).splitlines() == [each for each in lines if line]
