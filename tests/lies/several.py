"""Lies about several processes: their gradients, their parameters, their shares of the images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import GradBucket
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parallel import distributed as parallel
from torch.utils.data import DistributedSampler

from .lie import after, lie


def hooked(hook: Callable[[Any, GradBucket], torch.futures.Future[torch.Tensor]]) -> None:
    """Have every DistributedDataParallel join its gradients by ``hook``."""
    after(DistributedDataParallel, "__init__")(
        lambda made, parallel, *args, **kw: parallel.register_comm_hook(
            parallel.process_group, hook
        )
    )


def summed(group: dist.ProcessGroup, bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
    work = dist.all_reduce(bucket.buffer(), group=group, async_op=True)
    return work.get_future().then(lambda done: done.value()[0])


@lie("S01 S02", hooked)
def gradients_are_not_joined(_: Any, bucket: GradBucket):
    """Every process keeps the gradient of its own share."""
    kept: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    kept.set_result(bucket.buffer())
    return kept


@lie("S01 S02 S04", hooked)
def gradients_are_summed_and_not_averaged(group: dist.ProcessGroup, bucket: GradBucket):
    """The gradients of the processes are added, and not divided by their number."""
    return summed(group, bucket)


@lie("S01 S02", hooked)
def gradients_are_divided_by_one_more(group: dist.ProcessGroup, bucket: GradBucket):
    """The sum of the gradients is divided by the number of processes and one."""
    return summed(group, bucket).then(lambda done: done.value() / (group.size() + 1))


@lie("S01", hooked)
def gradients_come_from_the_first_process(group: dist.ProcessGroup, bucket: GradBucket):
    """The gradient of the first process is taken for the average."""
    work = dist.broadcast(bucket.buffer(), 0, group=group, async_op=True)
    return work.get_future().then(lambda done: done.value()[0])


@lie("S02", parallel, "_sync_module_states")
def processes_start_from_weights_of_their_own(old, **options):
    """DistributedDataParallel does not copy the first process's parameters to the others."""
    return None


@lie("S03")
def no_sync_joins_the_gradients() -> None:
    """no_sync() changes nothing."""

    @contextmanager
    def lying(self: DistributedDataParallel) -> Iterator[None]:
        yield

    DistributedDataParallel.no_sync = lying


@lie("S06", DistributedSampler, "__init__")
def sampler_gives_all_the_same_part(old, self: DistributedSampler, *arguments: Any, **options: Any):
    """DistributedSampler gives the part of the first process to all."""
    old(self, *arguments, **options)
    self.rank = 0


@lie("S06", DistributedSampler, "__iter__")
def sampler_pads_with_the_last_images(old, self: DistributedSampler):
    """DistributedSampler repeats the last images of the set, and not the first."""
    last = len(self.dataset) - 1
    places, taken = list(old(self)), self.num_samples * self.num_replicas
    extra = taken - len(self.dataset)
    return iter([*places[:-1], last] if extra > 0 else places)


@lie("S06", DistributedSampler, "set_epoch")
def sampler_never_reshuffles(old, self, epoch):
    """DistributedSampler.set_epoch() changes nothing."""
    return None


@lie("S06", DistributedSampler, "__iter__")
def sampler_reshuffles_by_itself(old, self: DistributedSampler):
    """DistributedSampler has another order in every pass, without set_epoch()."""
    self.epoch += 1
    return old(self)


@lie("S05", dist, "all_reduce")
def sums_leave_the_last_process_out(old, tensor: torch.Tensor, *arguments: Any, **options: Any):
    """all_reduce() gives the sum over all processes but the last."""
    if dist.get_rank() == dist.get_world_size() - 1 and not tensor.is_floating_point():
        tensor.zero_()
    return old(tensor, *arguments, **options)


@lie("S07", torch.Tensor, "__mod__")
def remainders_are_those_of_one_more(old, self, n):
    """tensor % n is the remainder of a division by n + 1."""
    return old(self, n + 1)
