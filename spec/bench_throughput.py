"""How fast the tutorial's work runs on each device: `pytest --benchmark-only`.

A round is many operations or whole training steps; the device is waited for at the edges of a round
and nowhere inside, warm-up is not counted, and each benchmark asserts that what it timed happened.
torch's own settings (TF32, threads) are left as torch has them, and noted.
"""

import gc
import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from blitz import autograd, classifier, data
from blitz.base import backend
from blitz.harness import benchmarks
from blitz.learning.step import TrainingStep
from blitz.measuring import calm, clock, step_breakdown
from blitz.training import feeds, tuning

WIDTHS, BATCHES = (6, 24, 96, 384), (4, 64, 1024)


@pytest.fixture(autouse=True)
def _torch_as_it_comes() -> Iterator[None]:
    """TF32 as torch has it, where correctness is claimed without it."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32, cudnn.allow_tf32 = False, True
    yield
    matmul.allow_tf32, cudnn.allow_tf32 = before


@pytest.fixture(autouse=True)
def _memory_returns(device: torch.device) -> Iterator[None]:
    """What a row takes of the device's memory is given back after it."""
    before = _allocated(device)
    yield
    kept = _allocated(device) - before
    assert kept < 2**16, f"{device}: a row kept {kept:,} bytes for itself"


def _allocated(device: torch.device) -> int:
    gc.collect()
    # cuBLAS keeps a workspace for every stream that it was used on.
    getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)()
    return backend.allocated_bytes(device) or 0


@pytest.fixture(autouse=True)
def _rounds(device: torch.device, request: pytest.FixtureRequest) -> None:
    """Three rounds or more, of 0.1 s or more, by a clock that waits for the device."""
    mark = request.node.get_closest_marker("benchmark")
    options = {} if mark is None else mark.kwargs
    rounds = {"timer": clock.clock(device), "min_time": 0.1, "min_rounds": 3}
    request.node.add_marker(pytest.mark.benchmark(**options | rounds), append=False)


Timed = Callable[..., Any]
"""Takes the work, its unit and amount; gives what the work gave."""


@pytest.fixture
def timed(
    benchmark: BenchmarkFixture, device: torch.device, request: pytest.FixtureRequest
) -> Timed:
    """Time ``work()`` in rounds, and note how many of ``unit`` there are a second."""

    def timed(work: Callable[[], Any], *, unit: str, amount: float = 1, **notes: Any) -> Any:
        benchmark.group = notes.pop("group", benchmark.group)
        notes = {"precision": "float32", "width": None, "batch": None, "images/s": None} | notes
        benchmark.extra_info.update(benchmarks.about(device) | notes)
        if device.type == "cuda":
            benchmark.extra_info["tf32"] = {
                "matmul": torch.backends.cuda.matmul.allow_tf32,
                "cudnn": torch.backends.cudnn.allow_tf32,
            }
        if not benchmark.enabled:
            return benchmark(work)
        work()  # pays what is paid once: loading cuDNN takes a second
        result, others = calm.measured(lambda: _measure(benchmark, work, clock.clock(device)))
        benchmark.extra_info.update(_rates(benchmark, unit, amount), others=others)
        request.config.stash.setdefault(benchmarks.rows_key, []).append(benchmark.extra_info)
        return result

    return timed


def _measure(benchmark: BenchmarkFixture, work: Callable[[], Any], read: clock.Clock) -> Any:
    """Measure ``work()`` in rounds, which replace those of an earlier measurement."""
    if benchmark.stats is None:
        return benchmark(work)  # works once, and chooses the number of rounds and of calls
    calls, rounds = benchmark.stats.iterations, benchmark.stats.stats.data
    rounds[:] = [clock.seconds(work, read, calls) / calls for _ in rounds]
    return work()


def _rates(benchmark: BenchmarkFixture, unit: str, amount: float) -> dict[str, float]:
    seconds = benchmark.stats.stats.data
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return {
        unit: amount / middle,
        f"{unit}, low": amount / high,
        f"{unit}, high": amount / low,
        "rounds": len(seconds),
        "a round": amount * benchmark.stats.iterations,
    }


