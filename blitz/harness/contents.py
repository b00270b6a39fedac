"""The tutorial's table of contents, and the check that every claim has a test and back.

``spec/contents.toml`` names the pages, their sections and, under each section, the claims by key.
A key is accounted for by tests, by benchmarks, as an ``erratum`` (a slip in a listing) or as
``untestable``. Ids are unique in the whole specification: the leading test of a claim stands in
the chapter's file, the others there, in ``details/`` or in ``devices/``. What a claim says and its
verdict (``changed``, ``mistaken``) stand with its tests; they are read from the source without
importing it, so that the check is cheap and covers tests that the run does not select.
"""

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blitz.base.errors import BlitzError


class ContentsError(BlitzError):
    """The table of contents or a file of tests cannot be read; the message names file and fault."""


@dataclass(frozen=True)
class Verdict:
    """What became of a claim whose sentence in the tutorial is not, or no longer, true.

    Attributes:
        kind: ``changed`` (true when written) or ``mistaken`` (never true).
        text: What the tutorial says.
        since: The first release in which a ``changed`` claim is no longer true.
        until: The first release in which it is true again.
        upstream: What the English original says instead, where the translation made the mistake.
    """

    kind: str
    text: str
    since: str | None = None
    until: str | None = None
    upstream: str | None = None


@dataclass(frozen=True)
class Test:
    """A test function, as its source shows it.

    Attributes:
        file: The file that it stands in.
        lines: Its first line, that of a decorator where it has one, and its last.
        kinds: The kinds of device it is asked of, out of ``cpu``, ``accelerator`` and ``meta``;
            none where it needs no device.
    """

    id: str
    file: Path
    class_name: str | None
    sentence: str
    verdict: Verdict | None
    benchmark: bool
    lines: tuple[int, int]
    kinds: tuple[str, ...]


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

    @property
    def kind(self) -> str:
        """How the claim is accounted for: tested, benchmark, erratum or untestable."""
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

    @property
    def file(self) -> Path:
        """The file that the test stands in."""
        return self.test.file


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
        return [
            *(f"{key} stands {n} times in the contents" for key, n in keys.items() if n > 1),
            *(f"the id {i!r} stands {n} times in the contents" for i, n in ids.items() if n > 1),
            *(sentence for page in self.pages for sentence in self._misfits_of(page)),
            *self._unclaimed(ids),
        ]

    def _misfits_of(self, page: Page) -> Iterator[str]:
        for section in page.sections:
            for claim in section.claims:
                if not (claim.tests or claim.benchmarks or claim.erratum or claim.untestable):
                    yield (
                        f"{claim.key} is accounted for by nothing: name its tests, or say why it "
                        "is a benchmark, an erratum or untestable"
                    )
                for test_id in claim.tests + claim.benchmarks:
                    place = self._places.get(test_id)
                    if place is None:
                        yield f"{claim.key} names {test_id!r}, but there is no test_{test_id}"
                    elif place.claim is claim:
                        yield from _misfits_of_test(place)

    def _unclaimed(self, ids: Counter[str]) -> Iterator[str]:
        written = Counter(test.id for test in self._tests)
        for test in self._tests:
            if test.id not in ids and not test.benchmark:
                yield f"{test.file.name}: test_{test.id} belongs to no claim in the contents"
        for test_id, count in written.items():
            if count > 1:
                yield f"test_{test_id} is written {count} times; an id is unique in spec"


