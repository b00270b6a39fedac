"""The running loss: the mean over so many batches, and over what is left of an epoch."""

from blitz.learning.running_loss import Report, RunningLoss


def test_reports_the_mean_of_its_own_batches_and_of_the_rest_and_keeps_it() -> None:
    running = RunningLoss(2)

    due = [running.add(loss) for loss in (1.0, 2.0, 3.0, 5.0, 7.0)] + [running.end_epoch()]
    due += [running.add(1.0), running.add(3.0), running.end_epoch()]

    rest = Report(1, 5, 7.0, rest=True)
    expected = [Report(1, 2, 1.5), Report(1, 4, 4.0), rest, Report(2, 2, 2.0)]
    assert due == [[], expected[:1], [], expected[1:2], [], [rest], [], expected[3:], []]
    assert running == RunningLoss(2, 3, 0, 0.0, expected)


def test_reports_every_2000_batches_where_nothing_is_said() -> None:
    assert RunningLoss().every == 2000


def test_report_reads_as_the_tutorial_prints_it() -> None:
    assert str(Report(1, 2000, 1.0)) == "[1,  2000] loss: 1.000"
    assert str(Report(2, 12000, 1.2566)) == "[2, 12000] loss: 1.257"
