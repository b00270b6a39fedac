"""The mean loss over every so many batches, as the tutorial reports it.

Tutorial: "Train the network".
"""

from dataclasses import dataclass, field

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


@dataclass
class RunningLoss:
    """The mean loss over every so many batches, batch by batch; no loss of a batch is kept.

    Attributes:
        every: Batches to a report.
        epoch: Pass over the training set, from 1.
        batches: Batches of this epoch so far.
        total: Sum of the losses since the last report.
        reports: All reports so far.
    """

    every: int = REPORT_EVERY
    epoch: int = 1
    batches: int = 0
    total: float = 0.0
    reports: list[Report] = field(default_factory=list)

    def add(self, loss: float) -> list[Report]:
        """Take the next batch's loss; return the report, where one falls due."""
        self.batches += 1
        self.total += loss
        return [self._report(self.every)] if self.batches % self.every == 0 else []

    def end_epoch(self) -> list[Report]:
        """Go on to the next epoch; return the report on batches left over, if there are any."""
        # The tutorial drops these: of 12,500 batches the last 500 go unreported.
        left = self.batches % self.every
        due = [self._report(left, rest=True)] if left else []
        self.epoch, self.batches = self.epoch + 1, 0
        return due

    def _report(self, count: int, rest: bool = False) -> Report:
        report = Report(self.epoch, self.batches, self.total / count, rest)
        self.reports.append(report)
        self.total = 0.0
        return report
