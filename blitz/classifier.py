"""Chapter 4, Training a Classifier: the network, and the loops that train and test it."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from blitz.data import CLASSES

Loader = Iterable[Sequence[torch.Tensor]]
"""Pairs of images (N x 3 x 32 x 32) and labels (N, int64), as a DataLoader gives them."""


class Net(nn.Module):
    """Two convolutions with pooling and three linear layers, from 3 x 32 x 32 images to 10 scores.

    Args:
        width: Channels between the convolutions. The text has 6; a wider net is its exercise on a
            GPU.

    Tutorial: "Define a Convolutional Neural Network".
    """

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(width, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores of N x 3 x 32 x 32 images, N x 10: not probabilities."""
        x = self.pool(F.relu(self.conv1(x)))  # N x width x 14 x 14
        x = self.pool(F.relu(self.conv2(x)))  # N x 16 x 5 x 5
        # Other sizes than 32 x 32 end in another N here; upstream's torch.flatten(x, 1) keeps N.
        x = x.view(-1, 16 * 5 * 5)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        scores: torch.Tensor = self.fc3(x)
        return scores


def names(labels: torch.Tensor | Sequence[int], classes: Sequence[str] = CLASSES) -> str:
    """Return the class names of N integer ``labels`` as a line, each set right in five columns.

    Tutorial: "Load and normalize CIFAR10", "Test the network on the test data".
    """
    return " ".join(f"{classes[label]:>5}" for label in labels)


def train(
    net: nn.Module,
    trainloader: Loader,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int = 2,
    every: int = 2000,
) -> list[tuple[int, int, float]]:
    """Train ``net`` in place on batches that lie on its device.

    Returns:
        For every ``every`` batches of an epoch: the epoch and the batch, both from 1, and the mean
        of these losses. Batches left over at the end of an epoch are not reported.

    Tutorial: "Train the network".
    """
    reports = []
    for epoch in range(epochs):
        running_loss = 0.0
        for i, data in enumerate(trainloader):
            inputs, labels = data
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            if i % every == every - 1:
                reports.append((epoch + 1, i + 1, running_loss / every))
                running_loss = 0.0
    return reports


def count_correct(net: nn.Module, testloader: Loader) -> tuple[int, int]:
    """Return how many images ``net`` names right, and how many there are.

    Tutorial: "Test the network on the test data".
    """
    correct = total = 0
    with torch.no_grad():
        for images, labels in testloader:
            _, predicted = torch.max(net(images), 1)
            total += labels.size(0)
            correct += int((predicted == labels).sum().item())
    return correct, total


def count_by_class(net: nn.Module, testloader: Loader) -> tuple[list[float], list[float]]:
    """Return the same for each of the ten classes, from batches of four.

    Of a larger batch the rest is not counted; a smaller one is an IndexError.

    Tutorial: "Test the network on the test data".
    """
    correct, total = [0.0] * 10, [0.0] * 10
    with torch.no_grad():
        for images, labels in testloader:
            _, predicted = torch.max(net(images), 1)
            hits = (predicted == labels).squeeze()
            for i in range(4):
                correct[labels[i]] += hits[i].item()
                total[labels[i]] += 1
    return correct, total


def count_by_name(
    net: nn.Module, testloader: Loader, classes: Sequence[str] = CLASSES
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the same for each class by its name, from batches of any size.

    Tutorial: "Test the network on the test data", as upstream has it today.
    """
    correct, total = dict.fromkeys(classes, 0), dict.fromkeys(classes, 0)
    with torch.no_grad():
        for images, labels in testloader:
            _, predicted = torch.max(net(images), 1)
            for label, prediction in zip(labels, predicted, strict=True):
                correct[classes[label]] += int(label == prediction)
                total[classes[label]] += 1
    return correct, total
