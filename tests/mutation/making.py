"""The mutants of ``blitz``: mutmut makes them, in its working folder ``mutants/``.

That folder is a copy of the checkout in which each function of ``blitz`` stands once as it is and
once for each of its mutants, behind a switch that mutmut sets.
"""

import ast
import difflib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = "mutants"
"""Mutmut's working folder, under the root of the checkout."""

NOTES = (".meta", ".spans")
"""What mutmut keeps beside each file of mutants."""


class MakingError(Exception):
    """The mutants cannot be made as they were asked for."""


@dataclass(frozen=True)
class Mutant:
    """One function of ``blitz`` with one change.

    Attributes:
        name: As mutmut calls it: ``blitz.tensors.x_cat__mutmut_3``.
        change: The lines that differ, as they are and as the mutant has them.
        words: Whether nothing but the text of a message differs.
        digest: Of the function and the change; annotations make no difference.
        device: Whether a ``device=`` is dropped.
    """

    name: str
    change: str
    words: bool
    digest: str
    device: bool = False

    @property
    def module(self) -> str:
        """The dotted name of its module."""
        return self.name.rpartition(".")[0]

    @property
    def function(self) -> str:
        """The mutated function, as mutmut's switch calls it."""
        return self.name.partition("__mutmut_")[0]


def make(root: Path) -> dict[str, Path]:
    """Make the working folder under ``root``; the modules, each with its file in there.

    Raises:
        MakingError: a module of ``blitz`` cannot be mutated.
    """
    os.chdir(root)
    from mutmut.__main__ import create_mutants_for_file  # reads pyproject.toml
    from mutmut.configuration import config
    from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files

    files = sorted(walk_mutatable_files())
    _forget_old(root / FOLDER, files)
    copy_src_dir()
    copy_also_copy_files()
    for file in files:
        made = create_mutants_for_file(file, Path(FOLDER, file))
        if made.error or made.warnings:
            raise MakingError(f"{file} cannot be mutated: {made.error or made.warnings}")
    if not files or not all(config().should_mutate(file) for file in files):
        raise MakingError("pyproject.toml's [tool.mutmut] names no source to mutate")
    return {_module(file): root / FOLDER / file for file in files}


def read(file: Path, module: str) -> Iterator[Mutant]:
    """The mutants in a ``file`` that mutmut wrote for ``module``, in the order of the source."""
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    functions = {
        node.name: node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)
    }
    for name, node in functions.items():
        mangled, found, number = name.partition("__mutmut_")
        if not found or number == "orig":
            continue
        original = functions[f"{mangled}__mutmut_orig"]
        change = _change(*(_lines_of(function, lines) for function in (original, node)))
        text = f"{change}\n{_without_annotations(original)}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        words, device = is_words(original, node), drops_device(original, node)
        yield Mutant(f"{module}.{name}", change, words, digest, device)


def is_words(original: ast.AST, mutant: ast.AST) -> bool:
    """Whether the only difference is the text of a message.

    That is a string literal of several words, or one in a ``raise``, or the ``metavar`` or ``help``
    of an option.
    """
    differences = list(_differences(original, mutant))
    if len(differences) != 1:
        return False
    (before, after, parents) = differences[0]
    if not (isinstance(before, str) and isinstance(after, str)):
        return False
    if not isinstance(parents[-1], ast.Constant):
        return False
    for parent in parents:
        if isinstance(parent, ast.Raise):
            return True
        if isinstance(parent, ast.keyword) and parent.arg in ("metavar", "help"):
            return True
    return " " in before.strip()


def drops_device(original: ast.AST, mutant: ast.AST) -> bool:
    """Whether the only difference is that a call lacks its ``device=``, or is given None for it."""
    differences = list(_differences(original, mutant))
    if len(differences) != 1:
        return False
    (before, after, parents) = differences[0]
    if isinstance(before, list) and isinstance(after, list):
        return "device" in _keywords(before) - _keywords(after)
    keyword = parents[-1]
    none = isinstance(after, ast.Constant) and after.value is None
    return none and isinstance(keyword, ast.keyword) and keyword.arg == "device"


def _keywords(nodes: list[object]) -> set[str | None]:
    return {node.arg for node in nodes if isinstance(node, ast.keyword)}


def _forget_old(folder: Path, files: Iterable[Path]) -> None:
    """Leave nothing of an earlier copy but what mutmut made of files that are still there."""
    kept = {folder / file for file in files}
    for path in folder.iterdir() if folder.exists() else ():
        if path.is_dir() and path.name != "blitz":
            shutil.rmtree(path)
    for path in (folder / "blitz").rglob("*"):
        if path.is_file() and path not in kept and path.suffix not in NOTES:
            path.unlink()


def _module(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def _lines_of(node: ast.FunctionDef, lines: list[str]) -> list[str]:
    plain = node.name.partition("__mutmut_")[0].removeprefix("x_").rpartition("ǁ")[2]
    found = [line.strip() for line in lines[node.lineno - 1 : node.end_lineno]]
    return [found[0].replace(node.name, plain), *found[1:]]


def _change(before: list[str], after: list[str]) -> str:
    """The lines that differ, ``old → new``."""
    old: list[str] = []
    new: list[str] = []
    for line in difflib.ndiff(before, after):
        (old if line[0] == "-" else new if line[0] == "+" else []).append(line[2:])
    return f"{' '.join(old)} → {' '.join(new)}"


def _differences(
    before: object, after: object, parents: tuple[ast.AST, ...] = ()
) -> Iterator[tuple[object, object, tuple[ast.AST, ...]]]:
    """The places where two functions differ, but for their names, with the nodes around each."""
    if isinstance(before, ast.AST) and type(before) is type(after):
        for field in before._fields:
            if parents or field != "name":
                yield from _differences(
                    getattr(before, field, None), getattr(after, field, None), (*parents, before)
                )
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from _differences(one, other, parents)
    elif before != after:
        yield before, after, parents


def _without_annotations(function: ast.FunctionDef) -> str:
    bare = ast.parse(ast.unparse(function))
    for node in ast.walk(bare):
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.dump(bare)
