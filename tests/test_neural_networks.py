"""What chapter 3's programs hand back, apart from what the specification says of torch."""

import torch
from torch import nn

from blitz.neural_networks import Net, Net5x5, train


def summed(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """A loss that is the target's sum, whatever the output is."""
    return target.sum() + 0 * output.sum()


class TestTrain:
    def test_returns_the_mean_loss_of_each_epoch(self) -> None:
        x = torch.ones(1, 1)
        batches = [(x, torch.tensor([1.0])), (x, torch.tensor([2.0])), (x, torch.tensor([6.0]))]

        losses = train(nn.Linear(1, 1), batches, summed, lambda: None, epochs=2)

        assert losses == [3.0, 3.0]

    def test_updates_after_each_batch_with_its_gradients_alone(self) -> None:
        layer = nn.Linear(1, 1, bias=False)
        batches = [(torch.tensor([[x]]), torch.zeros(())) for x in (2.0, 5.0)]
        seen = []

        train(layer, batches, lambda o, _: o.sum(), lambda: seen.append(layer.weight.grad), 2)

        assert [gradient.item() for gradient in seen] == [2.0, 5.0, 2.0, 5.0]


def test_network_of_5x5_kernels_has_the_layers_of_the_other_in_order() -> None:
    names = [name for name, _ in Net().named_parameters()]

    assert [name for name, _ in Net5x5().named_parameters()] == names
