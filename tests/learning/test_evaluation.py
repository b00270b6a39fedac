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


class TestPredict:
    def test_is_the_class_with_the_highest_score(self) -> None:
        labels = evaluation.predict(Given(), torch.tensor([[0.0, 1.0, 2.0], [3.0, 1.0, 2.0]]))

        assert (labels.tolist(), labels.dtype) == ([2, 0], torch.int64)

    def test_runs_in_evaluation_mode_and_restores_each_module(self) -> None:
        first, last = Given(), Given()
        net = nn.Sequential(first, nn.Dropout().eval(), last).train()
        net[1].eval()

        evaluation.predict(net, torch.eye(3))

        assert first.seen == last.seen == [(False, False)]
        assert [module.training for module in net] == [True, False, True]
        assert torch.is_grad_enabled()

    def test_images_go_where_the_net_is(self) -> None:
        assert evaluation.predict(nn.Linear(2, 3, device="meta"), torch.zeros(5, 2)).is_meta


def test_accuracy_of_all_and_of_each_class() -> None:
    accuracy = Accuracy((0, 1, 1), (0, 2, 1))

    assert (accuracy.correct, accuracy.total) == (2, 3)
    assert accuracy.percent == pytest.approx(200 / 3)
    assert accuracy.class_percent == (None, 50, 100)


class TestLines:
    def test_accuracy_is_whole_per_cent_of_the_images_there_were(self) -> None:
        accuracy = Accuracy((5599,), (10_000,))

        assert accuracy.percent == pytest.approx(55.99)
        assert accuracy.line() == "Accuracy of the network on the 10000 test images: 55 %"
        assert Accuracy((4,), (7,)).line() == "Accuracy of the network on the 7 test images: 57 %"

    def test_class_without_images(self) -> None:
        lines = Accuracy((1, *9 * (0,)), (1, *9 * (0,))).class_lines()

        assert lines[:2] == ["Accuracy of plane : 100 %", "Accuracy of   car : no images"]
