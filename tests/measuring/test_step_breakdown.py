"""The parts of a training step, the device's share of its time, and what holds it up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz.measuring import clock, step_breakdown
from blitz.measuring.step_breakdown import StepBreakdown
from tests.clocks import Ticking

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)


class KnownStep:
    """A training step whose parts take known times, and the clock that shows them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fetched = 0
        self.devices: set[str] = set()
        self.calls: list[tuple[int, int]] = []
        self.optimizer = self

    def read(self) -> float:
        return self.now

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            self.fetched += 1
            self.now += self.fetched
            yield torch.ones(4), torch.ones(4, dtype=torch.int64)

    def zero_grad(self) -> None:
        self.now += 1

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> "KnownStep":
        self.devices |= {images.device.type, labels.device.type}
        self.now += 6
        return self

    def backward(self) -> None:
        self.now += 8

    def step(self) -> None:
        self.now += 16

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.devices |= {images.device.type, labels.device.type}
        self.calls.append((len(images), len(labels)))
        self.now += 1 + len(images)


class TestParts:
    @pytest.fixture
    def step(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        step = KnownStep()
        monkeypatch.setattr(clock, "clock", lambda device: step.read)
        return step

    def test_every_second_goes_to_its_part(self, step: Any) -> None:
        parts = step_breakdown.measure(step, step.batches(), CPU)

        assert step.fetched == 5 + 30 + 1
        fetching = (6 + 35) / 2  # the first five are for warming up
        seconds = {"data": fetching, "transfer": 0, "forward": 7, "backward": 8, "optimizer": 16}
        assert parts.seconds == seconds
        assert parts.busy == pytest.approx(31 / (31 + fetching))
        assert parts.growth == pytest.approx(9 / 5)
        rounds = 3 * (30 * [(4, 4)] + 30 * [(8, 8)])
        assert step.calls == [(8, 8), *rounds]

    # 1.25 is a quarter of the 5 seconds of a step with 4 images; None where no kernel is seen.
    @pytest.mark.parametrize(("kernels", "busy"), [(1.25, 0.25), (None, None)])
    def test_batches_are_moved_and_the_profiler_is_asked(
        self, step: Any, monkeypatch: pytest.MonkeyPatch, kernels: Any, busy: float | None
    ) -> None:
        asked = []

        def kernel_seconds(work: Callable[[], object], device: torch.device, times: int) -> Any:
            work()
            asked.append((step.calls[-1], device, times))
            return kernels

        monkeypatch.setattr(step_breakdown, "kernel_seconds", kernel_seconds)
        meta = torch.device("meta")

        assert step_breakdown.measure(step, step.batches(), meta, steps=2).busy == busy
        assert asked == [((4, 4), meta, 2)]
        assert step.devices == {"meta"}

    @pytest.mark.parametrize(
        ("seconds", "growth", "words"),
        [
            ((3, 3, 2, 2, 0), 1.1, "feed-bound: 60% of a step goes to data and transfer"),
            ((2, 2, 2, 2, 0), 1.5, "compute-bound: twice the images take 1.50 times as long"),
            ((1, 0, 3, 3, 3), 1.1, "launch-bound: twice the images take 1.10 times as long"),
            ((1, 0, 3, 3, 3), 1.9, "compute-bound: twice the images take 1.90 times as long"),
        ],
    )
    def test_three_causes_have_words(
        self, seconds: tuple[float, ...], growth: float, words: str
    ) -> None:
        parts = dict(zip(step_breakdown.PARTS, seconds, strict=True))

        assert StepBreakdown(parts, busy=None, growth=growth).bound == words


class TestKernels:
    """What counts as device time among the profiler's events."""

    class Event:
        def __init__(
            self, name: str, device_type: Any, microseconds: Any, annotation: Any = False
        ) -> None:
            self.name, self.device_type = name, device_type
            if annotation is not None:  # as a torch that tells none
                self.is_user_annotation = annotation
            self.time_range = torch.autograd.profiler_util.Interval(0, microseconds)

    @pytest.fixture
    def profiled(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ticking]:
        """Give torch's profiler ``event`` for each call of the work, which takes a second."""
        ticking = Ticking(1.0)

        def clock_of(device: torch.device) -> clock.Clock:
            assert device == CUDA
            return ticking.read

        def profiled(*event: Any) -> Ticking:
            @contextmanager
            def profile(activities: list[Any]) -> Iterator[Any]:
                assert activities == [torch.profiler.ProfilerActivity.CUDA]
                before = ticking.calls
                events = [self.Event(*event)] if event else []
                yield SimpleNamespace(events=lambda: events * (ticking.calls - before))

            monkeypatch.setattr(torch.profiler, "profile", profile)
            return ticking

        monkeypatch.setattr(clock, "clock", clock_of)
        return profiled

    @pytest.mark.parametrize(
        ("event", "counted"),
        [
            (("gemm", torch.autograd.DeviceType.CUDA, 7), 7e-6),
            (("gemm", torch.autograd.DeviceType.CUDA, 7, None), 7e-6),
            (("aten::mm", torch.autograd.DeviceType.CPU, 7), None),
            (("Optimizer.step#SGD.step", torch.autograd.DeviceType.CUDA, 7), None),
            (("my range", torch.autograd.DeviceType.CUDA, 7, True), None),
            ((), None),
        ],
        ids=str,
    )
    def test_kernels_count_and_named_ranges_do_not(
        self, profiled: Callable[..., Ticking], event: Any, counted: float | None
    ) -> None:
        work = profiled(*event).work

        assert step_breakdown.kernel_seconds(work, CUDA, 10) == pytest.approx(counted)

    def test_are_unknown_on_other_devices(self) -> None:
        assert step_breakdown.kernel_seconds(lambda: None, torch.device("mps"), 10) is None
