"""Chapter 4, Training a Classifier: the network, its training, its test, its weights on disk."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from blitz import devices
from blitz.base import files as atomic
from blitz.base import tensor_file
from blitz.base.errors import BlitzError
from blitz.data import CLASSES

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images, N x 3 x 32 x 32, and labels, N int64."""

Batches = Iterable[Sequence[torch.Tensor]]
"""What a loader gives: pairs of images (N x 3 x 32 x 32) and labels (N), as list or tuple."""


REPORT_EVERY = 2000
"""Batches to a report of the loss, in the tutorial."""


class WeightsError(BlitzError, RuntimeError):
    """Weights that cannot be written or read; the message names the path, fault and remedy."""


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


@dataclass(frozen=True)
class Report:
    """The loss over some batches of the training; as text, the line that the tutorial prints.

    Attributes:
        epoch: Pass over the training set, from 1.
        batches: Batches of this epoch so far.
        loss: Mean of the losses since the report before it.
        rest: Whether it covers the batches left over at the end of an epoch, fewer than the other
            reports do. The tutorial drops these.
    """

    epoch: int
    batches: int
    loss: float
    rest: bool = False

    def __str__(self) -> str:
        return f"[{self.epoch}, {self.batches:5d}] loss: {self.loss:.3f}"


@dataclass
class RunningLoss:
    """The mean loss over every so many batches, batch by batch; a handful of numbers to keep.

    Attributes:
        every: Batches to a report.
        epoch: Pass over the training set, from 1.
        batches: Batches of this epoch so far.
        total: Sum of the losses since the last report.
    """

    every: int = REPORT_EVERY
    epoch: int = 1
    batches: int = 0
    total: float = 0.0

    def add(self, loss: float) -> Report | None:
        """Take the next batch's loss; the report, where one falls due."""
        self.batches += 1
        self.total += loss
        return self._report(self.every) if self.batches % self.every == 0 else None

    def end_epoch(self) -> Report | None:
        """Go on to the next epoch; the report on the batches left over, if there are any."""
        left = self.batches % self.every
        report = self._report(left, rest=True) if left else None
        self.epoch, self.batches = self.epoch + 1, 0
        return report

    def _report(self, count: int, rest: bool = False) -> Report:
        report = Report(self.epoch, self.batches, self.total / count, rest)
        self.total = 0.0
        return report


class TrainingStep:
    """One step of SGD with each call: (images, labels) in, the loss before the step out.

    Images and labels are moved to the device of the net; the loss is a scalar there, without a
    graph. The net's training mode is left as it is, as in the tutorial. Labels that lie on the cpu
    are checked before they are used, since one that fits no class breaks an accelerator for the
    rest of the process.

    Attributes:
        net: Any module from images to N x classes scores; trained in place.
        optimizer: SGD over its parameters, with the momentum of all steps so far.
        criterion: Cross-entropy.
        device: Where the net's parameters were when this was made.
        exact: Whether the steps are, on the cpu, those of the tutorial's loop to the last bit.
            Otherwise they may be taken by faster kernels, which round otherwise
            (:mod:`blitz.training.tuning`).

    Tutorial: "Define a Loss function and optimizer", and the body of the loop in "Train the
    network".
    """

    def __init__(
        self, net: nn.Module, *, lr: float = 0.001, momentum: float = 0.9, exact: bool = True
    ) -> None:
        """Begin without momentum.

        Raises:
            ValueError: ``net`` has no parameters, or ``lr`` or ``momentum`` is negative.
        """
        self.net = net
        self.exact = exact
        self.criterion = nn.CrossEntropyLoss()
        parameter = next(net.parameters(), None)
        if parameter is None:
            raise ValueError(f"{type(net).__name__} has no parameters to train: use a network.")
        self.device = parameter.device
        # One kernel for all parameters; on the cpu it rounds otherwise than the tutorial's ten.
        fused = self.device.type == "cuda" or (self.device.type == "cpu" and not exact)
        self.optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum, fused=fused)

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Take the step.

        Raises:
            ValueError: a label fits none of the net's outputs.
        """
        self.optimizer.zero_grad()
        loss = self.loss(self.net, images, labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def loss(self, net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean loss of ``net``, a scalar with its graph.

        Raises:
            ValueError: a label fits none of the net's outputs.
        """
        outputs = net(images.to(self.device))
        if labels.device.type == "cpu":
            _check_labels(labels, outputs)
        loss: torch.Tensor = self.criterion(outputs, labels.to(self.device))
        return loss


