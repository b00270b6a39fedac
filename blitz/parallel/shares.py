"""Which images of every batch each process has.

Tutorial: "Training on multiple GPUs".
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DistributedSampler

from blitz.base.errors import BlitzError


class ShareError(BlitzError, ValueError):
    """A batch that cannot be shared out among the processes; the message says what to do."""


class RankSampler(DistributedSampler[int]):
    """Samples one process's images: of every batch of an epoch, each ``processes``-th one.

    Reshuffled by :meth:`set_epoch`, as torch's DistributedSampler is, and equal to it where
    everything divides without a rest. It differs in two points, for the sake of the result:

    - The order of an epoch is given, and the same for any number of processes. So the processes
      have together, step by step, the batches that one process would have alone.
    - Where the images do not go round, torch's repeats some of them (or drops some). Here every
      image comes once an epoch: some processes have an image less in a batch, or none, and
      :meth:`weight` says what their mean counts for.

    Args:
        count: Images in the set.
        batch_size: Images to a step, all processes together.
        order: From an epoch to the order of its images, a permutation as int64 on the cpu.
        rank: This process, from 0.
        processes: How many there are.

    Attributes:
        batch_size: As given.
        own_size: Images of a whole batch that fall to this process.

    Raises:
        ShareError: ``batch_size`` is less than ``processes``, so that some would never have any.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        order: Callable[[int], torch.Tensor],
        *,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        if batch_size < processes:
            raise ShareError(
                f"a batch of {batch_size} cannot be shared out among {processes} processes: "
                f"--batch-size is that of all of them together. Give {processes} or more, or "
                "start fewer processes."
            )
        places: Any = range(count)  # of which it takes the length alone
        super().__init__(places, num_replicas=processes, rank=rank)
        self.count = count
        self.batch_size = batch_size
        # num_samples and total_size are DistributedSampler's own: __len__ reads the first.
        self.own_size = self._own(batch_size)
        self.num_samples = count // batch_size * self.own_size + self._own(count % batch_size)
        self.total_size = count
        self._order = order

    def __iter__(self) -> Iterator[int]:
        return iter(self.places().tolist())

    def places(self, start: int = 0) -> torch.Tensor:
        """Return the places of this process's images from batch ``start`` on, int64."""
        places = self._order(self.epoch)[start * self.batch_size :]
        if self.num_replicas == 1:
            return places
        # Every n-th of a batch, as DistributedSampler deals them out.
        in_batch = torch.arange(len(places)) % self.batch_size
        return places[in_batch % self.num_replicas == self.rank]

    def weight(self, batch: int) -> float:
        """Return what this process's mean over its images of ``batch`` (from 0) counts for.

        The mean of all processes' means, so weighted, is the mean over the whole batch. 1 where the
        batch divides without a rest, 0 for a process that has no image of it.
        """
        images = min(self.batch_size, self.count - batch * self.batch_size)
        return self._own(images) * self.num_replicas / images

    def _own(self, images: int) -> int:
        """Return how many of the images of a batch fall to this process."""
        return len(range(self.rank, images, self.num_replicas))
