"""The benchmarks' clocks, the parts of a step, the summary and the JSON."""

import itertools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from blitz import classifier, devices
from blitz.__main__ import main
from blitz.base import backend, versions
from blitz.harness import benchmarks
from blitz.learning.step import TrainingStep
from blitz.measuring import calm, clock, step_breakdown, throughput
from blitz.measuring.step_breakdown import StepBreakdown
from blitz.measuring.throughput import Point

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
WIDTHS, BATCHES = (6, 24, 96, 384), (4, 64, 1024)


class QueuingDevice:
    """A device that takes work at once and does it later, as torch's ``synchronize`` finds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done_at = 0.0
        self.waits = 0
        monkeypatch.setattr(torch.xpu, "synchronize", self.wait)

    def launch(self, seconds: Any = 0.001) -> None:
        self.done_at = max(self.done_at, time.perf_counter()) + seconds

    def wait(self, device: torch.device = None) -> None:
        self.waits += 1
        time.sleep(max(0.0, self.done_at - time.perf_counter()))


@pytest.fixture
def queuing(monkeypatch: pytest.MonkeyPatch) -> QueuingDevice:
    return QueuingDevice(monkeypatch)


XPU = torch.device("xpu", 0)


class TestClock:
    def test_reading_without_a_wait_is_shorter_where_work_is_queued(
        self, queuing: QueuingDevice
    ) -> None:
        hasty = clock.seconds(lambda: queuing.launch(0.03), time.perf_counter, times=3)
        queuing.wait()
        honest = clock.seconds(lambda: queuing.launch(0.03), clock.clock(XPU), times=3)

        assert hasty < 0.09 <= honest

    def test_work_queued_before_is_not_counted(self, queuing: QueuingDevice) -> None:
        read = clock.clock(XPU)
        queuing.launch(0.2)

        assert clock.seconds(queuing.launch, read) < 0.2

    def test_device_is_waited_for_at_the_edges_only(self, queuing: QueuingDevice) -> None:
        read = clock.clock(XPU)
        queuing.waits = 0

        clock.seconds(queuing.launch, read, times=5)

        assert queuing.waits == 2

    def test_device_without_a_way_to_wait_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(torch.xpu, "synchronize")

        with pytest.raises(devices.UnusableDevice, match="cannot be timed"):
            clock.clock(XPU)
        assert clock.clock(CPU)() <= clock.clock(CPU)()

    def test_meta_is_refused(self) -> None:
        with pytest.raises(devices.UnusableDevice, match="computes nothing"):
            clock.clock(torch.device("meta"))


class Ticking:
    """Work of a known duration, and the clock that shows it."""

    def __init__(self, *durations: Any) -> None:
        self.durations = itertools.chain(durations, itertools.repeat(durations[-1]))
        self.now = 0.0
        self.calls = 0

    def work(self) -> None:
        self.calls += 1
        self.now += next(self.durations)

    def read(self) -> float:
        return self.now


class TestPlan:
    @pytest.mark.parametrize("seconds", [1e-6, 1e-4, 0.003, 0.09, 0.5])
    def test_round_is_long_enough_and_the_row_ends_in_time(self, seconds: float) -> None:
        ticking = Ticking(seconds)

        plan = clock.plan(ticking.work, ticking.read)

        assert clock.ROUND <= plan.times * seconds < max(3 * clock.ROUND, 2 * seconds)
        assert clock.FEWEST <= plan.rounds <= clock.MOST
        assert plan.rounds * plan.times * seconds <= 1.1 * clock.ROW
        assert ticking.now >= 2 * min(seconds, clock.ROUND)  # warm

    def test_long_work_is_not_run_more_than_needed(self) -> None:
        ticking = Ticking(20.0)

        assert clock.plan(ticking.work, ticking.read) == clock.Plan(times=1, rounds=3)
        assert ticking.calls == 2

    def test_work_that_takes_no_time_ends(self) -> None:
        ticking = Ticking(0.0)

        assert clock.plan(ticking.work, ticking.read) == clock.Plan(2**20, clock.MOST)

    @pytest.mark.parametrize(
        ("durations", "times"),
        [
            ((0.0, 0.1), 1),  # a round's time, and no less
            ((0.09,), 2),
            ((0.0065,), 16),  # as many times more as are tried at once
            ((0.0031,), 39),  # 120 ms, as was aimed at
        ],
        ids=str,
    )
    def test_calls_of_a_round(self, durations: tuple[float, ...], times: int) -> None:
        ticking = Ticking(*durations)

        assert clock.plan(ticking.work, ticking.read) == clock.Plan(times, rounds=9)

    def test_first_call_that_loads_a_library_does_not_fix_the_plan(self) -> None:
        ticking = Ticking(1.5, 0.001)  # as the first convolution on a GPU does with cuDNN

        assert clock.plan(ticking.work, ticking.read).times >= 100


class TestCalm:
    @pytest.fixture
    def proc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
        """Say how many ticks all processes have taken of two cores; ours takes none."""
        monkeypatch.setattr(calm, "PROC", tmp_path)
        monkeypatch.setattr(calm.os, "cpu_count", lambda: 2)
        monkeypatch.setattr(calm.os, "times", lambda: (0.0, 0.0, 0.0, 0.0, 0.0))
        monkeypatch.setattr(calm.multiprocessing, "active_children", list)
        now = itertools.count()
        monkeypatch.setattr(calm.time, "monotonic", lambda: float(next(now)))

        def taken(ticks: int) -> None:
            (tmp_path / "stat").write_text(f"cpu  {ticks} 0 0 9 9 0 0 0 0 0\ncpu0 1\n")

        return taken

    def test_share_is_of_all_cores_and_of_others(self, proc: Callable[[int], None]) -> None:
        a_second = os.sysconf("SC_CLK_TCK")
        proc(0)
        before = calm.usage()
        proc(a_second)

        assert calm.others_share(before, calm.usage()) == 0.5

    def test_own_work_and_that_of_workers_is_not_others(self) -> None:
        before = calm.Usage(all=10, ours=2, clock=5)
        after = calm.Usage(all=12, ours=4, clock=6)

        assert calm.others_share(before, after) == 0

    @pytest.mark.parametrize(
        ("ticks", "measured"), [([0, 0], 1), ([0, 1000, 1000], 2), ([0, 1000, 2000, 3000, 4000], 3)]
    )
    def test_measures_again_up_to_a_limit(
        self, proc: Callable[[int], None], ticks: list[int], measured: int
    ) -> None:
        taken = iter(ticks[1:])
        proc(ticks[0])
        done: list[int] = []

        def work() -> None:
            done.append(1)
            proc(next(taken))

        _, share = calm.measured(work)

        assert len(done) == measured
        assert (share > calm.BUSY) == (measured == calm.ATTEMPTS)

    def test_is_not_known_where_the_system_does_not_tell(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calm, "PROC", tmp_path)

        assert calm.measured(lambda: 7) == (7, None)


class TestSummaries:
    def test_quartiles_lie_within_the_values(self) -> None:
        assert clock.quartiles([5.0, 1.0, 2.0, 4.0, 3.0]) == (2.0, 3.0, 4.0)

    def test_timing_nothing_is_the_median_of_a_hundred(self) -> None:
        steps = [1.0] * 49 + [3.0] * 51
        readings = (time for step in steps for time in (0.0, step))

        assert clock.no_op_seconds(lambda: next(readings)) == 3.0
        assert next(readings, None) is None


def batches(images: Any = 4) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        yield torch.rand(images, 3, 32, 32), torch.arange(images) % 10


class TestStepParts:
    @pytest.fixture
    def step(self) -> Iterator[TrainingStep]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # several, on a busy machine, wait long for each other
        with backend.forked_generators([CPU]):
            yield TrainingStep(classifier.Net())
        torch.set_num_threads(threads)

    def test_every_part_takes_its_time(self, step: TrainingStep) -> None:
        def slow() -> Iterator[Any]:
            for batch in batches():
                time.sleep(0.1)
                yield batch

        parts = step_breakdown.measure(step, slow(), CPU, steps=3, warm_up=1)

        assert parts.seconds["data"] >= 0.1
        assert all(parts.seconds[part] > 0 for part in step_breakdown.PARTS)
        assert sum(parts.shares.values()) == pytest.approx(1)
        assert parts.bound == "feed-bound"
        assert parts.busy == pytest.approx(
            sum(parts.shares[part] for part in ("forward", "backward", "optimizer"))
        )

    def test_slow_part_is_the_one_that_is_named(self, step: TrainingStep) -> None:
        update = step.optimizer.step

        def slowly() -> None:
            time.sleep(0.06)
            update()

        step.optimizer.step = slowly

        parts = step_breakdown.measure(step, batches(), CPU, steps=2, warm_up=0)

        assert max(parts.shares, key=parts.shares.get) == "optimizer"
        assert parts.bound == "launch-bound"  # a pause does not grow with the images

    def test_net_is_trained_meanwhile(self, step: TrainingStep) -> None:
        before = step.net.fc3.bias.detach().clone()

        step_breakdown.measure(step, batches(), CPU, steps=1, warm_up=0)

        assert not torch.equal(before, step.net.fc3.bias)

    @pytest.mark.parametrize(
        ("data", "growth", "words"),
        [
            (0.6, 1.1, "feed-bound: 60% of a step goes to data and transfer"),
            (0.1, 1.1, "launch-bound: twice the images take 1.10 times as long"),
            (0.1, 1.9, "compute-bound: twice the images take 1.90 times as long"),
        ],
    )
    def test_three_causes_have_words(self, data: float, growth: float, words: str) -> None:
        rest = (1 - data) / 3
        seconds = dict(zip(step_breakdown.PARTS, (data, 0, rest, rest, rest), strict=True))

        assert StepBreakdown(seconds, busy=None, growth=growth).words == words

    def test_busy_share_is_unknown_where_the_profiler_sees_no_kernels(self) -> None:
        assert step_breakdown.busy_share(lambda: None, torch.device("mps")) is None


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

    def net(self, images: torch.Tensor) -> torch.Tensor:
        self.now += 2
        return images

    def criterion(self, outputs: torch.Tensor, labels: torch.Tensor) -> "KnownStep":
        self.devices |= {outputs.device.type, labels.device.type}
        self.now += 4
        return self

    def backward(self) -> None:
        self.now += 8

    def step(self) -> None:
        self.now += 16

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.devices |= {images.device.type, labels.device.type}
        self.calls.append((len(images), len(labels)))
        self.now += 1 + len(images)


class TestKnownParts:
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

    def test_batches_are_moved_and_the_profiler_is_asked(
        self, step: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        def busy_share(work: Callable[[], object], device: torch.device, times: int) -> float:
            work()
            asked.append((step.calls[-1], device, times))
            return 0.25

        monkeypatch.setattr(step_breakdown, "busy_share", busy_share)
        meta = torch.device("meta")

        assert step_breakdown.measure(step, step.batches(), meta, steps=2).busy == 0.25
        assert asked == [((4, 4), meta, 2)]
        assert step.devices == {"meta"}

    def test_busy_share_is_the_kernels_part_of_the_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ticking, device, asked = Ticking(0.5), torch.device("cuda", 1), []

        def kernel_seconds(work: Callable[[], object], on: torch.device, times: int) -> float:
            asked.append((work, on, times))
            return 0.125

        def clock_of(on: torch.device) -> clock.Clock:
            assert on == device
            return ticking.read

        monkeypatch.setattr(step_breakdown, "kernel_seconds", kernel_seconds)
        monkeypatch.setattr(clock, "clock", clock_of)
        work = ticking.work

        assert step_breakdown.busy_share(work, device) == pytest.approx(0.25)
        assert ticking.calls == 10
        assert step_breakdown.busy_share(work, device, times=3) == pytest.approx(0.25)
        assert ticking.calls == 13
        assert asked == [(work, device, 10), (work, device, 3)]

    def test_shares_that_are_even_are_not_feed_bound(self) -> None:
        halves = {"data": 0.25, "transfer": 0.25, "forward": 0.25, "backward": 0.25, "optimizer": 0}

        assert StepBreakdown(halves, busy=None, growth=1.5).bound == "compute-bound"
        assert StepBreakdown({**halves, "transfer": 0.3}, busy=None, growth=2.0).words == (
            "feed-bound: 52% of a step goes to data and transfer"
        )


class TestKernelTime:
    """What counts as device time among the profiler's events."""

    class Event:
        def __init__(
            self, name: str, device_type: Any, microseconds: Any, annotation: Any = False
        ) -> None:
            self.name, self.device_type = name, device_type
            self.is_user_annotation = annotation
            self.time_range = torch.autograd.profiler_util.Interval(0, microseconds)

    @pytest.mark.parametrize(
        ("event", "counted"),
        [
            (("gemm", torch.autograd.DeviceType.CUDA, 7), 7),
            (("aten::mm", torch.autograd.DeviceType.CPU, 7), 0),
            (("Optimizer.step#SGD.step", torch.autograd.DeviceType.CUDA, 7), 0),
            (("my range", torch.autograd.DeviceType.CUDA, 7, True), 0),
        ],
    )
    def test_kernels_count_and_named_ranges_do_not(self, event: Any, counted: int) -> None:
        assert step_breakdown._kernel_microseconds(self.Event(*event)) == counted

    def test_event_of_a_torch_that_tells_no_annotations_counts(self) -> None:
        event: Any = self.Event("gemm", torch.autograd.DeviceType.CUDA, 7)
        del event.is_user_annotation

        assert step_breakdown._kernel_microseconds(event) == 7

    def test_is_unknown_where_the_profiler_sees_no_kernel(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @contextmanager
        def profile(activities: list[Any]) -> Iterator[Any]:
            yield SimpleNamespace(events=list)

        monkeypatch.setattr(torch.profiler, "profile", profile)
        monkeypatch.setattr(clock, "clock", lambda device: Ticking(1.0).read)

        assert step_breakdown.kernel_seconds(lambda: None, torch.device("cuda", 1)) is None
        assert step_breakdown.busy_share(lambda: None, torch.device("cuda", 1)) is None

    def test_seconds_are_those_of_one_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kernel = self.Event("gemm", torch.autograd.DeviceType.CUDA, 3_000_000)
        ticking, device, asked = Ticking(1.0), torch.device("cuda", 1), []

        @contextmanager
        def profile(activities: list[Any]) -> Iterator[Any]:
            asked.extend(activities)
            yield SimpleNamespace(events=lambda: [kernel] * ticking.calls)

        def clock_of(on: torch.device) -> clock.Clock:
            assert on == device
            return ticking.read

        monkeypatch.setattr(torch.profiler, "profile", profile)
        monkeypatch.setattr(clock, "clock", clock_of)

        assert step_breakdown.kernel_seconds(ticking.work, device) == pytest.approx(3, rel=1e-9)
        assert ticking.calls == 10
        ticking.calls = 0
        assert step_breakdown.kernel_seconds(ticking.work, device, times=4) == pytest.approx(
            3, rel=1e-9
        )
        assert asked == 2 * [torch.profiler.ProfilerActivity.CUDA]


def point(device: torch.device, width: int, batch: int, rate: Any, **changes: Any) -> Point:
    values = {
        "name": "a model",
        "threads": 2,
        "low": 0.9 * rate,
        "high": 1.1 * rate,
        "rounds": 7,
    }
    return Point(device=device, width=width, batch=batch, rate=rate, **values | changes)


def grid(**rates: Any) -> list[Point]:
    """Points at batch 4 for each kind: rates over the widths."""
    return [
        point(kind if kind == "cpu" else f"{kind}:0", width, 4, rate)
        for kind, of_widths in rates.items()
        for width, rate in zip(WIDTHS, of_widths, strict=False)
    ]


class TestVerdict:
    @pytest.mark.parametrize(
        ("cpu", "cuda", "sentence"),
        [
            ([9, 8, 7, 6], [5, 9, 9, 9], "cuda overtakes cpu from width 24 at batch 4."),
            (
                [9, 8, 7, 6],
                [10, 9, 9, 9],
                "cuda overtakes cpu from width 6, the smallest measured, at batch 4.",
            ),
            ([9, 8, 7, 6], [10, 9, 5, 9], "cuda overtakes cpu from width 384 at batch 4."),
            (
                [9, 8, 7, 6],
                [10, 9, 9, 6],
                "cuda never overtakes cpu at batch 4 (widths measured: 6 to 384).",
            ),
            ([9], [8], "cuda never overtakes cpu at batch 4 (widths measured: width 6)."),
        ],
    )
    def test_it_names_where_the_accelerator_overtakes(
        self, cpu: list[int], cuda: list[int], sentence: str
    ) -> None:
        assert [*map(str, throughput.crossovers(grid(cpu=cpu, cuda=cuda)))] == [sentence]

    def test_widths_measured_on_one_device_only_do_not_count(self) -> None:
        points = [point("cpu", 6, 4, 9.0), point("cuda:0", 24, 4, 99.0)]

        assert list(throughput.crossovers(points)) == []
        assert throughput.overtakes_from(points, "cuda", 4) is None

    def test_missing_accelerator_is_named(self) -> None:
        (sentence,) = throughput.verdicts(grid(cpu=[1, 2]), "torch finds none")

        assert sentence == "no accelerator was measured: torch finds none"


def info(device: torch.device, width: int, batch: int, rate: Any) -> dict[str, Any]:
    return {
        "row": "training",
        "device": device,
        "device name": f"the {device} model",
        "threads": 2,
        "precision": "float32",
        "width": width,
        "batch": batch,
        "images/s": rate,
        "images/s, low": rate * 0.9,
        "images/s, high": rate * 1.1,
        "rounds": 5,
        "versions": {"torch": "2.15.0"},
    }


class TestSummary:
    def test_devices_stand_side_by_side(self) -> None:
        rows = [info("cpu", 6, 4, 4000.0), info("cuda:0", 6, 4, 1000.0), info("xpu:1", 6, 4, 8000)]
        rows += [info("cpu", 24, 64, 2000.0), info("cuda:0", 24, 64, 9000.0), {"row": "other"}]

        assert list(benchmarks.lines(rows, None)) == [
            "images/s: forward, backward and step, on images already there (median of the rounds)",
            "  width  batch           cpu          cuda  speed-up",
            "      6      4         4,000         1,000    0.25 x",
            "     24     64         2,000         9,000    4.50 x",
            "  width  batch           cpu           xpu  speed-up",
            "      6      4         4,000         8,000    2.00 x",
            "     24     64         2,000             —         —",
            "cpu: the cpu model, 2 threads of the host",
            "cuda:0: the cuda:0 model, 2 threads of the host",
            "xpu:1: the xpu:1 model, 2 threads of the host",
            "cuda never overtakes cpu at batch 4 (widths measured: width 6).",
            "cuda overtakes cpu from width 24, the smallest measured, at batch 64.",
            "xpu overtakes cpu from width 6, the smallest measured, at batch 4.",
        ]

    def test_row_of_a_busy_machine_is_marked(self) -> None:
        busy = info("cpu", 6, 4, 7.0) | {"others": calm.BUSY + 0.1}
        calm_one = info("cpu", 24, 4, 4000.0) | {"others": calm.BUSY}

        lines = list(benchmarks.lines([busy, calm_one], "torch finds none"))

        assert lines[2:4] == [
            "      6      4            7*             —         —",
            "     24      4         4,000             —         —",
        ]
        assert "* on a busy machine, also when measured again: not to be believed" in lines

    def test_missing_accelerator_is_a_dash_and_a_sentence(self) -> None:
        lines = list(benchmarks.lines([info("cpu", 6, 4, 4000.0)], "torch finds none"))

        assert lines[1:] == [
            "  width  batch           cpu   accelerator  speed-up",
            "      6      4         4,000             —         —",
            "cpu: the cpu model, 2 threads of the host",
            "no accelerator was measured: torch finds none",
        ]

    def test_parts_of_a_step_have_shares_and_words(self) -> None:
        parts = dict(zip(step_breakdown.PARTS, (0.7, 0, 0.1, 0.15, 0.05), strict=True))
        row = {"device": "cpu", "feed": "loader", "width": 6, "batch": 4, "parts": parts}
        row |= {"busy": 0.3, "bound": "feed-bound: so"}
        other = row | {"device": "mps", "width": 384, "batch": 1024, "busy": None, "bound": "thus"}

        assert list(benchmarks.lines([row, {"row": "other"}, other], None)) == [
            "",
            "where a step goes",
            "   device      feed width batch"
            "      data  transfer   forward  backward optimizer  busy",
            "      cpu    loader     6     4"
            "       70%        0%       10%       15%        5%   30%  feed-bound: so",
            "      mps    loader   384  1024"
            "       70%        0%       10%       15%        5%     —  thus",
        ]

    def test_floor_of_a_step_is_said(self) -> None:
        row = {"device": "cuda:0", "feed": "captured", "batch": 4, "busy": 0.5}
        row |= {"kernel microseconds": 50.0, "step microseconds": 100.0}

        assert list(benchmarks.lines([row], None)) == [
            "cuda:0, captured feed, batch 4: its kernels take 50 of the 100 µs of a step (50% busy)"
        ]

    @pytest.mark.parametrize(
        ("load", "cores", "said"),
        [
            (None, 2, []),
            (3.0, 2, ["load of the machine meanwhile: 3.0 on 2 cores"]),
            (
                1.6,
                None,  # as where the system does not tell
                [
                    "load of the machine meanwhile: 1.6 on 1 cores",
                    "other work took part of them: measure again when the machine is calm",
                ],
            ),
        ],
    )
    def test_cost_of_timing_is_said_and_a_busy_machine_is_named(
        self,
        monkeypatch: pytest.MonkeyPatch,
        load: float | None,
        cores: int | None,
        said: list[str],
    ) -> None:
        monkeypatch.setattr(benchmarks, "load", lambda: load)
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        rows = [{"device": "cpu", "no-op seconds": 4e-7}, {"device": "cuda:0"}]
        rows += [{"device": "cuda:0", "no-op seconds": 0.2}]

        assert list(benchmarks.lines(rows, None)) == [
            "",
            "timing nothing costs 0.4 µs on cpu, 200000.0 µs on cuda:0; "
            "a round takes 0.1 s or more, or one call",
            *said,
        ]

    def test_summary_has_a_title_and_is_of_the_rows_of_the_run(self) -> None:
        written = []
        terminal = SimpleNamespace(
            section=lambda title: written.append(f"# {title}"), write_line=written.append
        )
        config = SimpleNamespace(stash=pytest.Stash())
        summary = benchmarks.BenchmarkSummary(config, "torch finds none")
        config.stash[benchmarks.rows_key].append(info("cpu", 6, 4, 4000.0))

        summary.pytest_terminal_summary(terminal)

        rows = [info("cpu", 6, 4, 4000.0)]
        assert written == [
            "# how fast the 60 Minute Blitz is on this machine",
            *benchmarks.lines(rows, "torch finds none"),
        ]
        assert benchmarks.BenchmarkSummary(config, None)._rows == rows

    def test_nothing_is_written_where_nothing_was_timed(self, pytestconfig: pytest.Config) -> None:
        class Terminal:
            def section(self, title: Any) -> None:
                raise AssertionError(title)

        summary = benchmarks.BenchmarkSummary(pytestconfig, None)
        summary._rows = []

        summary.pytest_terminal_summary(Terminal())

    def test_comes_after_pytest_benchmark_s_table(
        self, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
    ) -> None:
        said: list[str] = []
        terminal = SimpleNamespace(section=said.append, write_line=said.append)
        monkeypatch.setattr(benchmarks, "lines", lambda rows, why: ["rows"])
        manager = pytest.PytestPluginManager()
        summary = benchmarks.BenchmarkSummary(pytestconfig, None)
        summary._rows = [{}]
        table = SimpleNamespace(pytest_terminal_summary=lambda: said.append("table"))
        for plugin in (table, summary):
            manager.register(plugin)

        manager.hook.pytest_terminal_summary(terminalreporter=terminal, exitstatus=0, config=None)

        assert (said[0], said[-1]) == ("table", "rows")


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., Path]:
    """Write what --benchmark-json writes, as far as it is read."""

    def results(rows: Any, name: str = "results", no_accelerator: Any = None) -> Path:
        content = {
            "datetime": "2026-11-23T12:00:00",
            "machine_info": {"blitz": {"no accelerator": no_accelerator}},
            "benchmarks": [{"extra_info": row} for row in rows],
        }
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(content))
        return file

    return results


