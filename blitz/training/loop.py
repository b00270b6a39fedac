"""Chapter 4's training, which can stop between two batches and go on later, to the same bits."""

import math
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

from blitz.base.errors import BlitzError
from blitz.classifier import Net
from blitz.data import Images
from blitz.learning import running_loss
from blitz.learning.running_loss import Report, RunningLoss
from blitz.learning.step import TrainingStep
from blitz.parallel.processes import ALONE, Group
from blitz.parallel.step import DistributedStep
from blitz.training import feeds
from blitz.training.checkpoint import Checkpoint
from blitz.training.settings import Settings

CHUNK_IMAGES = 16384
"""Net and losses can be looked at after about so many images, and after 100 batches at most."""

CURVE_POINTS = 100
"""About so many means of the loss are kept for the curve."""


class Diverged(BlitzError, RuntimeError):
    """The loss is no longer a number, so nothing is learned any more."""

    exit_code = 1


def digest(images: Images) -> str:
    """Return a digest that tells these images, in this order, from others."""
    # Little-endian and contiguous, so that a checkpoint moves between machines.
    found = blake2b(np.asarray(images.labels, "<i8").tobytes(), digest_size=16)
    found.update(np.ascontiguousarray(images.pixels).data)
    return found.hexdigest()


class Training:
    """A net on its way through the epochs.

    Attributes:
        settings: What it was started with.
        processes: Those that train together. Each makes one of these and trains with it.
        train: The images that it learns from.
        test: Those that it is tested on at its end.
        net: The net, trained so far.
        feed: What brings the batches to the net.
        images: Images in all epochs together.
        images_digest: See :func:`digest`.
        losses: Means over as many batches as the tutorial prints; has the epoch and its batches.
        curve: Means over fewer, which are drawn and never printed.
        seconds: Time spent in :meth:`chunks` so far.
    """

    def __init__(
        self, settings: Settings, train: Images, test: Images, processes: Group = ALONE
    ) -> None:
        device = processes.device(settings.device)
        self.settings, self.processes = settings, processes
        self.train, self.test = train, test
        self.seconds = 0.0
        self.feed = feeds.make(
            settings.feed or ("loader" if settings.workers else None),
            train,
            batch_size=settings.batch_size,
            seed=settings.seed,
            device=device,
            workers=settings.workers,
            rank=processes.rank,
        )
        self.images = settings.epochs * len(train)
        self.images_digest = digest(train)
        # As the tutorial's loop would: the seed, then the net, so that --exact matches it.
        torch.manual_seed(settings.seed)
        self.net = net = Net(settings.width).to(device)
        kind = DistributedStep if processes.rank.processes > 1 else TrainingStep
        self._step = kind(net, lr=settings.lr, momentum=settings.momentum, exact=settings.exact)
        every = max(1, self.batches // CURVE_POINTS)
        self.losses, self.curve = RunningLoss(running_loss.REPORT_EVERY), RunningLoss(every)

    @property
    def batches(self) -> int:
        """Return the batches in all epochs together."""
        return self.settings.epochs * self.feed.batches

    @property
    def done(self) -> int:
        """Return how many of them are done."""
        return (self.losses.epoch - 1) * self.feed.batches + self.losses.batches

    def checkpoint(self) -> Checkpoint:
        """Return all that it takes to go on from here."""
        return Checkpoint(
            settings=self.settings.plain(),
            images=self.images_digest,
            losses=self.losses,
            curve=self.curve,
            seconds=self.seconds,
            launch=self.processes.launch,
            net=self.net.state_dict(),
            optimizer=self._step.optimizer.state_dict(),
        )

    def go_on_from(self, saved: Checkpoint, where: Path) -> None:
        """Take over the state ``saved``, read from ``where``; raise BlitzError if unfit."""
        if saved.images != self.images_digest:
            raise BlitzError(
                f"{where}: its training had other images than those of --data. Give the folder "
                "that it had, or start anew with another --out."
            )
        self.net.load_state_dict(saved.net)
        self._step.optimizer.load_state_dict(saved.optimizer)
        self.losses, self.curve, self.seconds = saved.losses, saved.curve, saved.seconds

    def chunks(self) -> Iterator[list[Report]]:
        """Train to the end, some batches at a time; yield the reports that became due in them.

        Between two of them a :meth:`checkpoint` can be taken. Raises Diverged.
        """
        # Not the wall clock, which may be set back during a training.
        started = time.perf_counter() - self.seconds
        size = max(1, min(100, CHUNK_IMAGES // self.settings.batch_size))
        while self.losses.epoch <= self.settings.epochs:
            done = self.losses.batches  # all of the epoch, in a checkpoint of its very end
            for losses in self.feed.train(self._step, self.losses.epoch, done, size):
                # One exchange for a whole chunk; all processes then stop at the same batch.
                means = self.processes.mean(losses)
                reports = [report for loss in means for report in self._add(loss)]
                self.seconds = time.perf_counter() - started
                yield reports
            self.curve.end_epoch()
            yield self.losses.end_epoch()

    def _add(self, loss: float) -> list[Report]:
        # Before the mean takes it in: a checkpoint holds finite losses only.
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss of batch {self.losses.batches + 1} of epoch {self.losses.epoch} is "
                f"{loss}: the steps are too large. Start anew with a learning rate below "
                f"{self.settings.lr}."
            )
        self.curve.add(loss)
        return self.losses.add(loss)
