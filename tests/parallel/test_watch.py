"""The watch over processes that wait for each other, with a store and a clock that stand in."""

import io
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from blitz.parallel import watch as distributed_watch
from blitz.parallel.watch import Ledger, Watch
from tests.clocks import give_clock

NOW = 1000.0


class Shared:
    """A store in the memory of this process; one that is gone answers nothing."""

    def __init__(self, **content: str) -> None:
        self.content = {key: value.encode() for key, value in content.items()}
        self.gone = ""

    def set(self, key: str, value: str) -> None:
        self._answer()
        self.content[key] = value.encode()

    def get(self, key: str) -> bytes:
        self._answer()
        return self.content[key]

    def check(self, keys: list[str]) -> bool:
        self._answer()
        return all(key in self.content for key in keys)

    def _answer(self) -> None:
        if self.gone:
            raise RuntimeError(self.gone)


class Script:
    """Stands in for the event that stops a watch: what each wait returns, and how long it was."""

    def __init__(self, *stopped: bool) -> None:
        self.stopped = list(stopped)
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.stopped.pop(0)

    def is_set(self) -> bool:
        return False


def said(store: Shared, *words: str) -> Shared:
    """The store after each process, from 0 on, has said its words."""
    for rank, each in enumerate(words):
        store.set(str(rank), each)
    return store


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [NOW]
    give_clock(monkeypatch, distributed_watch, monotonic=lambda: now[0])
    return now


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed_watch, "GRACE", 0.01)


class TestLedger:
    """Of three processes with a limit of 10 seconds; each line: when, who, what it said."""

    @pytest.mark.parametrize(
        ("lines", "now", "fault"),
        [
            (["0 0 1 4 1", "0 1 1 4 1", "0 2 1 4 1"], 10, None),
            (
                ["0 0 1 4 1", "0 1 1 4 1", "0 2 1 4 1", "10.6 0 2 4 1", "10.6 2 2 4 1"],
                10.6,
                "rank 1 has given no sign of life for 11 s; it had reached step 4",
            ),
            (["0 0 1 4 1", "0 1 1 4 1", "0 2 1 4 1", "9 0 1 5 1", "9 2 2 5 1"], 10, None),
            (["0 0 1 4 1", "0 1 1 4 1", "0 2 1 5 1", "9 0 2 4 1", "9 1 2 4 1"], 10, None),
            (
                ["2 0 1 4 1", "2 1 1 4 1", "2 2 1 5 1", "6 0 2 5 1", "11 1 2 4 1", "11 2 2 5 1"],
                12.5,
                "rank 1 has not reached step 5 for 10 s",
            ),
            (
                ["0 0 1 4 1", "5 0 2 5 1", "5 1 2 6 1", "5 2 2 7 1", "14 0 3 5 1"],
                15,
                None,
            ),
            (
                ["0 0 1 4 0", "0 1 1 4 1", "0 2 1 5 1", "9 0 2 4 1", "9 1 2 5 1", "9 2 2 5 1"],
                18,
                None,
            ),
            (
                ["0 0 1 4 1", "1 1 1 4 1", "6 2 1 4 1", "9 0 2 4 1", "9 1 2 4 1", "9 2 2 4 1"],
                16,
                None,
            ),
            (
                ["0 0 1 4 1", "1 1 1 4 1", "6 2 1 4 1", "9 0 2 4 1", "9 1 2 4 1", "9 2 2 4 1"],
                16.6,
                "no rank has got past step 4 for 11 s, though each has reached it: a device, or "
                "the link between two, hangs",
            ),
            (["0 0 1 4 1", "1 1 1 4 1", "9 0 2 4 1", "9 1 2 4 1"], 16.6, None),
            (
                ["0 0 1 4 1", "1 1 1 4 0", "6 2 1 4 1", "9 0 2 4 1", "9 1 2 4 0", "9 2 2 4 1"],
                16.6,
                None,
            ),
            (["0 0 1 0 0", "0 1 1 4 1", "9 0 2 0 0", "9 1 2 4 1"], 11, None),
        ],
        ids=[
            *("at the limit", "silent", "one spoke the same again", "behind, at the limit"),
            *("behind", "ahead one by one", "busy only now", "together, at the limit", "together"),
            *("one was never heard", "one is not busy", "behind, but not busy"),
        ],
    )
    def test_names_the_one_that_hangs(
        self, lines: list[str], now: float, fault: str | None
    ) -> None:
        ledger = Ledger(limit=10, processes=3)

        for line in lines:
            moment, rank, words = line.split(" ", 2)
            ledger.heard(int(rank), words, float(moment))

        assert ledger.fault(now) == fault