@pytest.fixture
def room(device: torch.device, width: int, batch: int) -> None:
    """Skip where what a step of this net with this batch keeps for backward does not fit."""
    # conv1's output, its ReLU's and its pooling's, with their gradients and some to spare
    needed, free = batch * width * 28 * 28 * 4 * 5, backend.free_bytes(device)
    if free is not None and needed > free:
        pytest.skip(f"needs {needed / 2**30:.1f} GiB, {device} has {free / 2**30:.1f} free")


@pytest.fixture
def bfloat16(device: torch.device) -> None:
    """Skip where the device has no autocast to bfloat16, or does not compute in it."""
    one = torch.ones(1, 1, 8, 8).to(device)
    try:
        with torch.autocast(device.type, torch.bfloat16):
            torch.nn.functional.conv2d(one, one)
    except (RuntimeError, AssertionError) as error:  # the latter of a backend without autocast
        pytest.skip(f"{device} does not compute in bfloat16: {str(error).splitlines()[0]}")


@pytest.fixture
def tf32_cores(device: torch.device) -> None:
    """Skip where there are none of the cores that compute in TF32."""
    # AMD's GPUs are "cuda" too, say a capability of 9.4 (MI300), and need more than this to use it.
    on_nvidia = device.type == "cuda" and torch.version.hip is None
    if not on_nvidia or torch.cuda.get_device_capability(device) < (8, 0):
        pytest.skip(f"{device} does not compute in TF32")


@pytest.fixture
def timed_step(benchmark: BenchmarkFixture, timed: Timed, device: torch.device) -> Timed:
    """Time training steps of a net on a batch that lies on the device, and see that it trains."""

    def timed_step(net: torch.nn.Module, batch: int, **notes: Any) -> torch.Tensor:
        count = batch if benchmark.enabled else min(batch, 8)
        images = (torch.rand(count, 3, 32, 32) * 2 - 1).to(device)
        labels = torch.randint(10, (count,)).to(device)
        step = TrainingStep(net.to(device))
        before = autograd.snapshot(net.named_parameters())
        loss: torch.Tensor = timed(
            lambda: step(images, labels), unit="images/s", amount=batch, batch=batch, **notes
        )
        assert len(autograd.moved(before, net.named_parameters())) == 10
        return loss

    return timed_step


class TestOperations:
    @pytest.mark.benchmark(group="matmul")  # of each size
    @pytest.mark.parametrize("n", [1024, 4], ids=["large", "tiny"])
    def test_matmul(self, timed: Timed, device: torch.device, n: int) -> None:
        """Products of 1024 x 1024 numbers, an accelerator's work, and of 4 x 4, a launch's."""
        a = torch.ones((n, n), device=device)

        product = timed(lambda: torch.matmul(a, a), unit="operations/s", group=f"matmul {n} x {n}")

        assert (product == n).all()
        assert product.device == device

    @pytest.mark.benchmark(group="element-wise, 1024 x 1024")
    def test_element_wise_chain(self, timed: Timed, device: torch.device) -> None:
        """Four element-wise operations on a million numbers, which memory feeds."""
        a = torch.ones((1024, 1024), device=device)

        result = timed(lambda: ((a * 2 + 1) - 4).relu(), unit="operations/s", amount=4)

        assert result.sum().item() == 0
        assert result.device == device

    @pytest.mark.benchmark(group="matmul 4096 x 4096, TF32 off and on")
    @pytest.mark.on("accelerator")
    @pytest.mark.parametrize("tf32", [False, True], ids=["off", "on"])
    def test_matmul_in_tf32(
        self, timed: Timed, device: torch.device, tf32: bool, tf32_cores: None
    ) -> None:
        """Matrix products of 4096 x 4096 numbers in float32, and in TF32, which rounds them."""
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a = torch.full((4096, 4096), 1 + 2**-12, device=device)

        product = timed(
            lambda: torch.matmul(a, a),
            unit="operations/s",
            precision="TF32" if tf32 else "float32",
        )

        # TF32 keeps 10 bits behind the point: to it, 1 + 2**-12 is 1.
        assert (product[0, 0].item() == 4096) == tf32
        assert product.device == device

    @pytest.mark.benchmark(group="addition, 16 MiB")
    @pytest.mark.parametrize("in_place", [False, True], ids=["out_of_place", "in_place"])
    def test_addition(self, timed: Timed, device: torch.device, in_place: bool) -> None:
        """Additions to 16 MiB of numbers, into new memory and in place."""
        a = torch.zeros(2048, 2048, device=device)
        one = torch.ones((), device=device)  # a bare 1 would be made a tensor each time
        add = torch.Tensor.add_ if in_place else torch.Tensor.add

        result = timed(lambda: add(a, one), unit="operations/s")

        assert (result is a) == in_place
        assert result.min().item() == result.max().item() > 0
        assert result.device == device


