"""The command line: ``python tests/lies [--list] [--only NAME …] [--jobs N]``."""

import argparse
import os
import sys
import time
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Tell the lies, print a line for each, and return 1 if one was not noticed, else 0."""
    options = _options(arguments)

    import torch

    torch.set_num_threads(1)  # before anything runs: forks do not inherit OpenMP's threads
    from tests.lies import run
    from tests.lies.all import LIES

    if options.list:
        for lie in LIES.values():
            print(f"{lie.name} [{' '.join(lie.breaks)}] {lie.intent}")
        return 0
    unknown = [name for name in options.only if name not in LIES]
    if unknown:
        print(f"no lie is called {', '.join(unknown)}; --list shows them all", file=sys.stderr)
        return 2
    # The first optimizer imports half of torch: here, not in every fork.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])

    start = time.monotonic()
    if not options.only:
        for finding in run.examine([run.TRUTH, run.LOOKED_AT], options.spec, options.jobs):
            print(
                f"control {finding.lie.name}: {finding.how} ({finding.seconds:.1f} s)", flush=True
            )
            if finding.state != run.GREEN:
                print("The specification must be green before a lie can be told.")
                return 1
    chosen = [LIES[name] for name in options.only] or list(LIES.values())
    findings = []
    for finding in run.examine(chosen, options.spec, options.jobs):
        findings.append(finding)
        print(f"[{len(findings)}/{len(chosen)}] {finding}", flush=True)
    missed = [finding for finding in findings if finding.state != run.NOTICED]
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    print(
        f"{len(findings)} lies told, {len(findings) - len(missed)} noticed, "
        f"{len(missed)} not noticed, in {minutes} min {seconds} s on {options.jobs} jobs"
    )
    for finding in missed:
        print(f"  {finding}\n    {finding.lie.intent} Breaks {' '.join(finding.lie.breaks)}.")
    return 1 if missed else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tests/lies",
        description="Break torch's behaviours one at a time and see the specification go red.",
        epilog="Ends with 1 if a lie goes unnoticed, or if the specification is not green anyway.",
    )
    parser.add_argument("--list", action="store_true", help="name the lies and tell none")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="tell only these")
    jobs = min(2, os.cpu_count() or 1)
    parser.add_argument("--jobs", type=int, default=jobs, help="at once (default: %(default)s)")
    spec = Path(__file__).parents[2] / "spec"
    parser.add_argument("--spec", type=Path, default=spec, help="the specification to tell them to")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    # lies and blitz, installed or not
    sys.path[:0] = [str(Path(__file__).parents[2])]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main())
