"""Try this machine's devices, each in a process of its own, and say what to do about a bad one."""

import argparse
import importlib.util
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from blitz import preflight
from blitz.base import arguments
from blitz.base.errors import BlitzError
from blitz.preflight import Finding, Verdict

NVIDIA, AMD = Path("/proc/driver/nvidia/version"), Path("/dev/kfd")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``python -m blitz doctor``."""
    arguments.add_devices(
        parser.add_argument,
        "try these devices only; default: the cpu and the accelerator, if there is one",
        limit=preflight.LIMIT,
    )


def run(args: argparse.Namespace) -> int:
    """Print a finding for each device; return 0 if all can be used, else 1."""
    for module in args.imports:
        # The first part alone: find_spec would import the parents of a dotted name here.
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            raise BlitzError(f"--import {module}: there is no module of this name. Install it.")
    names = _names(args.device)
    with ThreadPoolExecutor() as pool:  # each thread waits for a process
        findings = pool.map(
            lambda name: preflight.check(name, modules=args.imports, limit=args.preflight_limit),
            names,
        )
        bad = False
        for finding in findings:
            print("\n".join(report(finding)))
            bad |= not (finding.usable or (args.device is None and _is_none(finding)))
    return int(bad)


def _names(asked_for: str | None) -> list[str]:
    if asked_for is not None:
        names = [name.strip() for name in asked_for.split(",")]
        if "" in names or "meta" in names:
            raise BlitzError(
                f"--device {asked_for!r}: give names such as cpu, cuda, cuda:1 or mps. There is "
                "nothing to try on meta, which has no values."
            )
        return list(dict.fromkeys(names))
    # torch says nothing of a GPU that it was not built for; the system does.
    return ["cpu", "cuda" if NVIDIA.exists() or AMD.exists() else preflight.ANY]


def _is_none(finding: Finding) -> bool:
    """Return whether no accelerator was asked for, and none was found."""
    return finding.device == preflight.ANY and finding.verdict is Verdict.NO_DRIVER


def report(finding: Finding) -> Iterator[str]:
    """Yield the lines about one device: the verdict with its remedy, then the facts."""
    if _is_none(finding):
        yield "accelerator: torch finds none on this machine"
    elif finding.usable:
        yield f"{finding.device}: usable"
    else:
        detail = f": {finding.detail}" if finding.detail else ""
        yield f"{finding.device}: NOT USABLE: {finding.verdict.phrase}{detail}"
        yield f"  at the stage: {finding.stage}"
        yield f"  what to do: {finding.verdict.remedy}"
    for gap, why in finding.gaps.items():
        yield f"  unsupported: {gap} ({why})"
    for name, value in finding.facts.items():
        yield f"  {name}: {value}"
