"""Backends as their runs show them: a profile of the known gaps, and a table of several."""

import json
from collections.abc import Iterator
from typing import Any

from blitz.base.errors import BlitzError
from blitz.harness.conformance import devices_of, is_accelerator, outcomes_on, why
from blitz.harness.outcomes import BROKEN, CRASHED, HELD, HUNG, KNOWN, NO_DEVICE, UNSUPPORTED

SHOWN = (HELD, BROKEN, UNSUPPORTED, KNOWN, CRASHED, HUNG)
"""The outcomes that have a column in the table."""


def profile(result: dict[str, Any], device: str | None = None) -> Iterator[str]:
    """Yield the lines of a profile that lets the failures of a run pass.

    A claim that broke gets an ``xfail``; one that crashed or hung gets a ``skip``, since it costs a
    process or the time limit whenever it runs. What is unsupported fails nothing and has no line.

    Args:
        result: As :func:`conformance.read` gives it.
        device: The device, as named in the run; None for the run's only accelerator.

    Raises:
        BlitzError: the run has no such device, or several accelerators.
    """
    names = devices_of(result)
    chosen = [name for name in names if name == device or (not device and is_accelerator(name))]
    if len(chosen) != 1:
        asked = "the accelerator" if device is None else f"--device {device}"
        raise BlitzError(
            f"{asked}: the run has {', '.join(chosen or names) or 'no devices'}. Name one with "
            "--device NAME."
        )
    environment = result["environment"]
    entry = _device(environment, chosen[0])
    yield f"# Known gaps of {chosen[0]}: {_versions(environment, entry)}, {_day(environment)}."
    yield f"device = {_quoted(chosen[0].partition(':')[0])}"
    yield ""
    yield "[claims]"
    actions = {BROKEN: "xfail", KNOWN: "xfail", CRASHED: "skip", HUNG: "skip"}
    for key, found in outcomes_on(result, chosen[0]).items():
        if found["outcome"] in actions:
            reason = why(found).removeprefix("profile: ") or found["outcome"]
            yield f"{key} = {{ {actions[found['outcome']]} = {_quoted(reason)} }}"


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a table in Markdown: a row for each device that ran tests, its claims by outcome."""
    yield "| device | versions | date | tests | " + " | ".join(SHOWN) + " |"
    yield "|---|---|---|" + "--:|" * (1 + len(SHOWN))
    for result in results:
        environment = result["environment"]
        for name in devices_of(result):
            entry, counts = _device(environment, name), result["counts"][name]
            tests = sum(counts["tests"].get(state, 0) for state in SHOWN)
            if name == NO_DEVICE or not tests:
                continue
            claims = " | ".join(str(counts["claims"].get(state, 0)) for state in SHOWN)
            versions = _versions(environment, entry)
            yield f"| {name} | {versions} | {_day(environment)} | {tests} | {claims} |"


def _device(environment: dict[str, Any], name: str) -> dict[str, Any]:
    return next((entry for entry in environment["devices"] if entry["name"] == name), {})


def _versions(environment: dict[str, Any], entry: dict[str, Any]) -> str:
    parts = [f"torch {environment.get('torch')}", entry.get("backend", ""), entry.get("model", "")]
    return ", ".join(part for part in parts if part)


def _day(environment: dict[str, Any]) -> str:
    return str(environment.get("date", ""))[:10]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # as TOML has it
