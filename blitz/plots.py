"""Pictures: what the tutorial shows of its images, as arrays to look into and figures to save.

matplotlib is imported where a figure is drawn, so that nothing else needs it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from blitz.classifier import class_names
from blitz.data import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        predicted: N class numbers that a net gave them; a wrong one makes the title red and stands
            behind the right name.
        classes: The names of the classes.

    Raises:
        ValueError: there are no images, or not as many labels; a label has no name.
        ImportError: matplotlib is not installed.

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
    figure = _figure(1.2 * columns, 1.4 * rows)
    for number, (image, name, answer) in enumerate(zip(images, names, answers, strict=True), 1):
        axes = figure.add_subplot(rows, columns, number)
        axes.imshow(to_array(image).clip(0, 1), cmap="gray", vmin=0, vmax=1)
        title, color = (name, "black") if answer == name else (f"{name}: {answer}", "red")
        axes.set_title(title, fontsize=8, color=color)
        axes.set_axis_off()
    return figure


def _figure(width: float, height: float) -> "Figure":
    """An empty figure of that many inches, drawn in memory."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"pictures need matplotlib, which cannot be imported ({error}). Install it: "
            "pip install matplotlib"
        ) from error
    figure = Figure(figsize=(width, height), layout="tight")
    FigureCanvasAgg(figure)
    return figure
