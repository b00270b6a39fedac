"""A run put together for the report: the contents, the results and the code, as rows."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from blitz.harness import conformance, summary, verdict
from blitz.harness.benchmarks import cpu_name
from blitz.harness.contents import SAID, Claim, Page, Place, Section, parts_of
from blitz.harness.outcomes import (
    CRASHED,
    FAILED,
    HUNG,
    KNOWN,
    NO_DEVICE,
    NOT_RUN,
    UNSUPPORTED,
    Outcome,
    worst,
)
from blitz.harness.report import highlight
from blitz.harness.report.failures import printable
from blitz.harness.report.releases import Probe
from blitz.harness.report.rows import (
    AS_TOLD,
    MANY,
    NOT_AS_TOLD,
    NOT_PROBED,
    RARE,
    SIGNS,
    Cell,
    ClaimRow,
    Column,
    Counted,
    Failure,
    PageRow,
    Reason,
    Report,
    Run,
    SectionRow,
    Strip,
    StripCell,
    TestRow,
    Untrue,
)
from blitz.harness.selection import NO_ACCELERATOR
from blitz.harness.source import Test, Verdict
from blitz.harness.texts import Message, Said, Texts

FAILURES_SHOWN = 5
"""Of each test; one that fails with each of 43 expressions fails for one reason."""

FAILING_SHOWN = 150
"""Tests whose failures are shown; where more fail, most do for one reason."""

FAILURE_MOST = 8000
"""Bytes of the text of one failure."""


def report(run: Run, texts: Texts) -> Report:
    """Return what the page shows of ``run``, in the language of ``texts``."""
    return _Gatherer(run, texts).report()


class _Gatherer:
    """Puts a report together; holds what all of its parts need."""

    def __init__(self, run: Run, texts: Texts) -> None:
        self._run, self._texts = run, texts
        self._outcomes: dict[str, list[Outcome]] = {}
        for outcome in run.results:
            self._outcomes.setdefault(_test_of(outcome.node), []).append(outcome)
        self._places: dict[str, list[Place]] = {}
        for place in run.contents.places():
            self._places.setdefault(place.claim.key, []).append(place)
        self._kinds = {p.test.id: p.test.kinds for found in self._places.values() for p in found}
        self._lines = {file: text.split("\n") for file, text in run.sources.items()}
        self._columns = self._all_columns()
        broken = {
            test: sum(outcome.state in FAILED for outcome in outcomes)
            for test, outcomes in self._outcomes.items()
        }
        most = FAILURES_SHOWN if sum(broken.values()) <= MANY else 1
        failing = [test for test, count in broken.items() if count][:FAILING_SHOWN]
        self._shown = {test: min(broken[test], most) for test in failing}
        shown = sum(self._shown.values())
        self._room = min(FAILURE_MOST, run.room // max(1, shown))

    def report(self) -> Report:
        run = self._run
        environment = conformance.environment(run.selection, run.images or "", run.threads)
        pages = [self._page(number, page) for number, page in enumerate(run.contents.pages, 1)]
        sentence = verdict.sentence(run.results, run.faults, run.ending)
        counted = [self._counted(column) for column in self._columns]
        states = {state for row in counted for state in row.states if row.states[state]}
        return Report(
            verdict=sentence,
            good=_good(sentence),
            faults=run.faults,
            date=environment["date"],
            machine=list(self._machine(environment)),
            counted=counted,
            accounts=list(self._accounts()),
            notes=list(self._notes()),
            columns=self._columns,
            pages=pages,
            untrue=list(self._untrue(pages, upstream=False)),
            mistranslated=list(self._untrue(pages, upstream=True)),
            slips=[
                (claim.key, text)
                for page in pages
                for section in page.sections
                for claim in section.claims
                for kind, text in claim.notes
                if kind == "erratum"
            ],
            states=[s for s in SIGNS if s not in RARE or s in states],
        )

    # The devices

    def _all_columns(self) -> list[Column]:
        asked = [name for tests in self._places.values() for t in tests for name in self._asked(t)]
        names = dict.fromkeys([*self._run.results.devices(), *asked])
        return [self._column(name) for name in sorted(names, key=summary.cpu_first)]

    def _column(self, name: str) -> Column:
        if name == NO_DEVICE:
            return Column(name, self._texts("device.none"), self._texts("device.none_short"))
        if name == "accelerator":
            short = self._texts("device.accelerator_short")
            return Column(name, self._texts("device.accelerator"), short)
        return Column(name, name, name)

    def _asked(self, place: Place) -> list[str]:
        """Where a test is asked for in this run, whether it came to that or not."""
        kinds = place.test.kinds
        if not kinds:
            return [NO_DEVICE]
        chosen = self._run.selection.of_kinds(kinds)
        ran = {o.device for o in self._outcomes.get(place.test.id, ())}
        found = []
        for selected in chosen:
            by_turns = [name for name in ran if name.startswith(f"{selected.device.type}:")]
            found += by_turns if selected.visible > 1 and by_turns else [selected.place]
        return found or [kinds[0]]

    # The claims

    def _page(self, number: int, page: Page) -> PageRow:
        sections = [
            self._section(f"s{number}-{place}", section)
            for place, section in enumerate(page.sections, 1)
        ]
        address = page.sections[0].address.partition("#")[0] if page.sections else ""
        title = self._texts.heading(page.title)
        return PageRow(f"page-{number}", title, address, page.ours, sections)

    def _section(self, name: str, section: Section) -> SectionRow:
        heading = self._texts.heading(section.heading)
        claims = [self._claim(claim) for claim in section.claims]
        return SectionRow(name, heading, section.address, claims)

    def _claim(self, claim: Claim) -> ClaimRow:
        notes = [
            (kind, self._texts.row(claim.key, text))
            for kind, text in (("erratum", claim.erratum), ("untestable", claim.untestable))
            if text is not None
        ]
        if claim.benchmarks:
            reason = self._texts.row(claim.key, self._texts("claim.benchmark"))
            notes.append(("benchmark", Said(reason.text)))
        tests = [self._test(place) for place in self._places.get(claim.key, ())]
        untrue = any(test.says is not None for test in tests)
        if claim.said != "text":
            notes.insert(0, ("said", Said(self._texts(f"said.{claim.said}"))))
        return ClaimRow(
            claim.key, claim.said, tests, notes, [] if untrue else self._strips(claim.key)
        )

    def _test(self, place: Place) -> TestRow:
        test, outcomes = place.test, self._outcomes.get(place.test.id, [])
        broken = [outcome for outcome in outcomes if outcome.state in FAILED]
        shown = self._shown.get(place.test.id, 0)
        untrue, verdict = test.untrue, test.verdict or _HOLDS
        return TestRow(
            id=test.id,
            sentence=self._texts.claim(test.id, test.sentence),
            says=None if untrue is None else self._texts.says(test.id, untrue.text),
            since=verdict.since or "",
            until=verdict.until or "",
            upstream=verdict.upstream or "",
            code=self._code(place.file, test),
            file=place.file.relative_to(place.page.file.parents[1]).as_posix(),
            line=test.lines[0],
            cells=self._cells(place, outcomes),
            reasons=self._reasons(outcomes, place.test.kinds),
            failures=[self._failure(outcome) for outcome in broken[:shown]],
            more_failures=len(broken) - shown,
        )

    def _cells(self, place: Place, outcomes: Sequence[Outcome]) -> dict[str, Cell]:
        states = dict.fromkeys(self._asked(place), NOT_RUN)
        for outcome in outcomes:
            before = states.get(outcome.device, NOT_RUN)
            states[outcome.device] = worst(before, outcome.state)
        return {column.name: Cell(states.get(column.name)) for column in self._columns}

    def _code(self, file: Path, test: Test) -> Markup:
        first, last = test.lines
        code = "\n".join(self._lines.get(file, [])[first - 1 : last])
        indent = code[: len(code) - len(code.lstrip())]
        return highlight.python(code.removeprefix(indent).replace(f"\n{indent}", "\n"))

    def _failure(self, outcome: Outcome) -> Failure:
        text = self._run.failures.get(outcome.node) or printable(outcome.reason)
        cut = max(0, len(text) - self._room)
        while (excess := len(escape(text[cut:]).encode()) - self._room) > 0:
            cut += max(1, excess // 6)  # the most that one character can take, or nearly
        case = outcome.node.partition("[")[2].removesuffix("]")
        return Failure(self._column(outcome.device).label, printable(case), text[cut:], cut)

    def _reasons(self, outcomes: Sequence[Outcome], kinds: Sequence[str]) -> list[Reason]:
        counts: dict[tuple[str, str, str], int] = {}
        for outcome in outcomes:
            if outcome.state in (NOT_RUN, UNSUPPORTED, KNOWN, CRASHED, HUNG) and outcome.reason:
                reason = self._reason(outcome, kinds)
                what = (self._column(outcome.device).label, outcome.state, reason)
                counts[what] = counts.get(what, 0) + 1
        return [Reason(*what, count) for what, count in counts.items()]

    def _reason(self, outcome: Outcome, kinds: Sequence[str]) -> str:
        """Why a test was not run: in the page's language where the device is what it lacks."""
        asked = {selected.place for selected in self._run.selection.devices}
        if outcome.state == NOT_RUN and kinds and outcome.device == kinds[0] not in asked:
            names = self._texts("claim.needs_or").join(self._column(kind).label for kind in kinds)
            return self._texts("claim.needs", device=names, reason=self._missing())
        return printable(outcome.reason)

    def _missing(self) -> str:
        missing = self._run.selection.missing
        if missing == NO_ACCELERATOR:
            return self._texts("machine.none_found")
        return missing or self._texts("claim.needs_none_fits")

    # The head of the page

    def _machine(self, environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        texts = self._texts
        yield texts("machine.date"), environment["date"].replace("T", " ").replace("+00:00", " UTC")
        versions = {"torch": "torch", "torchvision": "torchvision", "numpy": "NumPy"}
        versions |= {"python": "Python"}
        named = [f"{name} {environment[key]}" for key, name in versions.items()]
        yield texts("machine.versions"), ", ".join(named)
        yield texts("machine.platform"), environment["platform"]
        yield texts("machine.devices"), ", ".join(self._devices())
        if self._run.selection.missing:
            yield texts("machine.no_accelerator"), self._missing()
        for why in self._run.selection.unusable:
            if why != self._run.selection.missing:
                yield texts("machine.unusable"), why
        for selected in self._run.selection.devices:
            if selected.gaps:
                gaps = ", ".join(selected.gaps)
                yield texts("machine.unsupported_on", device=selected.place), gaps
        yield texts("machine.threads"), str(environment["threads"])
        yield texts("machine.images"), self._run.images or texts("machine.images_made")

    def _devices(self) -> Iterator[str]:
        for selected in self._run.selection.devices:
            kind, last = selected.device.type, selected.visible - 1
            name = selected.place
            if last:
                name = self._texts("machine.shared", first=f"{kind}:0", last=f"{kind}:{last}")
            model = selected.model or (cpu_name() if name == "cpu" else "")
            yield f"{name} ({model})" if model else name

    def _counted(self, column: Column) -> Counted:
        states = list(self._run.results.claims(column.name).values())
        outcomes = [o for o in self._run.results if o.device == column.name]
        counts: dict[tuple[str, str, str], int] = {}
        for outcome in outcomes:
            for found in self._reasons([outcome], self._kinds.get(_test_of(outcome.node), ())):
                what = (found.device, found.state, found.reason)
                counts[what] = counts.get(what, 0) + 1
        return Counted(
            column,
            {state: states.count(state) for state in SIGNS},
            self._run.results.ran_on(column.name),
            [Reason(*what, count) for what, count in sorted(counts.items(), key=lambda i: -i[1])],
        )

    def _accounts(self) -> Iterator[str]:
        claims = [claim for claim, _ in self._run.contents.claims()]
        said = {who: sum(claim.said == who for claim in claims) for who in SAID}
        yield self._texts("counts.said", all=len(claims), **said)
        names = ("tested", "benchmark", "erratum", "untestable")
        kinds = {name: sum(claim.kind == name for claim in claims) for name in names}
        yield self._texts("counts.accounts", **kinds)

    def _notes(self) -> Iterator[str]:
        if self._run.selection.missing:
            yield self._texts("counts.none_on_accelerator", reason=self._missing())
        none, part = self._unreached()
        if none or part:
            off = self._run.ending.broken_off
            yield self._texts("run.broken_off" if off else "run.subset")
        if none:
            yield self._texts("counts.not_reached", count=none)
        if part:
            yield self._texts("counts.in_part", count=part)

    def _unreached(self) -> tuple[int, int]:
        """Of how many tested claims no test, or only some, came to a result in this run."""
        none = part = 0
        for claim, _ in self._run.contents.claims():
            places = [p for p in self._places.get(claim.key, ()) if not p.test.benchmark]
            reached = [came for place in places for came in self._reached(place)]
            none += bool(reached) and not any(reached)
            part += any(reached) and not all(reached)
        return none, part

    def _reached(self, place: Place) -> list[bool]:
        """For each device that a test is asked of, whether anything came of it there."""
        came = {outcome.device for outcome in self._outcomes.get(place.test.id, ())}
        return [device in came for device in self._asked(place)]

    # What is not true

    def _untrue(self, pages: Sequence[PageRow], upstream: bool) -> Iterator[Untrue]:
        for page in pages:
            for section in page.sections:
                for claim in section.claims:
                    untrue = (test for test in claim.tests if test.says is not None)
                    tests = [test for test in untrue if bool(test.upstream) is upstream]
                    if tests:
                        yield Untrue(claim.key, tests, self._strips(claim.key))

    def _strips(self, key: str) -> list[Strip]:
        return [self._strip(probe) for probe in self._run.probes if key in probe.claims]

    def _strip(self, probe: Probe) -> Strip:
        lang = self._texts.lang
        question = probe.question.get(lang)
        return Strip(
            Said(probe.question["en"], "en") if question is None else Said(question),
            probe.old,
            probe.new,
            [
                StripCell(release, *_told(as_told), _short(printable(answer)))
                for release, (as_told, answer) in probe.cells.items()
            ],
            [
                (span.first, span.last, _told(span.as_told)[1], printable(span.answer))
                for span in probe.spans
            ],
        )


_HOLDS = Verdict("holds", "")


def _good(sentence: Message) -> bool | None:
    """Whether the verdict is a good one; None where little can be said."""
    if sentence.key in ("verdict.held", "verdict.gaps"):
        return True
    return None if sentence.key == "verdict.nothing" else False


def _short(answer: str) -> str:
    """As much of an answer as a tooltip needs; the whole of it stands under the strip."""
    return answer if len(answer) <= 60 else f"{answer[:59]}…"


def _told(as_told: bool | None) -> tuple[str, str]:
    if as_told is None:
        return NOT_PROBED, "not_probed"
    return (AS_TOLD, "as_told") if as_told else (NOT_AS_TOLD, "not_as_told")


@lru_cache(maxsize=10_000)
def _test_of(node: str) -> str:
    """Return the test's id in a pytest id."""
    return parts_of(node)[0]
