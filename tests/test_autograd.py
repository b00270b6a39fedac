"""What chapter 2 leaves open of its functions; the rest of them spec/test_2_autograd.py tries."""

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from blitz import autograd


def test_moved_names_what_differs_from_the_snapshot() -> None:
    net = nn.Linear(2, 1)
    before = autograd.snapshot(net.named_parameters())

    nn.init.zeros_(net.weight)

    assert autograd.moved(before, net.named_parameters()) == {"weight"}


def test_snapshot_is_not_tracked() -> None:
    before = autograd.snapshot(nn.Linear(2, 1).named_parameters())

    assert [copy.requires_grad for copy in before.values()] == [False, False]


def test_labels_that_differ_in_shape_are_broadcast() -> None:
    net, data = nn.Linear(3, 2), torch.ones(1, 3)
    expected = (net(data).sum() - 2 * 5).item()

    loss = autograd.training_step(net, data, torch.tensor(5.0))

    torch.testing.assert_close(loss.item(), expected)


def test_step_is_the_texts_sgd_with_momentum() -> None:
    steps = []
    hook = register_optimizer_step_post_hook(lambda sgd, *_: steps.append(sgd.defaults))

    autograd.training_step(nn.Linear(3, 2), torch.ones(1, 3), torch.ones(1, 2))
    hook.remove()

    assert [(step["lr"], step["momentum"]) for step in steps] == [(0.01, 0.9)]
