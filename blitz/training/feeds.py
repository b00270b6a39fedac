"""Three ways to feed the tutorial's recipe, which give the same batches in the same order.

``loader``    the DataLoader, as the tutorial has it: each image is decoded, transformed and stacked
              for its batch, in this process or in workers
``resident``  all images lie on the device, normalised once; a batch is taken by its places
``captured``  as resident, and many whole steps (gather, forward, backward, SGD) are captured in a
              CUDA graph, so that the host does nothing for a step

On the cpu the first two give losses that are equal to the last bit. On cuda the third launches what
the second launches; :data:`TOLERANCE` says how far its losses may be off.

The first two also feed several processes that train together: each gets its share of every batch
(:mod:`blitz.parallel.shares`).

Tutorial: "Load and normalize CIFAR10", "Train the network".
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from blitz import data, devices
from blitz.base import backend, interrupts
from blitz.base.errors import BlitzError, UnusableDevice
from blitz.data import Images
from blitz.learning.step import Batch, TrainingStep
from blitz.parallel.shares import Share
from blitz.training import tuning

NAMES = ("loader", "resident", "captured")

TOLERANCE = 1e-3
"""How far, relatively, a loss of the captured feed may be from the resident feed's.

Both add in float32, but cuDNN may choose other algorithms under capture and atomic additions come
in any order; the differences grow with the steps, so this holds for some hundred of them.
"""

GATHERED = 64 * 2**20
"""Bytes of images that an accelerator gathers at once."""

_VALUES = 3 * 32 * 32  # of an image


class FeedError(BlitzError, ValueError):
    """A feed that cannot be had here; the message says why and what to do."""


def order(count: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of the ``count`` images in an epoch: an int64 permutation on the cpu.

    A function of the three alone: no other generator is read or moved on. Epochs count from 1.
    """
    mixed = np.random.SeedSequence((seed, epoch)).generate_state(1).item()
    return torch.randperm(count, generator=torch.Generator().manual_seed(mixed))


class Part(NamedTuple):
    """Which of the processes that train together this one is.

    Attributes:
        rank: Its number, from 0.
        processes: How many there are.
        beside: How many of them share the memory of this machine.
    """

    rank: int = 0
    processes: int = 1
    beside: int = 1


WHOLE = Part()
"""One process, which has all of every batch."""


