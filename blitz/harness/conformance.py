"""The result of a run as a file for machines, and what changed between two of them.

``docs/conformance.md`` documents the format.
"""

import datetime
import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from blitz.base import backend, files
from blitz.base.errors import BlitzError
from blitz.base.versions import stack
from blitz.harness.context import ExitState, RunContext
from blitz.harness.outcomes import FAILED, HELD, NO_DEVICE, NOT_RUN, RANK, Outcome, Results, worst
from blitz.harness.source import Verdict

FORMAT, VERSION = "blitz conformance", 2


def document(run: RunContext, ending: ExitState) -> dict[str, Any]:
    """Return the whole result of a run as ``docs/conformance.md`` says."""
    contents, results = run.contents(), run.results
    told = [str(fault) for fault in run.faults()]
    if ending.broken_off:  # what did not run may be broken
        told.append(str(run.sentence(ending)))
    by_claim: dict[str, list[Outcome]] = {}
    for outcome in results:
        by_claim.setdefault(outcome.key, []).append(outcome)
    return {
        "format": FORMAT,
        "version": VERSION,
        "environment": environment(run),
        "counts": {device: _counts(device, results) for device in results.devices()},
        "passed": not told and not results.failed(),
        "faults": told,
        "claims": [
            {
                "key": claim.key,
                "section": section.address,
                **_verdict(contents.verdict(claim)),
                "said": claim.said,
                "kind": claim.kind,
                "devices": _of_claim(by_claim.get(claim.key, [])),
            }
            for claim, section in contents.claims()
        ],
    }


def environment(run: RunContext) -> dict[str, Any]:
    """Return what the result depends on: versions, machine, devices, images, and when it was."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **stack(),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "platform": platform.platform(),
        "threads": run.threads,
        "images": run.images,
        "devices": [
            {
                "name": selected.place,
                "kind": selected.kind,
                "model": selected.model,
                "backend": backend.package_of(selected.device),
                "unsupported": selected.gaps,
            }
            for selected in run.selection.devices
        ],
        "missing_accelerator": run.selection.missing,
    }


def _counts(device: str, results: Results) -> dict[str, dict[str, int]]:
    claims = list(results.claims(device).values())
    tests = [outcome.state for outcome in results if outcome.device == device]
    return {
        "claims": {state: claims.count(state) for state in RANK},
        "tests": {state: tests.count(state) for state in RANK},
    }


def _of_claim(outcomes: list[Outcome]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for outcome in outcomes:
        entry = found.setdefault(outcome.device, {"outcome": NOT_RUN, "tests": []})
        entry["outcome"] = worst(entry["outcome"], outcome.state)
        entry["tests"].append(
            {"id": outcome.node, "outcome": outcome.state, "reason": outcome.reason}
        )
    for entry in found.values():
        entry["tests"].sort(key=lambda test: test["id"])
    return found


def _verdict(verdict: Verdict | None) -> dict[str, str | None]:
    if verdict is None:
        return {"verdict": "holds", "error_of": None}
    error_of = "tutorial" if verdict.upstream is None else "translation"
    return {"verdict": verdict.kind, "error_of": error_of}


def write(path: Path, run: RunContext, ending: ExitState) -> None:
    """Write the result of a run; the file appears whole or not at all."""
    text = json.dumps(document(run, ending), indent=1, ensure_ascii=False)
    files.write(path, f"{text}\n".encode(), "the result")


def read(path: Path) -> dict[str, Any]:
    """Return the result in the file ``path``; one of another version is refused."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BlitzError(f"{path}: {error}. Write one with --conformance FILE.") from error
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise BlitzError(
            f"{path} is no result of a run: its format is not {FORMAT!r}. Write one with "
            "pytest spec --conformance FILE."
        )
    if result.get("version") != VERSION:
        raise BlitzError(
            f"{path} is of version {result.get('version')!r}, and version {VERSION} is known "
            "here. Write it anew, or compare with the blitz that wrote it."
        )
    if not _well_formed(result):
        raise BlitzError(f"{path} lacks what docs/conformance.md asks for. Write it anew.")
    return result


