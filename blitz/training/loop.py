"""Chapter 4's training, which can stop between two batches and go on later, to the same bits."""

import math
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blitz.base.errors import BlitzError
from blitz.classifier import Net
from blitz.data import Images
from blitz.learning import running_loss
from blitz.learning.running_loss import Report
from blitz.learning.step import TrainingStep
from blitz.parallel.processes import ALONE, Group
from blitz.training import feeds
from blitz.training.settings import Settings

CHUNK_IMAGES = 16384
"""Net and losses can be looked at after about so many images, and after 100 batches at most."""


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
        losses: The loss of each batch so far, a mean over the processes.
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
        self._step = TrainingStep(
            net,
            lr=settings.lr,
            momentum=settings.momentum,
            exact=settings.exact,
            forward=processes.parallel(net),
        )
        self.losses: list[float] = []

    @property
    def batches(self) -> int:
        """Return the batches in all epochs together."""
        return self.settings.epochs * self.feed.batches

    def reports(self, every: int, since: int = 0) -> list[Report]:
        """Return the mean losses over every so many batches, as they fell due since some batch."""
        return running_loss.reports(self.losses, self.feed.batches, every, since)

    def state(self) -> dict[str, Any]:
        """Return all that it takes to go on from here, as a checkpoint holds it."""
        return {
            "settings": self.settings.plain(),
            "images": self.images_digest,
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "seconds": self.seconds,
            "net": self.net.state_dict(),
            "optimizer": self._step.optimizer.state_dict(),
        }

    def go_on_from(self, saved: dict[str, Any], where: Path) -> None:
        """Take over the state ``saved``, read from ``where``; raise BlitzError if unfit."""
        if saved["images"] != self.images_digest:
            raise BlitzError(
                f"{where}: its training had other images than those of --data. Give the folder "
                "that it had, or start anew with another --out."
            )
        self.net.load_state_dict(saved["net"])
        self._step.optimizer.load_state_dict(saved["optimizer"])
        self.losses, self.seconds = saved["losses"].tolist(), saved["seconds"]

    def chunks(self) -> Iterator[list[Report]]:
        """Train to the end, some batches at a time; yield the reports that became due in them.

        Between two of them the :meth:`state` can be saved. Raises Diverged.
        """
        # Not the wall clock, which may be set back during a training.
        started = time.perf_counter() - self.seconds
        size = max(1, min(100, CHUNK_IMAGES // self.settings.batch_size))
        while len(self.losses) < self.batches:
            epoch, batch = divmod(len(self.losses), self.feed.batches)
            for losses in self.feed.train(self._step, epoch + 1, batch, size):
                done = len(self.losses)
                # One exchange for a whole chunk; all processes then stop at the same batch.
                for loss in self.processes.mean(losses):
                    self._add(loss)
                self.seconds = time.perf_counter() - started
                yield self.reports(running_loss.REPORT_EVERY, since=done)

    def _add(self, loss: float) -> None:
        if not math.isfinite(loss):
            epoch, batch = divmod(len(self.losses), self.feed.batches)
            raise Diverged(
                f"the loss of batch {batch + 1} of epoch {epoch + 1} is {loss}: the steps are too "
                f"large. Start anew with a learning rate below {self.settings.lr}."
            )
        self.losses.append(loss)
