"""What the page shows of a run: the template goes through the contents and asks for the rest."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

from markupsafe import escape

from blitz import data
from blitz.harness import conformance, outcomes, summary
from blitz.harness.benchmarks import cpu_name
from blitz.harness.contents import Claim, parts_of
from blitz.harness.context import ExitState, RunContext
from blitz.harness.outcomes import BROKEN, FAILED, HELD, NO_DEVICE, NOT_RUN, Outcome, worst
from blitz.harness.report.options import Request
from blitz.harness.report.releases import Probe
from blitz.harness.selection import NO_ACCELERATOR
from blitz.harness.source import Test

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

# Of each test: one that fails with each of 43 expressions fails for one reason.
FAILURES_SHOWN = 5

# Failures from which on one of each test is shown, and tests of which any is shown: where so many
# fail, most do for one reason.
MANY = 100

# Bytes of the text of one failure, from its end, where the error stands; and of all of them, so
# that the page opens within a second where everything fails: in Chinese it has 984 kB (2026-11).
FAILURE_MOST, FAILURES_MOST = 8000, 40_000

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Report:
    """Answers what the template asks about a run, in the language of the page.

    Attributes:
        accounts: How many claims there are, by who says them and by what became of them.
        faults: Why the run must not count as a success, beside what failed.
        columns: The devices; the kind of one that is not there; "no device".
        broken: The keys of the claims that failed on any device.
        states: The states that the page explains.
    """

    def __init__(self, run: RunContext, asked: Request, ending: ExitState) -> None:
        self.run, self.contents, self.faults = run, run.contents(), run.faults()
        self._request, self._texts, self._ending = asked, asked.texts, ending
        self.verdict = run.sentence(ending)
        self._outcomes: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in run.results:
            self._outcomes[parts_of(outcome.node)[0]].append(outcome)
        devices = {selected.place for selected in run.selection.devices}
        self.columns = sorted(devices | {*run.results.devices()}, key=summary.cpu_first)
        self.broken = {outcome.key for outcome in run.results if outcome.state in FAILED}
        seen = {outcome.state for outcome in run.results}
        self.states = [state for state in SIGNS if state not in RARE or state in seen]
        failed = {test: len(self.failed(test)) for test in self._outcomes if self.failed(test)}
        most = FAILURES_SHOWN if sum(failed.values()) <= MANY else 1
        self._failing = len(failed)
        self.accounts = summary.accounts(self.contents, asked.texts)
        self._shown = {test: min(failed[test], most) for test in list(failed)[:MANY]}
        self._room = min(FAILURE_MOST, FAILURES_MOST // max(1, sum(self._shown.values())))

    # The head of the page

    @property
    def tone(self) -> str:
        """Return the class of the verdict: good, bad, or open where little can be said."""
        tones = {"verdict.held": "good", "verdict.gaps": "good", "verdict.nothing": "open"}
        return tones.get(self.verdict.key, "bad")

    def label(self, device: str, form: str = "") -> str:
        """Return what a column is called; ``form`` is ``_short`` where there is little room."""
        key = {NO_DEVICE: "device.none", "accelerator": "device.accelerator"}.get(device)
        return device if key is None else self._texts(key + form)

    def machine(self) -> Iterator[tuple[str, str]]:
        """Yield what the result depends on: what it is called, and what it is."""
        texts, selection = self._texts, self.run.selection
        found = conformance.environment(self.run)
        yield texts("machine.date"), found["date"].replace("T", " ").replace("+00:00", " UTC")
        names = ("torch", "torchvision", "NumPy", "Python")
        versions = [f"{name} {found[name.lower()]}" for name in names]
        yield texts("machine.versions"), ", ".join(versions)
        yield texts("machine.platform"), found["platform"]
        yield texts("machine.devices"), ", ".join(self._devices())
        if selection.missing:
            yield texts("machine.no_accelerator"), self._missing()
        for why in selection.unusable:
            if why != selection.missing:
                yield texts("machine.unusable"), why
        for selected in selection.devices:
            if selected.gaps:
                lacks = texts("machine.unsupported_on", device=selected.place)
                yield lacks, ", ".join(selected.gaps)
        yield texts("machine.threads"), str(self.run.threads)
        made = self.run.images == data.describe(None)
        yield texts("machine.images"), texts("machine.images_made") if made else self.run.images

    def _devices(self) -> Iterator[str]:
        for selected in self.run.selection.devices:
            model = selected.model or (cpu_name() if selected.place == "cpu" else "")
            yield str(replace(selected, model=model))

    def counts(self, device: str) -> Counter[str]:
        """Return how many claims are in each state on a device."""
        return Counter(self.run.results.claims(device).values())

    def notes(self) -> Iterator[str]:
        """Yield what the verdict says nothing about: what was not run, and what is not shown."""
        if self.run.selection.missing:
            yield self._texts("counts.none_on_accelerator", reason=self._missing())
        none, part = self._unreached()
        if none or part:
            yield self._texts("run.broken_off" if self._ending.broken_off else "run.subset")
        if none:
            yield self._texts("counts.not_reached", count=none)
        if part:
            yield self._texts("counts.in_part", count=part)
        if self._failing > MANY:
            yield self._texts("counts.few_shown", shown=MANY, failed=self._failing)

    def _unreached(self) -> tuple[int, int]:
        """Return of how many tested claims no test, or only some, came to a result."""
        none = part = 0
        for claim, _ in self.contents.claims():
            reached = [bool(self._outcomes[test_id]) for test_id in claim.tests]
            none += bool(reached) and not any(reached)
            part += any(reached) and not all(reached)
        return none, part

    # The claims

    def notes_on(self, claim: Claim) -> Iterator[tuple[str, str]]:
        """Yield who else says it and why it has no tests: the kind of note, and the note."""
        if claim.said != "text":
            yield "said", self._texts(f"said.{claim.said}")
        measured = self._texts("claim.benchmark") if claim.benchmarks else None
        for kind in ("erratum", "untestable", "benchmark"):
            reason = measured if kind == "benchmark" else getattr(claim, kind)
            if reason is not None:
                yield kind, self._texts.of("rows", claim.key, reason)

    def probes(self, key: str) -> list[Probe]:
        """Return what the releases of torch did, where they were asked about a claim."""
        return [probe for probe in self._request.probes if key in probe.claims]

    def cells(self, test: Test) -> dict[str, str | None]:
        """Return the state of a test by column; None where it was not asked.

        A test that the run did not come to was not run on any device.
        """
        states: dict[str, str] = {}
        for outcome in self._outcomes[test.id]:
            states[outcome.device] = worst(states.get(outcome.device, NOT_RUN), outcome.state)
        return {column: states.get(column) if states else NOT_RUN for column in self.columns}

    def failed(self, test_id: str) -> list[Outcome]:
        """Return the outcomes of a test that broke, hung or crashed."""
        return [outcome for outcome in self._outcomes[test_id] if outcome.state in FAILED]

    def failures(self, test: Test) -> list[tuple[str, str, str, int]]:
        """Return device, parameters, end of the text and what was cut off of its first failures."""
        return [self._failure(o) for o in self.failed(test.id)[: self._shown.get(test.id, 0)]]

    def _failure(self, outcome: Outcome) -> tuple[str, str, str, int]:
        text = printable(outcome.text or outcome.reason)
        cut = max(0, len(text) - self._room)
        while (excess := len(escape(text[cut:]).encode()) - self._room) > 0:
            cut += max(1, excess // 6)  # the most that one character can take, or nearly
        case = outcome.node.partition("[")[2].removesuffix("]")
        return self.label(outcome.device), printable(case), text[cut:], cut

    def reasons(self, test: Test | None = None) -> list[tuple[tuple[str, str, str], int]]:
        """Return why tests did not hold, the most frequent first: ((device, state, why), count).

        Of one test or of all; a broken one shows its error instead.
        """
        counts = Counter(
            (self.label(outcome.device), outcome.state, self._reason(outcome))
            for outcome in (self.run.results if test is None else self._outcomes[test.id])
            if outcome.state not in (HELD, BROKEN) and outcome.reason
        )
        return counts.most_common()

    def _reason(self, outcome: Outcome) -> str:
        """Return why a test did not hold; a device that it lacks is told in the page's language."""
        kinds = outcome.reason.partition(":")[0].removeprefix("needs ").split(" or ")
        if outcome.reason == self.run.selection.lack(kinds):
            names = self._texts("claim.needs_or").join(map(self.label, kinds))
            return self._texts("claim.needs", device=names, reason=self._missing())
        return printable(outcome.reason)

    def _missing(self) -> str:
        missing = self.run.selection.missing
        if missing == NO_ACCELERATOR:
            return self._texts("machine.none_found")
        return missing or self._texts("claim.needs_none_fits")


def printable(text: str) -> str:
    """Return ``text`` without a terminal's colours; other characters that no page may hold as �."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(lambda found: "" if found[0].startswith("\x1b[") else "\ufffd", text)
