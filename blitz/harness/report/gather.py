"""A run put together for the report: the contents, the results and the code, as rows."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from blitz.harness import conformance, summary, verdict
from blitz.harness.benchmarks import cpu_name
from blitz.harness.contents import SAID, Claim, Page, Place, parts_of
from blitz.harness.outcomes import BROKEN, FAILED, HELD, NO_DEVICE, NOT_RUN, Outcome, worst
from blitz.harness.report import highlight
from blitz.harness.report.failures import printable
from blitz.harness.report.releases import Probe
from blitz.harness.report.rows import (
    MANY,
    RARE,
    SIGNS,
    ClaimRow,
    Column,
    Counted,
    Failure,
    PageRow,
    Reason,
    Report,
    Run,
    SectionRow,
    TestRow,
    Untrue,
)
from blitz.harness.selection import NO_ACCELERATOR
from blitz.harness.source import Test, Verdict
from blitz.harness.texts import Said, Texts

# Of each test: one that fails with each of 43 expressions fails for one reason.
FAILURES_SHOWN = 5

# Tests whose failures are shown: where more fail, most do for one reason.
FAILING_SHOWN = 150

# Bytes of the text of one failure, from its end, where the error stands.
FAILURE_MOST = 8000


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
        asked = [name for tests in self._places.values() for t in tests for name in self._asked(t)]
        names = dict.fromkeys([*run.results.devices(), *asked])
        self._columns = [self._column(name) for name in sorted(names, key=summary.cpu_first)]
        broken = Counter(_test_of(o.node) for o in run.results if o.state in FAILED)
        most = FAILURES_SHOWN if broken.total() <= MANY else 1
        self._shown = {t: min(broken[t], most) for t in list(broken)[:FAILING_SHOWN]}
        self._room = min(FAILURE_MOST, run.room // max(1, sum(self._shown.values())))

    def report(self) -> Report:
        run = self._run
        environment = conformance.environment(run.selection, run.images or "", run.threads)
        pages = [self._page(number, page) for number, page in enumerate(run.contents.pages, 1)]
        claims = [claim for page in pages for section in page.sections for claim in section.claims]
        counted = [self._counted(column) for column in self._columns]
        seen = {state for row in counted for state, count in row.states.items() if count}
        return Report(
            verdict=verdict.sentence(run.results, run.faults, run.ending),
            faults=run.faults,
            date=environment["date"],
            machine=list(self._machine(environment)),
            counted=counted,
            accounts=list(self._accounts()),
            notes=list(self._notes()),
            columns=self._columns,
            pages=pages,
            untrue=list(self._untrue(claims, upstream=False)),
            mistranslated=list(self._untrue(claims, upstream=True)),
            slips=[(c.key, text) for c in claims for kind, text in c.notes if kind == "erratum"],
            states=[state for state in SIGNS if state not in RARE or state in seen],
        )

    # The devices

    def _column(self, name: str) -> Column:
        if name not in (NO_DEVICE, "accelerator"):
            return Column(name, name, name)
        key = "device.none" if name == NO_DEVICE else "device.accelerator"
        return Column(name, self._texts(key), self._texts(f"{key}_short"))

    def _asked(self, place: Place) -> list[str]:
        """Return where a test is asked for in this run, whether it came to that or not."""
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
            SectionRow(
                f"s{number}-{place}",
                self._texts.heading(section.heading),
                section.address,
                [self._claim(claim) for claim in section.claims],
            )
            for place, section in enumerate(page.sections, 1)
        ]
        address = page.sections[0].address.partition("#")[0] if page.sections else ""
        title = self._texts.heading(page.title)
        return PageRow(f"page-{number}", title, address, page.ours, sections)

    def _claim(self, claim: Claim) -> ClaimRow:
        texts, key = self._texts, claim.key
        notes = []
        if claim.said != "text":
            notes.append(("said", Said(texts(f"said.{claim.said}"))))
        for kind in ("erratum", "untestable"):
            if (reason := getattr(claim, kind)) is not None:
                notes.append((kind, texts.row(key, reason)))
        if claim.benchmarks:
            notes.append(("benchmark", Said(texts.row(key, texts("claim.benchmark")).text)))
        tests = [self._test(place) for place in self._places.get(key, ())]
        untrue = any(test.says is not None for test in tests)
        return ClaimRow(key, claim.said, tests, notes, [] if untrue else self._probes(key))

    def _test(self, place: Place) -> TestRow:
        test, outcomes = place.test, self._outcomes.get(place.test.id, [])
        broken = [outcome for outcome in outcomes if outcome.state in FAILED]
        shown = self._shown.get(place.test.id, 0)
        untrue = test.untrue
        return TestRow(
            id=test.id,
            sentence=self._texts.claim(test.id, test.sentence),
            says=None if untrue is None else self._texts.says(test.id, untrue.text),
            verdict=test.verdict or _HOLDS,
            code=self._code(place.file, test),
            file=place.file.relative_to(place.page.file.parents[1]).as_posix(),
            line=test.lines[0],
            cells=self._cells(place, outcomes),
            reasons=self._reasons(outcomes),
            failures=[self._failure(outcome) for outcome in broken[:shown]],
            more_failures=len(broken) - shown,
        )

    def _cells(self, place: Place, outcomes: Sequence[Outcome]) -> dict[str, str | None]:
        states: dict[str, str] = dict.fromkeys(self._asked(place), NOT_RUN)
        for outcome in outcomes:
            states[outcome.device] = worst(states.get(outcome.device, NOT_RUN), outcome.state)
        return {column.name: states.get(column.name) for column in self._columns}

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

    def _reasons(self, outcomes: Sequence[Outcome]) -> list[Reason]:
        """Return why tests did not hold, the most frequent first; broken ones show their error."""
        counts = Counter(
            (self._column(outcome.device).label, outcome.state, self._reason(outcome))
            for outcome in outcomes
            if outcome.state not in (HELD, BROKEN) and outcome.reason
        )
        return [Reason(*what, count) for what, count in counts.most_common()]

    def _reason(self, outcome: Outcome) -> str:
        """Return why a test was not run; a device that it lacks is told in the page's language."""
        kinds = self._kinds.get(_test_of(outcome.node), ())
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
        names = ("torch", "torchvision", "NumPy", "Python")
        named = [f"{name} {environment[name.lower()]}" for name in names]
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
        states = Counter(self._run.results.claims(column.name).values())
        return Counted(
            column,
            {state: states[state] for state in SIGNS},
            self._run.results.ran_on(column.name),
            self._reasons([o for o in self._run.results if o.device == column.name]),
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
        """Return of how many tested claims no test, or only some, came to a result."""
        none = part = 0
        for places in self._places.values():
            reached = [
                device in {outcome.device for outcome in self._outcomes.get(place.test.id, ())}
                for place in places
                if not place.test.benchmark
                for device in self._asked(place)
            ]
            none += bool(reached) and not any(reached)
            part += any(reached) and not all(reached)
        return none, part

    # What is not true

    def _untrue(self, claims: Sequence[ClaimRow], upstream: bool) -> Iterator[Untrue]:
        for claim in claims:
            untrue = (test for test in claim.tests if test.says is not None)
            tests = [test for test in untrue if bool(test.verdict.upstream) is upstream]
            if tests:
                yield Untrue(claim.key, tests, self._probes(claim.key))

    def _probes(self, key: str) -> list[Probe]:
        return [probe for probe in self._run.probes if key in probe.claims]


_HOLDS = Verdict("holds", "")


@lru_cache(maxsize=10_000)
def _test_of(node: str) -> str:
    """Return the test's id in a pytest id."""
    return parts_of(node)[0]
