"""A net's test: what is counted, in which mode, and how it is printed."""

import pytest
import torch
from torch import nn

from blitz.learning import evaluation
from blitz.learning.evaluation import Accuracy


class Given(nn.Module):
    """Gives what it is given, and notes its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        self.seen.append((self.training, torch.is_grad_enabled()))
        return scores


class TestEvaluate:
    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_counts_by_hand_in_batches_of_any_size(self, size: int) -> None:
        scores = torch.tensor([[0.0, 1.0, 2.0], [3.0, 1.0, 2.0], [0.0, 5.0, 2.0]]).split(size)
        labels = torch.tensor([2, 1, 1]).split(size)

        accuracy = evaluation.evaluate(Given(), list(zip(scores, labels, strict=True)))

        assert accuracy == Accuracy((0, 1, 1, *7 * (0,)), (0, 2, 1, *7 * (0,)))
        assert (accuracy.correct, accuracy.total) == (2, 3)
        assert accuracy.percent == pytest.approx(200 / 3)
        assert accuracy.class_percent[:3] == (None, 50, 100)

    def test_runs_in_evaluation_mode_and_restores_each_module(self) -> None:
        first, last = Given(), Given()
        net = nn.Sequential(first, nn.Dropout().eval(), last).train()
        net[1].eval()

        evaluation.evaluate(net, [(torch.eye(3), torch.arange(3))])

        assert first.seen == last.seen == [(False, False)]
        assert [module.training for module in net] == [True, False, True]
        assert torch.is_grad_enabled()

    def test_images_go_where_the_net_is(self) -> None:
        class Elsewhere(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.ones(1, device="meta"))

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                assert images.device == torch.device("meta")
                return torch.eye(3)

        accuracy = evaluation.evaluate(Elsewhere(), [(torch.zeros(3, 2), torch.arange(3))])

        assert accuracy.class_correct[:3] == (1, 1, 1)


class TestLines:
    def test_accuracy_is_whole_per_cent_of_the_images_there_were(self) -> None:
        accuracy = Accuracy((5599,), (10_000,))

        assert accuracy.percent == pytest.approx(55.99)
        assert accuracy.line() == "Accuracy of the network on the 10000 test images: 55 %"
        assert Accuracy((4,), (7,)).line() == "Accuracy of the network on the 7 test images: 57 %"

    def test_class_without_images(self) -> None:
        lines = Accuracy((1, *9 * (0,)), (1, *9 * (0,))).class_lines()

        assert lines[:2] == ["Accuracy of plane : 100 %", "Accuracy of   car : no images"]
