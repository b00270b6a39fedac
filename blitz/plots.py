"""Pictures: what the tutorial shows of its images, as arrays to look into and figures to save.

matplotlib is imported where a figure is drawn, so that nothing else needs it.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import torch

from blitz.base.errors import BlitzError
from blitz.data import CLASSES
from blitz.learning.evaluation import Accuracy, class_names
from blitz.learning.running_loss import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, SKY, VERMILLION = "#0072B2", "#56B4E9", "#D55E00"
"""Of the colours by Okabe and Ito, which people who see fewer colours can tell apart."""


class NoMatplotlib(BlitzError, ImportError):
    """matplotlib cannot be imported; the message says what to do."""


def unnormalize(images: torch.Tensor) -> torch.Tensor:
    """``images`` of any shape, from [-1, 1] back to [0, 1].

    Undoes ``Normalize`` with mean and standard deviation 0.5, and no other.

    Tutorial: "Load and normalize CIFAR10".
    """
    return images / 2 + 0.5


def to_array(image: torch.Tensor) -> np.ndarray:
    """A normalised image (C x H x W, in [-1, 1], on any device) as the array a plot takes.

    Returns:
        H x W x C, float, in [0, 1]: rows, columns, then red, green and blue.

    Raises:
        ValueError: ``image`` is not C x H x W with 1 or 3 channels.

    Tutorial: "Load and normalize CIFAR10".
    """
    if image.dim() != 3 or image.shape[0] not in (1, 3):
        raise ValueError(
            f"image of shape {tuple(image.shape)}: a picture needs C x H x W with 1 or 3 channels. "
            "Take one image of a batch, as in images[0]."
        )
    return unnormalize(image.detach()).cpu().numpy().transpose(1, 2, 0)


def sample_grid(
    images: torch.Tensor,
    labels: Sequence[int] | torch.Tensor,
    predicted: Sequence[int] | torch.Tensor | None = None,
    *,
    classes: Sequence[str] = CLASSES,
) -> "Figure":
    """A figure of images, 8 to a row, each under the name of its class; no window opens.

    Args:
        images: N x C x H x W in [-1, 1], on any device.
        labels: Their N class numbers.
        predicted: N class numbers that a net gave them. The net's answer then stands under the
            right name, with ✓ and a thin blue frame, or with ✗ and a thick, dashed orange one.
        classes: The names of the classes.

    Raises:
        ValueError: there are no images, or not as many labels; a label has no name.
        NoMatplotlib: matplotlib is not installed.

    Tutorial: "Load and normalize CIFAR10", "Test the network on the test data".
    """
    names = class_names(labels, classes)
    answers = names if predicted is None else class_names(predicted, classes)
    if not len(images) or not len(images) == len(names) == len(answers):
        raise ValueError(
            f"{len(images)} images, {len(names)} labels, {len(answers)} predicted: give one label "
            "for each image, and one image at least."
        )
    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    figure = blank_figure(max(3.0, 1.2 * columns), 1.5 * rows + 0.4)
    for number, (image, name, answer) in enumerate(zip(images, names, answers, strict=True), 1):
        axes = figure.add_subplot(rows, columns, number)
        axes.imshow(to_array(image).clip(0, 1), cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=9)
        if predicted is not None:
            _mark(axes, name, answer)
    if predicted is None:
        figure.suptitle(f"{len(names)} images and their classes", fontsize=11)
    else:
        right = sum(name == answer for name, answer in zip(names, answers, strict=True))
        figure.suptitle(
            f"Ground truth above, the net's answer below: {right} of {len(names)} right (✓)",
            fontsize=11,
        )
    return figure


def _mark(axes: "Axes", name: str, answer: str) -> None:
    """The net's answer under an image, told apart by a sign, by the frame and by its colour."""
    right = name == answer
    color, width, style = (BLUE, 1.5, "solid") if right else (VERMILLION, 3.5, (0, (3, 1.5)))
    axes.set_xlabel(f"{'✓' if right else '✗'} {answer}", fontsize=9, color=color)
    for side in axes.spines.values():
        side.set(color=color, linewidth=width, linestyle=style)


