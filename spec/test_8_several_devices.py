"""Several devices: what DistributedDataParallel, which torch recommends today, promises.

The four processes here run on this machine's cpu and talk by gloo. What DataParallel does in one
process is in chapter 5 (TestDataParallelism), gradients from several threads are in chapter 2.
"""

import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close
from torch.utils.data import DistributedSampler, TensorDataset

from blitz import classifier
from blitz.data import Images
from blitz.learning.step import TrainingStep
from blitz.parallel import processes
from blitz.parallel.shares import WHOLE, Rank
from blitz.training import feeds

PROCESSES = 4

Work = Callable[[int, dist.ProcessGroup], Any]
"""Done by each process of a group; takes its rank and the group."""

Found = list[dict[tuple[str, int], Any]]
"""By process: the name of the work and how many did it → what came of it, or the error."""

WORKS: list[tuple[Work, int]] = []
"""What the processes are to do, and how many of them."""


def by(*counts: int) -> Callable[[Work], Work]:
    """Have this done by so many processes."""

    def register(work: Work) -> Work:
        WORKS.extend((work, count) for count in counts)
        return work

    return register


def everything(rank: int, meeting_point: str) -> dict[tuple[str, int], Any]:
    """Do all that is to be done, as process ``rank``: what came of it, or the error."""
    torch.set_num_threads(1)
    store, limit = dist.FileStore(meeting_point, PROCESSES), timedelta(seconds=10)
    dist.init_process_group("gloo", timeout=limit, store=store, rank=rank, world_size=PROCESSES)
    groups = {2: dist.new_group([0, 1]), PROCESSES: dist.group.WORLD}
    found: dict[tuple[str, int], Any] = {}
    for work, count in WORKS:
        if rank < count:
            try:
                found[work.__name__, count] = work(rank, groups[count])
            except Exception:  # it is the claim that fails, and no other
                found[work.__name__, count] = traceback.format_exc()
    return found


@pytest.fixture(scope="module")
def found(several: Callable[..., Found]) -> Found:
    """What each of the four processes found, all at once: starting them takes the time."""
    with tempfile.TemporaryDirectory() as folder:
        return several(everything, PROCESSES, str(Path(folder, "meeting")))


def line(weight: float = 2.0) -> nn.Linear:
    """A net of one weight: its output is ``weight`` times its input."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, weight)
    return net


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1)


def mean_square(net: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return net(batch).square().mean()


def small_images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels, the same in every process."""
    random = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, 32, 32, generator=random), torch.arange(count) % 10


def tutorial_net() -> classifier.Net:
    torch.manual_seed(0)
    return classifier.Net()


def gradients_of(net: nn.Module) -> list[torch.Tensor]:
    """The gradients of the parameters, in their order."""
    return [parameter.grad for parameter in net.parameters() if parameter.grad is not None]


@by(2, 4)
def gradient_of_shares(rank: int, group: dist.ProcessGroup) -> float:
    net = line()
    parallel = DistributedDataParallel(net, process_group=group)
    mean_square(parallel, numbers(1, 2, 3, 4, 5, 6, 7, 8)[rank :: group.size()]).backward()
    return net.weight.grad.item()


@by(2, 4)
def gradients_of_the_tutorials_net(rank: int, group: dist.ProcessGroup) -> list[torch.Tensor]:
    net = tutorial_net()
    parallel = DistributedDataParallel(net, process_group=group)
    images, labels = (part[rank :: group.size()] for part in small_images(8))
    F.cross_entropy(parallel(images), labels).backward()
    return gradients_of(net)


@by(4)
def weights_before_the_first_step(rank: int, group: dist.ProcessGroup) -> float:
    parallel = DistributedDataParallel(line(weight=2.0 + rank), process_group=group)
    return parallel.module.weight.item()


@by(2, 4)
def weights_after_three_steps(rank: int, group: dist.ProcessGroup) -> float:
    parallel = DistributedDataParallel(line(), process_group=group)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=0.001)
    for _ in range(3):
        optimizer.zero_grad()
        batch = numbers(1, 2, 3, 4, 5, 6, 7, 8)[rank :: group.size()]
        mean_square(parallel, batch).backward()
        optimizer.step()
    return parallel.module.weight.item()