def _well_formed(result: dict[str, Any]) -> bool:
    try:
        return all(
            isinstance(claim["key"], str)
            and all(entry["outcome"] in RANK for entry in claim["devices"].values())
            for claim in result["claims"]
        ) and isinstance(result["environment"]["devices"], list)
    except (KeyError, TypeError, AttributeError):
        return False


@dataclass(frozen=True)
class Change:
    """A claim that came out otherwise on a device; None where one run does not have it.

    Attributes:
        device: ``cuda:0 → mps:0`` where the runs had different ones.
        reason: Why, in the second run.
    """

    key: str
    device: str
    before: str | None
    after: str | None
    reason: str = ""

    @property
    def regression(self) -> bool:
        """Return whether something was lost: it no longer holds, or it fails and did not."""
        lost = self.before == HELD and self.after != HELD
        return lost or (self.after in FAILED and self.before not in FAILED)

    def __str__(self) -> str:
        sign = "regression" if self.regression else "change"
        reason = f" ({self.reason})" if self.reason else ""
        before, after = (state or "not there" for state in (self.before, self.after))
        return f"{sign}: {self.key} on {self.device}: {before} → {after}{reason}"


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Return what changed from one result to another, claim by claim, on each device.

    Devices of the same name are compared; where each run has one accelerator, these two are.

    Args:
        before: A result as :func:`read` gives it.
        after: Another.
    """
    changes = []
    for name, other in pairs(before, after):
        was, now = outcomes_on(before, name), outcomes_on(after, other)
        shown = " → ".join(dict.fromkeys(place for place in (name, other) if place))
        for key in dict.fromkeys([*was, *now]):
            old, new = was.get(key, {}), now.get(key, {})
            change = Change(key, shown, old.get("outcome"), new.get("outcome"), why(new))
            if change.before != change.after:
                changes.append(change)
    return changes


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs in the environments: name, first and second value."""
    was, now = before["environment"], after["environment"]
    for name in dict.fromkeys([*was, *now]):
        if was.get(name) != now.get(name) and name != "devices":
            yield name, was.get(name), now.get(name)
    before_named, after_named = (
        ", ".join(str(device.get("name")) for device in result["devices"]) for result in (was, now)
    )
    if before_named != after_named:
        yield "devices", before_named, after_named


def pairs(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    """Return pairs of devices of both results to compare; None where one has no partner."""
    was, now = devices_of(before), devices_of(after)
    pairs: list[tuple[str | None, str | None]] = [(name, name) for name in was if name in now]
    lost = [name for name in was if name not in now]
    new = [name for name in now if name not in was]
    gone, come = (list(filter(is_accelerator, names)) for names in (lost, new))
    if len(gone) == len(come) == 1:
        pairs.append((gone[0], come[0]))
        lost.remove(gone[0])
        new.remove(come[0])
    return [*pairs, *((name, None) for name in lost), *((None, name) for name in new)]


def devices_of(result: dict[str, Any]) -> list[str]:
    """Return the names of the devices that a result has claims on."""
    return list(dict.fromkeys(name for claim in result["claims"] for name in claim["devices"]))


def is_accelerator(name: str) -> bool:
    """Return whether a device of this name is an accelerator."""
    return name != NO_DEVICE and name.partition(":")[0] not in ("cpu", "meta")


def outcomes_on(result: dict[str, Any], device: str | None) -> dict[str, dict[str, Any]]:
    """Return key → outcome and tests on ``device``."""
    return {
        claim["key"]: claim["devices"][device]
        for claim in result["claims"]
        if device in claim["devices"]
    }


def why(entry: dict[str, Any]) -> str:
    """Return the reason of the first of a claim's worst tests that has one; else empty."""
    worst = [t for t in entry.get("tests", ()) if t.get("outcome") == entry.get("outcome")]
    return next((str(test["reason"]) for test in worst if test.get("reason")), "")