class TestTraining:
    @pytest.mark.benchmark(group="training step")  # of each width and batch
    @pytest.mark.parametrize("batch", BATCHES, ids=lambda n: f"batch_{n}")
    @pytest.mark.parametrize("width", WIDTHS, ids=lambda n: f"width_{n}")
    def test_training_step(
        self, timed_step: Timed, device: torch.device, width: int, batch: int, room: None
    ) -> None:
        """Training steps of the tutorial's classifier, widened, on images already there."""
        loss = timed_step(
            classifier.Net(width),
            batch,
            row="training",
            width=width,
            group=f"training step, width {width}, batch {batch}",
        )

        assert loss.device == device

    @pytest.mark.benchmark(group="training step, width 96, batch 64, float32 and bfloat16")
    @pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["float32", "bf16"])
    def test_precision(
        self, timed_step: Timed, device: torch.device, precision: torch.dtype, bfloat16: None
    ) -> None:
        """Training steps at width 96 in float32, and with autocast to bfloat16."""
        net = classifier.Net(96)
        autocast = torch.autocast(device.type, precision, enabled=precision == torch.bfloat16)
        net.forward = autocast(net.forward)

        loss = timed_step(net, 64, precision=str(precision).removeprefix("torch."), width=96)

        assert net(torch.rand(1, 3, 32, 32).to(device)).dtype == precision
        assert loss.device == device

    @pytest.mark.benchmark(group="training step, width 384, batch 1024, TF32 off and on")
    @pytest.mark.on("accelerator")
    @pytest.mark.parametrize("tf32", [False, True], ids=["off", "on"])
    def test_training_step_in_tf32(
        self, timed_step: Timed, device: torch.device, tf32: bool, tf32_cores: None
    ) -> None:
        """Training steps at width 384 with convolutions in float32, and in TF32."""
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32

        loss = timed_step(
            classifier.Net(384), 1024, precision="TF32" if tf32 else "float32", width=384
        )

        assert loss.device == device


class TestFeeds:
    @pytest.mark.benchmark(group="the recipe, width 6, batch 4, by feed")
    # A pool of workers larger than the machine is one of the things to be measured.
    @pytest.mark.filterwarnings("ignore:This DataLoader will create")
    @pytest.mark.parametrize(
        ("feed", "workers"),
        [("loader", 0), ("loader", 2), ("loader", 4), ("resident", 0), ("captured", 0)],
        ids=["loader_0_workers", "loader_2_workers", "loader_4_workers", "resident", "captured"],
    )
    def test_feed(
        self,
        timed: Timed,
        device: torch.device,
        train_images: data.Images,
        feed: str,
        workers: int,
        feed_can_be_had: None,
        busy_note: Callable[[Iterator[Any]], None],
    ) -> None:
        """The tutorial's recipe, batches of 4 at width 6, a hundred steps at a time, by feed."""
        step = TrainingStep(classifier.Net().to(device))
        before = autograd.snapshot(step.net.named_parameters())
        made = feeds.make(feed, train_images, batch_size=4, seed=0, device=device, workers=workers)
        chunks = _endless(made, step)

        losses = timed(
            lambda: next(chunks),
            unit="images/s",
            amount=400,
            feed=feed,
            workers=workers,
            width=6,
            batch=4,
        )
        busy_note(chunks)

        assert len(losses) == 100
        assert len(autograd.moved(before, step.net.named_parameters())) == 10
        assert next(step.net.parameters()).device == device


