"""What a run comes to, in a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

from blitz.harness.outcomes import FAILED, KNOWN, RAN, UNSUPPORTED, Results
from blitz.harness.texts import Message


@dataclass(frozen=True)
class ExitState:
    """How a run came to its end.

    Attributes:
        code: Pytest's exit code.
        broken_off: Whether it ended before its tests did: by Ctrl-C, at the first failure where
            that was asked for, by an error of pytest's own.
    """

    code: int = 0
    broken_off: bool = False


def sentence(results: Results, faults: Sequence[Message], ending: ExitState) -> Message:
    """Return what the run comes to, in a sentence."""
    checked = {outcome.key for outcome in results if outcome.state in RAN}
    broken = {outcome.key for outcome in results if outcome.state in FAILED}
    gaps = {outcome.key for outcome in results if outcome.state in (UNSUPPORTED, KNOWN)}
    counts = {"claims": len(checked), "broken": len(broken), "gaps": len(gaps)}
    if ending.broken_off:
        return Message("verdict.broken_off", counts)
    if broken:
        return Message("verdict.broken", counts)
    if faults:
        return Message("verdict.fault", {"fault": faults[0]})
    if not checked:
        return Message("verdict.nothing")
    if ending.code:
        return Message("verdict.otherwise", {**counts, "code": ending.code})
    return Message("verdict.gaps" if gaps else "verdict.held", counts)