class Feed(ABC):
    """The batches of a training set, and the way they reach the training step.

    Attributes:
        name: One of :data:`NAMES`.
        why: Why it was chosen, in a sentence without a full stop.
        batches: Batches of an epoch, the short last one included.
        batch_size: Images of a batch that fall to this process; all, where it is the only one.
    """

    name: str

    def __init__(
        self, count: int, batch_size: int, seed: int, device: torch.device, part: Part = WHOLE
    ) -> None:
        self.share = Share(
            count,
            batch_size,
            partial(order, count, seed),
            rank=part.rank,
            processes=part.processes,
        )
        self.batch_size = self.share.own_size
        self.device = device
        self.batches = -(-count // batch_size)
        self.why = "it was asked for"

    def train(
        self, step: TrainingStep, epoch: int, start: int = 0, chunk: int = 100
    ) -> Iterator[list[float]]:
        """Take a step with each batch of ``epoch``, from batch ``start`` (0-based) on.

        Yields:
            The losses of the batches since the last yield, at most ``chunk`` of them. Between two
            yields net and optimizer are as they are after just those batches.

        Raises:
            ValueError: there is no such epoch, batch or chunk; a label fits no output of the net.
        """
        if epoch < 1 or chunk < 1 or not 0 <= start <= self.batches:
            raise ValueError(
                f"epoch={epoch}, start={start}, chunk={chunk}: epochs count from 1, batches go "
                f"from 0 to {self.batches}, and a chunk has 1 or more of them."
            )
        chunks = self._chunks(step, self._places(epoch, start), chunk)
        while True:
            with tuning.suited_to(step.net, self.batch_size, self.device, exact=step.exact):
                losses = next(chunks, None)
            if losses is None:
                return
            yield losses

    def endless(self) -> Iterator[Batch]:
        """The batches of epoch after epoch, images and labels, without a step."""
        for epoch in itertools.count(1):
            yield from self._batches(self._places(epoch))

    def _places(self, epoch: int, start: int = 0) -> torch.Tensor:
        """The places of this process's images from batch ``start`` on, one at least in a batch."""
        self.share.set_epoch(epoch)
        places = self.share.places(start)
        if start < self.batches and not self.share.weight(self.batches - 1):
            # A step needs every process: an image that counts for nothing stands in.
            places = torch.cat([places, places.new_zeros(1)])
        return places

    def _chunks(
        self, step: TrainingStep, places: torch.Tensor, chunk: int
    ) -> Iterator[list[float]]:
        """Take the steps of the images at ``places``; their losses, ``chunk`` by ``chunk``."""
        batches: Iterator[tuple[Any, ...]] = self._batches(places)
        if self.share.num_replicas > 1:
            first = self.batches - -(-len(places) // self.batch_size)
            weights = map(self.share.weight, itertools.count(first))
            batches = ((*batch, weight) for batch, weight in zip(batches, weights, strict=False))
        while losses := [step(*batch) for batch in itertools.islice(batches, chunk)]:
            yield torch.stack(losses).tolist()  # one wait for the device, for all of them

    @abstractmethod
    def _batches(self, places: torch.Tensor) -> Iterator[Batch]:
        """The images at ``places`` (any number, on the cpu) with their labels, in batches."""


class _Loader(Feed):
    """Batches that a DataLoader makes from the images one by one."""

    name = "loader"

    def __init__(
        self,
        images: Images,
        batch_size: int,
        seed: int,
        device: torch.device,
        workers: int,
        part: Part = WHOLE,
    ) -> None:
        super().__init__(len(images), batch_size, seed, device, part)
        self._images = Images(images.items, images.labels, images.origin, data.transform())
        self._workers = workers

    def _batches(self, places: torch.Tensor) -> Iterator[Batch]:
        loader = data.Loader(
            self._images,
            self.batch_size,
            sampler=places.tolist(),
            num_workers=self._workers,
            generator=torch.Generator(),  # else it draws a number from torch's own
            worker_init_fn=interrupts.left_to_parent,
        )
        yield from map(tuple, loader)


class _Resident(Feed):
    """Batches taken by index from a set that lies on the device."""

    name = "resident"

    def __init__(
        self,
        images: Images,
        batch_size: int,
        seed: int,
        device: torch.device,
        part: Part = WHOLE,
    ) -> None:
        super().__init__(len(images), batch_size, seed, device, part)
        # Normalised on the cpu, where the bits are those of the loader's transform.
        self._images, self._labels = (
            tensor.to(device) for tensor in data.normalized(images).tensors
        )

    def _batches(self, places: torch.Tensor) -> Iterator[Batch]:
        if not len(places):  # split() would make an empty part of it
            return
        places = places.to(self.device)
        for part in places.split(self._gathered_at_once() * self.batch_size):
            images = self._images.index_select(0, part)
            labels = self._labels.index_select(0, part)
            yield from zip(
                images.split(self.batch_size), labels.split(self.batch_size), strict=True
            )

    def _gathered_at_once(self) -> int:
        """How many batches one index_select gathers."""
        limit = tuning.GATHERED_ON_CPU if self.device.type == "cpu" else GATHERED
        return max(1, limit // (self.batch_size * _VALUES * 4))


class _Captured(_Resident):
    """As resident, with the steps of a chunk as one CUDA graph."""

    name = "captured"

    def __init__(self, images: Images, batch_size: int, seed: int, device: torch.device) -> None:
        super().__init__(images, batch_size, seed, device)
        self._recording: _Recording | None = None

    def _chunks(
        self, step: TrainingStep, places: torch.Tensor, chunk: int
    ) -> Iterator[list[float]]:
        steps = min(chunk, self._gathered_at_once())
        images_a_replay = steps * self.batch_size
        replayed = len(places) // images_a_replay * images_a_replay
        if replayed:
            recording = self._recorded(step, steps)
            for part in places[:replayed].to(self.device).split(images_a_replay):
                yield recording.replay(part)
        # What is left of the epoch fills no recording.
        yield from super()._chunks(step, places[replayed:], chunk)

    def _recorded(self, step: TrainingStep, steps: int) -> "_Recording":
        """The recording of ``steps`` steps; a new one where the one at hand has gone stale."""
        if self._recording is None or not self._recording.serves(step, steps):
            self._recording = None  # frees its memory before the next takes as much
            self._recording = _Recording(step, steps, self.batch_size, self._images, self._labels)
        return self._recording


class _Recording:
    """``steps`` training steps in one CUDA graph, over batches whose places are written anew.

    A graph reads and writes the same addresses with the same numbers each time, so it serves one
    step object, for as long as its tensors stay where they are and its rates stay what they are.
    """

    def __init__(
        self,
        step: TrainingStep,
        steps: int,
        batch_size: int,
        images: torch.Tensor,
        labels: torch.Tensor,
    ) -> None:
        device = images.device
        self._step, self._steps, self._batch_size = step, steps, batch_size
        self._images, self._labels = images, labels
        self._places = torch.zeros(steps * batch_size, dtype=torch.int64, device=device)
        self._losses = torch.zeros(steps, device=device)
        with _undone(step):
            self._replay = record(self._take_steps, device)
        self._made_for = _addresses(step)

    def _take_steps(self) -> None:
        images = self._images.index_select(0, self._places).split(self._batch_size)
        labels = self._labels.index_select(0, self._places).split(self._batch_size)
        losses = [self._step(*batch) for batch in zip(images, labels, strict=True)]
        self._losses.copy_(torch.stack(losses))

    def serves(self, step: TrainingStep, steps: int) -> bool:
        """Whether a replay is still what ``steps`` calls of ``step`` are."""
        return step is self._step and steps == self._steps and _addresses(step) == self._made_for

    def replay(self, places: torch.Tensor) -> list[float]:
        """Take the steps with the images at ``places`` (steps x batch_size); their losses."""
        self._places.copy_(places)
        self._replay()
        return self._losses.tolist()


def record(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """A function that does on ``device`` what ``work`` does, as one CUDA graph.

    ``work`` is run twice beforehand, so that cuDNN, cuBLAS and the optimizer have made what they
    keep; those runs have their effects.
    """
    with torch.cuda.device(device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            work()
            work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # A stream of this device: the one that torch would take is of the first device captured.
        with torch.cuda.graph(graph, stream=aside):
            work()

    def replay() -> None:
        with torch.cuda.device(device):
            graph.replay()

    return replay


@contextmanager
def _undone(step: TrainingStep) -> Iterator[None]:
    """Give the net and the optimizer back the values they had, in the same memory."""
    before = {name: tensor.clone() for name, tensor in _tensors(step).items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in _tensors(step).items():
                # A momentum that was not there yet is zero: SGD then goes on as from nothing.
                tensor.copy_(before[name]) if name in before else tensor.zero_()
        step.optimizer.zero_grad()


def _tensors(step: TrainingStep) -> dict[tuple[str, str], torch.Tensor]:
    """What a step changes: the net's parameters and buffers, the optimizer's state."""
    found = {("net", name): value for name, value in step.net.state_dict().items()}
    parameters = [p for group in step.optimizer.param_groups for p in group["params"]]
    for place, parameter in enumerate(parameters):
        for key, value in step.optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                found[f"state {place}", key] = value
    return found


def _addresses(step: TrainingStep) -> tuple[object, ...]:
    """What a graph has written down of a step: where its tensors are, and its rates."""
    tensors = tuple((name, tensor.data_ptr()) for name, tensor in _tensors(step).items())
    rates = tuple(
        tuple(sorted((name, value) for name, value in group.items() if name != "params"))
        for group in step.optimizer.param_groups
    )
    return tensors, rates, step.net.training


def make(
    name: str | None,
    images: Images,
    *,
    batch_size: int,
    seed: int,
    device: str | torch.device,
    workers: int = 0,
    part: Part = WHOLE,
) -> Feed:
    """The feed of that name, or the fastest that the device and its memory allow.

    Args:
        name: One of :data:`NAMES`, or None to choose.
        images: The training images, without a transform.
        batch_size: Images in a batch, those of all processes together; the last of an epoch may
            have fewer.
        seed: Fixes the orders of the epochs.
        device: Where the net is.
        workers: Processes that fetch the images of the ``loader`` feed; 0 for none.
        part: Which of several processes gets these batches, and with how many it shares them.

    Raises:
        FeedError: there is no such feed, or it needs another device, more memory or fewer
            processes.
        ShareError: there are fewer images in a batch than processes.
        UnusableDevice: ``device`` cannot be used here, or has no values.
        ValueError: there are no images, or ``batch_size`` or ``workers`` is out of range.
    """
    device = devices.resolve(device)
    if device.type == "meta":
        raise UnusableDevice(
            "device 'meta' has shapes and no values: nothing is trained there. Use the cpu or an "
            "accelerator."
        )
    if not len(images) or batch_size < 1 or workers < 0:
        raise ValueError(
            f"{len(images)} images, batch_size={batch_size}, workers={workers}: give 1 image or "
            "more, in batches of 1 or more, and 0 workers or more."
        )
    obstacles = {feed: _obstacle(feed, len(images), device, part) for feed in NAMES}
    chosen = _fastest(obstacles) if name is None else name
    if chosen not in NAMES:
        raise FeedError(f"feed {name!r}: there is none. Choose one of {', '.join(NAMES)}.")
    if obstacles[chosen] is not None:
        raise FeedError(f"feed {chosen!r} cannot be used: {obstacles[chosen]}. Choose another.")
    feed = _build(chosen, images, batch_size, seed, device, workers, part)
    if name is None:
        feed.why = _reason(chosen, obstacles, device)
    return feed


def _build(
    name: str,
    images: Images,
    batch_size: int,
    seed: int,
    device: torch.device,
    workers: int,
    part: Part,
) -> Feed:
    if name == "loader":
        return _Loader(images, batch_size, seed, device, workers, part)
    if name == "captured":
        return _Captured(images, batch_size, seed, device)
    return _Resident(images, batch_size, seed, device, part)


def _fastest(obstacles: dict[str, str | None]) -> str:
    """The last of the feeds, which stand from the slowest to the fastest, that nothing hinders."""
    return next(name for name in reversed(NAMES) if obstacles[name] is None)


def _reason(chosen: str, obstacles: dict[str, str | None], device: torch.device) -> str:
    if chosen == "loader":
        return str(obstacles["resident"])
    if chosen == "resident":
        return f"all images fit the memory of {device}"
    return f"all images fit the memory of {device}, which replays captured steps"


def _obstacle(name: str, count: int, device: torch.device, part: Part = WHOLE) -> str | None:
    """Why the feed ``name`` cannot hold ``count`` images on ``device``; None where it can."""
    if name == "loader":
        return None
    if name == "captured" and device.type != "cuda":
        return f"steps are captured in CUDA graphs, which {device} does not have"
    if name == "captured" and part.processes > 1:
        return (
            f"the steps of {part.processes} processes, which wait for each other, are not captured"
        )
    # float32 on the device; on the host, while they are made, two copies as bytes beside it
    needs = {device: 6 * _VALUES * count}
    needs[torch.device("cpu")] = 6 * _VALUES * count * part.beside
    for place, needed in needs.items():
        free = backend.free_bytes(place)
        if free is not None and needed > free:
            return (
                f"{count} images need {needed / 2**20:.0f} MiB, and {place} has "
                f"{free / 2**20:.0f} MiB free"
            )
    return None
