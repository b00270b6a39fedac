"""The tutorial's table of contents, and the check that every claim has a test and back.

``spec/contents.toml`` names the pages, their sections and, under each section, the claims by key.
A key is accounted for by tests, by benchmarks, as an ``erratum`` (a slip in a listing) or as
``untestable``. Ids are unique in the whole specification: the leading test of a claim stands in
the chapter's file, the others there, in ``details/`` or in ``devices/``. What a claim says and its
verdict (``changed``, ``mistaken``) stand with its tests; they are read from the source without
importing it, so that the check is cheap and covers tests that the run does not select.
"""

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blitz.base.errors import BlitzError
from blitz.harness.source import Test, Verdict, tests_of

SAID = ("text", "upstream", "older", "ours")
"""Who makes a claim: the text followed, its English original alone, an older revision, or we."""


KINDS = ("tested", "benchmark", "erratum", "untestable")
"""How a claim is accounted for."""


@dataclass(frozen=True)
class Claim:
    """A row of the contents: a promise of the tutorial under its stable key.

    Attributes:
        key: As in ``T16``.
        tests: Ids of the tests that check it; the test of id X is called ``test_X``.
        benchmarks: Ids of the benchmarks that measure it, where a promise is about speed.
        erratum: The slip in the listing, where the promise is a typing error.
        untestable: Why no test can check it.
        said: Who says it: ``text`` (the translation followed), ``upstream`` (only the English
            original), ``older`` (an older revision) or ``ours``.
    """

    key: str
    tests: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()
    erratum: str | None = None
    untestable: str | None = None
    said: str = "text"

    def __post_init__(self) -> None:
        if self.said not in SAID:
            raise ValueError(f"{self.key}: said is {self.said!r}, and not {', '.join(SAID)}")

    @property
    def kind(self) -> str:
        """Return how the claim is accounted for, out of :data:`KINDS`."""
        if self.tests:
            return "tested"
        if self.benchmarks:
            return "benchmark"
        return "erratum" if self.erratum is not None else "untestable"


@dataclass(frozen=True)
class Section:
    """A section of a page: its heading, the class of its tests and its claims in reading order."""

    heading: str
    address: str
    class_name: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Page:
    """A chapter: a page of the tutorial and the file that a learner reads.

    Attributes:
        file: Holds the leading test of each claim.
        ours: Whether its claims are this project's own, and not sentences of the tutorial.
    """

    title: str
    file: Path
    sections: tuple[Section, ...]
    ours: bool = False


@dataclass(frozen=True)
class Place:
    """Where a test stands in the tutorial."""

    claim: Claim
    section: Section
    page: Page
    test: Test


class Contents:
    """The pages with their claims, and the tests of the specification.

    Args:
        pages: The pages, in reading order.
        tests: Every test and benchmark in the folder of the specification.
    """

    def __init__(self, pages: tuple[Page, ...], tests: list[Test]) -> None:
        self.pages = pages
        self._tests = tests
        by_id = {test.id: test for test in tests}
        self._places = {
            test_id: Place(claim, section, page, by_id[test_id])
            for page in pages
            for section in page.sections
            for claim in section.claims
            for test_id in claim.tests + claim.benchmarks
            if test_id in by_id
        }

    def claims(self) -> Iterator[tuple[Claim, Section]]:
        """Yield every claim with its section, in the tutorial's order."""
        for page in self.pages:
            for section in page.sections:
                for claim in section.claims:
                    yield claim, section

    def tests(self, claim: Claim) -> list[Test]:
        """Return the tests of a claim, the leading one first, or its benchmarks."""
        ids = claim.tests + claim.benchmarks
        return [self._places[test_id].test for test_id in ids if test_id in self._places]

    def verdict(self, claim: Claim) -> Verdict | None:
        """Return the verdict on a claim in torch as it is; None where its sentence is true."""
        return next((test.untrue for test in self.tests(claim) if test.untrue), None)

    def untrue(self, upstream: bool) -> dict[str, list[tuple[Test, Verdict]]]:
        """Return key → the tests that call a sentence of the claim untrue, and their verdicts.

        Those of which the translation alone is wrong where ``upstream``, and the others if not.
        """
        found: dict[str, list[tuple[Test, Verdict]]] = {}
        for place in self.places():
            verdict = place.test.untrue
            if verdict is not None and (verdict.upstream is not None) == upstream:
                found.setdefault(place.claim.key, []).append((place.test, verdict))
        return found

    def said(self) -> Counter[str]:
        """Return how many claims each of :data:`SAID` makes."""
        return Counter(claim.said for claim, _ in self.claims())

    def places(self) -> Iterator[Place]:
        """Yield every test with its place, in the tutorial's order."""
        yield from self._places.values()

    def place(self, test_id: str) -> Place | None:
        """Return where ``test_<test_id>`` stands in the tutorial; None where it has no claim."""
        return self._places.get(test_id)

    def misfits(self) -> list[str]:
        """Return a sentence for everything in contents and tests that does not fit together."""
        keys = Counter(claim.key for claim, _ in self.claims())
        ids = Counter(i for claim, _ in self.claims() for i in claim.tests + claim.benchmarks)
        written = Counter(test.id for test in self._tests)
        return [
            *(f"{key} stands {n} times in the contents" for key, n in keys.items() if n > 1),
            *(f"the id {i!r} stands {n} times in the contents" for i, n in ids.items() if n > 1),
            *(f"test_{i} is written {n} times" for i, n in written.items() if n > 1),
            *(
                f"{claim.key} names {i!r}, but there is no test_{i}"
                for claim, _ in self.claims()
                for i in claim.tests + claim.benchmarks
                if i not in written
            ),
            *(
                f"{test.file.name}: test_{test.id} belongs to no claim in the contents"
                for test in self._tests
                if test.id not in ids and not test.benchmark
            ),
        ]


def load(path: Path) -> Contents:
    """Return the contents in the TOML file ``path`` and the tests in its folder.

    Raises:
        BlitzError: the file cannot be read, is not TOML or lacks a field, or a file of tests is
            not Python.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        pages = tuple(_page(page, path.parent) for page in table["page"])
        return Contents(pages, tests_of(path.parent))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BlitzError(f"{path}: {type(error).__name__}: {error}") from error


def parts_of(node: str) -> tuple[str, tuple[str, ...]]:
    """Return the test's id and the words of the parameters in a pytest id.

    ``spec/test_1.py::TestJoining::test_sum[cpu-two]`` gives ``sum`` and ``("cpu", "two")``.
    """
    address, _, parameters = node.partition("[")
    test_id = address.rpartition("::")[2].removeprefix("test_")
    return test_id, tuple(parameters.removesuffix("]").split("-"))


def _page(table: dict[str, Any], folder: Path) -> Page:
    title, ours = table["title"], table.get("ours", False)
    said = "ours" if ours else "text"
    sections = tuple(
        Section(
            heading=section["heading"],
            address=f"{section.get('url', table['url'])}#{section['anchor']}",
            class_name=section["class"],
            claims=tuple(_claim(key, entry, said) for key, entry in section["claims"].items()),
        )
        for section in table["section"]
    )
    return Page(title, folder / table["file"], sections, ours)


def _claim(key: str, entry: list[str] | dict[str, Any], said: str) -> Claim:
    if isinstance(entry, list):
        return Claim(key, tests=tuple(entry), said=said)
    return Claim(
        key,
        tests=tuple(entry.get("tests", ())),
        benchmarks=tuple(entry.get("benchmark", ())),
        erratum=entry.get("erratum"),
        untestable=entry.get("untestable"),
        said=entry.get("said", said),
    )
