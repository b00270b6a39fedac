"""The tests of the specification as their source shows them, read without importing it.

The check of the contents is cheap that way and covers tests that the run does not select.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

import torch
from packaging.version import Version

from blitz.base.errors import BlitzError
from blitz.base.versions import installed


@dataclass(frozen=True)
class Verdict:
    """What became of a claim whose sentence in the tutorial is not, or no longer, true.

    Which releases of torch it is about is a matter of ``since`` and ``until``.

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

    def untrue(self, release: str = "") -> bool:
        """Return whether the sentence is untrue in ``release``; without one, in torch as it is."""
        return (self.since is None or _reached(self.since, release)) and (
            self.until is None or not _reached(self.until, release)
        )

    @property
    def span(self) -> str:
        """Return when the sentence is untrue, in words."""
        if self.since is None:
            return "never true"
        if self.until is None:
            return f"not true since {self.since}"
        return f"not true from {self.since} until {self.until}"


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

    @property
    def untrue(self) -> Verdict | None:
        """Return the verdict, where the sentence is untrue in torch as it is."""
        return self.verdict if self.verdict is not None and self.verdict.untrue() else None


def _reached(named: str, release: str) -> bool:
    """Return whether torch, or the package that ``named`` begins with, is that release or newer."""
    package, _, number = named.rpartition(" ")
    now = installed(package) if package else release or str(torch.__version__)
    # By .release a nightly build of 2.12 is 2.12, not one before it.
    return Version(now).release >= Version(number).release


def tests_of(folder: Path) -> list[Test]:
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
        raise BlitzError(f"{file} is no Python: {error}") from error
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
    """Return what the mark ``on`` says where the test or one of its fixtures takes ``device``."""
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
    """Return whether it takes the fixture, or has the mark where a fixture of its file does."""
    marks = [name for name, _ in _marks(function)]
    return "benchmark" in [*marks, *(argument.arg for argument in function.args.args)]


def _verdict(function: ast.FunctionDef) -> Verdict | None:
    for name, mark in _marks(function):
        if name in ("changed", "mistaken"):
            words = {str(word.arg): ast.literal_eval(word.value) for word in mark.keywords}
            return Verdict(name, **words)
    return None


def _marks(function: ast.FunctionDef) -> list[tuple[str, ast.Call]]:
    """Return NAME and call of the decorators of the form ``pytest.mark.NAME(...)``."""
    return [
        (decorator.func.attr, decorator)
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)
    ]
