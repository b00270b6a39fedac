"""The running loss: the mean over so many batches, and over what is left of an epoch."""

import itertools

from blitz.learning import running_loss
from blitz.learning.running_loss import Report


def test_reports_are_means_of_their_own_batches_and_of_the_rest_as_they_fall_due() -> None:
    losses = [1.0, 2.0, 3.0, 5.0, 7.0, 1.0, 3.0, 5.0]

    found = running_loss.reports(losses, batches=5, every=2)

    first = [Report(1, 2, 1.5), Report(1, 4, 4.0), Report(1, 5, 7.0, rest=True)]
    assert found == [*first, Report(2, 2, 2.0)]
    stops = [0, 1, 4, 5, 8]
    parts = [
        running_loss.reports(losses[:stop], 5, 2, since)
        for since, stop in itertools.pairwise(stops)
    ]
    assert parts == [[], found[:2], found[2:3], found[3:]]


def test_sum_is_the_tutorials() -> None:
    (report,) = running_loss.reports([1e16, 1.0, 1.0], batches=3, every=3)

    assert report.loss == 1e16 / 3  # sum() gives 1e16 + 2 from Python 3.12 on


def test_report_reads_as_the_tutorial_prints_it() -> None:
    assert str(Report(1, 2000, 1.0)) == "[1,  2000] loss: 1.000"
    assert str(Report(2, 12000, 1.2566)) == "[2, 12000] loss: 1.257"
