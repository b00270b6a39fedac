"""Functions in several processes at once: what comes back, and what ends them."""

import os
import select
import signal
import sys
import tempfile
import threading
import time
import types
import uuid
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blitz.harness import ranks
from blitz.harness.ranks import Call, Outcome, Ranks, RanksError
from tests import forked, locales
from tests.clocks import give_clock

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


def returns(rank: int, *arguments: Any) -> tuple[Any, ...]:
    return (rank, *arguments)


def returns_a_function(rank: int) -> Any:
    return lambda: rank


def writes_and_sleeps(rank: int, folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)


def speaks(rank: int) -> str:
    print(f"out {rank}", flush=True)
    print(f"err {rank}", file=sys.stderr)
    os.write(1, b"\xff\n")
    return "spoken"


def prints(rank: int) -> None:
    print("out", end=" ")
    sys.stdout.flush()
    print("err", end=" ", file=sys.stderr)


def ends(rank: int, *codes: Any) -> None:
    print(f"rank {rank} ends")
    raise SystemExit(codes[rank])


def raises(rank: int) -> None:
    if rank:
        raise ValueError(f"no {rank}")


def sleeps(rank: int, seconds: float) -> int:
    time.sleep(seconds)
    return rank


def second_sleeps(rank: int, seconds: float, ignored: bool) -> None:
    if ignored:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if rank == 0:
        time.sleep(0.1)
        raise SystemExit(3)
    time.sleep(seconds)


def presses_ctrl_c(rank: int) -> str:
    for process in (os.getpid(), os.getppid()):
        os.kill(process, signal.SIGINT)
    return "went on"


def open_handles(rank: int) -> int:
    return len(os.listdir("/dev/fd"))


