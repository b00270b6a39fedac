"""The tests of the specification as their source shows them, read without importing it.

The check of the contents is cheap that way and covers tests that the run does not select.
"""

import ast
import textwrap
from collections.abc import Iterator
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
        where: The file, as ``spec/test_1.py``, and the test's first line in it.
        code: Its source, with the decorators.
    """

    id: str
    file: Path
    class_name: str | None
    sentence: str
    verdict: Verdict | None
    where: str
    code: str

    @property
    def benchmark(self) -> bool:
        """Return whether it is timed, as all are in such a file."""
        return self.file.name.startswith("bench_")

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
    wanted.sort(key=lambda file: (len(file.parts), file))
    return [test for file in wanted for test in _tests_in(file, folder.parent)]


def _tests_in(file: Path, root: Path) -> Iterator[Test]:
    text = file.read_text(encoding="utf-8")
    try:
        tree = ast.parse(text, file.name)
    except (SyntaxError, ValueError) as error:
        raise BlitzError(f"{file} is no Python: {error}") from error
    lines, path = text.split("\n"), file.relative_to(root).as_posix()
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for name, body in [(None, tree.body), *((node.name, node.body) for node in classes)]:
        for function in body:
            if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
                decorators = [decorator.lineno for decorator in function.decorator_list]
                first = min([function.lineno, *decorators])
                sentence = (ast.get_docstring(function) or "").split("\n\n")[0]
                yield Test(
                    id=function.name.removeprefix("test_"),
                    file=file,
                    class_name=name,
                    sentence=" ".join(sentence.split()),
                    verdict=_verdict(function),
                    where=f"{path}:{first}",
                    code=textwrap.dedent("\n".join(lines[first - 1 : function.end_lineno])),
                )


def _verdict(function: ast.FunctionDef) -> Verdict | None:
    """Return the verdict in a decorator ``pytest.mark.changed(...)`` or ``mistaken(...)``."""
    for mark in function.decorator_list:
        name = getattr(getattr(mark, "func", None), "attr", "")
        if isinstance(mark, ast.Call) and name in ("changed", "mistaken"):
            words = {str(word.arg): ast.literal_eval(word.value) for word in mark.keywords}
            return Verdict(name, **words)
    return None
