"""The classifier beyond what the tutorial shows: nets of other widths, batches without images."""

import torch

from blitz import classifier


def test_width_is_that_of_the_first_convolution() -> None:
    net = classifier.Net(width=12)

    assert net.conv1.weight.shape == (12, 3, 5, 5)
    assert net.conv2.weight.shape == (16, 12, 5, 5)
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_empty_batch_gives_an_empty_answer() -> None:
    assert classifier.Net()(torch.zeros(0, 3, 32, 32)).shape == (0, 10)


def test_names_are_those_of_the_classes_given() -> None:
    assert classifier.names(torch.tensor([1, 0, 1]), ("no", "yes")) == "  yes    no   yes"
    assert classifier.names(torch.tensor([9])) == "truck"
