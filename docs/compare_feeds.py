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
import itertools
import logging
import statistics
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from blitz import classifier, data, devices
from blitz.base.versions import NOT_INSTALLED, installed
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
    candidates = list(_candidates(images, device))
    report = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **benchmarks.about(device),
        **benchmarks.machine(),
        "peers": {package: installed(package) for package in PEERS},
        "images": images.origin,
        "steps": asked.steps,
        "rounds": asked.rounds,
    }
    speeds = _measure(candidates, clock.clock(device), asked.steps, asked.rounds)
    first = next(iter(speeds.values()))
    report["steps/s"] = {name: _row(rounds, first) for name, rounds in speeds.items()}
    for name, row in report["steps/s"].items():
        times = row["times the tutorial's"]
        print(f"{name:<42}{row['median']:>8,.0f} steps/s{times:>7.2f} times the first")
    if asked.out is not None:
        asked.out.write_text(benchmarks.as_rows(report), encoding="utf-8")


def _drift(images: data.Images, device: torch.device) -> Iterator[str]:
    """Say from which step on losses differ: of two equal trainings, and of two feeds."""
    other = feeds.NAMES[-1] if device.type == "cuda" else feeds.NAMES[0]
    for deterministic in (False, True):
        torch.backends.cudnn.deterministic = deterministic
        losses, again, differently = (
            list(
                itertools.islice(itertools.chain.from_iterable(_chunks(images, device, feed)), 300)
            )
            for feed in ("resident", "resident", other)
        )
        yield f"cudnn.deterministic = {deterministic}, {len(losses)} steps"
        for name, others in ("resident again", again), (other, differently):
            apart = [abs(b - a) / abs(a) for a, b in zip(losses, others, strict=True)]
            first = next((step for step, by in enumerate(apart, start=1) if by), None)
            words = f"differ from step {first} on, by {max(apart):.2g} at most"
            yield f"  resident and {name}: {'the same bits' if first is None else words}"


def _candidates(images: data.Images, device: torch.device) -> Iterator[tuple[str, int, Run]]:
    """Name, threads and run of each; the first is the one that the others are compared with."""
    threads = torch.get_num_threads()
    others = {f"tutorial's loop, {n} workers": _tutorial(images, device, n) for n in (2, 0, 4)}
    others["DataLoader over ready tensors"] = _tutorial(images, device, workers=0, ready=True)
    for package, (name, trainer) in PEERS.items():
        if installed(package) != NOT_INSTALLED:
            others[f"{name}, ready tensors"] = trainer(images, device)
    for name, run in others.items():
        yield name, threads, run
        yield f"{name}, 1 thread", 1, run
    for name in feeds.NAMES:
        if name != "captured" or device.type == "cuda":
            yield f"blitz, {name} feed, --exact", threads, _feed(images, device, name)
            if device.type == "cpu":
                yield f"blitz, {name} feed", threads, _feed(images, device, name, exact=False)


def _net_and_optimizer(device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer, nn.Module]:
    torch.manual_seed(0)
    net = classifier.Net().to(device)
    return net, torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9), nn.CrossEntropyLoss()


def _tutorial(images: data.Images, device: torch.device, workers: int, ready: bool = False) -> Run:
    """The tutorial's loop as it stands there: a DataLoader, ``item()`` after every step."""
    net, optimizer, criterion = _net_and_optimizer(device)
    dataset: Dataset = data.Images(images.pixels, images.labels, images.origin, data.transform())
    if ready:
        dataset = data.normalized(images)
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


def _chunks(
    images: data.Images, device: torch.device, name: str, exact: bool = True
) -> Iterator[list[float]]:
    """Yield the losses that blitz has with a feed, some at a time, epoch after epoch."""
    step = TrainingStep(_net_and_optimizer(device)[0], exact=exact)
    feed = feeds.make(name, images, batch_size=BATCH, seed=0, device=device)
    for epoch in itertools.count(1):
        yield from feed.train(step, epoch)


def _feed(images: data.Images, device: torch.device, name: str, exact: bool = True) -> Run:
    chunks = _chunks(images, device, name, exact)

    def run(steps: int) -> None:
        while steps > 0:
            steps -= len(next(chunks))

    return run


PEERS = {"lightning": ("Lightning", _lightning), "pytorch-ignite": ("Ignite", _ignite)}


def _measure(
    candidates: Sequence[tuple[str, int, Run]], read: clock.Clock, steps: int, rounds: int
) -> dict[str, list[float]]:
    """Steps/s of each candidate in each round, after a round that does not count."""
    steps = -(-steps // 100) * 100  # whole chunks of a feed
    speeds: dict[str, list[float]] = {name: [] for name, _, _ in candidates}
    for turn, (name, threads, run) in itertools.product(range(rounds + 1), candidates):
        torch.set_num_threads(threads)
        count = steps if turn else 100
        spent = clock.seconds(functools.partial(run, count), read)
        speeds[name] += [count / spent] if turn else []
    return speeds


def _row(rounds: list[float], base: list[float]) -> dict[str, Any]:
    ratios = [mine / first for mine, first in zip(rounds, base, strict=True)]
    return {
        "median": statistics.median(rounds),
        "times the tutorial's": statistics.median(ratios),
        "all": rounds,
    }


if __name__ == "__main__":
    main()
