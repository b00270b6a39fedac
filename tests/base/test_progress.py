"""The bar on a terminal, and nothing where there is none."""

import io
from types import SimpleNamespace
from typing import Any

import pytest

from blitz.base import progress
from blitz.base.progress import Bar
from tests.clocks import give_clock


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that stands until it is set."""
    now = [0.0]
    give_clock(monkeypatch, progress, monotonic=lambda: now[0])
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return now


def test_shows_what_is_done_the_pace_and_the_time_left(clock: Any) -> None:
    stream = Terminal()
    with Bar(1000, "batches", stream=stream) as bar:
        clock[0] = 10.0
        bar.update(250)

    shown = stream.getvalue().split("\r")
    assert shown[2] == f" 25% {'█' * 6}{'░' * 18} 250 of 1,000 batches, 25/s, 30 s left\x1b[K"
    assert shown[-1] == "\x1b[K"


def test_what_was_done_before_does_not_count_for_the_pace(clock: Any) -> None:
    clock[0] = 90.0
    bar = Bar(1000, "batches", done=900, stream=Terminal())
    clock[0] = 100.0
    bar.update(950)

    assert bar.text(80).endswith("950 of 1,000 batches, 5/s, 10 s left")


def test_lines_stand_above_the_bar(clock: Any) -> None:
    stream, out = Terminal(), io.StringIO()
    with Bar(2, "batches", stream=stream, out=out) as bar:
        bar.line("loss: 2.3")

    assert out.getvalue() == "loss: 2.3\n"
    assert stream.getvalue().count("\x1b[K") == 4  # drawn, cleared, drawn, cleared


def test_line_takes_the_place_of_the_bar_where_both_are_on_one_terminal(clock: Any) -> None:
    terminal = Terminal()
    with Bar(2, "batches", stream=terminal, out=terminal) as bar:
        bar.line("loss: 2.3")

    assert "\x1b[K\r\x1b[Kloss: 2.3\n\r" in terminal.getvalue()


def test_is_not_drawn_more_often_than_eyes_can_see(clock: Any) -> None:
    stream = Terminal()
    bar = Bar(100, "batches", stream=stream)
    for done in range(100):
        clock[0] += 0.01
        bar.update(done)

    assert 9 <= stream.getvalue().count("\r") <= 11


def test_fits_a_narrow_terminal(clock: Any) -> None:
    assert len(Bar(10**9, "batches", stream=Terminal()).text(20)) == 19


def test_ascii_terminal_gets_no_blocks(clock: Any) -> None:
    stream = Terminal()
    stream.encoding = "ascii"
    bar = Bar(10, "batches", stream=stream)
    bar.update(5)

    assert stream.getvalue().isascii()


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_without_a_terminal_there_are_lines_alone(
    clock: Any, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    monkeypatch.setenv("TERM", term)
    stream, out = Terminal() if term == "dumb" else io.StringIO(), io.StringIO()
    with Bar(2, "batches", stream=stream, out=out) as bar:
        bar.update(1)
        bar.line("loss: 2.3")

    assert stream.getvalue() == ""
    assert out.getvalue() == "loss: 2.3\n"


@pytest.mark.parametrize(
    ("seconds", "words"), [(7.6, "8 s"), (125, "2:05 min"), (3725, "1:02:05 h"), (59.7, "1:00 min")]
)
def test_durations(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words


def test_starts_with_nothing_done(clock: Any) -> None:
    stream = Terminal()
    with Bar(4, "batches", stream=stream):
        pass

    assert stream.getvalue() == f"\r  0% {'░' * 24} 0 of 4 batches\x1b[K\r\x1b[K"


@pytest.mark.parametrize(
    ("done", "seconds", "pace"),
    [
        (0, 10.0, ""),
        (1, 0.0, ""),
        (1, 1.0, ", 1/s, 3 s left"),
        (1, 0.5, ", 2/s, 2 s left"),
        (4, 2.0, ", 2/s, 0 s left"),
    ],
)
def test_pace_is_said_once_there_is_one(clock: Any, done: int, seconds: float, pace: str) -> None:
    bar = Bar(4, "batches", stream=Terminal())
    clock[0] = seconds
    bar.update(done)

    assert bar.text(80).endswith(f"░ {done} of 4 batches{pace}" if done < 4 else pace)


def test_of_nothing_is_all_done(clock: Any) -> None:
    assert Bar(0, "batches", stream=Terminal()).text(80) == f"100% {'█' * 24} 0 of 0 batches"


@pytest.mark.parametrize(
    ("encoding", "blocks"),
    [("utf-8", "████████████░░░░░░░░░░░░"), ("UTF8", "████████████░░░░░░░░░░░░")]
    + [(other, "") for other in ("ascii", "latin-1", None)],
)
def test_blocks_need_an_encoding_that_has_them(
    clock: Any, encoding: str | None, blocks: str
) -> None:
    stream = Terminal()
    stream.encoding = encoding
    bar = Bar(10, "batches", stream=stream)
    bar.update(5)

    assert bar.text(80) == f" 50% {blocks} 5 of 10 batches"


def test_stream_that_says_nothing_of_an_encoding_gets_no_blocks(clock: Any) -> None:
    stream: Any = SimpleNamespace(isatty=lambda: True)

    assert Bar(10, "batches", stream=stream).text(80) == "  0%  0 of 10 batches"


def test_is_drawn_again_after_a_tenth_of_a_second(clock: Any) -> None:
    stream = Terminal()
    bar = Bar(4, "batches", stream=stream)

    drawn = []
    for clock[0] in (0.05, 0.1, 0.15):
        bar.update(1)
        drawn.append(stream.getvalue().count("\r"))

    assert drawn == [0, 1, 1]


def test_what_is_written_is_seen_at_once(clock: Any) -> None:
    class Flushed(Terminal):
        flushed = 0

        def flush(self) -> None:
            self.flushed = len(self.getvalue())

    stream, out = Flushed(), Flushed()
    with Bar(2, "batches", stream=stream, out=out) as bar:
        assert stream.flushed == len(stream.getvalue()) > 0
        bar.line("loss: 2.3")
        assert out.flushed == len(out.getvalue()) > 0

    assert stream.flushed == len(stream.getvalue())


def test_goes_to_where_people_look(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr, stdout = Terminal(), io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", stderr)
    monkeypatch.setattr(progress.sys, "stdout", stdout)

    with Bar(2, "batches") as bar:
        bar.line("loss: 2.3")

    assert "0 of 2 batches" in stderr.getvalue()
    assert stdout.getvalue() == "loss: 2.3\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1:00 min"), (3599, "59:59 min"), (7200, "2:00:00 h")],
)
def test_durations_turn_over(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words