class TestResults:
    def test_point_is_what_the_row_says(self) -> None:
        row = info("cuda:0", 24, 64, 100.0)

        assert throughput.point(row) == Point(
            device="cuda:0",
            name="the cuda:0 model",
            threads=2,
            width=24,
            batch=64,
            rate=100.0,
            low=row["images/s, low"],
            high=row["images/s, high"],
            rounds=5,
        )
        assert throughput.point({**row, "row": "inference"}) is None
        assert throughput.point({**row, "images/s": None}) is None
        assert throughput.point({"images/s": 3.0}) is None

    def test_machine_is_what_the_file_says(self, results: Callable[..., Path]) -> None:
        rows = [info("cpu", 6, 4, 50.0), {"row": "other"}, info("cpu", 24, 4, 20.0)]
        rows[1]["versions"] = rows[2]["versions"] = {}

        assert throughput.read(results(rows, "my run", "torch finds none")) == throughput.Machine(
            name="my run",
            points=tuple(filter(None, map(throughput.point, rows))),
            no_accelerator="torch finds none",
            versions={"torch": "2.15.0"},
            date="2026-11-23",
        )

    def test_machine_need_not_be_ours(self, results: Callable[..., Path]) -> None:
        file = results([info("cpu", 6, 4, 50.0)])
        content = json.loads(file.read_text())
        content["machine_info"] = {}
        file.write_text(json.dumps(content))

        assert throughput.read(file).no_accelerator is None

    def test_faults_are_named(self, results: Callable[..., Path], tmp_path: Path) -> None:
        missing = tmp_path / "missing.json"
        with pytest.raises(throughput.ResultsError, match=r"g\.json: cannot be read: No such "):
            throughput.read(missing)
        missing.write_text("{}")
        with pytest.raises(throughput.ResultsError, match=r"ks \(KeyError: 'benchmarks'\)\. Give"):
            throughput.read(missing)

    def test_batches_and_kinds_stand_in_order(self) -> None:
        points = [
            *(point("cuda:0", 6, 64, 1.0), point("cpu", 6, 4, 1.0)),
            *(point("aip:0", 6, 1024, 1.0), point("cuda:1", 6, 64, 1.0)),
        ]

        assert throughput.batches(points) == [4, 64, 1024]
        assert throughput.kinds(points) == ["cpu", "aip", "cuda"]

    def test_curve_is_of_one_kind_and_batch(self) -> None:
        ours = [point("cpu", width, 4, 1.0) for width in (96, 6, 24)]
        others = [point("cuda:0", 7, 4, 1.0), point("cpu", 8, 64, 1.0)]

        found = throughput.curve([*others, *ours], "cpu", 4)

        assert list(found.items()) == [(6, ours[1]), (24, ours[2]), (96, ours[0])]

    def test_as_fast_as_the_cpu_is_not_faster(self) -> None:
        assert throughput.overtakes_from(grid(cpu=[9, 8], cuda=[9, 9]), "cuda", 4) == 24

    def test_verdicts_are_on_each_accelerator_and_batch(self) -> None:
        points = [
            *grid(cpu=[1, 2], cuda=[2, 3], xpu=[3, 1]),
            *(point("cpu", 6, 64, 1.0), point("xpu:0", 6, 64, 2.0)),
        ]

        assert list(throughput.verdicts(points, "unused")) == [
            "cuda overtakes cpu from width 6, the smallest measured, at batch 4.",
            "xpu never overtakes cpu at batch 4 (widths measured: 6 to 24).",
            "xpu overtakes cpu from width 6, the smallest measured, at batch 64.",
        ]
        assert list(throughput.verdicts(grid(cpu=[1]), None)) == [
            "no accelerator was measured: it was not asked for"
        ]

    def test_names_that_several_have_are_counted(self) -> None:
        machines = [throughput.Machine(name, (), None, {}, "") for name in "abaca"]

        names = [machine.name for machine in throughput.named_apart(machines)]

        assert names == ["a (1)", "b", "a (2)", "c", "a (3)"]


