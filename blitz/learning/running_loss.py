"""The mean loss over every so many batches, as the tutorial reports it.

Tutorial: "Train the network".
"""

from collections.abc import Sequence
from dataclasses import dataclass

REPORT_EVERY = 2000
"""Batches to a report of the loss, in the tutorial."""


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


def reports(losses: Sequence[float], batches: int, every: int, since: int = 0) -> list[Report]:
    """Return the reports that fall due after the first ``since`` of all ``losses``.

    There is one every so many of the ``batches`` of an epoch, and one for those left over.
    """
    found = []
    for done in range(since, len(losses)):
        epoch, batch = done // batches + 1, done % batches + 1
        left = batch % every
        if left == 0 or batch == batches:
            count = left or every
            total = 0.0
            for loss in losses[done + 1 - count : done + 1]:
                total += loss  # as the tutorial adds; sum() rounds otherwise from Python 3.12 on
            found.append(Report(epoch, batch, total / count, rest=left > 0))
    return found
