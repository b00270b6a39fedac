"""The options that the specification adds to pytest's own."""

from pathlib import Path

import pytest

from blitz import data, preflight
from blitz.base.arguments import add_devices, seconds
from blitz.harness import containment
from blitz.harness.report import options as report


def add(group: pytest.OptionGroup) -> None:
    """All of them."""
    add_devices(
        group.addoption,
        "run the claims on these devices only (cpu, meta, cuda, cuda:1, mps, …); "
        "default: cpu, meta and every accelerator there is",
        limit=preflight.LIMIT,
    )
    group.addoption(
        "--require-accelerator",
        action="store_true",
        help="fail where there is no accelerator that can be used",
    )
    group.addoption(
        "--test-limit",
        type=seconds,
        default=containment.LIMIT,
        metavar="SECONDS",
        help="end and name a test that takes longer; 0 for no limit (default: %(default)g)",
    )
    group.addoption(
        "--profile",
        type=Path,
        metavar="FILE.toml",
        help="the known gaps of a backend by claim key: skip, xfail or a tolerance, with a reason",
    )
    group.addoption(
        "--tolerances", action="store_true", help="show the tolerances in force on each device"
    )
    group.addoption(
        "--conformance",
        type=Path,
        metavar="FILE.json",
        help="write the whole result to FILE.json (docs/conformance.md), for python -m blitz "
        "compare",
    )
    group.addoption(
        "--data",
        type=Path,
        metavar="DIR",
        help="use the CIFAR-10 images in DIR (the official files, or train/<class>/ and "
        "test/<class>/ folders) instead of images made on the spot",
    )
    group.addoption(
        "--claim",
        metavar="KEY[,KEY…]",
        help="run the tests of these claims only (N34), and tell where each is tested, what the "
        "text says, what is true and since when; with --collect-only, tell it at once",
    )
    report.add_options(group)


def images(source: Path | None) -> str:
    """Where the images come from, in a few words.

    Args:
        source: What ``--data`` says.

    Raises:
        DataError: there are none; the message names the option.
    """
    try:
        return data.describe(source)
    except data.DataError as error:
        raise data.DataError(f"--data: {error}") from error
