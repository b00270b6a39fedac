"""One training step on any device.

Tutorial: "Define a Loss function and optimizer", and the body of the loop in "Train the network".
"""

import torch
from torch import nn

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images, N x 3 x 32 x 32, and labels, N int64."""


class TrainingStep:
    """One step of SGD with each call: (images, labels) in, the loss before the step out.

    Images and labels are moved to the device of the net; the loss is a scalar there, without a
    graph. The net's training mode is left as it is, as in the tutorial.

    Attributes:
        net: Any module from images to N x classes scores; trained in place.
        forward: What gives the scores: the net, or where several processes take the step the net
            as :meth:`blitz.parallel.processes.Group.parallel` wraps it.
        optimizer: SGD over its parameters, with the momentum of all steps so far.
        criterion: Cross-entropy.
        device: Where the net's parameters were when this was made.
        exact: Whether the steps are, on the cpu, those of the tutorial's loop to the last bit.
            Otherwise they may be taken by faster kernels, which round otherwise
            (:mod:`blitz.training.tuning`).
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        lr: float = 0.001,
        momentum: float = 0.9,
        exact: bool = True,
        forward: nn.Module | None = None,
    ) -> None:
        """Begin without momentum."""
        self.net = net
        self.forward = net if forward is None else forward
        self.exact = exact
        self.criterion = nn.CrossEntropyLoss()
        self.device = next(net.parameters()).device
        # One kernel for all parameters; on the cpu it rounds otherwise than the tutorial's ten.
        fused = self.device.type == "cuda" or (self.device.type == "cpu" and not exact)
        self.optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum, fused=fused)

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, weight: float = 1.0
    ) -> torch.Tensor:
        """Take the step with a batch, which :meth:`loss` takes."""
        self.optimizer.zero_grad()
        loss = self.loss(images, labels, weight)
        loss.backward()
        self.optimizer.step()
        # No item(): that would wait for an accelerator at every step.
        return loss.detach()

    def loss(self, images: torch.Tensor, labels: torch.Tensor, weight: float = 1.0) -> torch.Tensor:
        """Return the mean loss times ``weight``, a scalar with its graph.

        DistributedDataParallel divides the sum of the gradients by the number of processes, as if
        all had the same number of images; :meth:`blitz.parallel.shares.Rank.weight` sets it right.
        """
        outputs = self.forward(images.to(self.device))
        loss: torch.Tensor = self.criterion(outputs, labels.to(self.device))
        return loss if weight == 1 else loss * weight
