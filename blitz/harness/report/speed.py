"""How fast it is: the results of the benchmarks as a drawing of lines, sentences and shares.

``blitz.measuring.picture`` draws the same for a file of its own, with matplotlib. In the page the
drawing is of the page: its words are in the page's language, its colours follow the theme, and it
needs neither matplotlib nor the second that its import takes.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blitz.harness.selection import NO_ACCELERATOR
from blitz.harness.texts import Message, Texts
from blitz.measuring import throughput
from blitz.measuring.step_breakdown import PARTS
from blitz.measuring.throughput import Crossover, Machine, Point, ResultsError

WIDTH, HEIGHT = 300.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 10.0, 24.0, 38.0
"""Of a panel, in the drawing's units: its size, and the margins around its axes."""


@dataclass(frozen=True)
class Step:
    """Where a step goes, for one device, feed, width and batch size.

    Attributes:
        shares: Of the parts, in the order of :data:`PARTS`; they add up to 1.
        busy: The share of the time in which the device computes; None where it is not known.
        bound: What holds the step up, and why.
    """

    device: str
    feed: str
    width: int
    batch: int
    shares: Mapping[str, float]
    busy: float | None
    bound: Message


@dataclass(frozen=True)
class Measured:
    """The results of one run of the benchmarks."""

    machine: Machine
    steps: Sequence[Step]


@dataclass(frozen=True)
class Mark:
    """A point of a line: where it is, where its quartiles are, and what it says."""

    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Line:
    """The line of one kind of device."""

    number: int
    marks: Sequence[Mark]

    @property
    def path(self) -> str:
        """Return the points of a polyline."""
        return " ".join(f"{mark.x:.1f},{mark.y:.1f}" for mark in self.marks)


@dataclass(frozen=True)
class Panel:
    """The lines of one batch size, with the ticks of both axes: (place, label)."""

    title: str
    lines: Sequence[Line]
    xs: Sequence[tuple[float, str]]
    ys: Sequence[tuple[float, str]]
    crossovers: Sequence[tuple[float, int]]


@dataclass(frozen=True)
class Speed:
    """All that the page shows of the benchmarks.

    Attributes:
        lead: What was measured, with what.
        legend: The number of each line and the device it is of.
        table: Width, batch size and the images/s of each device.
    """

    lead: str
    legend: Sequence[tuple[int, str]]
    panels: Sequence[Panel]
    kinds: Sequence[str]
    table: Sequence[tuple[int, int, Sequence[str]]]
    verdicts: Sequence[str]
    steps: Sequence[tuple[Step, str]]


def read(file: Path) -> Measured:
    """Return the results in a file that ``--benchmark-json`` wrote.

    Raises:
        ResultsError: the file cannot be read, or holds something else.
    """
    machine = throughput.read(file)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = [row["extra_info"] for row in content["benchmarks"]]
        return Measured(machine, [_step(row) for row in rows if row.get("parts")])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(
            f"{file}: what it says of the parts of a step cannot be read "
            f"({type(error).__name__}: {error}). Give a file that "
            "`pytest --benchmark-only --benchmark-json FILE` wrote."
        ) from error


def _step(row: Mapping[str, Any]) -> Step:
    shares = {part: float(row["parts"][part]) for part in PARTS}
    kind, _, why = str(row["bound"]).partition("-bound")
    growth = next((word for word in why.split() if word.replace(".", "", 1).isdigit()), "?")
    if kind not in ("feed", "launch", "compute"):
        raise ValueError(f"a step is bound by {row['bound']!r}, which is not known")
    share = f"{shares['data'] + shares['transfer']:.0%}"
    return Step(
        device=str(row["device"]),
        feed=str(row["feed"]),
        width=int(row["width"]),
        batch=int(row["batch"]),
        shares=shares,
        busy=None if row["busy"] is None else float(row["busy"]),
        bound=Message(f"throughput.{kind}_bound", {"share": share, "growth": growth}),
    )


def speed(measured: Measured, texts: Texts) -> Speed:
    """Return what the page shows of ``measured``, in the language of ``texts``."""
    machine = measured.machine
    points, kinds = machine.points, throughput.kinds(machine.points)
    batches = throughput.batches(points)
    return Speed(
        lead=_lead(machine, texts),
        legend=[(number, _legend(points, kind, texts)) for number, kind in enumerate(kinds)],
        panels=[_panel(points, batch, texts) for batch in batches],
        kinds=kinds,
        table=list(_table(points, kinds)),
        verdicts=[message.said(texts) for message in verdicts(machine)],
        steps=[(step, step.bound.said(texts)) for step in measured.steps],
    )


