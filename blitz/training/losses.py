"""The losses of a training, as means over some batches."""

from dataclasses import dataclass, field

from blitz.learning.running_loss import Report, RunningLoss


@dataclass
class Losses:
    """The losses of a training so far; none is kept batch by batch.

    Attributes:
        running: Means over as many batches as the tutorial prints.
        fine: Means over fewer, for a curve.
        reports: What ``running`` gave so far.
        curve: What ``fine`` gave so far.
    """

    running: RunningLoss
    fine: RunningLoss
    reports: list[Report] = field(default_factory=list)
    curve: list[Report] = field(default_factory=list)

    def add(self, loss: float) -> list[Report]:
        """Add the next batch's loss, and return the reports that are due."""
        # The curve is drawn, never printed: only reports are due.
        self.curve += _listed(self.fine.add(loss))
        return self._due(self.running.add(loss))

    def end_epoch(self) -> list[Report]:
        """Begin the next epoch, and return the report on the batches left over, if any."""
        self.curve += _listed(self.fine.end_epoch())
        return self._due(self.running.end_epoch())

    def _due(self, report: Report | None) -> list[Report]:
        self.reports += _listed(report)
        return _listed(report)


def _listed(report: Report | None) -> list[Report]:
    return [] if report is None else [report]
