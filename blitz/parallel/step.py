"""The training step of several processes: each computes its share, then gradients are averaged.

Tutorial: "Training on multiple GPUs".
"""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from blitz.learning.step import TrainingStep


class DistributedStep(TrainingStep):
    """One step of SGD on the mean loss over the whole batch, of which each process has a share.

    To be made on all processes, once they have joined: the first one's net is copied to the others.
    ``net`` is the bare one, whose weights have the names that they have on a single device.

    Args:
        net: As of :class:`TrainingStep`.
        lr: Learning rate of SGD.
        momentum: Momentum of SGD.
        exact: As of :class:`TrainingStep`.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        lr: float = 0.001,
        momentum: float = 0.9,
        exact: bool = True,
    ) -> None:
        super().__init__(net, lr=lr, momentum=momentum, exact=exact)
        # DistributedDataParallel refuses device_ids for a net on the cpu.
        places = None if self.device.type == "cpu" else [self.device]
        self.parallel = DistributedDataParallel(net, device_ids=places)

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, weight: float = 1.0
    ) -> torch.Tensor:
        """Take the step and return the mean loss of this process's images, times ``weight``.

        Args:
            images: This process's share of the batch.
            labels: Theirs.
            weight: What the mean over them counts for
                (:meth:`blitz.parallel.shares.RankSampler.weight`). DistributedDataParallel divides
                the sum of the gradients by the number of processes, as if all had the same number
                of images; the weights set that right.
        """
        self.optimizer.zero_grad()
        loss = self.loss(self.parallel, images, labels) * weight
        loss.backward()
        self.optimizer.step()
        return loss.detach()
