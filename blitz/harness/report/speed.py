"""How fast it is: what ``blitz.measuring`` says of the benchmarks, in the language of the page."""

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blitz import plots
from blitz.harness.selection import NO_ACCELERATOR
from blitz.harness.texts import Message, Texts
from blitz.measuring import picture, throughput
from blitz.measuring.step_breakdown import PARTS
from blitz.measuring.throughput import Crossover, Machine, Point, ResultsError


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
class Speed:
    """All that the page shows of the benchmarks.

    Attributes:
        lead: What was measured, with what.
        picture: A ``data:`` address of the picture; empty without matplotlib.
        table: Width, batch size and the images/s of each kind.
        disturbed: Whether some of them, marked by a star, were measured on a busy machine.
    """

    lead: str
    picture: str
    kinds: Sequence[str]
    table: Sequence[tuple[int, int, Sequence[str]]]
    disturbed: bool
    verdicts: Sequence[Message]
    steps: Sequence[Step]


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
    kinds = throughput.kinds(machine.points)
    return Speed(
        lead=_lead(machine, texts),
        picture=_picture(machine),
        kinds=kinds,
        table=list(_table(machine.points, kinds)),
        disturbed=any(point.disturbed for point in machine.points),
        verdicts=list(verdicts(machine)),
        steps=measured.steps,
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
    span = str(rounds[0])
    if len(rounds) > 1:
        span = texts("throughput.rounds_span", first=rounds[0], last=rounds[-1])
    torch = machine.versions.get("torch", "?")
    return texts("throughput.lead", date=machine.date, torch=torch, rounds=span)


def _picture(machine: Machine) -> str:
    try:
        figure = picture.throughput_over_width([machine])
    except plots.NoMatplotlib:
        return ""
    import matplotlib as mpl

    # An image, because the style sheet inside matplotlib's SVG would be in force for all of the
    # page; with letters as text, because outlines take 98 kB of base64 instead of 45.
    content = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "blitz"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue()).decode()}"


def _table(points: Sequence[Point], kinds: Sequence[str]) -> Iterator[tuple[int, int, list[str]]]:
    rates = {
        (point.width, point.batch, point.kind): f"{point.rate:,.0f}{'*' if point.disturbed else ''}"
        for point in points
    }
    for width, batch in sorted({(p.width, p.batch) for p in points}, key=lambda pair: pair[::-1]):
        yield width, batch, [rates.get((width, batch, kind), "–") for kind in kinds]