def _endless(feed: feeds.Feed, step: TrainingStep) -> Iterator[list[float]]:
    """The losses of epoch after epoch, a hundred at a time; a shorter rest is left out."""
    for epoch in itertools.count(1):
        yield from (losses for losses in feed.train(step, epoch) if len(losses) == 100)


@pytest.fixture
def feed_can_be_had(device: torch.device, feed: str) -> None:
    """Skip the captured feed where there are no CUDA graphs."""
    if feed == "captured" and device.type != "cuda":
        pytest.skip(f"{device} has no CUDA graphs")


@pytest.fixture
def busy_note(
    benchmark: BenchmarkFixture, device: torch.device, feed: str
) -> Callable[[Iterator[Any]], None]:
    """Note the kernels' time of a step beside the step's, on cuda with images already there."""

    def busy_note(chunks: Iterator[Any]) -> None:
        if device.type != "cuda" or feed == "loader" or not benchmark.enabled:
            return
        kernels = step_breakdown.kernel_seconds(lambda: next(chunks), device, 5)
        if kernels is not None:
            kernels, step = kernels / 100, 4 / benchmark.extra_info["images/s"]
            benchmark.extra_info["kernel microseconds"] = kernels * 1e6
            benchmark.extra_info["step microseconds"] = step * 1e6
            benchmark.extra_info["busy"] = kernels / step

    return busy_note


class TestWhereAStepGoes:
    @pytest.mark.parametrize(
        ("feed", "width", "batch"),
        [("loader", 6, 4), ("resident", 6, 4), ("resident", 96, 64)],
        ids=["loader_width_6_batch_4", "resident_width_6_batch_4", "resident_width_96_batch_64"],
    )
    def test_parts_of_a_step(
        self,
        timed: Timed,
        benchmark: BenchmarkFixture,
        device: torch.device,
        train_images: data.Images,
        feed: str,
        width: int,
        batch: int,
    ) -> None:
        """Whole steps, data included, and what share of them goes to each of their parts."""
        step = TrainingStep(classifier.Net(width).to(device))
        made = feeds.make(feed, train_images, batch_size=batch, seed=0, device=device)
        batches = made.endless()
        before = autograd.snapshot(step.net.named_parameters())

        with tuning.suited_to(step.net, batch, device, exact=step.exact):
            timed(
                lambda: step(*next(batches)),
                unit="images/s",
                amount=batch,
                feed=feed,
                width=width,
                batch=batch,
                group=f"a step with its data, width {width}, batch {batch}",
            )
            steps, warm_up = (30, 5) if benchmark.enabled else (1, 0)
            parts = step_breakdown.measure(step, batches, device, steps, warm_up)
        benchmark.extra_info.update(parts=parts.shares, busy=parts.busy, bound=parts.bound)

        assert min(parts.seconds.values()) > 0
        assert sum(parts.shares.values()) == pytest.approx(1)
        assert parts.bound.startswith(("feed-bound", "launch-bound", "compute-bound"))
        assert len(autograd.moved(before, step.net.named_parameters())) == 10


class TestFineTuning:
    @pytest.mark.benchmark(group="fine-tuning ResNet-18, batch 8, 64 x 64")
    @pytest.mark.parametrize(
        ("prepare", "trained"),
        [(torch.nn.Module.train, 62), (autograd.freeze, 2)],
        ids=["full", "frozen"],
    )
    def test_fine_tuning(
        self, timed: Timed, device: torch.device, prepare: Any, trained: int
    ) -> None:
        """Training steps of ResNet-18, of all of it and of a new head on a frozen body."""
        from torchvision.models import resnet18

        net = resnet18().to(device)
        prepare(net)
        net.fc = torch.nn.Linear(512, 10, device=device)
        parameters = autograd.snapshot(net.named_parameters())
        step = TrainingStep(net)
        images = torch.rand(8, 3, 64, 64).to(device)
        labels = torch.arange(8, device=device)

        loss = timed(lambda: step(images, labels), unit="images/s", amount=8, batch=8)

        moved = autograd.moved(parameters, net.named_parameters())
        assert moved >= {"fc.weight", "fc.bias"}
        assert len(moved) == trained
        assert loss.device == device
