"""A training step: its settings, its device, its losses, and the labels that it refuses."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from blitz import classifier
from blitz.learning.step import TrainingStep


class TestTrainingStep:
    def test_has_the_tutorials_settings_where_none_are_given(self) -> None:
        step = TrainingStep(classifier.Net())

        defaults = step.optimizer.defaults
        assert (defaults["lr"], defaults["momentum"], step.exact) == (0.001, 0.9, True)
        assert not defaults["fused"]

    def test_moves_images_and_labels_to_the_net(self) -> None:
        step = TrainingStep(classifier.Net().to("meta"))
        seen = []

        def criterion(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            seen.append((outputs.device.type, labels.device.type))
            return outputs.sum()

        step.criterion = criterion
        step(torch.ones(2, 3, 32, 32), torch.tensor([1, 2]))

        assert seen == [("meta", "meta")]

    def test_loss_has_no_graph(self) -> None:
        step = TrainingStep(classifier.Net())

        loss = step(torch.ones(2, 3, 32, 32), torch.tensor([1, 2]))

        assert loss.shape == ()
        assert not loss.requires_grad

    @pytest.mark.parametrize("exact", [True, False])
    @pytest.mark.parametrize(("place", "fused"), [("cuda", True), ("xpu", False)])
    def test_one_kernel_updates_all_parameters_on_cuda(
        self, place: str, fused: bool, exact: bool
    ) -> None:
        class Elsewhere(nn.Parameter):
            """It says that it is somewhere else than it is."""

            device = torch.device(place)

        net = nn.ParameterList([Elsewhere(torch.ones(1))])

        assert TrainingStep(net, exact=exact).optimizer.defaults["fused"] is fused

    def test_is_that_of_the_chapters_loop_to_the_last_bit(self) -> None:
        net = classifier.Net()
        step = TrainingStep(copy.deepcopy(net))
        images = TensorDataset(torch.rand(15, 3, 32, 32) * 2 - 1, torch.arange(15) % 10)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)

        reports = classifier.train(
            net, DataLoader(images, 4), nn.CrossEntropyLoss(), optimizer, epochs=2, every=1
        )
        losses = [step(*batch).item() for batch in [*DataLoader(images, 4)] * 2]

        assert losses == [loss for _, _, loss in reports]
        for mine, theirs in zip(step.net.parameters(), net.parameters(), strict=True):
            assert torch.equal(mine, theirs)
