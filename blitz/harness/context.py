"""A run of the specification: what it was asked for, and what it has found so far."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from blitz.harness.contents import Contents
from blitz.harness.outcomes import Results
from blitz.harness.profile import Profile
from blitz.harness.selection import Selected, Selection
from blitz.harness.texts import Message
from blitz.harness.tolerances import Row, table


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
        idle = [s for s in self.selection.devices if self.named and not self._ran_on(s)]
        found = [Message("fault.idle", {"device": selected.place}) for selected in idle]
        return found + ([] if self.profile is None else self.profile.stale(self.results))

    def _ran_on(self, selected: Selected) -> bool:
        its = [selected.place]
        if selected.visible > 1:
            its = [n for n in self.results.devices() if n.startswith(f"{selected.device.type}:")]
        return any(self.results.ran_on(name) for name in its)

    def tolerances(self) -> list[Row]:
        """Return the tolerances in force on each device."""
        return table(self.selection, self.contents(), self.profile)


CONTEXT = pytest.StashKey[RunContext]()
"""Where pytest's config keeps the run."""
