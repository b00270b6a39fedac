"""What the benchmarks note of themselves, and the summary after pytest-benchmark's table.

It is a plug-in of pytest, as ``claim_check``, ``judge`` and ``xdist`` beside it are.
"""

import functools
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from _pytest.terminal import TerminalReporter  # pytest 8.3 does not export it

from blitz.base import backend
from blitz.base.versions import stack
from blitz.harness.context import CONTEXT
from blitz.harness.selection import NO_ACCELERATOR
from blitz.harness.texts import Message
from blitz.measuring import step_breakdown, throughput
from blitz.measuring.throughput import Point

rows_key = pytest.StashKey[list[dict[str, Any]]]()
"""The ``extra_info`` of every benchmark that was timed."""


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Note what pytest-benchmark does not ask: torch, and why there is no accelerator."""
    missing = config.stash[CONTEXT].selection.missing
    machine_info["blitz"] = machine() | {"no accelerator": missing}


@pytest.hookimpl(trylast=True)  # after pytest-benchmark's table
def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Write the summary, where anything was timed."""
    rows = config.stash.get(rows_key, [])
    if rows:
        terminalreporter.section("how fast the 60 Minute Blitz is on this machine")
        for line in lines(rows, config.stash[CONTEXT].selection.missing):
            terminalreporter.write_line(line)


def as_rows(report: Mapping[str, Any]) -> str:
    """Return JSON with a line for each entry, and for each row of an entry that holds several."""
    return re.sub(r"\n {3,}|\n {2}(?=[\]}])", " ", json.dumps(report, indent=1)) + "\n"


def machine() -> dict[str, Any]:
    """Return the processor of this machine, and how many cores it has."""
    return {"cpu": cpu_name(), "cores": os.cpu_count()}


def about(device: torch.device) -> dict[str, Any]:
    """Return what every row notes of the machine it ran on."""
    return {
        "device": str(device),
        "device name": device_name(device),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


def device_name(device: torch.device) -> str:
    """Return the model of ``device``."""
    if device.type == "cpu":
        return cpu_name()
    name = getattr(backend.module_of(device), "get_device_name", None)
    return device.type if name is None else str(name(device))


@functools.cache  # asking the system takes a quarter of a second
def cpu_name() -> str:
    """Return the model of the cpu, as far as the system tells."""
    import cpuinfo  # comes with pytest-benchmark; only a report and a benchmark ask

    named: str = cpuinfo.get_cpu_info().get("brand_raw", "")
    return named or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions that a figure depends on, by name."""
    built_for = {"cuda": torch.version.cuda, "hip": torch.version.hip}
    return stack() | {name: version for name, version in built_for.items() if version is not None}


def lines(rows: Sequence[Mapping[str, Any]], no_accelerator: str | None) -> Iterator[str]:
    """Yield the summary: the grid with its verdicts, then where a step goes, for each device."""
    points = [point for row in rows if (point := throughput.point(row)) is not None]
    if points:
        yield from _grid(points, no_accelerator)
    taken_apart = [row for row in rows if row.get("parts")]
    if taken_apart:
        yield ""
        yield from _where_steps_go(taken_apart)
    yield from (_floor(row) for row in rows if "kernel microseconds" in row)


def _grid(points: Sequence[Point], no_accelerator: str | None) -> Iterator[str]:
    others = [kind for kind in throughput.kinds(points) if kind != "cpu"]
    yield "images/s: forward, backward and step, on images already there (median of the rounds)"
    for kind in others or ["accelerator"]:
        yield f"{'width':>7}{'batch':>7}{'cpu':>14}{kind:>14}{'speed-up':>10}"
        for batch in throughput.batches(points):
            cpu, other = (throughput.curve(points, k, batch) for k in ("cpu", kind))
            for width in sorted(cpu.keys() | other.keys()):
                yield _grid_line(width, batch, cpu.get(width), other.get(width))
    for point in {point.device: point for point in points}.values():
        yield f"{point.device}: {point.name}, {point.threads} threads of the host"
    if any(point.disturbed for point in points):
        yield "* on a busy machine, also when measured again: not to be believed"
    yield from map(str, verdicts(points, no_accelerator))


def verdicts(points: Sequence[Point], no_accelerator: str | None) -> Iterator[Message]:
    """Yield where each accelerator overtakes the cpu, or why none was measured."""
    if throughput.kinds(points) in ([], ["cpu"]):
        reason: Message | str = no_accelerator or Message("throughput.not_asked")
        if reason == NO_ACCELERATOR:
            reason = Message("machine.none_found")
        yield Message("throughput.no_accelerator", {"reason": reason})
    for kind in throughput.kinds(points):
        for batch in throughput.batches(points):
            cpu, other = (throughput.curve(points, each, batch) for each in ("cpu", kind))
            widths = sorted(cpu.keys() & other.keys())
            if widths and kind != "cpu":
                found = throughput.overtakes_from(points, kind, batch)
                values = {"kind": kind, "batch": batch, "width": found}
                measured = ", ".join(map(str, widths))
                key = "throughput.never" if found is None else "throughput.overtakes"
                yield Message(key, {**values, "widths": measured})


def _grid_line(width: int, batch: int, cpu: Point | None, other: Point | None) -> str:
    speed_up = f"{other.rate / cpu.rate:.2f} x" if cpu and other else "—"
    figures = [point.figure if point else "—" for point in (cpu, other)]
    return f"{width:>7}{batch:>7}{figures[0]:>14}{figures[1]:>14}{speed_up:>10}"


def _where_steps_go(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "where a step goes"
    heads = "".join(f"{part:>10}" for part in step_breakdown.PARTS)
    yield f"{'device':>9}{'feed':>10}{'width':>6}{'batch':>6}{heads}{'busy':>6}"
    for row in rows:
        shares = "".join(f"{row['parts'][part]:>10.0%}" for part in step_breakdown.PARTS)
        busy = "—" if row["busy"] is None else f"{row['busy']:.0%}"
        yield (
            f"{row['device']:>9}{row['feed']:>10}{row['width']:>6}{row['batch']:>6}"
            f"{shares}{busy:>6}  {row['bound']}"
        )


def _floor(row: Mapping[str, Any]) -> str:
    return (
        f"{row['device']}, {row['feed']} feed, batch {row['batch']}: its kernels take "
        f"{row['kernel microseconds']:.0f} of the {row['step microseconds']:.0f} µs of a step "
        f"({row['busy']:.0%} busy)"
    )
