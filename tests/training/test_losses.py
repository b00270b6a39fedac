"""The losses of a training, as means over some batches."""

from blitz.learning.running_loss import Report, RunningLoss
from blitz.training.losses import Losses


def test_reports_become_due_and_are_kept() -> None:
    losses = Losses(RunningLoss(4), RunningLoss(2))

    due = [losses.add(loss) for loss in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)]
    due.append(losses.end_epoch())
    due.append(losses.add(9.0))

    reports = [Report(1, 4, 2.5), Report(1, 7, 19 / 3, rest=True)]
    assert due == [[], [], [], reports[:1], [], [], [], reports[1:], []]
    assert losses.reports == reports
    assert losses.curve == [
        Report(1, 2, 1.5),
        Report(1, 4, 3.5),
        Report(1, 6, 5.5),
        Report(1, 7, 8.0, rest=True),
    ]
    assert (losses.running, losses.fine) == (RunningLoss(4, 2, 1, 9.0), RunningLoss(2, 2, 1, 9))
