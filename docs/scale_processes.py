"""Images/s of the recipe on 1, 2 and 4 processes, and how much of them is left of each.

    python docs/scale_processes.py                              # two minutes on two cores
    python docs/scale_processes.py --device cuda --out FILE.json
    python docs/scale_processes.py --processes 1 2 --rounds 3 --seconds 0.5

The batch is that of all processes together, as in ``python -m blitz train``: more processes have
less of it each. Two sizes: the tutorial's net and batch, which cannot profit, since a step costs
less than its processes' agreement; and a wide net with a large batch, which can.

The efficiency is the images/s divided by those of one process, and by the number of processes: 1
where nothing is lost. On the cpu each process computes with one thread; the row "all threads" is
what one process makes of the same cores. Where there are fewer cores (or GPUs) than processes, the
efficiency says so little that the row is left out for GPUs and marked for cores.

The numbers of processes take turns, so that what else the machine does hits all of them; what is
reported is the median of the rounds. Each asserts that its loss fell, and that the parameters are
the same in all processes.
"""

import argparse
import datetime
import itertools
import os
import statistics
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from blitz import classifier
from blitz.base import backend
from blitz.harness import benchmarks
from blitz.learning.step import TrainingStep
from blitz.parallel.joining import joined


class Size(NamedTuple):
    """A net and a batch; the batch is that of all processes together."""

    name: str
    width: int
    batch: int


class Row(NamedTuple):
    """What is measured: so many processes, each with so many threads."""

    size: Size
    processes: int
    threads: int


SIZES = (Size("the tutorial's", 6, 4), Size("a wide net", 48, 64))
WARM_UP = 3
"""Steps before the clock starts."""

STEPS = 5
"""Steps between two looks at the clock."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument(
        "--processes", type=int, nargs="+", default=[1, 2, 4], help="(default: 1 2 4)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn (default: 2)")
    parser.add_argument("--out", type=Path, help="write the figures there too, as JSON")
    asked = parser.parse_args()
    get_context("forkserver").set_forkserver_preload(["torch._dynamo", "torch.distributed"])
    there = os.cpu_count() or 1
    if asked.device != "cpu":
        there = torch.get_device_module(asked.device).device_count()
    report = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **benchmarks.about(torch.device(asked.device)),
        **benchmarks.machine(),
        "precision": "float32",
        "rounds": asked.rounds,
        "seconds": asked.seconds,
        "rows": _figures(_measure(there, asked), there),
    }
    for row in report["rows"]:
        print(
            f"{row['size']:<16}{row['processes']} processes of {row['threads of each']} threads:"
            f"{row['images/s']:>8,.0f} images/s, {row['times one process']:.2f} times one process"
            f"{', more than cores' * row['more than cores']}, efficiency {row['efficiency']:.0%}"
        )
    if asked.out is not None:
        asked.out.write_text(benchmarks.as_rows(report), encoding="utf-8")


def _measure(there: int, asked: argparse.Namespace) -> dict[Row, list[float]]:
    """Images/s, round by round."""
    counts = [count for count in asked.processes if asked.device == "cpu" or count <= there]
    rows = [Row(size, count, 1) for size in SIZES for count in sorted({1, *counts})]
    if asked.device == "cpu" and there > 1:
        rows += [Row(size, 1, there) for size in SIZES]
    found: dict[Row, list[float]] = {row: [] for row in rows}
    for _, row in itertools.product(range(asked.rounds), rows):
        launch = elastic_launch(_as_torchrun(row.processes), _train)
        measured = launch(asked.device, row.size, row.threads, asked.seconds)
        rates, checksums = zip(*measured.values(), strict=True)
        assert len(set(checksums)) == 1, "the processes' nets differ"
        found[row].append(rates[0])
    return found


def _as_torchrun(count: int) -> LaunchConfig:
    """Return what ``torchrun --nproc-per-node COUNT`` starts; the processes import torch once."""
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=str(os.getpid()),
        max_restarts=0,
        start_method="forkserver",
    )


def _train(device: str, size: Size, threads: int, seconds: float) -> tuple[float, float]:
    """Train for so long as one of the processes; return images/s and the sum of parameters."""
    torch.set_num_threads(threads)
    with joined(device) as processes:
        rank, count = processes.rank.rank, processes.rank.processes
        place = processes.device(device)
        torch.manual_seed(0)
        net = classifier.Net(size.width).to(place)
        step = TrainingStep(net, forward=processes.parallel(net))
        images = (torch.rand(size.batch, 3, 32, 32) * 2 - 1)[rank::count].to(place)
        labels = torch.randint(10, (size.batch,))[rank::count].to(place)
        losses = [step(images, labels) for _ in range(WARM_UP)]
        backend.synchronize(place)
        begun, taken = time.perf_counter(), 0
        while processes.largest(int(time.perf_counter() - begun < seconds)):
            losses += [step(images, labels) for _ in range(STEPS)][-1:]
            taken += STEPS
            backend.synchronize(place)
        spent = time.perf_counter() - begun
        first, last = processes.mean([losses[0].item(), losses[-1].item()])
        assert last < first, "nothing was learned"
        checksum = sum(parameter.double().sum().item() for parameter in step.net.parameters())
    return taken * size.batch / spent, checksum


def _figures(found: dict[Row, list[float]], there: int) -> list[dict[str, Any]]:
    """Return each row beside one process with one thread, round by round."""
    figures = []
    for row, rounds in found.items():
        alone = found[Row(row.size, 1, 1)]
        times = statistics.median(mine / one for mine, one in zip(rounds, alone, strict=True))
        figures.append(
            {
                "size": row.size.name,
                "width": row.size.width,
                "batch": row.size.batch,
                "processes": row.processes,
                "threads of each": row.threads,
                "more than cores": row.processes > there,  # of GPUs there are never more
                "images/s": statistics.median(rounds),
                "all": rounds,
                "times one process": times,
                "efficiency": times / row.processes / row.threads,
            }
        )
    return figures


if __name__ == "__main__":
    main()
