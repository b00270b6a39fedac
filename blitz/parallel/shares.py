"""Which of the processes this one is, and which images of every batch it has.

Tutorial: "Training on multiple GPUs".
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from blitz.base.errors import BlitzError


class Rank(NamedTuple):
    """A process among those of one training.

    Attributes:
        rank: Its number, from 0.
        processes: How many there are.
        beside: How many of them share the memory of this machine.
    """

    rank: int = 0
    processes: int = 1
    beside: int = 1


WHOLE = Rank()
"""The only process, which has all of every batch."""


@dataclass(frozen=True)
class Share:
    """One process's images: of every batch of an epoch, each n-th one.

    Where everything divides without a rest these are the ones that torch's DistributedSampler
    gives it. Where it does not, torch's repeats some images (or drops some). Here every image comes
    once an epoch: some processes have an image less in a batch, or none, and :meth:`weight` says
    what their mean counts for.

    Attributes:
        count: Images in the set.
        batch_size: Images to a step, all processes together.
        rank: Which process this is.

    Raises:
        BlitzError: ``batch_size`` is less than the processes, so that some would never have any.
    """

    count: int
    batch_size: int
    rank: Rank = WHOLE

    def __post_init__(self) -> None:
        if self.batch_size < self.rank.processes:
            raise BlitzError(
                f"a batch of {self.batch_size} cannot be shared out among {self.rank.processes} "
                "processes: --batch-size is that of all of them together. Give "
                f"{self.rank.processes} or more, or start fewer processes."
            )

    @property
    def own_size(self) -> int:
        """Images of a whole batch that fall to this process."""
        return self._own(self.batch_size)

    def of(self, order: torch.Tensor, start: int = 0) -> torch.Tensor:
        """Return what this process has of an epoch's ``order``, from batch ``start`` on."""
        places = order[start * self.batch_size :]
        in_batch = torch.arange(len(places)) % self.batch_size
        return places[in_batch % self.rank.processes == self.rank.rank]

    def weight(self, batch: int) -> float:
        """Return what this process's mean over its images of ``batch`` (from 0) counts for.

        The mean of all processes' means, so weighted, is the mean over the whole batch. 1 where the
        batch divides without a rest, 0 for a process that has no image of it.
        """
        images = min(self.batch_size, self.count - batch * self.batch_size)
        return self._own(images) * self.rank.processes / images

    def _own(self, images: int) -> int:
        """Return how many of the images of a batch fall to this process."""
        return len(range(self.rank.rank, images, self.rank.processes))
