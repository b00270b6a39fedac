"""Which of the processes this one is, and which images of every batch it has.

Tutorial: "Training on multiple GPUs".
"""

from typing import NamedTuple

import torch


class Rank(NamedTuple):
    """A process among those of one training, which has each n-th image of every batch.

    Where everything divides without a rest these are the ones that torch's DistributedSampler
    gives it. Where it does not, torch's repeats some images (or drops some). Here every image comes
    once an epoch: some processes have an image less in a batch, or none, and :meth:`weight` says
    what their mean counts for.

    Attributes:
        rank: Its number, from 0.
        processes: How many there are.
        beside: How many of them share the memory of this machine.
    """

    rank: int = 0
    processes: int = 1
    beside: int = 1

    def share(self, order: torch.Tensor, batch_size: int) -> torch.Tensor:
        """Return what this process has of ``order``, image by image the batches of all."""
        in_batch = torch.arange(len(order)) % batch_size
        return order[in_batch % self.processes == self.rank]

    def size(self, batch_size: int) -> int:
        """Return how many of the images of a batch fall to this process."""
        return len(range(self.rank, batch_size, self.processes))

    def weight(self, batch_size: int) -> float:
        """Return what this process's mean over its images of a batch counts for.

        The mean of all processes' means, so weighted, is the mean over the whole batch. 1 where the
        batch divides without a rest, 0 for a process that has no image of it.
        """
        return self.size(batch_size) * self.processes / batch_size


WHOLE = Rank()
"""The only process, which has all of every batch."""