def training_step(
    net: nn.Module, *, lr: float = 0.001, momentum: float = 0.9, exact: bool = True
) -> TrainingStep:
    """The tutorial's training step for ``net``, where its parameters are now; see the class.

    Raises:
        ValueError: ``net`` has no parameters, or ``lr`` or ``momentum`` is negative.

    Tutorial: "Define a Loss function and optimizer".
    """
    return TrainingStep(net, lr=lr, momentum=momentum, exact=exact)


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
    step = training_step(net, lr=lr, momentum=momentum)
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


@dataclass(frozen=True)
class Accuracy:
    """How many images of each class a net named right; the sums over the classes are exact.

    Attributes:
        class_correct: Images of each class that were named right.
        class_total: Images of each class.
    """

    class_correct: tuple[int, ...]
    class_total: tuple[int, ...]

    @property
    def correct(self) -> int:
        """Images that were named right."""
        return sum(self.class_correct)

    @property
    def total(self) -> int:
        """Images in all."""
        return sum(self.class_total)

    @property
    def percent(self) -> float:
        """Of 100 images, how many were named right."""
        return 100 * self.correct / self.total

    @property
    def class_percent(self) -> tuple[float | None, ...]:
        """The same for each class; None for a class without images, where there is no rate."""
        return tuple(
            100 * correct / total if total else None
            for correct, total in zip(self.class_correct, self.class_total, strict=True)
        )

    def line(self) -> str:
        """The tutorial's line on the whole test set, with the number of images that it had."""
        return f"Accuracy of the network on the {self.total} test images: {int(self.percent)} %"

    def class_lines(self, classes: Sequence[str] = CLASSES) -> list[str]:
        """The tutorial's line for each class; whole per cent, the fraction cut off as it does.

        Raises:
            ValueError: there are not as many names as classes.
        """
        if len(classes) != len(self.class_total):
            raise ValueError(
                f"{len(classes)} names for {len(self.class_total)} classes. Give a name for each."
            )
        return [
            f"Accuracy of {name:>5} : " + ("no images" if rate is None else f"{int(rate):2d} %")
            for name, rate in zip(classes, self.class_percent, strict=True)
        ]


def evaluate(net: nn.Module, loader: Batches) -> Accuracy:
    """Count, over all batches, how many images ``net`` names right, in all and for each class.

    Any batch size gives the same counts, a short last batch included. No gradient is recorded; the
    net is in evaluation mode meanwhile, and each of its modules in its former mode afterwards.

    Raises:
        ValueError: the loader gave no batch, or a label fits none of the net's outputs.

    Tutorial: "Test the network on the test data".
    """
    correct: Counter[int] = Counter()
    total: Counter[int] = Counter()
    classes = 0
    with _evaluation(net):
        for images, labels in loader:
            outputs = net(_beside(net, images))
            labels = labels.cpu()
            _check_labels(labels, outputs)
            classes = outputs.shape[1]
            total.update(labels.tolist())
            correct.update(labels[outputs.argmax(1).cpu() == labels].tolist())
    if not total:
        raise ValueError(_no_batch("to test the net on"))
    return Accuracy(
        class_correct=tuple(correct[label] for label in range(classes)),
        class_total=tuple(total[label] for label in range(classes)),
    )


