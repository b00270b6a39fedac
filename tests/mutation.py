"""Run mutmut over modules of blitz, with a floor: ``python tests/mutation.py blitz.graph``.

The chapters and the tests of the module's folder have to kill its mutants; ``--tests`` adds others
that use the module. The settings stand in pyproject.toml ([tool.mutmut]); mutmut's own commands
(``mutmut results``, ``mutmut show NAME``, ``mutmut browse``) look further into a run. Mutants that
change nothing but the words of a message are left out of the share: tests match the stable words
of a message only.
"""

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from mutmut.stats import status_by_exit_code

FLOOR = 0.95
KILLED = ("killed", "timeout", "segfault", "caught by type check")
# pytest refused to run the tests, one with a backslash in its id for instance: no time-out.
NOT_RUN = 255


def main() -> int:
    """Run mutmut, print the survivors and the share killed, and return 1 below the floor."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="such as blitz.graph")
    parser.add_argument("--floor", type=float, default=FLOOR, help="default: %(default)s")
    parser.add_argument("--tests", nargs="+", default=[], metavar="PATH", help="more tests to run")
    asked = parser.parse_args()
    names = [module.split(".")[1] for module in asked.modules]
    own = [f"tests/{name} tests/test_{name}.py" for name in names]
    tests = " ".join(["spec/test_*.py", *own, *asked.tests])
    # Not all of tests/: it takes five minutes, and some read the sources, which mutmut rewrites.
    os.environ["PYTEST_ADDOPTS"] = f"-o 'testpaths={tests}'"
    shutil.rmtree("mutants", ignore_errors=True)  # files that are not Python are copied once only
    mutmut("run", *(f"{module}*" for module in asked.modules), stdout=None)
    checked = {
        name: "not run" if code == NOT_RUN else status_by_exit_code[code]
        for file in Path("mutants/blitz").rglob("*.meta")
        for name, code in json.loads(file.read_text())["exit_code_by_key"].items()
        if name.startswith(tuple(asked.modules))
    }
    survivors = [name for name, how in checked.items() if how not in KILLED]
    of_words = [name for name in survivors if changes_words_alone(mutmut("show", name))]
    left = [name for name in survivors if name not in of_words]
    for name in left:
        print(f"{checked[name]}: {name}")
    total = len(checked) - len(of_words)
    share = (total - len(left)) / max(total, 1)
    print(
        f"{total - len(left)} of {total} mutants killed, {share:.1%}; "
        f"{len(of_words)} more change words alone"
    )
    return 0 if total and share >= asked.floor else 1


def mutmut(*arguments: str, stdout: int | None = subprocess.PIPE) -> str:
    """Run a command of mutmut and return what it printed."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, stdout=stdout, text=True)
    if done.returncode:  # results of an earlier run may be there
        raise SystemExit(f"mutmut {arguments[0]} failed: nothing was measured")
    return done.stdout or ""


def changes_words_alone(diff: str) -> bool:
    """Tell whether the lines of a diff differ in the text of strings with spaces in them only."""
    sides = []
    for sign in "-+":
        code = "\n".join(
            line[1:].strip()
            for line in diff.splitlines()
            if line.startswith(sign) and not line.startswith(sign * 3)
        )
        try:
            tree = ast.parse(code)
        except SyntaxError:  # part of a statement: compare nothing, count the mutant
            return False
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                node.value = "…"
        sides.append(ast.dump(tree))
    return sides[0] == sides[1]


if __name__ == "__main__":
    raise SystemExit(main())
