"""The picture of training throughput over the width of the net."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from blitz import plots
from blitz.measuring import throughput
from blitz.measuring.throughput import Machine, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's, which people of every colour vision tell apart."""

MARKERS = "osD^vPX"


def throughput_over_width(machines: Sequence[Machine]) -> "Figure":
    """Return a figure of images/s over width: a panel for each batch size, a line for each device.

    Both axes are logarithmic. A point is the median of its rounds, its bar their quartiles. Where
    an accelerator overtakes the cpu of its machine, the first width at which it is ahead is marked.
    A machine without an accelerator is said to have none; nothing is drawn that was not measured.

    Raises:
        NoMatplotlib: matplotlib is not installed.
    """
    sizes = throughput.batches(point for machine in machines for point in machine.points)
    figure = plots.blank_figure(1.5 + 3.6 * len(sizes), 5.2)
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for axes, batch in zip(panels, sizes, strict=True):
        _panel(axes, machines, batch)
    panels[0].set_ylabel("images/s (forward, backward and step)")
    # By label: a device has the same line in every panel, and one place in the legend.
    handles = {bars.get_label(): bars for axes in panels for bars in axes.containers}
    figure.legend(
        handles=list(handles.values()),
        loc="outside lower center",
        frameon=False,
        fontsize=9,
        ncols=min(3, len(handles)),
        title="\n".join(_notes(machines)),
        title_fontsize=8,
    )
    figure.suptitle("Training throughput of the tutorial's classifier, images on the device")
    return figure


def _panel(axes: "Axes", machines: Sequence[Machine], batch: int) -> None:
    """Draw the lines of one batch size."""
    from matplotlib.ticker import LogLocator

    widths = {p.width for m in machines for p in m.points if p.batch == batch}
    line = 0
    for machine in machines:
        for kind in throughput.kinds(machine.points):
            curve = throughput.curve(machine.points, kind, batch)
            if curve:
                label = _label(machine, next(iter(curve.values())), len(machines) > 1)
                _line(axes, list(curve.values()), COLORS[line % 7], MARKERS[line % 7], label)
                _crossover(axes, machine, kind, batch, COLORS[line % 7])
            line += 1
    axes.set(xscale="log", yscale="log", xlabel="width", title=f"batch {batch}")
    axes.set_xticks(sorted(widths), [str(width) for width in sorted(widths)])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # one decade may be all there is
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(color="0.9")


def _line(axes: "Axes", points: Sequence[Point], color: str, marker: str, label: str) -> None:
    widths, rates = [point.width for point in points], [point.rate for point in points]
    bars = [[p.rate - p.low for p in points], [p.high - p.rate for p in points]]
    axes.errorbar(widths, rates, bars, color=color, marker=marker, capsize=3, label=label)
    # A hollow marker: the figure stays, and shows that it is in doubt.
    for point in (point for point in points if point.disturbed):
        axes.plot(point.width, point.rate, marker=marker, color=color, markerfacecolor="white")


def _crossover(axes: "Axes", machine: Machine, kind: str, batch: int, color: str) -> None:
    """Mark the first measured width from which on ``kind`` is ahead of its machine's cpu."""
    width = throughput.overtakes_from(machine.points, kind, batch)
    if width is None:  # as always for the cpu itself
        return
    axes.axvline(width, color=color, linestyle=":", linewidth=1.2)
    axes.annotate(
        f"{kind} ahead from width {width}",
        (width, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(3, 0),
        textcoords="offset points",
        rotation=90,
        fontsize=8,
        color=color,
    )


def _label(machine: Machine, point: Point, several: bool) -> str:
    which = f"{machine.name}: " if several else ""
    threads = f", {point.threads} threads" if point.kind == "cpu" else ""
    return f"{which}{point.kind} ({point.name}{threads})"


def _notes(machines: Sequence[Machine]) -> Iterator[str]:
    """Yield what a figure needs to be believed: versions, date, rounds; and what is missing."""
    for machine in machines:
        which = f"{machine.name}: " if len(machines) > 1 else ""
        span = " to ".join(str(rounds) for rounds in dict.fromkeys(machine.rounds))
        yield (
            f"{which}torch {machine.versions.get('torch', 'of an unknown version')}, float32, "
            f"{machine.date}; median and quartiles of {span} rounds"
        )
        if any(point.disturbed for point in machine.points):
            yield f"{which}hollow: measured on a busy machine"
        if all(point.kind == "cpu" for point in machine.points):
            why = machine.no_accelerator or "it was not asked for"
            yield f"{which}no accelerator was measured: {why}"