class TestPlot:
    @pytest.fixture(autouse=True)
    def _matplotlib(self) -> None:
        pytest.importorskip("matplotlib")

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            ("no json", "not the results"),
            ("[]", "not the results"),
            ('{"benchmarks": [], "machine_info": {}, "datetime": "x"}', "holds no throughput"),
            ('{"benchmarks": [{"extra_info": {"row": "training", "images/s": 1}}]}', "not the"),
            (None, "cannot be read"),
        ],
    )
    def test_foreign_file_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, fault: str
    ) -> None:
        file = tmp_path / "foreign.json"
        if content is not None:
            file.write_text(content)

        code = main(["plot-benchmark", str(file), "-o", str(tmp_path / "plot.png")])

        error = capsys.readouterr().err
        assert code == 2
        assert fault in error
        assert "--benchmark-json" in error
        assert not (tmp_path / "plot.png").exists()


class TestMachine:
    def test_cpu_has_a_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told = {"processor": "x86 Family 6", "machine": "x86_64"}
        for name in told:
            monkeypatch.setattr(platform, name, lambda name=name: told[name])

        def name_where(**found: str) -> str:
            monkeypatch.setattr("cpuinfo.get_cpu_info", lambda: found)
            benchmarks.cpu_name.cache_clear()
            return benchmarks.device_name(CPU)

        assert name_where(brand_raw="A Chip 9: µ") == "A Chip 9: µ"
        assert name_where() == "x86 Family 6"
        told["processor"] = ""
        assert name_where() == "x86_64"
        benchmarks.cpu_name.cache_clear()

    def test_accelerator_has_a_name_or_that_of_its_type(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_name", {torch.device("cuda", 1): 90}.get)
        monkeypatch.delattr(torch.xpu, "get_device_name", raising=False)

        names = [benchmarks.device_name(torch.device(name)) for name in ("cuda:1", "xpu", "vulkan")]

        assert names == ["90", "xpu", "vulkan"]

    def test_load_is_that_of_five_minutes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "getloadavg", lambda: (1.11, 2.22, 3.33), raising=False)

        assert benchmarks.load() == 2.2
        monkeypatch.delattr(os, "getloadavg")  # Windows has none
        assert benchmarks.load() is None

    def test_rows_and_the_run_note_what_they_ran_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(versions, "installed", "{} of today".format)
        monkeypatch.setattr(torch, "__version__", "2.15.0+ours")
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.version, "hip", None)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
        monkeypatch.setattr(platform, "python_version", lambda: "3.99")
        monkeypatch.setattr(benchmarks, "cpu_name", lambda: "A Chip")
        monkeypatch.setattr(benchmarks, "load", lambda: 0.5)
        monkeypatch.setattr(os, "cpu_count", lambda: 7)
        of_today = {
            "torch": "2.15.0+ours",
            "torchvision": "torchvision of today",
            "numpy": "numpy of today",
            "python": "3.99",
            "cuda": "13.0",
        }

        assert benchmarks.about(torch.device("cpu")) == {
            "device": "cpu",
            "device name": "A Chip",
            "threads": 3,
            "versions": of_today,
        }
        noted: dict[str, Any] = {"cpu": "theirs"}
        config = SimpleNamespace(stash=pytest.Stash())
        summary = benchmarks.BenchmarkSummary(config, "none found")
        summary.pytest_benchmark_update_machine_info(noted)
        assert noted == {
            "cpu": "theirs",
            "blitz": {
                "cpu": "A Chip",
                "threads": 3,
                "cores": 7,
                "load": 0.5,
                "versions": of_today,
                "no accelerator": "none found",
            },
        }
        monkeypatch.setattr(torch.version, "cuda", None)
        monkeypatch.setattr(torch.version, "hip", "7.2")
        found = benchmarks.versions()
        assert (found["hip"], "cuda" in found) == ("7.2", False)


