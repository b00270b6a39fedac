"""Chapter 4's training as something that can be left off between two batches and taken up again.

Its result depends on the settings and the images alone: after any number of interruptions it is,
on the cpu, the same to the last bit.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blitz import devices
from blitz.base.errors import BlitzError
from blitz.classifier import Net
from blitz.data import Images
from blitz.learning import running_loss
from blitz.learning.running_loss import Report, RunningLoss
from blitz.parallel import processes as distributed
from blitz.parallel.processes import Processes
from blitz.training import checkpoint, feeds, tuning
from blitz.training.checkpoint import Checkpoint, CheckpointError, Losses

CHUNK_IMAGES = 16384
"""Net and losses can be looked at after about so many images, and after 100 batches at most."""

CURVE_POINTS = 100
"""About so many means of the loss are kept for the curve."""


class Diverged(BlitzError, RuntimeError):
    """The loss is no longer a number, so nothing is learned any more."""


@dataclass(frozen=True)
class Settings:
    """What a training is started with; the defaults are the tutorial's.

    Attributes:
        data: Folder of the images; None for images made on the spot.
        epochs: Passes over the training images.
        batch_size: Images to a step, those of all processes together.
        lr: Learning rate of SGD.
        momentum: Momentum of SGD.
        width: Channels that the net's first convolution makes.
        seed: Fixes the net's first weights and the order of the images.
        device: Where the net is trained, as torch names it.
        threads: Threads that the cpu computes with. How sums are shared out among them shows in
            the last bits.
        workers: Processes that fetch the images; 0 to fetch them in this one.
        feed: How the batches get to the net, one of :data:`blitz.training.feeds.NAMES`; None
            for the fastest way.
        fast: Whether the cpu may use faster kernels that round otherwise than the tutorial's loop.
    """

    data: str | None = None
    epochs: int = 2
    batch_size: int = 4
    lr: float = 0.001
    momentum: float = 0.9
    width: int = 6
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    workers: int = 0
    feed: str | None = None
    fast: bool = False

    FREE = frozenset({"data", "workers", "feed"})
    """These may change on the way: they make no difference to the result. (Of the images, the
    digest is compared.)"""


def chosen(given: Mapping[str, Any]) -> Settings:
    """The settings of a new training: those in ``given``, and for the others the defaults.

    Raises:
        UnusableDevice: the device cannot be used here.
    """
    settings = replace(Settings(), **given)
    device = devices.resolve(given["device"]) if "device" in given else devices.pick()
    threads = _threads(settings, device)
    return replace(settings, device=str(device), threads=threads)


def _threads(settings: Settings, device: torch.device) -> int:
    """One for work that costs more to share out than to do, else torch's own number."""
    with torch.device("meta"):
        net = Net(settings.width)
    little = device.type == "cpu" and tuning.little_work(net, settings.batch_size)
    return 1 if little else torch.get_num_threads()


def resumed(given: Mapping[str, Any], saved: Mapping[str, Any], where: Path) -> Settings:
    """The settings of the training in ``where``, with what is given anew and may change.

    Raises:
        CheckpointError: what is given differs from what is saved, or that is not in order.
    """
    known = {field.name: {type(field.default)} for field in fields(Settings)}
    known |= {name: {str, type(None)} for name in ("data", "feed")}
    if saved.keys() != known.keys() or not all(
        type(saved[name]) in kinds for name, kinds in known.items()
    ):
        raise CheckpointError(f"{where}: holds no settings of a training. Choose another --out.")
    if "device" in given:
        given = {**given, "device": str(devices.resolve(given["device"]))}
    differing = [
        f"--{name.replace('_', '-')} {value} (there: {saved[name]})"
        for name, value in given.items()
        if name not in Settings.FREE and value != saved[name]
    ]
    if differing:
        raise CheckpointError(
            f"{where}: its training has other settings than those given: {', '.join(differing)}. "
            "Leave them out to go on with it, or start anew with another --out."
        )
    return replace(Settings(**saved), **given)


def digest(images: Images) -> str:
    """A number that tells these images, in this order, from others; files count by their names."""
    parts = blake2b(np.asarray(images.labels, "<i8").tobytes(), digest_size=16)
    if isinstance(images.items, np.ndarray):
        parts.update(np.ascontiguousarray(images.items).data)
    else:
        names = ("/".join(Path(file).parts[-2:]) for file in images.items)
        parts.update("\n".join(names).encode())
    return parts.hexdigest()


