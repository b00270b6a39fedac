"""Chapter 4, Training a Classifier: the network and its training."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import nn

from blitz.learning.running_loss import REPORT_EVERY, Report, RunningLoss
from blitz.learning.step import Batches, TrainingStep


class Net(nn.Module):
    """Two convolutions with pooling and three linear layers, from 3 x 32 x 32 images to 10 classes.

    Args:
        width: Channels that the first convolution makes. The tutorial has 6, and leaves trying a
            wider net on a GPU as an exercise.

    Raises:
        ValueError: ``width`` is less than 1, or an input is not N x 3 x 32 x 32.

    Tutorial: "Define a Convolutional Neural Network".
    """

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width {width}: a net needs a channel. Give 1 or more.")
        self.conv1 = nn.Conv2d(3, width, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(width, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """A score for each class, N x 10: the larger, the more likely. Not probabilities."""
        if images.shape[1:] != (3, 32, 32):
            raise ValueError(
                f"images of shape {tuple(images.shape)}: this net takes N x 3 x 32 x 32. Resize "
                "the images, turn grey ones to RGB, and give a single one as image.unsqueeze(0)."
            )
        x = self.pool(F.relu(self.conv1(images)))  # N x width x 14 x 14
        x = self.pool(F.relu(self.conv2(x)))  # N x 16 x 5 x 5
        x = torch.flatten(x, 1)  # N x 400
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        scores: torch.Tensor = self.fc3(x)
        return scores


def train(
    net: nn.Module,
    loader: Batches,
    *,
    epochs: int = 2,
    lr: float = 0.001,
    momentum: float = 0.9,
    report_every: int = REPORT_EVERY,
    on_report: Callable[[Report], object] | None = None,
) -> list[Report]:
    """Train ``net`` in place, batch by batch, on the device that its parameters are on.

    Args:
        net: Any module from images to N x classes scores.
        loader: Gives the batches, anew for each epoch; a DataLoader, or a list of pairs.
        epochs: Passes over the loader.
        lr: Learning rate of SGD.
        momentum: Momentum of SGD.
        report_every: Batches to a report.
        on_report: Called with each report when it is due; ``print`` shows what the tutorial shows.

    Returns:
        A report for every ``report_every`` batches of an epoch, and one with ``rest`` set for what
        is left at its end.

    Raises:
        ValueError: ``epochs`` or ``report_every`` is less than 1, ``lr`` or ``momentum`` negative,
            the net has no parameters, the loader gave no batch, or a label fits none of the net's
            outputs.

    Tutorial: "Train the network".
    """
    if epochs < 1 or report_every < 1:
        raise ValueError(f"epochs={epochs}, report_every={report_every}: give 1 or more for both.")
    step = TrainingStep(net, lr=lr, momentum=momentum)
    running = RunningLoss(report_every)
    reports: list[Report] = []
    for _ in range(epochs):
        for report in _epoch(step, loader, running):
            reports.append(report)
            if on_report is not None:
                on_report(report)
    return reports


def _epoch(step: TrainingStep, loader: Batches, running: RunningLoss) -> Iterator[Report]:
    """Take a step with every batch of ``loader``; the reports as they fall due."""
    for images, labels in loader:
        report = running.add(step(images, labels).item())
        if report is not None:
            yield report
    if running.batches == 0:
        raise ValueError(_no_batch(f"in epoch {running.epoch}"))
    rest = running.end_epoch()
    if rest is not None:
        yield rest


def _no_batch(where: str) -> str:
    return (
        f"the loader gave no batch {where}. Give one over a data set with images, and not an "
        "iterator, which is empty after one pass."
    )
