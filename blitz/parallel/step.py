"""The training step of several processes: each computes its share, then gradients are averaged.

Tutorial: "Training on multiple GPUs".
"""

from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from blitz.learning.step import TrainingStep


class DistributedStep(TrainingStep):
    """One step of SGD on the mean loss over the whole batch, of which each process has a share.

    To be made on all processes, once they have joined: the first one's net is copied to the others.
    ``net`` is the bare one, whose weights have the names that they have on a single device.
    """

    def __init__(self, net: nn.Module, **settings: Any) -> None:
        super().__init__(net, **settings)
        # DistributedDataParallel refuses device_ids for a net on the cpu.
        places = None if self.device.type == "cpu" else [self.device]
        self.forward = DistributedDataParallel(net, device_ids=places)

    def loss(self, images: torch.Tensor, labels: torch.Tensor, weight: float = 1.0) -> torch.Tensor:
        """Return the mean loss of this process's images, times ``weight``.

        DistributedDataParallel divides the sum of the gradients by the number of processes, as if
        all had the same number of images; :meth:`blitz.parallel.shares.Share.weight` sets it right.
        """
        return super().loss(images, labels) * weight
