"""Pictures of a training: images with their classes, the loss, the accuracy of each class.

matplotlib is imported where a figure is drawn, so that nothing else needs it.
"""

from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from blitz.base.errors import BlitzError
from blitz.data import CLASSES
from blitz.learning.evaluation import Accuracy
from blitz.learning.running_loss import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, SKY, VERMILLION = "#0072B2", "#56B4E9", "#D55E00"
"""From the palette of Okabe and Ito, whose colours colour-blind people can tell apart."""


class NoMatplotlib(BlitzError, ImportError):
    """matplotlib cannot be imported; the message says what to do."""


def sample_grid(
    images: torch.Tensor, labels: torch.Tensor, predicted: torch.Tensor | None = None
) -> "Figure":
    """Return a figure of images, 8 to a row, each under the name of its class.

    Args:
        images: N x 3 x H x W in [-1, 1], on any device; one or more.
        labels: Their N class numbers.
        predicted: N class numbers that a net gave them. The net's answer then stands under the
            image, with ✓ and a thin blue frame, or with ✗ and a thick, dashed orange one.

    Raises NoMatplotlib, as all of these figures do.

    Tutorial: "Load and normalize CIFAR10", "Test the network on the test data".
    """
    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    figure = blank_figure(max(3.0, 1.2 * columns), 1.5 * rows + 0.4)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.imshow((image / 2 + 0.5).clip(0, 1).permute(1, 2, 0).numpy(force=True))
        axes.set(xticks=[], yticks=[])
        axes.set_title(CLASSES[label])
        if predicted is not None:
            _mark(axes, CLASSES[int(predicted[number])], right=label == int(predicted[number]))
    if predicted is None:
        title = f"{len(images)} images and their classes"
    else:
        right = int((labels.cpu() == predicted.cpu()).sum())
        title = f"Ground truth above, the net's answer below: {right} of {len(images)} right (✓)"
    figure.suptitle(title)
    return figure


def _mark(axes: "Axes", answer: str, right: bool) -> None:
    """Write the net's answer under an image; sign, frame and colour tell whether it is right."""
    color, width, style = (BLUE, 1.5, "solid") if right else (VERMILLION, 3.5, "dashed")
    axes.set_xlabel(f"{'✓' if right else '✗'} {answer}", color=color)
    for side in axes.spines.values():
        side.set(color=color, linewidth=width, linestyle=style)


def loss_curve(
    reports: Sequence[Report], fine: Sequence[Report], batches_per_epoch: int
) -> "Figure":
    """Return a figure of the loss over the batches of a training.

    Args:
        reports: The means that the training printed, each drawn over its batches; one or more.
        fine: Means over fewer batches, drawn as a curve; one or more.
        batches_per_epoch: Batches in an epoch; the epochs' ends are marked.
    """
    figure = blank_figure(7, 4.2)
    axes = figure.add_subplot()
    spans = _spans(fine, batches_per_epoch)
    label = f"mean over {fine[0].batches:,} batches"
    axes.plot([end for _, end in spans], [r.loss for r in fine], color=SKY, label=label)
    starts, ends = zip(*_spans(reports, batches_per_epoch), strict=True)
    losses = [report.loss for report in reports]
    axes.hlines(losses, starts, ends, color=BLUE, linewidth=2.5, label="mean as printed")
    axes.plot(ends, losses, "o", color=BLUE)
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
    """Return the batches of each report, from and to, counted through all epochs."""
    ends = [(report.epoch - 1) * per_epoch + report.batches for report in reports]
    return list(pairwise([0, *ends]))


def class_bars(accuracy: Accuracy) -> "Figure":
    """Return a figure of the accuracy of each class, beside chance and the whole."""
    rates = accuracy.class_percent
    figure = blank_figure(7, 4.2)
    axes = figure.add_subplot()
    axes.barh(range(len(rates)), [rate or 0 for rate in rates], color=SKY, edgecolor=BLUE)
    for row, rate in enumerate(rates):
        text = "no images" if rate is None else f"{rate:.1f} %"
        axes.text(101, row, text, va="center")
    whole, chance = accuracy.percent, 100 / len(rates)
    axes.axvline(whole, color=BLUE, linestyle="--", label=f"all classes: {whole:.1f} %")
    axes.axvline(chance, color=VERMILLION, linestyle=":", label=f"chance: {chance:.0f} %")
    axes.set_yticks(range(len(rates)), CLASSES)
    axes.invert_yaxis()
    axes.set(
        xlim=(0, 100),
        xlabel="named right (per cent of the class)",
        title=f"Accuracy of each class on {accuracy.total:,} test images",
    )
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    return figure


def png(figure: "Figure") -> bytes:
    """Return ``figure`` as the content of a PNG file, 120 dots to an inch."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def blank_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of that many inches, drawn in memory: no window, and no pyplot."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NoMatplotlib(
            f"pictures need matplotlib, which cannot be imported ({error}). Install it: "
            "pip install matplotlib"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")