ROWS = """
@pytest.mark.parametrize("row", ["good", "bad"])
def test_row(device, row):
    pass
"""


def test_row_that_keeps_memory_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocated = iter([10**6, 10**6, 10**6, 10**6 + 70_000])
    monkeypatch.setattr(backend, "allocated_bytes", lambda device: next(allocated))
    bench = (ROOT / "spec" / "bench_throughput.py").read_text(encoding="utf-8")
    fixtures = bench[: bench.index("@pytest.fixture\ndef timed")]
    pytester.makeconftest(
        "import pytest, torch\n@pytest.fixture\ndef device(): return torch.device('cpu')"
    )
    pytester.makepyfile(fixtures + ROWS)

    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*AssertionError: cpu: a row kept 70,000 bytes for itself*"])


def test_every_benchmark_passes_without_timing(tmp_path: Path) -> None:
    """A quick pass: one round of each, with the real wiring, in a process of its own."""
    report = tmp_path / "report.xml"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "spec/bench_throughput.py", "--benchmark-disable"),
            *("--device", "cpu", "--junitxml", str(report), "-q"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    suite = ElementTree.parse(report).getroot()[0]
    assert int(suite.get("failures")) == int(suite.get("errors")) == 0
    passed = int(suite.get("tests")) - int(suite.get("skipped"))
    assert passed >= 28
    assert "test_training_step[cpu-width_384-batch_1024]" in report.read_text()