def asks_for_fds(rank: int) -> bool:
    return bool(sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No torch is imported, no ignored signal waited for; files go to a folder of the test."""
    monkeypatch.setattr(ranks, "PREPARED", ("json",))
    monkeypatch.setattr(ranks, "PATIENCE", 0.25)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def several() -> Iterator[Ranks]:
    several = Ranks()
    yield several
    several.close()


class TestResults:
    def test_are_what_each_returned(self, several: Ranks, tmp_path: Path) -> None:
        assert several.results(returns, 3, "a", 2) == [(0, "a", 2), (1, "a", 2), (2, "a", 2)]
        assert several.results(returns, 1) == [(0,)]
        assert list(tmp_path.iterdir()) == []

    def test_leave_no_handle_open_behind_them(self, several: Ranks) -> None:
        counts = [several.results(open_handles, 1) for _ in range(3)]

        assert counts == counts[:1] * 3

    def test_are_none_where_one_failed(self, several: Ranks) -> None:
        with pytest.raises(RanksError) as refused:
            several.results(raises, 2)

        said = str(refused.value)
        assert said.startswith("rank 1 ended with 1: Traceback (most recent call last):\n")
        assert said.endswith("ValueError: no 1\n")

    def test_are_none_where_some_ended_with_a_code(self, several: Ranks) -> None:
        with pytest.raises(RanksError) as refused:
            several.results(ends, 3, 4, 0, 5)

        assert str(refused.value) == (
            "rank 0 ended with 4: rank 0 ends\n\nrank 2 ended with 5: rank 2 ends\n"
        )

    def test_are_none_after_the_limit(self, several: Ranks) -> None:
        with pytest.raises(RanksError, match=f"^rank 0 ended with -{signal.SIGABRT:d}: it took"):
            several.results(sleeps, 1, 20, limit=0.2)

    def test_are_of_the_limit_that_is_asked_for(
        self, several: Ranks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Any] = []

        def outcomes(*arguments: Any, **options: Any) -> list[Outcome]:
            asked.append((arguments, options))
            return [Outcome(0, "x")]

        monkeypatch.setattr(several, "outcomes", outcomes)

        assert several.results(returns, 1, "a", limit=7.0) == ["x"]
        assert several.results(returns, 1) == ["x"]
        assert asked == [((returns, 1, "a"), {"limit": 7.0}), ((returns, 1), {"limit": 60.0})]


class TestOutcomes:
    def test_hold_result_and_all_that_was_written(self, several: Ranks) -> None:
        assert several.outcomes(speaks, 2) == [
            Outcome(0, "spoken", "", f"out {rank}\n\ufffd\nerr {rank}\n") for rank in (0, 1)
        ]

    def test_hold_what_is_still_in_a_buffer(self, several: Ranks) -> None:
        (outcome,) = several.outcomes(prints, 1)

        assert sorted(outcome.output.split()) == ["err", "out"]

    @pytest.mark.parametrize(("code", "found"), [(0, 0), (7, 7), ("words", 1)])
    def test_hold_the_code_of_an_exit(self, several: Ranks, code: Any, found: int) -> None:
        assert several.outcomes(ends, 1, code) == [Outcome(found, None, "", "rank 0 ends\n")]

    def test_hold_the_traceback_of_an_error(self, several: Ranks) -> None:
        first, second = several.outcomes(raises, 2)

        assert first == Outcome(0)
        assert (second.code, second.result, second.output) == (1, None, "")
        assert second.error.endswith("ValueError: no 1\n")

    def test_say_why_a_result_could_not_be_brought_here(self, several: Ranks) -> None:
        (outcome,) = several.outcomes(returns_a_function, 1, limit=20.0)

        assert (outcome.code, outcome.result, outcome.error) == (1, None, "")
        assert "Can't pickle" in outcome.output

    def test_say_where_one_hangs_that_took_too_long(self, several: Ranks) -> None:
        first, second = several.outcomes(sleeps, 2, 20, limit=0.2)

        for outcome in (first, second):
            assert (outcome.code, outcome.result) == (-signal.SIGABRT, None)
            assert outcome.error.startswith("it took too long\nFatal Python error: Aborted")
            assert "in sleeps" in outcome.error
            assert outcome.error.endswith(outcome.output)

    def test_show_signals_that_are_sent_when_they_are_due(self, several: Ranks) -> None:
        kills = {1: (signal.SIGTERM, 0.1), 0: (signal.SIGTERM, 30.0)}

        first, second = several.outcomes(sleeps, 2, 0.6, kills=kills)

        assert (first.code, first.result) == (0, 0)
        assert (second.code, second.result) == (-signal.SIGTERM, None)

    @pytest.mark.parametrize(
        ("ignored", "number"), [(False, signal.SIGTERM), (True, signal.SIGKILL)]
    )
    def test_of_one_that_failed_end_the_others_where_they_stand_together(
        self, several: Ranks, ignored: bool, number: int
    ) -> None:
        first, second = several.outcomes(second_sleeps, 2, 20.0, ignored, together=True)

        assert (first.code, second.code) == (3, -number)

    def test_of_one_that_failed_leave_the_others_alone(self, several: Ranks) -> None:
        first, second = several.outcomes(second_sleeps, 2, 0.6, False)

        assert (first.code, second.code) == (3, 0)

    def test_are_not_ended_by_ctrl_c(self, several: Ranks) -> None:
        assert several.results(presses_ctrl_c, 1) == ["went on"]
        assert several.results(returns, 1) == [(0,)]

    def test_have_streams_for_pythons_and_for_others_writing(self, several: Ranks) -> None:
        assert several.results(asks_for_fds, 1) == [True]

    def test_are_none_of_a_function_that_was_not_there(
        self, several: Ranks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        late = types.ModuleType("comes_late")
        monkeypatch.setitem(sys.modules, "comes_late", late)
        exec("def comes(rank): pass", vars(late))

        with pytest.raises(RanksError, match=r"comes at .*> cannot be found where it is to be run"):
            several.outcomes(vars(late)["comes"], 1)

    def test_are_not_waited_for_much_longer_than_the_limit(
        self, several: Ranks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Any] = []
        pid, aside = several._pid, several._aside

        def poll(seconds: float) -> bool:
            asked.append(seconds)
            return False

        deaf: Any = SimpleNamespace(send=asked.append, poll=poll, close=aside.close)
        monkeypatch.setattr(several, "_aside", deaf)

        with pytest.raises(RanksError, match=r"^no answer after 25 s$"):
            several.outcomes(returns, 2, "a", limit=5.0)

        (_, call), seconds = asked
        assert call == Call(returns, 2, ("a",), 5.0, None, False)
        assert seconds == pytest.approx(25.0, abs=0.5)
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, 0)

    def test_are_never_those_of_a_fork_that_is_gone(
        self, several: Ranks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class KilledError(Exception):
            pass

        def killed() -> None:
            raise KilledError

        with monkeypatch.context() as fork:
            fork.setattr(several._aside, "recv", killed)  # the answer is there, and is not read
            with pytest.raises(KilledError):
                several.outcomes(returns, 1, "of the fork")

        assert several.results(returns, 1, "of this process") == [(0, "of this process")]

    def test_do_not_wait_for_those_of_a_fork_that_is_gone(
        self, several: Ranks, tmp_path: Path
    ) -> None:
        aside = several._aside
        assert aside is not None
        pids = tmp_path / "pids"
        pids.mkdir()
        aside.send((uuid.uuid4(), Call(writes_and_sleeps, 2, (str(pids),))))
        started = time.monotonic()
        while len(list(pids.iterdir())) < 2 and time.monotonic() - started < 30:
            time.sleep(0.02)

        assert several.results(returns, 1, "at once") == [(0, "at once")]

        assert time.monotonic() - started < 45
        assert len(list(pids.iterdir())) == 2
        for file in pids.iterdir():
            with pytest.raises(ProcessLookupError):
                os.kill(int(file.name), 0)


class TestWithoutFork:
    def test_processes_are_new_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []

        def run(call: Call, context: Any) -> list[Outcome]:
            asked.append((call, context.get_start_method()))
            return []

        monkeypatch.setattr(ranks, "_run", run)
        monkeypatch.delattr(os, "fork")
        monkeypatch.setattr(ranks, "PREPARED", ("there_is_no_such_module",))
        several = Ranks()

        several.outcomes(returns, 2, "a")
        several.outcomes(returns, 2, limit=5.0, kills={0: (9, 1.0)}, together=True)
        several.close()

        assert asked == [
            (Call(returns, 2, ("a",), 60.0, None, False), "spawn"),
            (Call(returns, 2, (), 5.0, {0: (9, 1.0)}, True), "spawn"),
        ]


class TestEnd:
    def test_of_the_copy_comes_with_the_first_close(self) -> None:
        several = Ranks()
        pid = several._pid

        several.close()
        several.close()

        with pytest.raises(ChildProcessError):
            os.waitpid(pid, 0)

    def test_of_all_comes_with_that_of_the_process_that_asked(self) -> None:
        """The end of a pipe is seen when the last process that could write to it is gone."""
        reads, writes = os.pipe()

        def ask() -> int:
            Ranks().outcomes(tells_and_sleeps, 2, writes)
            return 0

        child = get_context("fork").Process(target=ask)
        with ranks._quiet_fork():
            child.start()
        os.close(writes)
        try:
            assert read_within(reads, 10) + read_within(reads, 10) == b"there" * 2
            child.kill()
            child.join(10)
            assert read_within(reads, 10) == b""
        finally:
            child.kill()
            os.close(reads)

    def test_of_all_comes_with_that_of_the_copy_they_come_from(self) -> None:
        reads, writes = os.pipe()
        several = Ranks()
        os.close(writes)

        def ask() -> None:
            with pytest.raises(RanksError):
                several.outcomes(tells_and_sleeps, 2, writes)

        caller = threading.Thread(target=ask)
        caller.start()
        try:
            assert read_within(reads, 10) + read_within(reads, 10) == b"there" * 2
            os.kill(several._pid, signal.SIGKILL)
            assert read_within(reads, 10) == b""
        finally:
            caller.join(10)
            several.close()
            os.close(reads)

    def test_of_a_copy_is_1_where_its_parent_is_gone(self) -> None:
        alive, life = os.pipe()
        os.close(life)

        assert forked.call(lambda: ends_with(alive)).code == 1
        os.close(alive)

    @pytest.mark.parametrize("wrote", [False, True])
    def test_without_a_code_is_that_of_a_kill(self, tmp_path: Path, wrote: bool) -> None:
        output = tmp_path / "0"
        if wrote:
            output.write_text("words")
        done: Any = SimpleNamespace(is_alive=lambda: False, join=lambda: None, exitcode=None)

        outcome = ranks._outcome(done, output)

        assert outcome == Outcome(-signal.SIGKILL, None, "", "words" if wrote else "")


class Clock:
    """Time that passes while one waits; what is waited for and sent is noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.log: list[Any] = []
        self.ready: list[Any] = []
        give_clock(monkeypatch, ranks, monotonic=lambda: self.now)
        monkeypatch.setattr(ranks.connection, "wait", self.wait)
        monkeypatch.setattr(os, "kill", lambda pid, number: self.log.append((pid, number)))

    def wait(self, what: list[Any], seconds: float) -> list[Any]:
        self.log.append((what, seconds))
        self.now += seconds
        return self.ready


class Stand:
    """Stands in for process ``pid``, which ends by itself after so many seconds, with ``code``."""

    def __init__(self, clock: Clock, pid: int, seconds: float = 60.0, code: int = 0) -> None:
        self.clock, self.pid, self.code = clock, pid, code
        self.end = clock.now + seconds
        self.sentinel = f"end of {pid}"

    def is_alive(self) -> bool:
        return self.clock.now < self.end

    @property
    def exitcode(self) -> int | None:
        return None if self.is_alive() else self.code

    def terminate(self) -> None:
        self.clock.log.append(f"terminate {self.pid}")

    def kill(self) -> None:
        self.clock.log.append(f"kill {self.pid}")
        self.end = self.clock.now

    def join(self, seconds: float | None = None) -> None:
        self.clock.log.append(f"join {self.pid} for {seconds}")


class TestWaiting:
    """Second by second, with a clock and processes that stand in."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Clock:
        return Clock(monkeypatch)

    def test_ends_after_the_limit(self, clock: Clock) -> None:
        ranks._await(Call(returns, 2, limit=1.0), [Stand(clock, 8), Stand(clock, 9)], None)

        assert clock.log == [(["end of 8", "end of 9"], 0.5)] * 3

    def test_sends_each_signal_when_it_is_due(self, clock: Clock) -> None:
        kills = {1: (signal.SIGTERM, 0.25), 0: (signal.SIGINT, 0.75), 2: (signal.SIGINT, 0.75)}
        stands = [Stand(clock, 7, 2.0), Stand(clock, 8, 2.0), Stand(clock, 9, 0.5)]

        ranks._await(Call(returns, 3, kills=kills), stands, None)

        three, two = ["end of 7", "end of 8", "end of 9"], ["end of 7", "end of 8"]
        assert clock.log == [
            *((three, 0.25), (8, signal.SIGTERM), (three, 0.5), (7, signal.SIGINT)),
            *((two, 0.5), (two, 0.5), (two, 0.5)),
        ]

    def test_ends_the_others_once_and_then_for_good(self, clock: Clock) -> None:
        stands = [Stand(clock, 8, 0.5, code=3), Stand(clock, 9, 1.0)]

        ranks._await(Call(returns, 2, together=True), stands, None)

        rest = ["end of 9"]
        assert clock.log == [
            *((["end of 8", "end of 9"], 0.5), "terminate 9", (rest, ranks.PATIENCE)),
            *((9, signal.SIGKILL), (rest, 0.5)),
        ]

    def test_ends_all_at_once_where_the_caller_is_gone(
        self, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Gone:
            def recv(self) -> None:
                raise EOFError

        caller: Any = Gone()
        clock.ready = [caller]

        def leave(code: int) -> None:
            raise SystemExit(code)

        monkeypatch.setattr(os, "_exit", leave)

        with pytest.raises(SystemExit) as ended:
            ranks._await(Call(returns, 1), [Stand(clock, 8)], caller)

        assert ended.value.code == 1
        assert clock.log == [(["end of 8", caller], 0.5), "kill 8"]

    def test_has_one_that_hangs_say_where_it_stands(
        self, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        locales.speak_ascii(monkeypatch)
        (tmp_path / "0").write_text("in Größe", encoding="utf-8")
        process: Any = Stand(clock, 8, code=-9)

        outcome = ranks._outcome(process, tmp_path / "0")

        assert outcome == Outcome(-9, None, "it took too long\nin Größe", "in Größe")
        patience = f"join 8 for {ranks.PATIENCE}"
        assert clock.log == [(8, signal.SIGABRT), patience, "kill 8", "join 8 for None"]


def tells_and_sleeps(rank: int, writes: int) -> None:
    os.write(writes, b"there")
    time.sleep(30)


def ends_with(alive: int) -> int:
    ranks._end_with_parent(alive)
    return 0


def read_within(reads: int, seconds: float) -> bytes:
    ready, _, _ = select.select([reads], [], [], seconds)
    assert ready, "nothing came, and it did not end"
    return os.read(reads, 5)


def test_environment_is_that_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[str, str] = {"HOME": "/root"}
    monkeypatch.setattr(os, "environ", environment)

    ranks.as_torchrun_would(2, 3, 4711)

    assert environment == {
        "HOME": "/root",
        "RANK": "2",
        "LOCAL_RANK": "2",
        "WORLD_SIZE": "3",
        "LOCAL_WORLD_SIZE": "3",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "4711",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def test_what_takes_long_to_import_is_imported_beforehand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "takes_long.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(ranks, "PREPARED", ("takes_long",))

    several = Ranks()

    try:
        assert "takes_long" in sys.modules
        assert several.results(finds, 1, "takes_long") == [True]
    finally:
        several.close()
        sys.modules.pop("takes_long", None)


def finds(rank: int, module: str) -> bool:
    return module in sys.modules