def loss_curve(
    reports: Sequence[Report], fine: Sequence[Report], batches_per_epoch: int
) -> "Figure":
    """A figure of the loss over the batches of a training.

    Args:
        reports: The means that the training printed, each drawn over the batches it is of.
        fine: Means over fewer batches, drawn as a curve.
        batches_per_epoch: Batches in an epoch; the epochs' ends are marked.

    Raises:
        ValueError: there is no report.
        NoMatplotlib: matplotlib is not installed.
    """
    if not reports or not fine:
        raise ValueError("there is no report of the loss to draw. Train for one batch at least.")
    figure = blank_figure(7, 4.2)
    axes = figure.add_subplot()
    spans = _spans(fine, batches_per_epoch)
    label = f"mean over {fine[0].batches:,} batches"
    axes.plot([end for _, end in spans], [r.loss for r in fine], color=SKY, label=label)
    starts, ends = zip(*_spans(reports, batches_per_epoch), strict=True)
    losses = [report.loss for report in reports]
    axes.hlines(losses, starts, ends, color=BLUE, linewidth=2.5, label="mean as printed")
    axes.plot(ends, losses, "o", color=BLUE, markersize=5)
    for epoch in range(1, reports[-1].epoch):
        once = "end of an epoch" if epoch == 1 else None
        axes.axvline(epoch * batches_per_epoch, color="0.5", linestyle=":", label=once)
    axes.set(xlabel="batches", ylabel="loss (cross-entropy)", title="Loss on the training images")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(left=0)
    axes.grid(axis="y", color="0.9")
    axes.legend(frameon=False)
    return figure


def _spans(reports: Sequence[Report], per_epoch: int) -> list[tuple[int, int]]:
    """The batches that each report is of, from and to, counted through all epochs."""
    ends = [(report.epoch - 1) * per_epoch + report.batches for report in reports]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def class_bars(accuracy: Accuracy, classes: Sequence[str] = CLASSES) -> "Figure":
    """A figure of the share of each class that was named right, beside chance and the whole.

    Raises:
        ValueError: there are not as many names as classes.
        NoMatplotlib: matplotlib is not installed.
    """
    rates = accuracy.class_percent
    if len(classes) != len(rates):
        raise ValueError(f"{len(classes)} names for {len(rates)} classes. Give a name for each.")
    figure = blank_figure(7, 4.2)
    axes = figure.add_subplot()
    places = range(len(rates))
    axes.barh(places, [rate or 0 for rate in rates], color=SKY, edgecolor=BLUE)
    for place, rate in zip(places, rates, strict=True):
        text = "no images" if rate is None else f"{rate:.1f} %"
        axes.text(101, place, text, va="center", fontsize=9)
    axes.axvline(
        accuracy.percent, color=BLUE, linestyle="--", label=f"all classes: {accuracy.percent:.1f} %"
    )
    chance = 100 / len(rates)
    axes.axvline(chance, color=VERMILLION, linestyle=":", label=f"chance: {chance:.0f} %")
    axes.set_yticks(places, classes)
    axes.invert_yaxis()
    axes.set(
        xlim=(0, 100),
        xlabel="named right (per cent of the class)",
        title=f"Accuracy of each class on {accuracy.total:,} test images",
    )
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    return figure


def png(figure: "Figure") -> bytes:
    """``figure`` as the content of a PNG file."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def blank_figure(width: float, height: float) -> "Figure":
    """An empty figure of that many inches, drawn in memory: no window, and no pyplot.

    Raises:
        NoMatplotlib: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NoMatplotlib(
            f"pictures need matplotlib, which cannot be imported ({error}). Install it: "
            "pip install matplotlib"
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
