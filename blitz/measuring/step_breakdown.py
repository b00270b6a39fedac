"""Where the time of a training step goes: its parts, the device's share, and what holds it up."""

import functools
import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from blitz.learning.step import Batch, TrainingStep
from blitz.measuring import clock
from blitz.measuring.clock import Clock

PARTS = ("data", "transfer", "forward", "backward", "optimizer")
"""Fetching a batch; moving it to the device; the net and the loss; the gradients; SGD."""


@dataclass(frozen=True)
class StepBreakdown:
    """A training step, taken apart.

    Attributes:
        seconds: The median of each part of :data:`PARTS`, the device waited for after each.
        busy: The share of a step's time in which the device computes. On cuda: the kernels' times
            over the time of a step that is not waited for inside. On the cpu, which fetches the
            batches too: the share of forward, backward and optimizer. None where torch cannot
            tell.
        growth: How many times as long a step takes with twice the images, which are there already.
            1 where the work is nothing beside what it costs to start it, 2 where it is all.
    """

    seconds: dict[str, float]
    busy: float | None
    growth: float

    @property
    def shares(self) -> dict[str, float]:
        """Return each part's share of their sum."""
        whole = sum(self.seconds.values())
        return {part: self.seconds[part] / whole for part in PARTS}

    @property
    def bound(self) -> str:
        """Return what holds the step up, the feed, launching or computing, and what says so."""
        waiting = self.shares["data"] + self.shares["transfer"]
        if waiting > 0.5:
            return f"feed-bound: {waiting:.0%} of a step goes to data and transfer"
        kind = "launch" if self.growth < 1.5 else "compute"
        return f"{kind}-bound: twice the images take {self.growth:.2f} times as long"


def measure(
    step: TrainingStep,
    batches: Iterator[Batch],
    device: torch.device,
    steps: int = 30,
    warm_up: int = 5,
) -> StepBreakdown:
    """Take ``3 * (warm_up + steps)`` steps or so, and return where their time goes.

    Args:
        step: The step to take apart; its net is trained meanwhile.
        batches: Gives the batches, ``warm_up + steps + 1`` of them or more.
        device: Where the net is.
        steps: Steps that are looked at.
        warm_up: Steps before them.

    Raises:
        UnusableDevice: ``device`` cannot be waited for, so nothing on it can be timed.
    """
    read = clock.clock(device)
    taken = [_one_step(step, batches, device, read) for _ in range(warm_up + steps)]
    seconds = {part: statistics.median(one[part] for one in taken[warm_up:]) for part in PARTS}
    # One batch from here on: the feed has no part in what follows.
    images, labels = (tensor.to(device) for tensor in next(batches))
    once = functools.partial(step, images, labels)
    twice = functools.partial(step, torch.cat([images, images]), torch.cat([labels, labels]))
    twice()
    # Side by side, so that a clock that slows down weighs on both.
    pairs = [[clock.seconds(work, read, steps) for work in (once, twice)] for _ in range(3)]
    growth = statistics.median(double / single for single, double in pairs)
    if device.type == "cpu":
        busy: float | None = sum(seconds[part] for part in PARTS[2:]) / sum(seconds.values())
    else:
        kernels = kernel_seconds(once, device, steps)
        whole = statistics.median(single for single, _ in pairs)
        busy = None if kernels is None else kernels * steps / whole
    return StepBreakdown(seconds, busy, growth)


def _one_step(
    step: TrainingStep, batches: Iterator[Batch], device: torch.device, read: Clock
) -> dict[str, float]:
    """Take a step, read the clock after each part and return the seconds of each."""
    times = [read()]
    images, labels = next(batches)
    times.append(read())
    images, labels = images.to(device), labels.to(device)
    times.append(read())
    step.optimizer.zero_grad()
    loss = step.loss(images, labels)
    times.append(read())
    loss.backward()
    times.append(read())
    step.optimizer.step()
    times.append(read())
    return dict(zip(PARTS, (b - a for a, b in itertools.pairwise(times)), strict=True))


def kernel_seconds(work: Callable[[], object], device: torch.device, times: int) -> float | None:
    """Return the seconds that the kernels of one of ``times`` calls of ``work`` take on cuda.

    No launching, however fast, makes the work shorter than this. None on other devices, and where
    torch's profiler sees no kernel, as where a container denies it CUPTI.
    """
    if device.type != "cuda":
        return None
    from torch.profiler import ProfilerActivity, profile

    read = clock.clock(device)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        clock.seconds(work, read, times)
    microseconds = sum(_kernel_microseconds(event) for event in profiled.events())
    return microseconds / times / 1e6 if microseconds else None


def _kernel_microseconds(event: torch.autograd.profiler_util.FunctionEvent) -> float:
    """Return the microseconds of ``event`` on the device: 0 unless it is a kernel or a copy."""
    # torch brings the name in without saying that it passes it on.
    on_host = event.device_type == torch.autograd.DeviceType.CPU  # type: ignore[attr-defined]
    # Named ranges, such as the optimizer's, show on the device too, from first kernel to last.
    named = getattr(event, "is_user_annotation", False) or event.name.startswith("Optimizer.")
    return 0.0 if on_host or named else event.time_range.elapsed_us()
