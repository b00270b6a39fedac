"""The tutorial's table of contents, and the check that every claim has a test and back.

``spec/contents.toml`` names the pages, their sections and, under each section, the claims by key.
A key is accounted for by tests, by benchmarks, as an ``erratum`` (a slip in a listing) or as
``untestable``. What a claim says and what came of it (``changed``, ``mistaken``) stand with its
tests: they are read from the source without importing it, so that the check costs nothing and
covers tests that the run does not select.
"""

import ast
import tomllib
from collections.abc import Iterable, Iterator
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
    """

    kind: str
    text: str
    since: str | None = None


@dataclass(frozen=True)
class Test:
    """A test function, as its source shows it.

    Attributes:
        lines: Its first line, that of a decorator where it has one, and its last.
        kinds: The kinds of device it is asked of, out of ``cpu``, ``accelerator`` and ``meta``;
            none where it needs no device.
    """

    id: str
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
    """

    key: str
    tests: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()
    erratum: str | None = None
    untestable: str | None = None

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
    """A chapter: its file of tests; benchmarks of all chapters stand in one file beside it.

    Attributes:
        ours: Whether its claims are this project's own, and not sentences of the tutorial.
    """

    title: str
    file: Path
    benchmark_file: Path
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
        return self.page.benchmark_file if self.test.benchmark else self.page.file


class Contents:
    """The pages with their claims, and the tests found in the files they name."""

    def __init__(self, pages: tuple[Page, ...]) -> None:
        self.pages = pages
        files = {file for page in pages for file in (page.file, page.benchmark_file)}
        self._tests = {file: _tests_in(file) for file in files}
        self._places = {
            (file, test.id): Place(claim, section, page, test)
            for page in pages
            for section in page.sections
            for claim in section.claims
            for file, ids in (
                (page.file, claim.tests),
                (page.benchmark_file, claim.benchmarks),
            )
            for test in self._tests[file]
            if test.id in ids
        }

    def claims(self) -> Iterator[tuple[Claim, Section]]:
        """Every claim with its section, in the tutorial's order."""
        for page in self.pages:
            for section in page.sections:
                for claim in section.claims:
                    yield claim, section

    def places(self) -> Iterator[Place]:
        """Every test with its place, in the order of the files."""
        yield from self._places.values()

    def place(self, file: Path, test_id: str) -> Place | None:
        """Where the test ``test_<test_id>`` of ``file`` stands; None where it has no claim."""
        return self._places.get((file, test_id))

    def misfits(self, files: set[Path] | None = None) -> list[str]:
        """What does not fit between the contents and the tests in ``files`` (default: all)."""
        found = [
            f"{key} stands {count} times in the contents"
            for key, count in _counts(claim.key for claim, _ in self.claims()).items()
            if count > 1
        ]
        for page in self.pages:
            if files is None or files & {page.file, page.benchmark_file}:
                found += self._misfits_of(page)
        return found

    def _misfits_of(self, page: Page) -> Iterator[str]:
        where = page.file.name
        tests = {test.id: test for test in self._tests[page.file]}
        benchmarks = {test.id: test for test in self._tests[page.benchmark_file] if test.benchmark}
        named: list[str] = []
        for section in page.sections:
            for claim in section.claims:
                named += claim.tests + claim.benchmarks
                if not (claim.tests or claim.benchmarks or claim.erratum or claim.untestable):
                    yield (
                        f"{claim.key} is accounted for by nothing: name its tests, or say why it "
                        "is a benchmark, an erratum or untestable"
                    )
                for test_id in claim.tests:
                    yield from _misfits_of_test(claim, section, tests.get(test_id), test_id, where)
                for test_id in claim.benchmarks:
                    if test_id not in benchmarks:
                        yield (
                            f"{claim.key} names the benchmark {test_id!r}, but "
                            f"{page.benchmark_file.name} has no test_{test_id}"
                        )
        for test_id, count in _counts(named).items():
            if count > 1:
                yield f"the id {test_id!r} stands {count} times in the contents"
        for test_id, count in _counts(test.id for test in self._tests[page.file]).items():
            if test_id not in named:
                yield f"{where}: test_{test_id} belongs to no claim in the contents"
            if count > 1:
                yield f"{where}: test_{test_id} is written {count} times"


def load(path: Path) -> Contents:
    """The contents in the TOML file ``path``; the test files it names lie beside it.

    Raises:
        ContentsError: the file cannot be read, is not TOML or lacks a field, or a file of tests is
            not Python.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return Contents(tuple(_page(page, path.parent) for page in table["page"]))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ContentsError(f"{path}: {type(error).__name__}: {error}") from error


def parts_of(node: str) -> tuple[str, str, tuple[str, ...]]:
    """The file's name, the test's id and the words of the parameters in a pytest id.

    ``spec/test_1.py::TestJoining::test_sum[cpu-two]`` gives ``test_1.py``, ``sum`` and
    ``("cpu", "two")``.
    """
    address, _, parameters = node.partition("[")
    file, *_, name = address.split("::")
    return (
        Path(file).name,
        name.removeprefix("test_"),
        tuple(parameters.removesuffix("]").split("-")),
    )


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
        folder / "bench_throughput.py",
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
    )


def _misfits_of_test(
    claim: Claim, section: Section, test: Test | None, test_id: str, where: str
) -> Iterator[str]:
    if test is None:
        yield f"{claim.key} names {test_id!r}, but {where} has no test_{test_id}"
        return
    if test.class_name != section.class_name:
        yield (
            f"{claim.key}: test_{test_id} stands in {test.class_name}, its section "
            f"{section.heading!r} is {section.class_name}"
        )
    if not test.sentence:
        yield f"{where}: test_{test_id} has no docstring to say what it claims"


def _tests_in(file: Path) -> list[Test]:
    if not file.exists():
        return []
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
    arguments = {function.name: _arguments(function) for _, function in found}
    return [
        Test(
            id=function.name.removeprefix("test_"),
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
            words = {word.arg: ast.literal_eval(word.value) for word in mark.keywords}
            return Verdict(name, words["text"], words.get("since"))
    return None


def _marks(function: ast.FunctionDef) -> list[tuple[str, ast.Call]]:
    """NAME and call of the decorators of the form ``pytest.mark.NAME(...)``."""
    return [
        (decorator.func.attr, decorator)
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)
    ]


def _counts(words: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts
