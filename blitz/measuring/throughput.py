"""Training throughput over the width of the net: where an accelerator overtakes the cpu.

The rows are those of ``pytest --benchmark-only``, as its ``--benchmark-json`` file holds them.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blitz.base.errors import BlitzError
from blitz.measuring.calm import BUSY

GRID = "training"
"""The ``row`` of a benchmark that belongs to the grid of widths and batches."""


class ResultsError(BlitzError, ValueError):
    """A file that does not hold the results of the benchmarks; the message says what is amiss."""


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


@dataclass(frozen=True)
class Machine:
    """The results of one run.

    Attributes:
        name: What the run is called in a picture.
        points: Of the grid.
        no_accelerator: Why none was measured; None where one was.
        versions: Of torch and others, by name.
        date: When the run was, as text.
    """

    name: str
    points: tuple[Point, ...]
    no_accelerator: str | None
    versions: Mapping[str, str]
    date: str


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


def read(file: str | os.PathLike[str]) -> Machine:
    """Return the results in a file that ``--benchmark-json`` wrote.

    Raises:
        ResultsError: the file cannot be read, or holds something else.
    """
    remedy = "Give a file that `pytest --benchmark-only --benchmark-json FILE` wrote."
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
        rows = [row["extra_info"] for row in content["benchmarks"]]
        machine = content["machine_info"].get("blitz", {})
        points = tuple(found for row in rows if (found := point(row)) is not None)
        versions = dict(rows[0]["versions"]) if points else {}
        date = str(content["datetime"])[:10]
    except OSError as error:
        raise ResultsError(
            f"{file}: cannot be read: {error.strerror or error}. {remedy}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ResultsError(
            f"{file}: not the results of the benchmarks ({type(error).__name__}: {error}). {remedy}"
        ) from error
    if not points:
        raise ResultsError(f"{file}: holds no throughput of the training step. {remedy}")
    return Machine(Path(file).stem, points, machine.get("no accelerator"), versions, date)


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


@dataclass(frozen=True)
class Crossover:
    """Where one kind of accelerator overtakes the cpu at one batch size.

    Attributes:
        kind: Of accelerator.
        batch: Images in a batch.
        width: From which on it is faster; None where it is not.
        first: The smallest width measured on both.
        last: The largest.
    """

    kind: str
    batch: int
    width: int | None
    first: int
    last: int

    def __str__(self) -> str:
        if self.width is None:
            one = self.first == self.last
            measured = f"width {self.first}" if one else f"{self.first} to {self.last}"
            return (
                f"{self.kind} never overtakes cpu at batch {self.batch} "
                f"(widths measured: {measured})."
            )
        smallest = ", the smallest measured," if self.width == self.first else ""
        return f"{self.kind} overtakes cpu from width {self.width}{smallest} at batch {self.batch}."


def crossovers(points: Sequence[Point]) -> Iterator[Crossover]:
    """Yield one for each accelerator and batch size that have a width in common with the cpu."""
    for kind in kinds(points):
        for batch in batches(points):
            cpu, other = (curve(points, each, batch) for each in ("cpu", kind))
            widths = sorted(cpu.keys() & other.keys())
            if widths and kind != "cpu":
                width = overtakes_from(points, kind, batch)
                yield Crossover(kind, batch, width, widths[0], widths[-1])


def verdicts(points: Sequence[Point], no_accelerator: str | None) -> Iterator[str]:
    """Yield each crossover in a sentence, or that there is no accelerator."""
    if kinds(points) in ([], ["cpu"]):
        yield f"no accelerator was measured: {no_accelerator or 'it was not asked for'}"
    yield from map(str, crossovers(points))


def named_apart(machines: Sequence[Machine]) -> list[Machine]:
    """Return the same, with a number behind a name that several of them have."""
    # Files from several machines may all be called results.json.
    names = [machine.name for machine in machines]
    return [
        replace(machine, name=f"{machine.name} ({names[: place + 1].count(machine.name)})")
        if names.count(machine.name) > 1
        else machine
        for place, machine in enumerate(machines)
    ]
