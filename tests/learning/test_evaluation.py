"""A net's test: what is counted, and how it is printed."""

import pytest
import torch
from torch import nn

from blitz.learning import evaluation
from blitz.learning.evaluation import Accuracy


class TestPredict:
    def test_is_the_class_with_the_highest_score(self) -> None:
        net = nn.Linear(3, 3)
        nn.init.eye_(net.weight)

        labels = evaluation.predict(net, torch.tensor([[0.0, 10.0, 20.0], [30.0, 10.0, 20.0]]))

        assert (labels.tolist(), labels.dtype) == ([2, 0], torch.int64)

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
