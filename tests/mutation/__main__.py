"""Make mutants of blitz with mutmut, run the tests on each, and check what they kill.

    python tests/mutation                            # every module: hours
    python tests/mutation blitz.tensors blitz.graph  # these modules
    python tests/mutation blitz.tensors --resume     # what was killed before, and has not changed,
                                                    # is not run again
    python tests/mutation --check                    # only check the results of earlier runs

At least 95 % of the mutants have to be killed, and every survivor has to be listed with its
reason in tests/survivors.toml; a survivor on the list that is killed now, or is no more, is a
fault too. Ends with 0 if all is well, with 1 if not, and with 2 if nothing can be said.

Mutants that change nothing but the text of a message (a string literal of several words, or one
in a raise, or the metavar or help of an option) are counted and left out: the floor is over the
others. Mutmut itself makes none of decorated functions, of code outside of functions, and of
f-strings. A function that is called as its module is imported has its mutants there too late, and
needs a test that calls it.

Nothing runs on CUDA here. One process collects the tests; each mutant gets a fork of it, which runs
those tests that reach the mutated function, up to the first that fails. A test that kills for the
first time has to be green alone on the unmutated code.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from mutation.floor import Outcome, Survivor
    from mutation.making import Mutant

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ("tensors", "autograd", "graph", "neural_networks", "classifier")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; return the exit code."""
    asked = _asked(arguments)
    os.environ |= {
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # the other check cannot be followed by a fork
        "PYTHONPATH": str(ROOT / "mutants"),
    }

    from mutation import floor, making, running

    try:
        return _run(asked)
    except (making.MakingError, running.RunError, floor.ResultError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tests/mutation", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="such as blitz.tensors (default: all)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="mutants at once (default: 1)")
    parser.add_argument(
        "--patience",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="worth of tests that a mutant is given (default: 30)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last run")
    parser.add_argument("--check", action="store_true", help="run nothing, check the last results")
    return parser.parse_args(arguments)


def _run(asked: argparse.Namespace) -> int:
    from mutation import floor, making

    folder = ROOT / making.FOLDER
    results = folder / "outcomes.jsonl"
    say("mutmut makes the mutants")
    with contextlib.redirect_stdout(io.StringIO()):
        files = making.make(ROOT)
    chosen = {
        module: list(making.read(files[module], module)) for module in _chosen(asked.modules, files)
    }
    survivors = floor.read_survivors(ROOT / "tests" / "survivors.toml")
    if not asked.check:
        mutants = [mutant for each in chosen.values() for mutant in each if not mutant.words]
        _run_mutants(asked, mutants, folder, results)
    outcomes = floor.read_outcomes(results)
    return _report(set(files) - set(chosen), chosen, outcomes, survivors, folder / "unlisted.toml")


def _chosen(modules: list[str], there: Collection[str]) -> list[str]:
    """The modules to take, by default all that are ``there``, the chapters first."""
    from mutation import making

    unknown = [name for name in modules if name not in there]
    if unknown:
        known = ", ".join(sorted(there))
        raise making.MakingError(f"there is no module {', '.join(unknown)}, but {known}")
    chapters = [f"blitz.{name}" for name in CHAPTERS]
    return modules or sorted(there, key=lambda m: (m not in chapters, m.count("."), m))


def _run_mutants(
    asked: argparse.Namespace, mutants: list[Mutant], folder: Path, results: Path
) -> None:
    from mutation import floor, keeping, running

    earlier: Mapping[str, Outcome] = {}
    if asked.resume and results.exists():
        earlier = floor.read_outcomes(results)
    elif not asked.resume:
        results.unlink(missing_ok=True)
    kept = keeping.still_true(earlier, mutants, ROOT)
    left = [mutant for mutant in mutants if mutant.name not in kept]
    left.sort(key=lambda mutant: mutant.name in earlier)  # news first
    say(f"{len(mutants)} mutants, {len(left)} of them to run")
    if left:
        _at_the_copy(folder)
        running.with_tests(folder, lambda items: _work(items, left, asked, folder, results))


