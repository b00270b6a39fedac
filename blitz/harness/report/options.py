"""What is asked for with ``--report``, checked before anything runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from blitz.base.errors import BlitzError
from blitz.harness.report import releases
from blitz.harness.texts import LANGUAGES, Texts, texts
from blitz.measuring import throughput


@dataclass(frozen=True)
class Request:
    """A report that was asked for, with all that can be read before the run.

    Attributes:
        machine: What the benchmarks measured; None where no file of theirs was given.
        probes: What the releases of torch did.
    """

    path: Path
    texts: Texts
    machine: throughput.Machine | None
    probes: tuple[releases.Probe, ...]


def add_options(addoption: Callable[..., None]) -> None:
    """Add the options of the report."""
    addoption(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="write one page to look at to FILE.html: every claim, its test, what came of it on "
        "each device, and what is no longer true",
    )
    addoption(
        "--lang",
        choices=LANGUAGES,
        help="the language of the report; en where none is given",
    )
    addoption(
        "--report-benchmark",
        type=Path,
        metavar="FILE.json",
        help="show in the report what pytest --benchmark-only --benchmark-json FILE.json measured",
    )


def requested(config: pytest.Config, spec: Path) -> Request | None:
    """Return what the options ask for; None where no report is asked for.

    Args:
        config: Of the run.
        spec: The folder of the specification.

    Raises:
        BlitzError: it cannot be had; the message names the option, the fault and the remedy.
    """
    path, lang = config.getoption("--report"), config.getoption("--lang")
    benchmark = config.getoption("--report-benchmark")
    if hasattr(config, "workerinput") or config.getoption("collectonly", False):
        return None
    if path is None:
        for option, value in (("--lang", lang), ("--report-benchmark", benchmark)):
            if value is not None:
                raise BlitzError(
                    f"{option} {value} is for a report, and none is asked for. Add --report "
                    f"FILE.html, or leave {option} out."
                )
        return None
    folder = config.invocation_params.dir
    if (folder / path).is_dir() or not (folder / path).parent.is_dir():
        raise BlitzError(f"--report {path}: name a file in an existing folder.")
    words = texts("en" if lang is None else lang, spec)
    return Request(
        folder / path,
        words,
        None if benchmark is None else throughput.read(folder / benchmark),
        releases.load(spec / "releases.json"),
    )