class TestSignsOfLife:
    def test_tell_how_many_there_were_the_step_and_whether_it_is_busy(self) -> None:
        store = Shared()
        watch = Watch(store, 2, 3, 10.0)

        seen = []
        for step, busy in [(None, None), (7, True), (7, False)]:
            if step is not None:
                watch.step, watch.busy = step, busy
            watch._beat()
            seen.append(store.content)
            store.content = {}

        assert seen == [{"2": b"1 0 0"}, {"2": b"2 7 1"}, {"2": b"3 7 0"}]

    def test_begin_at_once_go_on_beside_the_work_and_end(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(distributed_watch, "BEAT", 0.01)
        store, signs, more = Shared(), [], threading.Event()
        take = store.set

        def note(key: str, value: str) -> None:
            take(key, value)
            signs.append((key, value, threading.current_thread().name))
            if len(signs) > 2:
                more.set()

        monkeypatch.setattr(store, "set", note)
        threads = set(threading.enumerate())
        watch = Watch(store, 0, 1, 0.0)
        watch.start()
        (thread,) = set(threading.enumerate()) - threads
        assert more.wait(10)
        watch.stop()

        own = threading.current_thread().name
        assert signs[:3] == [("0", f"{n} 0 0", own if n == 1 else "watch") for n in (1, 2, 3)]
        assert (thread.name, thread.daemon, thread.is_alive()) == ("watch", True, False)

    def test_that_are_held_up_do_not_hold_up_the_end(
        self, monkeypatch: pytest.MonkeyPatch, short_grace: None
    ) -> None:
        monkeypatch.setattr(distributed_watch, "BEAT", 0.01)
        store, asked, answered = Shared(), threading.Event(), threading.Event()

        def check(keys: list[str]) -> bool:
            asked.set()
            answered.wait(5)
            raise RuntimeError("Connection reset")

        monkeypatch.setattr(store, "check", check)
        watch = Watch(store, 0, 1, 0.0)
        watch.start()
        assert asked.wait(10)

        watch.stop()

        assert watch._thread.is_alive()
        answered.set()
        watch._thread.join(10)

    @pytest.mark.parametrize("limit", [0.0, 2.0, 100.0])
    def test_come_every_second_or_four_times_within_the_limit(
        self, monkeypatch: pytest.MonkeyPatch, limit: float
    ) -> None:
        watch: Any = Watch(Shared(), 0, 1, limit)
        watch._stopped = Script(False, False, True)
        made: list[tuple[float, int]] = []

        def ledger(*arguments: Any) -> Ledger:
            made.append(arguments)
            return Ledger(*arguments)

        monkeypatch.setattr(distributed_watch, "Ledger", ledger)

        watch._run()

        assert watch._stopped.waits == [{0.0: 0.25, 2.0: 0.5, 100.0: 1.0}[limit]] * 3
        assert made == [(limit or float("inf"), 1)]

    def test_of_the_others_are_looked_for_by_the_first_and_of_the_first_by_the_others(
        self, now: list[float]
    ) -> None:
        class Heard:
            def __init__(self) -> None:
                self.lines: list[tuple[int, str, float]] = []

            def heard(self, rank: int, words: str, now: float) -> None:
                self.lines.append((rank, words, now))

            def fault(self, now: float) -> str:
                return f"asked at {now:g}"

        seen = []
        for rank in range(3):
            heard: Any = Heard()
            store = said(Shared(), "5 1 0", "5 1 0", "5 1 0")
            assert Watch(store, rank, 3, 10.0)._look(heard) == "asked at 1000"
            seen.append(heard.lines)
        heard = Heard()
        Watch(Shared(), 0, 3, 10.0)._look(heard)

        assert seen[0] == [(0, "1 0 0", NOW), (1, "5 1 0", NOW), (2, "5 1 0", NOW)]
        assert seen[1] == [(0, "5 1 0", NOW), (1, "1 0 0", NOW)]
        assert seen[2] == [(0, "5 1 0", NOW), (2, "1 0 0", NOW)]
        assert heard.lines == [(0, "1 0 0", NOW)]


class TestFault:
    """What ends a process whose others hang, failed or are gone."""

    @pytest.fixture
    def ended(self) -> list[str]:
        return []

    @pytest.fixture
    def run(self, ended: list[str], short_grace: None) -> Callable[..., Script]:
        """Let a watch look so often; the event on which it waited."""

        def run(store: Shared, *stopped: bool, rank: int = 0) -> Script:
            watch: Any = Watch(store, rank, 2, 10.0)
            watch._stopped = Script(*stopped)
            watch._end = ended.append
            watch._run()
            return watch._stopped

        return run

    def test_of_one_that_hangs_is_the_ledgers(
        self, run: Callable[..., Script], ended: list[str], now: list[float]
    ) -> None:
        store = said(Shared(), "0 0 0", "9 4 1")
        take = store.check

        def check(keys: list[str]) -> bool:
            now[0] += 1 if keys == ["failed"] else 0
            return take(keys)

        store.check = check

        run(store, *[False] * 20)

        assert ended == ["rank 1 has given no sign of life for 11 s; it had reached step 4"]

    def test_of_one_that_failed_is_told_after_a_grace(
        self, run: Callable[..., Script], ended: list[str]
    ) -> None:
        waited = run(Shared(failed="rank 1"), False, False)

        assert ended == ["rank 1 failed, see its own error"]
        assert waited.waits == [1.0, 0.01]

    def test_of_one_that_failed_is_not_told_by_one_that_is_done_meanwhile(
        self, run: Callable[..., Script], ended: list[str]
    ) -> None:
        run(Shared(failed="rank 1"), False, True, True)

        assert ended == []

    def test_of_a_store_that_is_gone_has_its_first_line(
        self, run: Callable[..., Script], ended: list[str]
    ) -> None:
        store = Shared()
        store.gone = "\n Connection reset\nat frame #0\nat frame #1"

        waited = run(store, False, False)

        assert ended == [
            "torchrun, or the process that keeps the processes' common store, is gone "
            "(Connection reset)"
        ]
        assert waited.waits == [1.0, 0.01]

    def test_of_a_store_is_none_for_one_that_is_done_meanwhile(
        self, run: Callable[..., Script], ended: list[str]
    ) -> None:
        store = Shared()
        store.gone = "Connection reset"

        run(store, False, True, True)

        assert ended == []


class TestEnd:
    def test_says_who_hangs_and_how_to_go_on_and_leaves_with_1(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Stream(io.StringIO):
            there = ""

            def flush(self) -> None:
                self.there = self.getvalue()

        stream, left = Stream(), []
        monkeypatch.setattr(sys, "stderr", stream)

        def leave(code: int) -> None:
            left.append((code, stream.there))

        Watch(Shared(), 3, 4, 10.0)._end("rank 1 hangs", leave)

        words = (
            "error: rank 1 hangs. Rank 3 gives up; the last checkpoint is whole. Go on from it "
            "with --resume.\n"
        )
        assert left == [(1, words)]

    def test_does_not_come_once_the_watch_is_stopped(
        self, capsys: pytest.CaptureFixture[str], short_grace: None
    ) -> None:
        watch, left = Watch(Shared(), 0, 2, 10.0), []
        watch.start()
        watch.stop()

        watch._end("rank 1 hangs", left.append)

        assert (left, capsys.readouterr().err) == ([], "")
