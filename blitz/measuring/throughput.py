"""Training throughput over the width of the net: where an accelerator overtakes the cpu.

The rows are those of ``pytest --benchmark-only``, as its ``--benchmark-json`` file holds them.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blitz.base.errors import BlitzError
from blitz.measuring.calm import BUSY
from blitz.measuring.step_breakdown import PARTS

GRID = "training"
"""The ``row`` of a benchmark that belongs to the grid of widths and batches."""


@dataclass(frozen=True)
class Point:
    """Training steps of one net with one batch size on one device.

    Attributes:
        device: ``cpu``, ``cuda:0``, …
        name: The device's model.
        threads: Threads of the host.
        width: Of the net.
        batch: Images in a batch.
        rate: Images a second, from the median of the rounds.
        low: The same from the upper quartile of their times.
        high: The same from the lower one.
        rounds: How many rounds.
        disturbed: Whether other processes took the machine's cores meanwhile, each time.
    """

    device: str
    name: str
    threads: int
    width: int
    batch: int
    rate: float
    low: float
    high: float
    rounds: int
    disturbed: bool = False

    @property
    def kind(self) -> str:
        """Return the device's type: ``cpu``, ``cuda``, …"""
        return self.device.partition(":")[0]

    @property
    def figure(self) -> str:
        """Return the rate as it is shown, with a star where it is in doubt."""
        return f"{self.rate:,.0f}{'*' if self.disturbed else ''}"


@dataclass(frozen=True)
class Machine:
    """The results of one run.

    Attributes:
        name: What the run is called in a picture: its file as it was given, without the suffix.
        points: Of the grid.
        no_accelerator: Why none was measured; None where one was.
        versions: Of torch and others, by name.
        date: When the run was, as text.
        steps: The rows of the steps that were taken apart: what ``bound`` says is parted in
            ``feed``, ``launch`` or ``compute`` and the ``figure``.
    """

    name: str
    points: tuple[Point, ...]
    no_accelerator: str | None
    versions: Mapping[str, str]
    date: str
    steps: tuple[Mapping[str, Any], ...] = ()

    @property
    def rounds(self) -> tuple[int, int]:
        """Return how many rounds a point has at least, and at most."""
        found = [point.rounds for point in self.points]
        return min(found), max(found)


def point(info: Mapping[str, Any]) -> Point | None:
    """Return the point that a row's ``extra_info`` holds; None for a row of another kind."""
    if info.get("row") != GRID or not info.get("images/s"):
        return None
    return Point(
        device=str(info["device"]),
        name=str(info["device name"]),
        threads=int(info["threads"]),
        width=int(info["width"]),
        batch=int(info["batch"]),
        rate=float(info["images/s"]),
        low=float(info["images/s, low"]),
        high=float(info["images/s, high"]),
        rounds=int(info["rounds"]),
        disturbed=(info.get("others") or 0) > BUSY,
    )


def _step(row: Mapping[str, Any]) -> dict[str, Any]:
    bound = re.match(r"(feed|launch|compute)-bound: \D*([\d.]+%?) ", row["bound"])
    if bound is None:
        raise ValueError(f"a step is bound by {row['bound']!r}, which is not known")
    parts = {part: float(row["parts"][part]) for part in PARTS}
    return {**row, "parts": parts, "bound": bound[1], "figure": bound[2]}


def read(file: Path) -> Machine:
    """Return the results in a file that ``--benchmark-json`` wrote.

    Raises:
        BlitzError: the file cannot be read, or holds something else.
    """
    remedy = "Give a file that `pytest --benchmark-only --benchmark-json FILE` wrote."
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = [row["extra_info"] for row in content["benchmarks"]]
        machine = content["machine_info"].get("blitz", {})
        points = tuple(found for row in rows if (found := point(row)) is not None)
        steps = tuple(_step(row) for row in rows if row.get("parts"))
        versions = dict(rows[0]["versions"]) if points else {}
        date = str(content["datetime"])[:10]
    except OSError as error:
        raise BlitzError(f"{file}: cannot be read: {error.strerror or error}. {remedy}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BlitzError(
            f"{file}: not the results of the benchmarks ({type(error).__name__}: {error}). {remedy}"
        ) from error
    if not points:
        raise BlitzError(f"{file}: holds no throughput of the training step. {remedy}")
    name, why = str(file.with_suffix("")), machine.get("no accelerator")
    return Machine(name, points, why, versions, date, steps)


def batches(points: Iterable[Point]) -> list[int]:
    """Return the batch sizes, the smallest first."""
    return sorted({point.batch for point in points})


def kinds(points: Iterable[Point]) -> list[str]:
    """Return the kinds of device, the cpu first."""
    return sorted({point.kind for point in points}, key=lambda kind: (kind != "cpu", kind))


def curve(points: Iterable[Point], kind: str, batch: int) -> dict[int, Point]:
    """Return width to point, the smallest first, for one kind of device and one batch size."""
    chosen = [point for point in points if (point.kind, point.batch) == (kind, batch)]
    return {point.width: point for point in sorted(chosen, key=lambda point: point.width)}


def overtakes_from(points: Sequence[Point], kind: str, batch: int) -> int | None:
    """Return the measured width from which on ``kind`` is faster than the cpu; None if from none.

    Only widths that were measured on both count.
    """
    cpu, other = curve(points, "cpu", batch), curve(points, kind, batch)
    found = None
    for width in sorted(cpu.keys() & other.keys(), reverse=True):
        # From the widest down: a single lucky width below does not count.
        if other[width].rate <= cpu[width].rate:
            break
        found = width
    return found
