"""What is done for speed alone computes what the plain way computes."""

import copy

import pytest
import torch
from torch import nn

from blitz import tuning


def batches(count):
    return [(torch.randn(4, 3), torch.randint(2, (4,))) for _ in range(count)]


def plain_step(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def trained(net, step, drawn, momentum):
    """The parameters after a step of ``step`` with each batch, and the optimizer's state."""
    net = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=momentum, fused=True)
    for images, labels in drawn:
        step(optimizer, nn.functional.cross_entropy(net(images), labels))
    state = optimizer.state_dict()["state"]
    return [p.tolist() for p in net.parameters()], {
        place: kept["momentum_buffer"].tolist() for place, kept in state.items()
    }


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_sgd_step_is_that_of_the_optimizer_to_the_last_bit(momentum):
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    drawn = batches(6)

    parameters, momenta = trained(net, tuning.sgd_step, drawn, momentum)
    expected, expected_momenta = trained(net, plain_step, drawn, momentum)

    assert parameters == expected
    assert momenta == expected_momenta
    assert parameters != [p.tolist() for p in net.parameters()]


def test_sgd_step_leaves_frozen_and_unused_parameters_alone():
    net = nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2)})
    net["used"].bias.requires_grad_(False)
    before = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, fused=True)

    tuning.sgd_step(optimizer, net["used"](torch.randn(4, 3)).square().sum())

    same = {
        name: torch.equal(moved, before.get_parameter(name))
        for name, moved in net.named_parameters()
    }
    assert same == {
        "used.weight": False,
        "used.bias": True,
        "unused.weight": True,
        "unused.bias": True,
    }
    assert all(parameter.grad is None for parameter in net.parameters())
