"""A run of the specification: what it was asked for, and what it has found so far."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from blitz.harness import verdict
from blitz.harness.contents import Contents
from blitz.harness.outcomes import Results
from blitz.harness.profile import ProfilePlugin
from blitz.harness.selection import Selection
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
    profile: ProfilePlugin | None
    results: Results
    images: str
    threads: int
    judged: bool

    def faults(self) -> list[Message]:
        """Return why the run must not count as a success, failed tests aside."""
        if not self.judged:
            return []
        return verdict.faults(self.results, self.selection, self.named, self.profile)

    def tolerances(self) -> list[Row]:
        """Return the tolerances in force on each device."""
        profile = None if self.profile is None else self.profile.profile
        return table(self.selection, self.contents(), profile)


CONTEXT = pytest.StashKey[RunContext]()
"""Where pytest's config keeps the run."""
