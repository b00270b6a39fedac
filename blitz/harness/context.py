"""A run of the specification: what it was asked for, what it has found, and what it comes to."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from blitz.harness.contents import Contents
from blitz.harness.outcomes import FAILED, KNOWN, RAN, UNSUPPORTED, Results
from blitz.harness.profile import Profile
from blitz.harness.selection import Selection
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


@dataclass(frozen=True)
class RunContext:
    """What the parts of the harness share.

    Attributes:
        named: Whether ``--device`` names the devices.
        images: Where the images come from, in a few words.
        threads: How many threads of the cpu each process has.
        judged: Whether the run can fail without a failed test: benchmarks and workers cannot.
    """

    contents: Callable[[], Contents]
    selection: Selection
    named: bool
    profile: Profile | None
    results: Results
    images: str
    threads: int
    judged: bool

    def faults(self) -> list[Message]:
        """Return why the run must not count as a success, failed tests aside."""
        if not self.judged or not len(self.results):
            return []
        if not self.results.ran():
            return [Message("fault.all_skipped")]
        places = [selected.place for selected in self.selection.devices if self.named]
        idle = [place for place in places if not self.results.ran_on(place)]
        found = [Message("fault.idle", {"device": place}) for place in idle]
        return found + ([] if self.profile is None else self.profile.stale(self.results))

    def sentence(self, ending: ExitState) -> Message:
        """Return what the run comes to, in a sentence."""
        checked = {outcome.key for outcome in self.results if outcome.state in RAN}
        broken = {outcome.key for outcome in self.results if outcome.state in FAILED}
        gaps = {outcome.key for outcome in self.results if outcome.state in (UNSUPPORTED, KNOWN)}
        counts = {"claims": len(checked), "broken": len(broken), "gaps": len(gaps)}
        if ending.broken_off:
            return Message("verdict.broken_off", counts)
        if broken:
            return Message("verdict.broken", counts)
        if faults := self.faults():
            return Message("verdict.fault", {"fault": faults[0]})
        if not checked:
            return Message("verdict.nothing")
        if ending.code:
            return Message("verdict.otherwise", {**counts, "code": ending.code})
        return Message("verdict.gaps" if gaps else "verdict.held", counts)


CONTEXT = pytest.StashKey[RunContext]()
"""Where pytest's config keeps the run."""
