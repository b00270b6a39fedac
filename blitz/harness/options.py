"""The options that the specification adds to pytest's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blitz import preflight
from blitz.base.arguments import add_devices, seconds
from blitz.harness import isolation
from blitz.harness.contents import Contents
from blitz.harness.report import options as report

Table = Callable[[], Contents]


def add(parser: pytest.Parser) -> None:
    """Add all of them but those that another plug-in has, whose value is shared with it.

    pytest-playwright, for one, has a --device of its own.
    """
    group = parser.getgroup("blitz", "the executable 60 Minute Blitz")

    def addoption(name: str, **how: Any) -> None:
        if not _taken(parser, name):
            group.addoption(name, **how)

    _add(addoption)


def _taken(parser: pytest.Parser, name: str) -> bool:
    # pytest looks for a collision inside a group only; argparse ends the run on any other.
    groups = [parser._anonymous, *parser._groups]
    return any(name in option.names() for group in groups for option in group.options)


def _add(addoption: Callable[..., None]) -> None:
    add_devices(
        addoption,
        "run the claims on these devices only (cpu, meta, cuda, cuda:1, mps, …); "
        "default: cpu, meta and every accelerator there is",
        limit=preflight.LIMIT,
    )
    addoption(
        "--require-accelerator",
        action="store_true",
        help="fail where there is no accelerator that can be used",
    )
    addoption(
        "--test-limit",
        type=seconds,
        metavar="SECONDS",
        help="kill and name a test that takes longer, from a process beside it; 0 for no limit "
        f"(default: {isolation.LIMIT:g} where an accelerator is judged, else none)",
    )
    addoption(
        "--known-gaps",
        type=Path,
        metavar="FILE.toml",
        help="the known gaps of a backend by claim key: skip, xfail or a tolerance, with a reason",
    )
    addoption(
        "--conformance",
        type=Path,
        metavar="FILE.json",
        help="write the whole result to FILE.json (docs/conformance.md), for python -m blitz "
        "compare",
    )
    addoption(
        "--data",
        type=Path,
        metavar="DIR",
        help="use the CIFAR-10 images in DIR (the official files, or train/<class>/ and "
        "test/<class>/ folders) instead of images made on the spot",
    )
    addoption(
        "--claim",
        metavar="KEY[,KEY…]",
        help="run the tests of these claims only (N34), and tell where each is tested, what the "
        "text says, what is true and since when; with --collect-only, tell it at once",
    )
    report.add_options(addoption)
