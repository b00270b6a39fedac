"""Run the specification beside other plug-ins of pytest: ``python tests/beside.py``.

uv lays each plug-in over the project's environment, which stays as it is; last come all of them
together. Each run must pass and skip as many tests as one without. Plug-ins that are named are run
instead of those below.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PLUG_INS = (
    "pytest-cov", "pytest-timeout", "pytest-randomly", "pytest-sugar", "pytest-html",
    "pytest-rerunfailures", "pytest-asyncio", "hypothesis", "pytest-playwright",
    "pytest-profiling", "pytest-repeat", "pytest-forked", "pytest-mock", "pytest-instafail",
    "pytest-memray", "pytest-split", "anyio", "pytest-order", "pytest-dependency",
    "pytest-codspeed",
)  # fmt: skip


def main() -> int:
    """Print the counts of each run and return 1 where one differs."""
    asked = sys.argv[1:] or PLUG_INS
    alone = run([])
    print(f"alone: {alone}", flush=True)
    differ = []
    together = [asked] if len(asked) > 1 else []
    for plug_ins in [[name] for name in asked] + together:
        counts = run(plug_ins)
        differ += [plug_ins] if counts != alone else []
        print(f"{' '.join(plug_ins)}: {counts}", flush=True)
    return int(bool(differ))


def run(plug_ins: Sequence[str]) -> dict[str, int]:
    """Return how many tests passed, failed, … beside the plug-ins; show a run that fails."""
    over = [f"--with={name}" for name in plug_ins]
    pytest = ["python", "-m", "pytest", "spec", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        ["uv", "run", "--quiet", "--no-project", *over, *pytest],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-1000:], sep="\n", file=sys.stderr)
    found = re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", done.stdout)
    return {word: int(count) for count, word in found} | {"exit": done.returncode}


if __name__ == "__main__":
    raise SystemExit(main())
