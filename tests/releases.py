"""Run the specification on every supported release of torch: ``python tests/releases.py``.

Each release is installed by uv into a cache of its own, which is deleted before the next one: at
most one torch more than the project's lies on the disk. A run prints a line for each release and
keeps them in docs/releases.json; ``--table`` puts that file into README.md as a table. A release
that is named is run alone: ``python tests/releases.py 2.9.0 floors``.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "docs" / "releases.json"
PAGES = (ROOT / "README.md", ROOT / "docs" / "README.zh.md")

RELEASES = {
    "floors": "3.11",  # the lowest versions that pyproject.toml allows
    "2.6.0": "3.12",
    "2.7.0": "3.13",
    "2.7.1": "3.11",
    "2.8.0": "3.12",
    "2.9.0": "3.13",
    "2.9.1": "3.11",
    "2.10.0": "3.12",
    "2.11.0": "3.13",
    "2.12.0": "3.11",
    "2.12.1": "3.12",
    "2.13.0": "3.13",
    "2.14.0": "3.11",
    "2.15.0": "3.12",
}
"""The Python that each release is run with; each Python meets old and new releases."""


def main() -> int:
    """Run what was asked for and return 1 where a run did not pass."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help=f"of {', '.join(RELEASES)}")
    parser.add_argument("--probe", action="store_true", help="ask spec/releases.json's questions")
    parser.add_argument(
        "--table", action="store_true", help="write the table into README, run none"
    )
    asked = parser.parse_args()
    unknown = [release for release in asked.releases if release not in RELEASES]
    if unknown:
        parser.error(f"{unknown[0]} is none of {', '.join(RELEASES)}; add it to RELEASES")
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for release in [] if asked.table else asked.releases or RELEASES:
        kept[release] = run(release, asked.probe)
        print(release, kept[release], flush=True)
        kept = {release: kept[release] for release in RELEASES if release in kept}
        rows = (f" {json.dumps(release)}: {json.dumps(row)}" for release, row in kept.items())
        KEPT.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    if asked.table:
        write_table(kept)
    return int(any(row["exit"] for row in kept.values()))


def run(release: str, probe: bool) -> dict[str, Any]:
    """Run the specification on a release and return the row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        cache = os.environ | {"UV_CACHE_DIR": folder + "/cache"}
        python = folder + "/env/bin/python"
        chosen = ["--resolution", "lowest-direct"] if release == "floors" else [f"torch=={release}"]
        uv("venv", "--python", RELEASES[release], folder + "/env", env=cache)
        uv("pip", "install", "--python", python, "-e", str(ROOT), *chosen, env=cache)
        command = [python, "-m", "pytest", "spec", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        counts = {
            word: int(count)
            for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)
        }
        if done.returncode:
            print(done.stdout[-3000:], done.stderr[-1000:], sep="\n", file=sys.stderr)
        if probe and release != "floors":
            subprocess.run([python, ROOT / "docs" / "probe_releases.py"], check=True)
    return {
        "python": RELEASES[release],
        "passed": counts.get("passed", 0),
        "skipped": counts.get("skipped", 0),
        "failed": counts.get("failed", 0) + counts.get("error", 0),
        "exit": done.returncode,
        "date": date.today().isoformat(),
    }


def uv(*arguments: str, env: dict[str, str]) -> None:
    """Run a command of uv; what it says is shown where it fails."""
    subprocess.run(["uv", "--quiet", *arguments], env=env, check=True)


def write_table(kept: dict[str, dict[str, Any]]) -> None:
    """Write the rows between the two marks of each README."""
    rows = [
        f"| {release} | {row['python']} | {row['passed']} | {row['skipped']} | {row['date']} |"
        for release, row in kept.items()
    ]
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        head, begin, rest = text.partition("<!-- releases -->\n")
        heading, _, after = rest.partition("|---|---|---|---|---|\n")
        _, end, tail = after.partition("<!-- end of releases -->")
        table = heading + "|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
        page.write_text(head + begin + table + end + tail, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
