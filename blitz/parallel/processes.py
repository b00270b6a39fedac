"""The processes of one training, on several devices or machines, as torchrun starts them.

Each has a number, its rank. The first, rank 0, leads: it alone prepares data, writes files and
shows progress. The others train and test with it.

Tutorial: "Training on multiple GPUs".
"""

import os
import pickle
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from blitz import devices
from blitz.base.errors import UnusableDevice
from blitz.data import CLASSES
from blitz.learning import evaluation
from blitz.learning.evaluation import Accuracy
from blitz.parallel.shares import WHOLE, Rank

if TYPE_CHECKING:  # torch has it only where it was built for it, and lists it nowhere
    from torch.distributed import Store  # type: ignore[attr-defined]

T = TypeVar("T")

POLL = 0.1
"""Seconds between two looks whether the first process is ready."""

GRACE = 5.0
"""Seconds for which a process that has lost another one waits, for an answer or for its own end."""

FAILED, LEADER = "failed", "leader"
"""Keys of the store: a process has failed, and said why; the first is there to be asked."""


class EndedElsewhere(Exception):
    """Another process ended the common work, and said why."""


class Group:
    """The processes of one training, as one of them sees it; one that is alone does all by itself.

    Args:
        store: What all of them can read and write.
        rank: Which of them this is.
        local_rank: Its number on this machine, and that of its device.
        roll: A group of gloo with connections of its own, to ask who is there after one of the
            others has broken; None for the default one.

    Attributes:
        rank: As given.
        restarted: Whether torchrun started them again after one had failed.
    """

    def __init__(
        self,
        store: "Store",
        rank: Rank = WHOLE,
        local_rank: int = 0,
        roll: dist.ProcessGroup | None = None,
    ) -> None:
        self.rank = rank
        self.restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
        self._store = store
        self._local_rank = local_rank
        self._roll = roll
        self._told = 0
        self._last: deque[torch.Tensor] = deque(maxlen=8)

    @property
    def leads(self) -> bool:
        """Return whether this one prepares data, writes files and shows progress."""
        return self.rank.rank == 0

    def device(self, device: str | torch.device) -> torch.device:
        """Return where this process trains, if the first trains on ``device``.

        Of several processes each has the one of that kind with its own number on its machine.

        Raises:
            UnusableDevice: it cannot be used here, or there are fewer of them than processes.
        """
        named = torch.device(device)
        if self.rank.processes == 1 or named.type in ("cpu", "meta"):
            return devices.resolve(named)
        # torchrun numbers the processes of a machine from 0, as backends do their devices.
        module = torch.get_device_module(named)
        if module.device_count() <= self._local_rank:
            raise UnusableDevice(
                f"device {named.type!r}: rank {self.rank.rank} is number {self._local_rank + 1} "
                f"on this machine, which has {module.device_count()} of them. Start as many "
                f"processes as there are: torchrun --nproc-per-node {module.device_count()}"
            )
        own = devices.resolve(f"{named.type}:{self._local_rank}")
        module.set_device(own)  # NCCL takes the current one
        return own

    def parallel(self, net: nn.Module) -> nn.Module:
        """Return ``net`` as the processes train it: backward averages its gradients over them.

        To be called in all of them: the first one's parameters are copied to the others.
        """
        if self.rank.processes == 1:
            return net
        place = next(net.parameters()).device
        # DistributedDataParallel refuses device_ids for a net on the cpu.
        return DistributedDataParallel(net, device_ids=None if place.type == "cpu" else [place])

    def first(self, work: Callable[[], T]) -> T:
        """Return what ``work()`` does in the first process; it has to be something that pickles.

        The others wait, however long.

        Raises:
            EndedElsewhere: it failed there. In the first process its own exception is raised.
        """
        # The others look from time to time instead of waiting in a broadcast, which has the
        # group's time-out: the first may be downloading for an hour.
        self._told += 1
        key = f"ready/{self._told}"
        if self.leads:
            result = work()
            if self.rank.processes > 1:
                self._store.set(key, "")
                self._sent(pickle.dumps(result))
            return result
        while not self._store.check([key]):
            if self._store.check([FAILED]):
                raise EndedElsewhere
            time.sleep(POLL)
        # Trusted, as torch's broadcast_object_list does.
        return cast("T", pickle.loads(self._sent()))

    def _sent(self, content: bytes = b"") -> bytearray:
        """Return what the first process sends, which alone gives ``content``."""
        # The size first: a broadcast fills a tensor of known size.
        size = self._kept(torch.tensor([len(content)]))
        dist.broadcast(size, src=0)
        sent = bytearray(content or int(size))  # torch.frombuffer warns of bytes: they are constant
        dist.broadcast(self._kept(torch.frombuffer(sent, dtype=torch.uint8)), src=0)
        return sent

    def _kept(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return ``numbers``, kept alive a while.

        Where gloo's thread is the last to let go of a tensor it waits for Python's lock, which
        destroy_process_group holds while it waits for that thread: torch 2.6 hangs there.
        """
        self._last.append(numbers)
        return numbers

    def mean(self, numbers: Sequence[float]) -> list[float]:
        """Return the means over the processes, number by number; in each of them the same bits."""
        sums = self.total(torch.tensor(numbers, dtype=torch.float64))
        means: list[float] = (sums / self.rank.processes).tolist()
        return means

    def largest(self, number: int) -> int:
        """Return the largest of the processes' numbers."""
        return int(self.total(torch.tensor([number]), dist.ReduceOp.MAX))

    def total(
        self, numbers: torch.Tensor, operation: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM
    ) -> torch.Tensor:
        """Return the sums over the processes, number by number, or what another operation gives."""
        if self.rank.processes > 1:
            dist.all_reduce(self._kept(numbers), operation)
        return numbers

    def failed(self) -> None:
        """Tell the others that this process ends before them, having said why."""
        self._note(FAILED)

    def _note(self, key: str) -> None:
        with suppress(RuntimeError):  # the store may be gone with the process that keeps it
            self._store.set(key, "")

    def says_first(self, words: str) -> bool:
        """Return whether no other process has said the same before."""
        with suppress(RuntimeError):
            # The store adds in one step: exactly one of the processes sees the 1.
            return int(self._store.add(f"said/{words}", 1)) == 1
        return True

    def absent(self) -> str | None:
        """Return which process no longer answers, or None if another process says what happened."""
        if self.leads:
            self._note(LEADER)
        with suppress(RuntimeError):
            if self._store.check([FAILED]):
                return None
        missing = self._missing()
        with suppress(RuntimeError):
            if not self.leads and self._store.check([LEADER]):
                return None
        who = f"rank {missing}" if missing else "another process"
        return f"{who} no longer answers: it hangs, was killed or is cut off"

    def _missing(self) -> str:
        """Return the ranks that do not answer, as "1" or "1, 3"."""
        try:
            # gloo alone has it; wait_all_ranks names every rank that is missing, not the first.
            dist.monitored_barrier(self._roll, timedelta(seconds=GRACE), wait_all_ranks=True)
        except RuntimeError as failed:
            named = re.search(r"Ranks ([\d, ]+) failed to pass", str(failed))
            if named:
                return named[1]
            return "" if self.leads else "0"  # the others hear from the first, or do not
        return ""


ALONE = Group(dist.HashStore())  # type: ignore[attr-defined]  # as Store is


def evaluate(net: nn.Module, images: TensorDataset, processes: Group = ALONE) -> Accuracy:
    """Count how many of ``images`` the net names right, in all and for each class.

    Every image is counted once: of n processes each has every n-th of them, which is one more or
    less where they do not go round, and the counts are added. torch's DistributedSampler would
    repeat images until they do.

    Args:
        net: The same in all processes.
        images: All of them, the same in all processes, N x 3 x 32 x 32, with their labels, N.
        processes: To share them out to.

    Tutorial: "Test the network on the test data".
    """
    rank, classes = processes.rank, len(CLASSES)
    # No sampler: slices of tensors, so that a rest needs no repeated image.
    own = TensorDataset(*(tensor[rank.rank :: rank.processes] for tensor in images.tensors))
    counts = torch.zeros(2, classes, dtype=torch.int64)
    for batch, labels in DataLoader(own, 100):
        right = evaluation.predict(net, batch).cpu() == labels
        counts[0] += torch.bincount(labels[right], minlength=classes)
        counts[1] += torch.bincount(labels, minlength=classes)
    correct, total = processes.total(counts).tolist()
    return Accuracy(tuple(correct), tuple(total))
