"""Chapter 3, Neural Networks: LeNet, an operation with a gradient of its own, and training."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    """LeNet with kernels of 3x3: ten numbers for each grey image of 32x32 pixels.

    Tutorial: "Define the network".
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3)
        self.conv2 = nn.Conv2d(6, 16, 3)
        self.fc1 = nn.Linear(16 * 6 * 6, 120)  # 16 maps; 6x6 is what is left of 32x32 pixels
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ten numbers for each image: (N, 1, 32, 32) in, (N, 10) out.

        Sides of 30 to 33 pixels fit as well, since pooling drops the odd row and column.
        """
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))  # (N, 6, 15, 15)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # (N, 16, 6, 6)
        x = x.view(-1, self.num_flat_features(x))  # (N, 576)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = self.fc3(x)
        return x

    def num_flat_features(self, x: torch.Tensor) -> int:
        """Return the product of all sizes of ``x`` but the first, which is the batch's."""
        features = 1
        for size in x.size()[1:]:
            features *= size
        return features


class Net5x5(Net):
    """LeNet with kernels of 5x5, as today's English tutorial and LeNet itself have it.

    Tutorial: "Define the network" (English).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)


class Cube(torch.autograd.Function):
    """x³ with a gradient written by hand; called as ``Cube.apply(x)``.

    Tutorial: "Define the network", recap: ``autograd.Function``.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """Return the cube of every element of ``x``, of any shape."""
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> torch.Tensor:
        """Return the incoming gradient times 3x²."""
        x: torch.Tensor
        (x,) = ctx.saved_tensors
        return grad_output * 3 * x * x


def update_weights(net: nn.Module, learning_rate: float = 0.01) -> None:
    """Take the learning rate times its gradient off every parameter of ``net``, through ``.data``.

    Autograd does not see the change: a later backward pass over an older graph is wrong in silence.

    Raises:
        AttributeError: a parameter has no gradient yet.

    Tutorial: "Update the weights".
    """
    for f in net.parameters():
        f.data.sub_(f.grad.data * learning_rate)  # type: ignore[union-attr]  # None has no .data


def train(
    net: nn.Module,
    batches: Sequence[tuple[torch.Tensor, torch.Tensor]],
    criterion: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    update: Callable[[], object],
    epochs: int,
) -> list[float]:
    """Train ``net`` on ``batches`` over and over, and return the mean loss of each pass.

    Args:
        net: The network.
        batches: Inputs, each with the target that the output for them is compared with.
        criterion: Makes a loss of output and target.
        update: Updates the parameters: the ``step`` of an optimizer, or :func:`update_weights`.
        epochs: How often to pass over the batches.

    Tutorial: "Neural Networks", the typical procedure; "Update the weights".
    """
    means = []
    for _ in range(epochs):
        total = 0.0
        for inputs, target in batches:
            net.zero_grad()
            loss = criterion(net(inputs), target)
            loss.backward()
            update()
            total += loss.item()
        means.append(total / len(batches))
    return means
