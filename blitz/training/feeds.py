"""Three ways to feed the tutorial's recipe, with the same batches in the same order.

``loader``    the DataLoader, as the tutorial has it: each image is transformed and stacked into its
              batch, in this process or in workers
``resident``  all images lie on the device, normalised once; a batch is an index_select
``captured``  as resident, with many whole steps in one CUDA graph

On the cpu the first two give the same losses to the last bit, and they feed several processes too.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader

from blitz import data
from blitz.base import backend, interrupts
from blitz.base.errors import BlitzError, UnusableDevice
from blitz.data import Images
from blitz.learning.step import Batch, TrainingStep
from blitz.parallel.shares import WHOLE, Rank
from blitz.training import captured, tuning

NAMES = ("loader", "resident", "captured")
"""The feeds, the slowest first."""

GATHERED = 64 * 2**20
"""Bytes of images that an accelerator gathers at once."""

_VALUES = 3 * 32 * 32  # of an image


def order(count: int, seed: int, epoch: int) -> torch.Tensor:
    """Return the order of ``count`` images in an epoch (from 1): an int64 permutation."""
    # A generator of its own: torch's stays where it was, and an epoch can be drawn by itself.
    mixed = np.random.SeedSequence((seed, epoch)).generate_state(1).item()
    return torch.randperm(count, generator=torch.Generator().manual_seed(mixed))


class Feed(ABC):
    """The batches of a training set, and the way they reach the training step.

    Attributes:
        name: One of :data:`NAMES`.
        batches: Batches of an epoch, the short last one included.
        batch_size: Images of a batch, those of all processes together.
        own_size: Those of them that this process has.
    """

    name: str

    def __init__(
        self,
        images: Images,
        batch_size: int,
        seed: int,
        device: torch.device,
        workers: int,
        rank: Rank,
    ) -> None:
        self.seed, self.device, self.workers, self.rank = seed, device, workers, rank
        self.batch_size, self.own_size = batch_size, rank.size(batch_size)
        self.count = len(images)
        self.batches = -(-self.count // batch_size)
        self._take(images)

    @abstractmethod
    def _take(self, images: Images) -> None:
        """Put the training set where the batches are made of it."""

    def train(
        self, step: TrainingStep, epoch: int, start: int = 0, chunk: int = 100
    ) -> Iterator[list[float]]:
        """Take a step with each batch of ``epoch``, from batch ``start`` (0-based) on.

        Yields the losses of the batches since the last yield, at most ``chunk``; net and optimizer
        are then as they are after just those.
        """
        chunks = self._chunks(step, self._indices(epoch, start), chunk)
        while True:
            # Not around the yield: what the caller computes in between keeps its own settings.
            with tuning.suited_to(step.net, self.own_size, self.device, exact=step.exact):
                losses = next(chunks, None)
            if losses is None:
                return
            yield losses

    def endless(self) -> Iterator[Batch]:
        """Yield the batches of epoch after epoch, images and labels, without a step."""
        for epoch in itertools.count(1):
            yield from self._batches(self._indices(epoch))

    def _indices(self, epoch: int, start: int = 0) -> torch.Tensor:
        """Return which images this process has from batch ``start`` on, one or more a batch."""
        rest = order(self.count, self.seed, epoch)[start * self.batch_size :]
        indices = self.rank.share(rest, self.batch_size)
        if not self._weight(self.batches - 1):
            # A step needs every process: an image of weight 0 stands in.
            indices = torch.cat([indices, indices.new_zeros(1)])
        return indices

    def _weight(self, batch: int) -> float:
        """Return what the loss of this process's images of ``batch`` (from 0) counts for."""
        return self.rank.weight(min(self.batch_size, self.count - batch * self.batch_size))

    def _chunks(
        self, step: TrainingStep, indices: torch.Tensor, chunk: int
    ) -> Iterator[list[float]]:
        """Take the steps with the images at ``indices``; yield ``chunk`` losses at a time."""
        first = self.batches - -(-len(indices) // self.own_size)
        weights = map(self._weight, itertools.count(first))
        batches = zip(self._batches(indices), weights, strict=False)
        while losses := [step(*batch, w) for batch, w in itertools.islice(batches, chunk)]:
            yield torch.stack(losses).tolist()  # one wait for the device, for all of them

    @abstractmethod
    def _batches(self, indices: torch.Tensor) -> Iterator[Batch]:
        """Yield the images at ``indices`` (any number, on the cpu) with their labels in batches."""


class _Loader(Feed):
    name = "loader"

    def _take(self, images: Images) -> None:
        # Its own copy with the transform: the images given stay PIL images.
        self._images = Images(images.pixels, images.labels, images.origin, data.transform())

    def _batches(self, indices: torch.Tensor) -> Iterator[Batch]:
        loader = DataLoader(
            self._images,
            self.own_size,
            sampler=indices.tolist(),
            num_workers=self.workers,
            generator=torch.Generator(),  # else it draws a number from torch's own
            worker_init_fn=interrupts.left_to_parent,
        )
        yield from map(tuple, loader)


class _Resident(Feed):
    name = "resident"

    def _take(self, images: Images) -> None:
        # Normalised on the cpu, where the bits are those of the loader's transform.
        self._images, self._labels = (
            tensor.to(self.device) for tensor in data.normalized(images).tensors
        )

    def _batches(self, indices: torch.Tensor) -> Iterator[Batch]:
        if not len(indices):  # split() would make one empty batch
            return
        for gathered in indices.to(self.device).split(self._gathered_at_once() * self.own_size):
            images = self._images.index_select(0, gathered).split(self.own_size)
            labels = self._labels.index_select(0, gathered).split(self.own_size)
            yield from zip(images, labels, strict=True)

    def _gathered_at_once(self) -> int:
        """Return how many batches one index_select gathers."""
        # More at once saves launches on an accelerator; on the cpu it leaves the caches.
        limit = tuning.GATHERED_ON_CPU if self.device.type == "cpu" else GATHERED
        return max(1, limit // (self.own_size * _VALUES * 4))


class _Captured(_Resident):
    name = "captured"
    _recorded: tuple[TrainingStep, int, Callable[[torch.Tensor], list[float]]] | None = None

    def _chunks(
        self, step: TrainingStep, indices: torch.Tensor, chunk: int
    ) -> Iterator[list[float]]:
        steps = min(chunk, self._gathered_at_once())
        images_a_replay = steps * self.own_size
        replayed = len(indices) // images_a_replay * images_a_replay
        if replayed:
            take = self._taking(step, steps)
            for some in indices[:replayed].to(self.device).split(images_a_replay):
                yield take(some)
        # The rest of the epoch fills no recording.
        yield from super()._chunks(step, indices[replayed:], chunk)

    def _taking(self, step: TrainingStep, steps: int) -> Callable[[torch.Tensor], list[float]]:
        """Return what takes ``steps`` recorded steps, a new one where the last is of others."""
        if self._recorded is None or self._recorded[:2] != (step, steps):
            self._recorded = None  # frees its memory before the next takes as much
            take = captured.recorded(step, steps, self.own_size, self._images, self._labels)
            self._recorded = step, steps, take
        return self._recorded[2]


_KINDS: dict[str, type[Feed]] = {kind.name: kind for kind in (_Loader, _Resident, _Captured)}


def make(
    name: str | None,
    images: Images,
    *,
    batch_size: int,
    seed: int,
    device: torch.device,
    workers: int = 0,
    rank: Rank = WHOLE,
) -> Feed:
    """Make the feed of that name, or the fastest that the device and its memory allow.

    Args:
        name: One of :data:`NAMES`, or None to choose.
        images: The training images, without a transform.
        batch_size: Images in a batch, those of all processes together.
        seed: Fixes the orders of the epochs.
        device: Where the net is.
        workers: Processes that fetch the images of the ``loader`` feed; 0 for none.
        rank: Which of several processes gets these batches.

    Raises:
        BlitzError: the feed is not for this device, memory or number of processes, or there are
            fewer images in a batch than processes.
        UnusableDevice: ``device`` is meta.
    """
    if device.type == "meta":
        raise UnusableDevice(
            "device 'meta' has shapes and no values: nothing is trained there. Use the cpu or an "
            "accelerator."
        )
    obstacle = partial(_obstacle, count=len(images), device=device, rank=rank)
    if name is None:
        name = next(feed for feed in reversed(NAMES) if obstacle(feed) is None)
    elif (why := obstacle(name)) is not None:
        raise BlitzError(
            f"feed {name!r} cannot be used: {why}. Choose another of {', '.join(NAMES)}."
        )
    if batch_size < rank.processes:
        raise BlitzError(
            f"a batch of {batch_size} cannot be shared out among {rank.processes} processes: "
            "--batch-size is that of all of them together. Give "
            f"{rank.processes} or more, or start fewer processes."
        )
    return _KINDS[name](images, batch_size, seed, device, workers, rank)


def _obstacle(name: str, count: int, device: torch.device, rank: Rank) -> str | None:
    """Return why the feed ``name`` cannot hold ``count`` images on ``device``, or None."""
    if name == "loader":
        return None
    if name == "captured" and device.type != "cuda":
        return f"steps are captured in CUDA graphs, which {device} does not have"
    if name == "captured" and rank.processes > 1:
        return (
            f"the steps of {rank.processes} processes, which wait for each other, are not captured"
        )
    # float32 on the device; on the host, while they are made, two copies as bytes beside it
    needs = {device: 6 * _VALUES * count}
    needs[torch.device("cpu")] = 6 * _VALUES * count * rank.beside
    for place, needed in needs.items():
        # None where a backend does not say (MPS): then it is tried.
        free = backend.free_bytes(place)
        if free is not None and needed > free:
            return (
                f"{count} images need {needed / 2**20:.0f} MiB, and {place} has "
                f"{free / 2**20:.0f} MiB free"
            )
    return None