class Training:
    """A net on its way through the epochs.

    Args:
        settings: With a device and a number of threads.
        images: The training images, without transform.
        processes: Those that train together. Each makes one of these and trains with it.
        images_digest: As below; None to compute it from ``images``.

    Attributes:
        settings: As given.
        processes: As given.
        feed: What brings the batches to the net.
        images: Images in all epochs together.
        images_digest: See :func:`digest`.
        losses: The losses so far.
        seconds: Time spent in :meth:`chunks` so far.
    """

    def __init__(
        self,
        settings: Settings,
        images: Images,
        processes: Processes = distributed.ALONE,
        images_digest: str | None = None,
    ) -> None:
        device = processes.device(settings.device)
        self.settings = settings
        self.processes = processes
        self.seconds = 0.0
        self.feed = feeds.make(
            settings.feed or ("loader" if settings.workers else None),
            images,
            batch_size=settings.batch_size,
            seed=settings.seed,
            device=device,
            workers=settings.workers,
            part=processes.part,
        )
        self.images = settings.epochs * len(images)
        self.images_digest = images_digest or digest(images)
        torch.manual_seed(settings.seed)
        self._net = net = Net(settings.width).to(device)
        self._step = processes.step(
            net, lr=settings.lr, momentum=settings.momentum, exact=not settings.fast
        )
        every = max(1, self.batches // CURVE_POINTS)
        self.losses = Losses(RunningLoss(running_loss.REPORT_EVERY), RunningLoss(every))

    @property
    def net(self) -> Net:
        """The net, trained so far."""
        return self._net

    @property
    def batches(self) -> int:
        """Batches in all epochs together."""
        return self.settings.epochs * self.feed.batches

    @property
    def done(self) -> int:
        """Batches of them that are done."""
        return (self.losses.running.epoch - 1) * self.feed.batches + self.losses.running.batches

    def checkpoint(self) -> Checkpoint:
        """All that it takes to go on from here."""
        return Checkpoint(
            settings=asdict(self.settings),
            images=self.images_digest,
            losses=self.losses,
            seconds=self.seconds,
            launch=self.processes.launch,
            **checkpoint.state_of(self._step),
        )

    def go_on_from(self, saved: Checkpoint, where: Path) -> None:
        """Take up the state ``saved``, which was read from ``where``.

        Raises:
            CheckpointError: it is the state of another net, or of a training on other images.
        """
        if saved.images != self.images_digest:
            raise CheckpointError(
                f"{where}: its training had other images than those of --data. Give the folder "
                "that it had, or start anew with another --out."
            )
        running = saved.losses.running
        if running.batches > self.feed.batches or running.epoch > self.settings.epochs + 1:
            raise CheckpointError(
                f"{where}: stands at batch {running.batches} of epoch {running.epoch}, which this "
                "training does not have. Start anew with another --out."
            )
        checkpoint.restore(where, saved, self._step)
        self.losses, self.seconds = saved.losses, saved.seconds

    def chunks(self) -> Iterator[list[Report]]:
        """Train to the end, some batches at a time; yields the reports that fell due in them.

        Between two of them a :meth:`checkpoint` can be taken. Losses are those of whole batches,
        and the same in all processes.

        Raises:
            Diverged: the loss is no longer a number.
        """
        started = time.perf_counter() - self.seconds
        self.processes.at_step(self.done)
        while self.losses.running.epoch <= self.settings.epochs:
            for losses in self._rest_of_epoch():
                means = self.processes.mean(losses)
                reports = [report for loss in means for report in self._add(loss)]
                self.seconds = time.perf_counter() - started
                yield reports
            yield self.losses.end_epoch()
        self.processes.at_step(self.done, busy=False)

    def _rest_of_epoch(self) -> Iterator[list[float]]:
        running = self.losses.running
        if running.batches == self.feed.batches:
            return iter(())
        size = max(1, min(100, CHUNK_IMAGES // self.settings.batch_size))
        return iter(self.feed.train(self._step, running.epoch, start=running.batches, chunk=size))

    def _add(self, loss: float) -> list[Report]:
        running = self.losses.running
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss of batch {running.batches + 1} of epoch {running.epoch} is {loss}: the "
                f"steps are too large. Start anew with a learning rate below {self.settings.lr}."
            )
        return self.losses.add(loss)
