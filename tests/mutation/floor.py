"""What a run has shown, the list of survivors, and whether both are as they have to be."""

import json
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .making import Mutant

FLOOR = 95.0
"""Percent of the mutants that the tests have to kill."""

KILLED, TIMEOUT, SURVIVED = "killed", "timeout", "survived"


class ResultError(Exception):
    """A file with results, or the list of survivors, cannot be used."""


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant.

    Attributes:
        name: The mutant.
        digest: The mutant's digest when it was run.
        state: ``killed`` by a test, ``timeout`` (it ran on for ever, which kills it too) or
            ``survived``.
        test: The test that killed it.
        test_digest: Of that test.
        ran: How many tests it was given.
        seconds: How long that took.
    """

    name: str
    digest: str
    state: str
    test: str = ""
    test_digest: str = ""
    ran: int = 0
    seconds: float = 0.0

    @property
    def dead(self) -> bool:
        """Whether the tests notice it."""
        return self.state in (KILLED, TIMEOUT)


@dataclass(frozen=True)
class Survivor:
    """A mutant of which it is known that no test kills it: its name, its change, and why."""

    name: str
    change: str
    reason: str


@dataclass(frozen=True)
class Tally:
    """The counts of one module.

    Attributes:
        module: Its dotted name.
        words: Mutants that change only words, and are left out.
        mutants: All the others.
        killed: Of these, noticed by a test.
        timeout: Noticed by running on for ever.
        survived: Not noticed.
        listed: Survivors that are on the list.
        missing: Not run.
    """

    module: str
    words: int
    mutants: int
    killed: int
    timeout: int
    survived: int
    listed: int
    missing: int

    def __str__(self) -> str:
        line = (
            f"{self.module}: {self.mutants} mutants, {self.killed + self.timeout} killed"
            f" ({self.timeout} by running on for ever), {self.survived} survived"
            f" ({self.listed} listed); {self.words} more change only words"
        )
        if self.missing:
            line += "; not run" if self.missing == self.mutants else f"; {self.missing} not run"
        return line


def write(path: Path, outcome: Outcome) -> None:
    """Add an outcome to the file of a run."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(asdict(outcome)) + "\n")


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """The outcomes in the file of a run, by mutant; the last one counts.

    Raises:
        ResultError: there is no such file, it is empty, or a line of it is not an outcome.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"{path} cannot be read: {error}") from error
    found: dict[str, Outcome] = {}
    for number, line in enumerate(lines, 1):
        try:
            outcome = Outcome(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise ResultError(f"{path}, line {number}: no outcome of a mutant: {error}") from error
        if outcome.state not in (KILLED, TIMEOUT, SURVIVED):
            raise ResultError(f"{path}, line {number}: unknown state {outcome.state!r}")
        found[outcome.name] = outcome
    if not found:
        raise ResultError(f"{path} is empty: nothing was run")
    return found


def read_survivors(path: Path) -> dict[str, Survivor]:
    """The list of survivors, by name.

    The file has a table ``[[survivor]]`` for each, with its ``name``, ``change`` and ``reason``.

    Raises:
        ResultError: it cannot be read, an entry lacks one of the three, or one is listed twice.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("survivor", [])
    except (OSError, ValueError) as error:
        raise ResultError(f"{path} cannot be read: {error}") from error
    found: dict[str, Survivor] = {}
    for entry in entries:
        name = entry.get("name")
        if set(entry) != {"name", "change", "reason"}:
            raise ResultError(f"{path}: {name}: an entry has a name, a change and a reason")
        if not all(isinstance(value, str) and value.strip() for value in entry.values()):
            raise ResultError(f"{path}: {name}: its name, its change or its reason is empty")
        if name in found:
            raise ResultError(f"{path}: {name} is listed twice")
        found[name] = Survivor(**entry)
    return found


def tally(
    module: str,
    mutants: Iterable[Mutant],
    outcomes: Mapping[str, Outcome],
    survivors: Collection[str],
) -> Tally:
    """The counts of ``module``, whose ``mutants`` these are."""
    mutants = list(mutants)
    counted = [mutant.name for mutant in mutants if not mutant.words]
    states = [outcomes[name].state for name in counted if name in outcomes]
    alive = [name for name in counted if name in outcomes and not outcomes[name].dead]
    return Tally(
        module=module,
        words=len(mutants) - len(counted),
        mutants=len(counted),
        killed=states.count(KILLED),
        timeout=states.count(TIMEOUT),
        survived=len(alive),
        listed=sum(name in survivors for name in alive),
        missing=len(counted) - len(states),
    )


def percent(tallies: Iterable[Tally]) -> float:
    """How many of a hundred mutants were killed; those that were not run count as alive."""
    tallies = list(tallies)
    mutants = sum(tally.mutants for tally in tallies)
    return 100 * sum(tally.killed + tally.timeout for tally in tallies) / max(mutants, 1)


def faults(
    made: Mapping[str, Iterable[Mutant]],
    outcomes: Mapping[str, Outcome],
    survivors: Mapping[str, Survivor],
) -> list[str]:
    """What is wrong with the outcomes of these modules' mutants, in sentences; empty if nothing.

    Args:
        made: The mutants of each module that was to be run.
        outcomes: What became of them.
        survivors: The list, in which other modules are left alone.
    """
    mutants = {m.name: m for each in made.values() for m in each if not m.words}
    if not mutants:
        return ["there is no mutant to run"]
    tallies = [tally(module, each, outcomes, survivors) for module, each in made.items()]
    found = [
        f"{each.module}: {each.missing} of {each.mutants} mutants were not run"
        for each in tallies
        if each.missing
    ]
    if percent(tallies) < FLOOR:
        found.append(f"{percent(tallies):.1f} % of the mutants were killed, fewer than {FLOOR:g} %")
    for name, mutant in mutants.items():
        outcome = outcomes.get(name)
        if outcome is not None and outcome.digest != mutant.digest:
            found.append(f"{name}: its outcome is that of another change")
        elif outcome is not None and not outcome.dead and name not in survivors:
            found.append(f"{name} survived and is not listed: {mutant.change}")
    for name, survivor in survivors.items():
        if name.rpartition(".")[0] not in made:
            continue
        if name not in mutants:
            found.append(f"{name} is listed as a survivor, and there is no such mutant")
        elif mutants[name].change != survivor.change:
            found.append(f"{name} is listed as another change than it is: {mutants[name].change}")
        elif name in outcomes and outcomes[name].dead:
            found.append(f"{name} is listed as a survivor, and {_death(outcomes[name])}")
    return found


def on_meta(test: str) -> bool:
    """Whether a test runs on meta, where there are no values, by its id."""
    return "meta" in test.partition("[")[2].rstrip("]").split("-")


def not_on_meta(
    made: Mapping[str, Iterable[Mutant]], outcomes: Mapping[str, Outcome]
) -> tuple[int, list[Mutant]]:
    """How many mutants that were run drop a ``device=``, and those that a test on meta let live."""
    dropped = [m for each in made.values() for m in each if m.device and m.name in outcomes]
    return len(dropped), [m for m in dropped if not on_meta(outcomes[m.name].test)]


def _death(outcome: Outcome) -> str:
    return f"{outcome.test} kills it" if outcome.test else "it runs on for ever"
