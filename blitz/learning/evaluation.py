"""A net's test: its predictions, and how many of them are right.

Tutorial: "Test the network on the test data".
"""

from dataclasses import dataclass

import torch
from torch import nn

from blitz.data import CLASSES


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

    def lines(self) -> list[str]:
        """Return the tutorial's lines on all images and on each class, without fractions."""
        return [
            f"Accuracy of the network on the {self.total} test images: {int(self.percent)} %",
            *(
                f"Accuracy of {name:>5} : " + ("no images" if rate is None else f"{int(rate):2d} %")
                for name, rate in zip(CLASSES, self.class_percent, strict=True)
            ),
        ]


def predict(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the class with the highest score for each of N images, int64, on the net's device.

    Which of several equal scores wins depends on the device. No gradient is recorded. The net's
    mode is left as it is, as in the tutorial, whose net has no layer that depends on it.
    """
    parameter = next(net.parameters(), images)
    with torch.no_grad():
        scores: torch.Tensor = net(images.to(parameter.device))
        return scores.argmax(1)