def load(path: Path) -> Contents:
    """Return the contents in the TOML file ``path`` and the tests in its folder.

    Raises:
        ContentsError: the file cannot be read, is not TOML or lacks a field, or a file of tests is
            not Python.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        pages = tuple(_page(page, path.parent) for page in table["page"])
        return Contents(pages, _tests_of(path.parent))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ContentsError(f"{path}: {type(error).__name__}: {error}") from error


def parts_of(node: str) -> tuple[str, tuple[str, ...]]:
    """Return the test's id and the words of the parameters in a pytest id.

    ``spec/test_1.py::TestJoining::test_sum[cpu-two]`` gives ``sum`` and ``("cpu", "two")``.
    """
    address, _, parameters = node.partition("[")
    test_id = address.rpartition("::")[2].removeprefix("test_")
    return test_id, tuple(parameters.removesuffix("]").split("-"))


def _page(table: dict[str, Any], folder: Path) -> Page:
    sections = tuple(
        Section(
            heading=section["heading"],
            address=f"{section.get('url', table['url'])}#{section['anchor']}",
            class_name=section["class"],
            claims=tuple(_claim(key, entry) for key, entry in section["claims"].items()),
        )
        for section in table["section"]
    )
    return Page(
        table["title"],
        folder / table["file"],
        sections,
        table.get("ours", False),
    )


def _claim(key: str, entry: list[str] | dict[str, Any]) -> Claim:
    if isinstance(entry, list):
        return Claim(key, tests=tuple(entry))
    return Claim(
        key,
        tests=tuple(entry.get("tests", ())),
        benchmarks=tuple(entry.get("benchmark", ())),
        erratum=entry.get("erratum"),
        untestable=entry.get("untestable"),
        said=entry.get("said", "text"),
    )


def _misfits_of_test(place: Place) -> Iterator[str]:
    test, claim, section, page = place.test, place.claim, place.section, place.page
    name = f"{test.file.name}: test_{test.id}"
    if test.id in claim.benchmarks:
        if not test.benchmark:
            yield f"{claim.key}: test_{test.id} is no benchmark"
        return
    if test.id == claim.tests[0] and test.file != page.file:
        yield f"{claim.key}: {name} leads the claim, and stands elsewhere than in {page.file.name}"
    if test.file == page.file and test.class_name != section.class_name:
        yield (
            f"{claim.key}: test_{test.id} stands in {test.class_name}, its section "
            f"{section.heading!r} is {section.class_name}"
        )
    if not test.sentence:
        yield f"{name} has no docstring to say what it claims"


def _tests_of(folder: Path) -> list[Test]:
    """Return the tests of the folder, those of the chapters first."""
    files = [*folder.glob("*.py"), *folder.glob("*/*.py")]
    wanted = [file for file in files if file.name.startswith(("test_", "bench_"))]
    shared = folder / "conftest.py"
    fixtures = _parsed(shared) if shared.exists() else []
    wanted.sort(key=lambda file: (len(file.parts), file))
    return [test for file in wanted for test in _tests_in(file, fixtures)]


def _parsed(file: Path) -> list[tuple[str | None, ast.FunctionDef]]:
    """Return the functions of a file, each with the class that it stands in."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), file.name)
    except (SyntaxError, ValueError) as error:
        raise ContentsError(f"{file} is no Python: {error}") from error
    found: list[tuple[str | None, ast.FunctionDef]] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found.append((None, node))
        elif isinstance(node, ast.ClassDef):
            found += [(node.name, sub) for sub in node.body if isinstance(sub, ast.FunctionDef)]
    return found


def _tests_in(file: Path, shared: list[tuple[str | None, ast.FunctionDef]]) -> list[Test]:
    found = _parsed(file)
    arguments = {function.name: _arguments(function) for _, function in shared + found}
    return [
        Test(
            id=function.name.removeprefix("test_"),
            file=file,
            class_name=class_name,
            sentence=_first_sentence(function),
            verdict=_verdict(function),
            benchmark=_is_benchmark(function),
            lines=(_first_line(function), function.end_lineno or function.lineno),
            kinds=_kinds(function, arguments),
        )
        for class_name, function in found
        if function.name.startswith("test_")
    ]


def _first_sentence(function: ast.FunctionDef) -> str:
    first_paragraph = (ast.get_docstring(function) or "").split("\n\n")[0]
    return " ".join(first_paragraph.split())


def _first_line(function: ast.FunctionDef) -> int:
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


def _arguments(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]


def _kinds(function: ast.FunctionDef, arguments: dict[str, list[str]]) -> tuple[str, ...]:
    """What the mark ``on`` says, where the test or a fixture of its file takes ``device``."""
    needed, new = set[str](), set(_arguments(function))
    while new:
        needed |= new
        new = {name for fixture in new for name in arguments.get(fixture, ())} - needed
    if "device" not in needed:
        return ()
    for name, mark in _marks(function):
        if name == "on":
            return tuple(ast.literal_eval(kind) for kind in mark.args)
    return ("cpu", "accelerator")


def _is_benchmark(function: ast.FunctionDef) -> bool:
    """By the fixture, or by the mark where a fixture of the file's own stands before it."""
    marks = [name for name, _ in _marks(function)]
    return "benchmark" in [*marks, *(argument.arg for argument in function.args.args)]


def _verdict(function: ast.FunctionDef) -> Verdict | None:
    for name, mark in _marks(function):
        if name in ("changed", "mistaken"):
            words = {str(word.arg): ast.literal_eval(word.value) for word in mark.keywords}
            return Verdict(name, **words)
    return None


def _marks(function: ast.FunctionDef) -> list[tuple[str, ast.Call]]:
    """NAME and call of the decorators of the form ``pytest.mark.NAME(...)``."""
    return [
        (decorator.func.attr, decorator)
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)
    ]