def predict(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The class with the highest score for each of N images: N int64 labels, on the net's device.

    Which of several equal scores wins depends on the device.

    Tutorial: "Test the network on the test data".
    """
    with _evaluation(net):
        scores: torch.Tensor = net(_beside(net, images))
        return scores.argmax(1)


def probabilities(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The softmax of the net's scores, N x classes on its device: each row sums to 1.

    Tutorial: "Test the network on the test data", where the scores themselves are taken for
    probabilities.
    """
    with _evaluation(net):
        return torch.softmax(net(_beside(net, images)), dim=1)


def class_names(
    labels: torch.Tensor | Sequence[int], classes: Sequence[str] = CLASSES
) -> list[str]:
    """The names of ``labels``, N integers, on any device.

    Raises:
        ValueError: a label is not the number of a class.
    """
    numbers = labels.tolist() if isinstance(labels, torch.Tensor) else list(labels)
    for number in numbers:
        if number not in range(len(classes)):
            raise ValueError(
                f"label {number!r} names none of {len(classes)} classes. Give whole numbers from "
                f"0 to {len(classes) - 1}."
            )
    return [classes[int(number)] for number in numbers]


def labels_line(labels: torch.Tensor | Sequence[int], classes: Sequence[str] = CLASSES) -> str:
    """The names of ``labels`` (N integers, on any device) in a line, each set right in 5 columns.

    Raises:
        ValueError: a label is not the number of a class.

    Tutorial: "Load and normalize CIFAR10", "Test the network on the test data".
    """
    return " ".join(f"{name:>5}" for name in class_names(labels, classes))


def save(net: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write the weights of ``net`` (its state_dict, nothing else) to ``path``, whole or not at all.

    A file that is there already is replaced once the new one is complete on the disk.

    Raises:
        WeightsError: the file cannot be written there, or the net lies on meta and has no values.

    Tutorial: "Train the network".
    """
    state = net.state_dict()
    if any(tensor.is_meta for tensor in state.values()):
        raise WeightsError(
            f"{path}: not written, since the net lies on meta and has no values. Save a net that "
            "lies on the cpu or on an accelerator."
        )
    try:
        atomic.write(path, tensor_file.dump(state))
    except OSError as error:
        raise WeightsError(
            f"{path}: the weights cannot be written there: {error.strerror or error}. Choose a "
            "file in an existing folder that you may write to, on a disk with room."
        ) from error


def load(
    path: str | os.PathLike[str], device: str | torch.device = "cpu", width: int | None = 6
) -> Net:
    """A net of ``width`` on ``device`` with the weights that :func:`save` wrote to ``path``.

    A ``width`` of None takes the one that the file has.

    The file is not trusted: its checksums are compared, only tensors are read from it, and no code
    in it runs. The random generator is left as it was.

    Raises:
        WeightsError: there is no such file, it is damaged, holds something else than the weights
            of such a net, or would run code.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Test the network on the test data".
    """
    device = devices.resolve(device)
    state = _read_state(Path(path), device)
    found = _width_of(state)
    if None not in (found, width) and found != width:
        raise WeightsError(
            f"{path}: holds a net of width {found}, not {width}. Load it with width={found}."
        )
    with torch.random.fork_rng(devices=[]):
        net = Net(found or width or 1).to(device)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{path}: holds the weights of another net. Give a file that classifier.save wrote. "
            f"(torch: {error})"
        ) from error
    return net


def _width_of(state: dict[str, torch.Tensor]) -> int | None:
    """The width of the net that ``state`` is of; None where it is another network's."""
    first = state.get("conv1.weight")
    return len(first) if first is not None and first.shape[1:] == (3, 5, 5) else None


def _read_state(path: Path, device: torch.device) -> dict[str, torch.Tensor]:
    """The tensors by name in the file ``path``, which is not trusted."""
    remedy = "Save the weights again with classifier.save, or give another file."
    try:
        state = tensor_file.read(path, device, "a file of weights")
    except tensor_file.UnreadableFile as error:
        raise WeightsError(f"{path}: {error}. {remedy}") from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and torch.is_tensor(weight) and weight.is_floating_point()
        for name, weight in state.items()
    ):
        raise WeightsError(
            f"{path}: holds a {type(state).__name__} that is not a state_dict of float tensors by "
            f"name. {remedy}"
        )
    return state


@contextmanager
def _evaluation(net: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; each module's own mode again afterwards."""
    training = {module: module.training for module in net.modules()}
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in training.items():
            module.training = mode


def _beside(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """``images`` on the device of the net's parameters; as they are for a net without any."""
    parameter = next(net.parameters(), None)
    return images if parameter is None else images.to(parameter.device)


def _check_labels(labels: torch.Tensor, outputs: torch.Tensor) -> None:
    """Refuse labels that are not N whole numbers, each that of a column of ``outputs``."""
    classes = outputs.shape[1]
    if labels.shape != outputs.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"labels of shape {tuple(labels.shape)}, {labels.dtype}, for {len(outputs)} images: "
            "give a class number for each, int64."
        )
    wrong = [label for label in labels.tolist() if not 0 <= label < classes]
    if wrong:
        raise ValueError(
            f"label {wrong[0]} fits none of the net's {classes} outputs. Give labels from 0 to "
            f"{classes - 1}, or a net with more outputs."
        )


def _no_batch(where: str) -> str:
    return (
        f"the loader gave no batch {where}. Give one over a data set with images, and not an "
        "iterator, which is empty after one pass."
    )
