"""How fast it is: what was measured by the benchmarks, in the language of the page."""

import base64
import io
from collections.abc import Iterator
from typing import Any

from blitz import plots
from blitz.harness import benchmarks
from blitz.harness.texts import Texts
from blitz.measuring import picture, throughput
from blitz.measuring.throughput import Machine


def section(machine: Machine, texts: Texts) -> dict[str, Any]:
    """Return what the section of the page shows of ``machine``."""
    first, last = machine.rounds
    rounds = (
        str(first) if first == last else texts("throughput.rounds_span", first=first, last=last)
    )
    torch = machine.versions.get("torch", "?")
    return {
        "machine": machine,
        "lead": texts("throughput.lead", date=machine.date, torch=torch, rounds=rounds),
        "picture": _picture(machine),
        "kinds": throughput.kinds(machine.points),
        "table": list(_table(machine)),
        "verdicts": list(benchmarks.verdicts(machine.points, machine.no_accelerator)),
    }


def _picture(machine: Machine) -> str:
    """Return a ``data:`` address of the picture; empty without matplotlib."""
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


def _table(machine: Machine) -> Iterator[tuple[int, int, list[str]]]:
    """Yield width, batch size and the images/s of each kind."""
    kinds = throughput.kinds(machine.points)
    for batch in throughput.batches(machine.points):
        curves = [throughput.curve(machine.points, kind, batch) for kind in kinds]
        for width in sorted({width for curve in curves for width in curve}):
            found = [curve.get(width) for curve in curves]
            yield width, batch, [point.figure if point else "–" for point in found]
