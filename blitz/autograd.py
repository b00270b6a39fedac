"""Chapter 2, torch.autograd: a training step, frozen parameters, and what a step has moved."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn


def training_step(model: nn.Module, data: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Train ``model`` by one step of gradient descent, and return the loss before it.

    Data and labels lie on the model's device. The labels have the shape of the output, or one that
    is broadcast to it. Gradients stay in ``.grad``, added to those that were there.

    Tutorial: "Usage in PyTorch".
    """
    prediction = model(data)
    # Linear and without a minimum: the labels change no gradient. It shows the mechanics only.
    loss: torch.Tensor = (prediction - labels).sum()
    loss.backward()
    optim = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    optim.step()
    return loss


def freeze(model: nn.Module) -> None:
    """Stop autograd from tracking the parameters of ``model``.

    Tutorial: "Exclusion from the DAG".
    """
    # Buffers are no parameters: in train mode BatchNorm goes on updating its statistics.
    for param in model.parameters():
        param.requires_grad = False


def snapshot(named: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Copy named tensors, such as ``model.named_parameters()``, out of reach of later training."""
    return {name: tensor.detach().clone() for name, tensor in named}


def moved(
    before: Mapping[str, torch.Tensor], named: Iterable[tuple[str, torch.Tensor]]
) -> set[str]:
    """Return the names of the tensors that differ from those of a :func:`snapshot`.

    Parameters move by training; buffers, such as BatchNorm's statistics, by a forward pass.
    """
    return {name for name, tensor in named if not torch.equal(before[name], tensor)}
