"""Steps/s of the tutorial's recipe by feed, beside other trainers, in one run on one machine.

    python docs/compare_feeds.py --data DIR             # a quarter of an hour on two cores
    python docs/compare_feeds.py --data DIR --steps 300 --rounds 3
    python docs/compare_feeds.py --data DIR --device cuda
    python docs/compare_feeds.py --device cuda --drift  # seconds: at which step do losses differ?

The recipe is the same everywhere: the tutorial's net, batches of 4, SGD with rate 0.001 and
momentum 0.9, cross-entropy. The candidates take turns, some hundred steps each, so that what else
the machine does meanwhile hits all of them; what is reported is the median over the rounds and, for
each candidate, the median of its ratios to the tutorial's own loop within a round.

Lightning and Ignite are measured where they are installed (``pip install lightning
pytorch-ignite``); they are no dependency of this project. They are fed with ready tensors: a list
of batches that are there already, which is the fastest that they can be fed with.
"""

import argparse
import contextlib
import datetime
import functools
import importlib
import itertools
import logging
import os
import platform
import statistics
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from blitz import classifier, data, devices
from blitz.harness import benchmarks
from blitz.learning.step import TrainingStep
from blitz.measuring import clock
from blitz.training import feeds

BATCH = 4
Run = Callable[[int], None]
"""Takes that many steps."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a folder of images (default: made on the spot)")
    parser.add_argument("--device", default="cpu", help="where the net is (default: cpu)")
    parser.add_argument("--steps", type=int, default=1000, help="of each turn (default: 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default: 5)")
    parser.add_argument("--out", type=Path, help="write the figures there too, as JSON")
    parser.add_argument(
        "--drift", action="store_true", help="say where the feeds' losses part, and end"
    )
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    images = data.load("train", asked.data, count=400 if asked.drift else 8000)
    device = devices.resolve(asked.device)
    if asked.drift:
        print("\n".join(_drift(images, device)))
        return
    speeds = _measure(dict(_candidates(images, device)), device, asked.steps, asked.rounds)
    report = _report(speeds, images.origin, device, asked)
    print("\n".join(_lines(report)))
    if asked.out is not None:
        asked.out.write_text(benchmarks.as_rows(report), encoding="utf-8")


def _drift(images: data.Images, device: torch.device) -> Iterator[str]:
    """Say from which step on losses differ: of two equal trainings, and of two feeds."""
    other = feeds.NAMES[-1] if device.type == "cuda" else feeds.NAMES[0]
    for deterministic in (False, True):
        torch.backends.cudnn.deterministic = deterministic
        first, again, differently = (
            _losses(images, device, feed) for feed in ("resident", "resident", other)
        )
        yield f"cudnn.deterministic = {deterministic}, {len(first)} steps"
        yield f"  resident and resident again: {_parting(first, again)}"
        yield f"  resident and {other}: {_parting(first, differently)}"


def _losses(images: data.Images, device: torch.device, feed: str) -> list[float]:
    """Return the losses of three epochs."""
    torch.manual_seed(0)
    step = TrainingStep(classifier.Net().to(device))
    made = feeds.make(feed, images, batch_size=BATCH, seed=0, device=device)
    chunks = itertools.chain.from_iterable(made.train(step, epoch) for epoch in (1, 2, 3))
    return list(itertools.chain.from_iterable(chunks))


def _parting(losses: list[float], others: list[float]) -> str:
    pairs = enumerate(zip(losses, others, strict=True), start=1)
    first = next((step for step, (loss, other) in pairs if loss != other), None)
    if first is None:
        return "the same bits"
    apart = (abs(b - a) / abs(a) for a, b in zip(losses, others, strict=True))
    return f"differ from step {first} on, by {max(apart):.2g} at most"


def _candidates(images: data.Images, device: torch.device) -> Iterator[tuple[str, Run]]:
    """Name and run of each; the first is the one that the others are compared with."""
    yield "tutorial's loop, 2 workers", _tutorial(images, device, workers=2)
    for workers in (0, 4):
        yield f"tutorial's loop, {workers} workers", _tutorial(images, device, workers)
    yield "tutorial's loop, 0 workers, 1 thread", _with_threads(1, _tutorial(images, device, 0))
    yield "tutorial's loop, 2 workers, 1 thread", _with_threads(1, _tutorial(images, device, 2))
    ready = "DataLoader over ready tensors"
    yield ready, _tutorial(images, device, 0, ready=True)
    yield f"{ready}, 1 thread", _with_threads(1, _tutorial(images, device, 0, ready=True))
    for name, module, trainer in (
        ("Lightning", "lightning", _lightning),
        ("Ignite", "ignite", _ignite),
    ):
        if _installed(module):
            yield f"{name}, ready tensors", trainer(images, device)
            yield f"{name}, ready tensors, 1 thread", _with_threads(1, trainer(images, device))
    for name in feeds.NAMES:
        if name != "captured" or device.type == "cuda":
            yield f"blitz, {name} feed, --exact", _feed(images, device, name)
            if device.type == "cpu":
                yield f"blitz, {name} feed", _feed(images, device, name, exact=False)


def _installed(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _net_and_optimizer(
    device: torch.device,
) -> tuple[nn.Module, torch.optim.Optimizer, nn.Module]:
    torch.manual_seed(0)
    net = classifier.Net().to(device)
    return net, torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9), nn.CrossEntropyLoss()


def _tutorial(images: data.Images, device: torch.device, workers: int, ready: bool = False) -> Run:
    """The tutorial's loop as it stands there: a DataLoader, ``item()`` after every step."""
    net, optimizer, criterion = _net_and_optimizer(device)
    dataset = data.normalized(images) if ready else _transformed(images)
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=workers)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))

    def run(steps: int) -> None:
        running_loss = 0.0
        for inputs, labels in itertools.islice(batches, steps):
            optimizer.zero_grad()
            loss = criterion(net(inputs.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            running_loss += loss.item()

    return run


def _transformed(images: data.Images) -> data.Images:
    return data.Images(images.items, images.labels, images.origin, data.transform())


def _with_threads(threads: int, run: Run) -> Run:
    def run_with_threads(steps: int) -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            run(steps)
        finally:
            torch.set_num_threads(before)

    return run_with_threads


class _Ready:
    """Batches that are there already; Lightning takes a plain list for a list of loaders."""

    def __init__(self, images: data.Images, device: torch.device) -> None:
        tensors = TensorDataset(*(t.to(device) for t in data.normalized(images).tensors))
        self._batches = [tensors[p] for p in torch.randperm(len(tensors)).split(BATCH)]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


def _lightning(images: data.Images, device: torch.device) -> Run:
    """Lightning's Trainer with everything off that can be."""
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    net, optimizer, criterion = _net_and_optimizer(device)
    batches = _Ready(images, device)

    class Recipe(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def training_step(self, batch: Any, _: object) -> torch.Tensor:
            inputs, labels = batch
            return criterion(self.net(inputs), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer

    def run(steps: int) -> None:
        trainer = lightning.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator="cpu" if device.type == "cpu" else "gpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with contextlib.redirect_stdout(None):
            trainer.fit(Recipe(), batches)

    return run


def _ignite(images: data.Images, device: torch.device) -> Run:
    """Ignite's supervised trainer, without handlers."""
    from ignite.engine import create_supervised_trainer

    net, optimizer, criterion = _net_and_optimizer(device)
    trainer = create_supervised_trainer(net, optimizer, criterion, device=device)
    batches = _Ready(images, device)

    def run(steps: int) -> None:
        trainer.run(batches, max_epochs=1, epoch_length=steps)

    return run


def _feed(images: data.Images, device: torch.device, name: str, exact: bool = True) -> Run:
    step = TrainingStep(_net_and_optimizer(device)[0], exact=exact)
    feed = feeds.make(name, images, batch_size=BATCH, seed=0, device=device)

    def chunks() -> Iterator[int]:
        for epoch in itertools.count(1):
            yield from (len(losses) for losses in feed.train(step, epoch))

    done = chunks()

    def run(steps: int) -> None:
        while steps > 0:
            steps -= next(done)

    return run


def _measure(
    candidates: dict[str, Run], device: torch.device, steps: int, rounds: int
) -> dict[str, list[float]]:
    """Steps/s of each candidate in each round, after a round that does not count."""
    steps = -(-steps // 100) * 100  # whole chunks of a feed
    read = clock.clock(device)
    for run in candidates.values():
        run(100)
    speeds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            taken = clock.seconds(functools.partial(run, steps), read)
            speeds[name].append(steps / taken)
    return speeds


def _report(
    speeds: dict[str, list[float]], origin: str, device: torch.device, asked: argparse.Namespace
) -> dict:
    base = next(iter(speeds.values()))
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": str(device),
        "device name": benchmarks.device_name(device),
        "cpu": benchmarks.cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": benchmarks.load(),
        "system": platform.platform(),
        "versions": benchmarks.versions() | _peers(),
        "images": origin,
        "steps": asked.steps,
        "rounds": asked.rounds,
        "steps/s": {
            name: {
                "median": statistics.median(values),
                "least": min(values),
                "most": max(values),
                "times the tutorial's": statistics.median(
                    value / other for value, other in zip(values, base, strict=True)
                ),
                "all": values,
            }
            for name, values in speeds.items()
        },
    }


def _peers() -> dict[str, str]:
    found = {}
    for package in ("lightning", "pytorch-ignite"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _lines(report: dict) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    yield f"{report['device']}: {report['device name']}"
    yield f"{report['cpu']}, {report['cores']} cores, load {report['load']}; {report['date']}"
    yield versions
    yield f"{report['images']}; {report['rounds']} rounds of {report['steps']} steps, batch 4"
    yield f"{'steps/s (median)':>58}{'least':>8}{'most':>8}{'ratio':>8}"
    for name, row in report["steps/s"].items():
        yield (
            f"{name:<42}{row['median']:>16,.0f}{row['least']:>8,.0f}{row['most']:>8,.0f}"
            f"{row['''times the tutorial's''']:>8.2f}"
        )


if __name__ == "__main__":
    main()