def verdicts(machine: Machine) -> Iterator[Message]:
    """Yield where each accelerator overtakes the cpu, or that there is none."""
    if throughput.kinds(machine.points) in ([], ["cpu"]):
        yield Message("throughput.no_accelerator", {"reason": _why_none(machine)})
    yield from map(_verdict, throughput.crossovers(machine.points))


def _verdict(found: Crossover) -> Message:
    values = asdict(found)
    if found.width is None:
        key = "never_at" if found.first == found.last else "never"
        return Message(f"throughput.{key}", {**values, "width": found.first})
    key = "overtakes_from_smallest" if found.width == found.first else "overtakes"
    return Message(f"throughput.{key}", values)


def _why_none(machine: Machine) -> Message | str:
    if machine.no_accelerator is None:
        return Message("throughput.not_asked")
    if machine.no_accelerator == NO_ACCELERATOR:
        return Message("machine.none_found")
    return machine.no_accelerator


def _lead(machine: Machine, texts: Texts) -> str:
    rounds = sorted({point.rounds for point in machine.points})
    ends = {"first": rounds[0], "last": rounds[-1]}
    span = str(rounds[0]) if len(rounds) == 1 else texts("throughput.rounds_span", **ends)
    torch = machine.versions.get("torch", "?")
    return texts("throughput.lead", date=machine.date, torch=torch, rounds=span)


def _legend(points: Sequence[Point], kind: str, texts: Texts) -> str:
    point = next(point for point in points if point.kind == kind)
    threads = sorted({p.threads for p in points if p.kind == kind})
    key = "throughput.device_threads" if kind == "cpu" else "throughput.device"
    return texts(key, kind=kind, name=point.name, threads="–".join(map(str, threads)))


def _table(points: Sequence[Point], kinds: Sequence[str]) -> Iterator[tuple[int, int, list[str]]]:
    rates = {
        (point.width, point.batch, point.kind): f"{point.rate:,.0f}{'*' if point.disturbed else ''}"
        for point in points
    }
    for width, batch in sorted({(p.width, p.batch) for p in points}, key=lambda pair: pair[::-1]):
        yield width, batch, [rates.get((width, batch, kind), "–") for kind in kinds]


def _panel(points: Sequence[Point], batch: int, texts: Texts) -> Panel:
    widths = sorted({point.width for point in points if point.batch == batch})
    x = _scale(widths[0], widths[-1], LEFT + 12, WIDTH - RIGHT - 12)
    low, high = min(p.low for p in points), max(p.high for p in points)
    low, high = min(low, min(p.rate for p in points)), max(high, max(p.rate for p in points))
    y = _scale(low / 1.15, high * 1.15, HEIGHT - BOTTOM, TOP)
    kinds = throughput.kinds(points)
    lines, crossovers = [], []
    for number, kind in enumerate(kinds):
        curve = throughput.curve(points, kind, batch)
        marks = [
            Mark(x(w), y(p.rate), y(p.low), y(p.high), f"{kind}, {w}: {p.rate:,.0f}")
            for w, p in curve.items()
        ]
        lines.append(Line(number, marks))
        width = throughput.overtakes_from(points, kind, batch)  # None of the cpu itself
        if width is not None:
            crossovers.append((x(width), number))
    return Panel(
        texts("throughput.batch", batch=batch),
        lines,
        [(x(width), str(width)) for width in widths],
        [(y(rate), f"{rate:,}") for rate in _round_numbers(low / 1.15, high * 1.15)],
        crossovers,
    )


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Return a logarithmic scale from ``low`` at ``start`` to ``high`` at ``end``."""
    span = math.log(high / low) if high > low > 0 else 0.0

    def place(value: float) -> float:
        if not span or value <= 0:
            return (start + end) / 2 if not span else start
        return start + (end - start) * math.log(value / low) / span

    return place


def _round_numbers(low: float, high: float) -> list[int]:
    """Return 1, 2 and 5 times the powers of ten in between; of many, the powers alone."""
    digits = len(str(int(high)))
    found = [m * 10**d for d in range(digits) for m in (1, 2, 5) if low <= m * 10**d <= high]
    return found if len(found) <= 7 else [n for n in found if str(n).strip("0") == "1"]
