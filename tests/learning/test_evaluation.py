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

    def test_net_without_parameters_takes_images_where_they_are(self) -> None:
        assert evaluation.predict(nn.Identity(), torch.eye(3)).tolist() == [0, 1, 2]


def test_accuracy_of_all_and_of_each_class() -> None:
    accuracy = Accuracy((0, 1, 1), (0, 2, 1))

    assert (accuracy.correct, accuracy.total) == (2, 3)
    assert accuracy.percent == pytest.approx(200 / 3)
    assert accuracy.class_percent == (None, 50, 100)


def test_lines_are_in_whole_per_cent_and_count_the_images_there_were() -> None:
    lines = Accuracy((5599, *9 * (0,)), (10_000, *9 * (0,))).lines()

    assert lines[:3] == [
        "Accuracy of the network on the 10000 test images: 55 %",
        "Accuracy of plane : 55 %",
        "Accuracy of   car : no images",
    ]
    assert len(lines) == 11
