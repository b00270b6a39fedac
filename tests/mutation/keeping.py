"""What an earlier run found, as far as it still holds."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from .floor import Outcome
from .making import Mutant
from .running import Reached, digest_of

HERE = Path(__file__).parent


def digest(root: Path, *, tests: bool) -> str:
    """Of everything that a run depends on; without ``tests``, of all but the test files."""
    found = hashlib.sha256()
    for path in sorted(_files(root)):
        if tests or not path.name.startswith("test_"):
            found.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def _files(root: Path) -> Iterable[Path]:
    yield from (root / "conftest.py", root / "pytest.ini")
    for folder in ("blitz", "spec", "tests"):
        for path in (root / folder).rglob("*"):
            ours = HERE.name in path.parts or path.name == "survivors.toml"
            if path.suffix in (".py", ".toml") and not ours:
                yield path


def write_reached(path: Path, root: Path, reached: Mapping[str, Reached]) -> None:
    """Keep what the tests reach."""
    tests = {
        test: (sorted(what.functions), what.seconds, what.state) for test, what in reached.items()
    }
    files = {file: _digest_of_file(root / file) for file in _files_of(reached)}
    content = {"package": digest(root, tests=False), "files": files, "tests": tests}
    path.write_text(json.dumps(content), encoding="utf-8")


def read_reached(path: Path, root: Path) -> dict[str, Reached]:
    """What the tests reach, of those files of tests that are as they were; none if all changed."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["package"] != digest(root, tests=False):
            return {}
        same = {
            file
            for file, before in content["files"].items()
            if (root / file).exists() and _digest_of_file(root / file) == before
        }
        return {
            test: Reached(frozenset(functions), seconds, state)
            for test, (functions, seconds, state) in content["tests"].items()
            if test.partition("::")[0] in same
        }
    except (OSError, ValueError, KeyError):
        return {}


def _files_of(tests: Iterable[str]) -> set[str]:
    return {test.partition("::")[0] for test in tests}


def _digest_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def still_true(
    outcomes: Mapping[str, Outcome], mutants: Iterable[Mutant], root: Path
) -> dict[str, Outcome]:
    """Those of ``outcomes`` that a new run need not repeat.

    A mutant that was killed stays so while its function and the test that killed it stay as they
    are. Whether one that survived still does is always tried again.
    """
    kept = {}
    for mutant in mutants:
        outcome = outcomes.get(mutant.name)
        if outcome is None or outcome.digest != mutant.digest or not outcome.dead:
            continue
        file = root / outcome.test.partition("::")[0]
        if outcome.test and (
            not file.is_file() or digest_of(root, outcome.test) != outcome.test_digest
        ):
            continue
        kept[mutant.name] = outcome
    return kept