@by(2, 4)
def gradients_without_and_with_sum(rank: int, group: dist.ProcessGroup) -> tuple[float, float]:
    net = line()
    parallel = DistributedDataParallel(net, process_group=group)
    with parallel.no_sync():
        parallel(numbers(rank + 1)).sum().backward()
        alone = net.weight.grad.item()
    parallel(numbers(10 * (rank + 1))).sum().backward()
    return alone, net.weight.grad.item()


@by(2)
def gradients_of_unequal_shares(rank: int, group: dist.ProcessGroup) -> tuple[float, float]:
    share = [numbers(1, 2, 3), numbers(6)][rank]
    found = []
    for weight in (1.0, len(share) * 2 / 4):
        net = line()
        parallel = DistributedDataParallel(net, process_group=group)
        (parallel(share).mean() * weight).backward()
        found.append(net.weight.grad.item())
    return found[0], found[1]


def pictures(count: int) -> Images:
    images, labels = small_images(count)
    pixels = (images * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return Images(np.ascontiguousarray(pixels), labels.tolist(), "made here")


def feed_of(rank: Rank) -> feeds.Feed:
    """Two batches, of 6 images and of 1, for one of so many processes."""
    return feeds.make(
        "resident", pictures(7), batch_size=6, seed=0, device=torch.device("cpu"), rank=rank
    )


@by(4)
def net_after_two_steps(rank: int, group: dist.ProcessGroup) -> list[torch.Tensor]:
    joined = processes.Group(dist.HashStore(), Rank(rank, group.size()), rank)
    net = tutorial_net()
    step = TrainingStep(net, lr=0.1, momentum=0.9, forward=joined.parallel(net))
    for _ in feed_of(joined.rank).train(step, epoch=1):
        pass
    return [parameter.detach() for parameter in step.net.parameters()]


@by(4)
def counted_of_three_and_of_ten(rank: int, group: dist.ProcessGroup) -> list[tuple[int, ...]]:
    joined = processes.Group(dist.HashStore(), Rank(rank, group.size()), rank)
    return [
        processes.evaluate(tutorial_net(), TensorDataset(*small_images(n)), joined).class_total
        for n in (3, 10)
    ]


def of(found: Found, work: Work, count: int) -> list[Any]:
    """What came of ``work`` in each of ``count`` processes."""
    results = [facts[work.__name__, count] for facts in found[:count]]
    errors = [result for result in results if isinstance(result, str)]
    assert not errors, errors[0]
    return results


class TestSeveralProcesses:
    @pytest.mark.parametrize("count", [2, 4])
    def test_average_of_gradients_is_the_gradient_of_the_joined_batch(
        self, count: int, found: Found
    ) -> None:
        """DistributedDataParallel leaves in each process the gradient of the joined batch."""
        gradients = of(found, gradient_of_shares, count)

        # The mean of (2x)² over x = 1 … 8 has gradient 2 * 2 * (1 + 4 + … + 64) / 8.
        assert gradients == [pytest.approx(102.0)] * count

    @pytest.mark.parametrize("count", [2, 4])
    def test_gradients_of_the_tutorials_net_are_those_of_one_process(
        self, count: int, found: Found
    ) -> None:
        """On 2 and 4 processes the tutorial's net gets the gradients that one process computes."""
        net, (images, labels) = tutorial_net(), small_images(8)
        F.cross_entropy(net(images), labels).backward()

        for_each = of(found, gradients_of_the_tutorials_net, count)

        expected = gradients_of(net)
        assert_close(for_each, [expected] * count)

    def test_processes_start_from_the_weights_of_the_first(self, found: Found) -> None:
        """All processes start from the parameters of the first, not from their own."""
        assert of(found, weights_before_the_first_step, 4) == [2.0] * 4

    @pytest.mark.parametrize("count", [2, 4])
    def test_parameters_stay_equal_over_the_processes(self, count: int, found: Found) -> None:
        """After some steps on different data the parameters are the same in every process."""
        weights = of(found, weights_after_three_steps, count)

        assert len(set(weights)) == 1
        assert weights[0] == pytest.approx(2.0 * (1 - 0.001 * 51) ** 3)

    @pytest.mark.parametrize(("count", "summed"), [(2, 11 * 1.5), (4, 11 * 2.5)])
    def test_no_sync_accumulates_without_a_sum(
        self, count: int, summed: float, found: Found
    ) -> None:
        """Within no_sync() each process adds to its own gradient; the next backward joins them."""
        alone, together = zip(*of(found, gradients_without_and_with_sum, count), strict=True)

        assert list(alone) == [1.0, 2.0, 3.0, 4.0][:count]
        assert list(together) == [pytest.approx(summed)] * count

    def test_unequal_shares_have_to_be_weighted(self, found: Found) -> None:
        """Where shares differ in size, the average is wrong until each counts by its size."""
        plain, weighted = zip(*of(found, gradients_of_unequal_shares, 2), strict=True)

        # The mean of 1, 2, 3 and 6 is 3; that of the means, 2 and 6, is 4.
        assert plain == (4.0, 4.0)
        assert weighted == (3.0, 3.0)

    def test_steps_of_four_processes_end_where_those_of_one_do(self, found: Found) -> None:
        """Steps on shared batches, short ones too, end with the parameters of one process."""
        alone = TrainingStep(tutorial_net(), lr=0.1, momentum=0.9)
        losses = [loss for chunk in feed_of(WHOLE).train(alone, epoch=1) for loss in chunk]

        for_each = of(found, net_after_two_steps, 4)

        assert len(losses) == 2
        expected = [parameter.detach() for parameter in alone.net.parameters()]
        assert_close(for_each, [expected] * 4)

    def test_every_image_is_tested_once(self, found: Found) -> None:
        """Four processes that share 3 or 10 test images count each of them once."""
        three = (1, 1, 1, 0, 0, 0, 0, 0, 0, 0)

        assert of(found, counted_of_three_and_of_ten, 4) == [[three, (1,) * 10]] * 4


def parts(count: int, processes: int, **options: Any) -> list[list[int]]:
    """The places that torch's sampler gives to each process."""
    samplers = (
        DistributedSampler(range(count), processes, rank, **options) for rank in range(processes)
    )
    return [list(sampler) for sampler in samplers]


class TestSharesOfAnEpoch:
    def test_parts_of_the_sampler_are_disjoint_and_cover_the_set(self) -> None:
        """DistributedSampler gives each image to one process if their number divides evenly."""
        first, second, third = parts(12, 3)

        assert sorted(first + second + third) == list(range(12))
        assert len(first) == len(second) == len(third) == 4

    def test_sampler_repeats_images_until_the_parts_are_equal(self) -> None:
        """If their number does not divide evenly, DistributedSampler repeats the first images."""
        assert parts(10, 4, shuffle=False) == [[0, 4, 8], [1, 5, 9], [2, 6, 0], [3, 7, 1]]
        assert parts(10, 4, shuffle=False, drop_last=True) == [[0, 4], [1, 5], [2, 6], [3, 7]]

    def test_sampler_reshuffles_only_when_told_the_epoch(self) -> None:
        """DistributedSampler keeps its order until set_epoch() is called, which changes it."""
        sampler = DistributedSampler(range(100), 2, 0)

        first, again = list(sampler), list(sampler)
        sampler.set_epoch(1)

        assert first == again
        assert list(sampler) != first

    @pytest.mark.parametrize(("count", "batch_size"), [(12, 4), (39, 4), (10, 5), (1, 2)])
    def test_shares_make_up_every_batch_of_one_process(self, count: int, batch_size: int) -> None:
        """Shares of a training here make up, batch by batch, what one process has alone."""
        alone = feeds.order(count, 0, 3)
        takers = [place % batch_size % 2 for place in range(count)]

        shares = [Rank(rank, 2).share(alone, batch_size).tolist() for rank in range(2)]

        first, second = map(iter, shares)
        assert [next((first, second)[taker]) for taker in takers] == alone.tolist()
        assert list(first) == list(second) == []


class TestReplicas:
    @pytest.mark.on("accelerator")
    def test_replicas_have_the_values_and_give_their_gradients_back(
        self, device: torch.device, second: torch.device
    ) -> None:
        """DataParallel copies the net to each GPU; the copies' gradients add up in the net."""
        net = line().to(device)

        copies = nn.parallel.replicate(net, [device, second])
        outputs = [copies[0](numbers(3).to(device)), copies[1](numbers(4).to(second))]
        (outputs[0].sum() + outputs[1].sum().to(device)).backward()

        assert [copy.weight.device for copy in copies] == [device, second]
        assert [output.item() for output in outputs] == [6.0, 8.0]
        assert net.weight.grad.item() == 7.0
