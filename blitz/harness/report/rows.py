"""What the report shows of a run: plain values in the language of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from blitz.harness import outcomes
from blitz.harness.contents import Contents
from blitz.harness.outcomes import Results
from blitz.harness.report.failures import Failures
from blitz.harness.report.releases import Probe
from blitz.harness.selection import Selection
from blitz.harness.source import Verdict
from blitz.harness.texts import Message, Said
from blitz.harness.verdict import ExitState

SIGNS = {
    outcomes.HELD: "✓",
    outcomes.BROKEN: "✗",
    outcomes.CRASHED: "†",
    outcomes.HUNG: "∞",
    outcomes.UNSUPPORTED: "⊘",
    outcomes.KNOWN: "◇",
    outcomes.NOT_RUN: "–",
}
"""One sign for each state, and one meaning for each sign."""

# Explained only where the page shows one: most runs have none of them.
RARE = (outcomes.CRASHED, outcomes.HUNG, outcomes.KNOWN)

TOLD = {True: ("as_told", "="), False: ("not_as_told", "≠"), None: ("not_probed", "·")}
"""Return whether a release does what the tutorial says: what that is called, and its sign."""

# As keys of the texts and classes of the page, which cannot hold a blank.
NAMES = {state: state.replace(" ", "_") for state in SIGNS}

# Failing tests from which on one failure of each is shown.
MANY = 100


@dataclass(frozen=True)
class Run:
    """A run, as far as it came.

    Attributes:
        sources: The text of each file of tests, as it was when the run began.
        faults: Why it must not count as a success, beside what failed.
        images: Where the images come from; None where they are made on the spot.
        room: Bytes for the texts of failures, so that the page opens where everything fails.
    """

    contents: Contents
    sources: Mapping[Path, str]
    selection: Selection
    results: Results
    failures: Failures
    faults: Sequence[Message]
    ending: ExitState
    images: str | None
    threads: int
    probes: Sequence[Probe] = ()
    room: int = 120_000


@dataclass(frozen=True)
class Column:
    """A column of the table of claims: a device, a kind that is not there, or no device."""

    name: str
    label: str
    short: str


@dataclass(frozen=True)
class Reason:
    """Why tests are in a state on a device, and how many."""

    device: str
    state: str
    reason: str
    count: int


@dataclass(frozen=True)
class Failure:
    """A test that failed: where, with which parameters, and the end of what it said."""

    device: str
    case: str
    text: str
    cut: int = 0


@dataclass(frozen=True)
class TestRow:
    """A test, as the page shows it.

    Attributes:
        says: What the tutorial says, where that is not true; None where it is.
        cells: The state on each device, by the name of the column; None where it was not asked.
    """

    id: str
    sentence: Said
    says: Said | None
    verdict: Verdict
    code: Markup
    file: str
    line: int
    cells: Mapping[str, str | None]
    reasons: Sequence[Reason]
    failures: Sequence[Failure]
    more_failures: int

    @property
    def broken(self) -> bool:
        """Return whether it is broken on any device."""
        return any(state in outcomes.FAILED for state in self.cells.values())


@dataclass(frozen=True)
class ClaimRow:
    """A claim with its tests.

    Attributes:
        notes: Why it has no tests, or what is amiss with it beside them: (kind, text).
        probes: What the releases of torch did, where that is not told of what is not true.
    """

    key: str
    said: str
    tests: Sequence[TestRow]
    notes: Sequence[tuple[str, Said]]
    probes: Sequence[Probe]

    @property
    def broken(self) -> bool:
        """Return whether a test of it is broken on any device."""
        return any(test.broken for test in self.tests)

    @property
    def changed(self) -> bool:
        """Return whether what the tutorial says is not, or no longer, true."""
        return any(test.says is not None for test in self.tests)


@dataclass(frozen=True)
class SectionRow:
    """A section with its claims."""

    id: str
    heading: Said
    address: str
    claims: Sequence[ClaimRow]


@dataclass(frozen=True)
class PageRow:
    """A chapter with its sections."""

    id: str
    title: Said
    address: str
    ours: bool
    sections: Sequence[SectionRow]

    @property
    def broken(self) -> list[str]:
        """Return the keys of its broken claims."""
        return [c.key for section in self.sections for c in section.claims if c.broken]


@dataclass(frozen=True)
class Untrue:
    """A claim that is not, or no longer, true: its tests that say so, and the evidence."""

    key: str
    tests: Sequence[TestRow]
    probes: Sequence[Probe]


@dataclass(frozen=True)
class Counted:
    """A device with how many claims of it are in each state, and how many tests ran."""

    column: Column
    states: Mapping[str, int]
    tests: int
    reasons: Sequence[Reason]


@dataclass(frozen=True)
class Report:
    """All that the page shows of the run."""

    verdict: Message
    faults: Sequence[Message]
    date: str
    machine: Sequence[tuple[str, str]]
    counted: Sequence[Counted]
    accounts: Sequence[str]
    notes: Sequence[str]
    columns: Sequence[Column]
    pages: Sequence[PageRow]
    untrue: Sequence[Untrue]
    mistranslated: Sequence[Untrue]
    slips: Sequence[tuple[str, Said]]
    states: Sequence[str]

    @property
    def tone(self) -> str:
        """Return the class of the verdict: good, bad, or open where little can be said."""
        tones = {"verdict.held": "good", "verdict.gaps": "good", "verdict.nothing": "open"}
        return tones.get(self.verdict.key, "bad")

    @property
    def claims(self) -> int:
        """Return how many claims there are, those of our own too."""
        return sum(len(section.claims) for page in self.pages for section in page.sections)

    @property
    def many(self) -> bool:
        """Return whether so much is broken that the browser is to draw only what is looked at."""
        return sum(len(page.broken) for page in self.pages) > MANY // 2

    @property
    def promises(self) -> int:
        """Return how many of them the text followed makes."""
        claims = (c for page in self.pages for section in page.sections for c in section.claims)
        return sum(claim.said == "text" for claim in claims)