def _at_the_copy(folder: Path) -> None:
    """Work in the copy; its ``blitz``, not the checkout's, is what is imported."""
    os.chdir(folder)
    sys.path[:] = [str(folder), *(path for path in sys.path if _is_elsewhere(path))]
    import blitz
    from mutation import running

    if Path(blitz.__file__).parents[1] != folder:
        raise running.RunError(f"{blitz.__file__} is imported, which is not mutated")


def _is_elsewhere(path: str) -> bool:
    return Path(path or ".").resolve() not in (ROOT, ROOT / "tests", ROOT / "tests" / "mutation")


def _work(
    items: list[pytest.Item],
    left: list[Mutant],
    asked: argparse.Namespace,
    folder: Path,
    results: Path,
) -> None:
    from mutation import floor, keeping, running

    file = folder / "reached.json"
    reached = keeping.read_reached(file, ROOT) if asked.resume else {}
    new = [item for item in items if item.nodeid not in reached]
    say(f"{len(items)} tests collected; what {len(new)} of them reach is to be found out")
    if new:
        reached |= running.reach(new, folder)
        green = {test: what for test, what in reached.items() if what.state != "failed"}
        keeping.write_reached(file, ROOT, green)
        if red := sorted(set(reached) - set(green)):
            raise running.RunError(
                f"red on the unmutated code (see {folder / running.RED}): {' '.join(red)}"
            )
    say(f"they take {sum(what.seconds for what in reached.values()):.0f} s")
    runner = running.Runner(items, reached, folder, asked.patience)
    for number, outcome in enumerate(runner.run(left, asked.jobs), 1):
        floor.write(results, outcome)
        by = f" {outcome.test}" if outcome.test else f" after {outcome.ran} tests"
        say(f"{number}/{len(left)} {outcome.name} {outcome.state}{by} ({outcome.seconds:.1f} s)")
    for test in runner.untrusted():
        say(f"left out, since it is red alone: {test}")


def _report(
    others: Collection[str],
    chosen: Mapping[str, list[Mutant]],
    outcomes: Mapping[str, Outcome],
    survivors: Mapping[str, Survivor],
    unlisted: Path,
) -> int:
    """Print what was found, and what is wrong with it; write down what has to be listed."""
    from mutation import floor

    tallies = [
        floor.tally(module, mutants, outcomes, survivors) for module, mutants in chosen.items()
    ]
    for each in tallies:
        if each.mutants:
            print(each)
    counted = sum(each.mutants for each in tallies)
    killed = sum(each.killed + each.timeout for each in tallies)
    print(f"{killed} of {counted} mutants killed: {floor.percent(tallies):.1f} %")
    dropped, elsewhere = floor.not_on_meta(chosen, outcomes)
    print(f"{dropped - len(elsewhere)} of the {dropped} that drop a device die on meta")
    for mutant in elsewhere:
        outcome = outcomes[mutant.name]
        print(f"  not there: {mutant.name} {outcome.state} {outcome.test}")
    if others:
        print(f"this says nothing of the {len(others)} other modules: {', '.join(sorted(others))}")
    found = floor.faults(chosen, outcomes, survivors)
    for fault in found:
        print(f"FAULT: {fault}")
    new = [
        f'[[survivor]]\nname = "{mutant.name}"\nchange = {quoted(mutant.change)}\nreason = ""\n'
        for mutants in chosen.values()
        for mutant in mutants
        if mutant.name in outcomes
        and not (outcomes[mutant.name].dead or mutant.words or mutant.name in survivors)
    ]
    unlisted.write_text("\n".join(new), encoding="utf-8")
    return 1 if found else 0


def quoted(text: str) -> str:
    """``text``, one line, as a string of TOML."""
    return f"'{text}'" if "'" not in text else f"'''{text}'''"


def say(line: str) -> None:
    """Print ``line`` with the time since the start."""
    print(f"[{time.monotonic() - STARTED:6.0f} s] {line}", file=sys.__stderr__, flush=True)


STARTED = time.monotonic()

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    raise SystemExit(main())
