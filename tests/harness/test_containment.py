"""Containment: lost devices, the clock of a test, and how a run ends that cannot be interrupted.

What sets timers, signals and the interpreter's watchdog is done in a copy of this process, since
the run that this test is part of has them in use.
"""

import contextlib
import faulthandler
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz import devices
from blitz.harness import containment
from blitz.harness.containment import Containment, _Clock, device_of
from blitz.harness.ending import end_run
from tests.forked import Done, call

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs fork")

FIRST, SECOND = torch.device("cuda:0"), torch.device("cuda:1")


def in_a_copy(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a copy of this process, which has 10 seconds for it."""

    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        def copy() -> int:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)
            test(*arguments, **fixtures)
            return 0

        assert call(copy) == Done(0, "")

    return run


def never(*_: Any) -> None:
    raise AssertionError("the run is ended")


def item(**parameters: Any) -> Any:
    """A test with these parameters."""
    return SimpleNamespace(
        nodeid="spec/test_1.py::test_one",
        name="test_one",
        callspec=SimpleNamespace(params=parameters),
    )


class TestDevice:
    def test_of_a_test_is_its_parameter(self) -> None:
        assert device_of(item(device=FIRST, other=1)) is FIRST

    def test_of_a_test_that_needs_none_is_none(self) -> None:
        without: Any = SimpleNamespace()

        assert device_of(without) is None
        assert device_of(item(other=1)) is None
        assert device_of(item(device=None)) is None


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
def test_limit_holds_for_what_other_plugins_do_around_a_test(phase: str) -> None:
    order: list[str] = []

    class Clock:
        @contextlib.contextmanager
        def limits(self, what: str) -> Iterator[None]:
            order.append(what)
            yield

    def other(item: Any) -> Generator[None, None, None]:
        order.append("other")
        return (yield)

    contained, manager = Containment(0, never), pytest.PytestPluginManager()
    contained._clock = Clock()
    hook = f"pytest_runtest_{phase}"
    around = SimpleNamespace(**{hook: pytest.hookimpl(wrapper=True)(other)})
    for plugin in (contained, around):
        manager.register(plugin)

    getattr(manager.hook, hook)(item=item(device=None), nextitem=None)

    assert order == ["spec/test_1.py::test_one", "other"]


def _raise(error: BaseException) -> Callable[..., str | None]:
    def examine(device: torch.device) -> str | None:
        raise error

    return examine


class TestLostDevice:
    @pytest.fixture
    def contained(self) -> Containment:
        return Containment(0, never)

    def fail(self, contained: Containment, error: BaseException | None, **parameters: Any) -> None:
        """Report a test that ended with ``error``."""
        info = SimpleNamespace(errisinstance=lambda kind: isinstance(error, kind))
        ended: Any = SimpleNamespace(excinfo=None if error is None else info)
        hook = contained.pytest_runtest_makereport(item(**parameters), ended)
        next(hook)
        with pytest.raises(StopIteration):
            hook.send(None)

    def begin(self, contained: Containment, device: torch.device | None) -> None:
        """Set up the next test of ``device``."""
        hook = contained.pytest_runtest_setup(item(device=device))
        next(hook)
        with pytest.raises(StopIteration):
            hook.send(None)

    @pytest.mark.parametrize(
        ("examine", "fault"),
        [
            (lambda device: f"{device} gives garbage\nUpdate it.", "cuda:0 gives garbage"),
            (_raise(ValueError("no\nsuch")), "ValueError: no"),
            (_raise(pytest.fail.Exception("hung: no end")), "Failed: hung: no end"),
        ],
        ids=["wrong", "raises", "hangs"],
    )
    def test_is_found_after_a_failure_and_its_tests_are_not_run(
        self,
        contained: Containment,
        monkeypatch: pytest.MonkeyPatch,
        examine: Any,
        fault: str,
    ) -> None:
        monkeypatch.setattr(devices, "why_unusable", examine)
        assert contained.alive([FIRST, SECOND]) == [FIRST, SECOND]
        self.fail(contained, RuntimeError("assert triggered"), device=FIRST)

        for _ in range(2):
            with pytest.raises(pytest.skip.Exception) as skipped:
                self.begin(contained, FIRST)
            assert skipped.value.msg == f"context lost: after test_one: {fault}"
        self.begin(contained, SECOND)
        self.begin(contained, None)

        assert contained.lost == {FIRST: f"after test_one: {fault}"}
        assert contained.alive([FIRST, SECOND]) == [SECOND]

    def test_is_not_one_that_computes_once_more(
        self, contained: Containment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        examined: list[torch.device] = []
        monkeypatch.setattr(devices, "why_unusable", examined.append)
        self.fail(contained, RuntimeError("wrong"), device=FIRST)

        for _ in range(2):
            self.begin(contained, FIRST)

        assert examined == [FIRST]
        assert contained.lost == {}

    @pytest.mark.parametrize(
        ("error", "place"),
        [
            (None, FIRST),
            (pytest.skip.Exception("not here"), FIRST),
            (RuntimeError("wrong"), torch.device("cpu")),
            (RuntimeError("wrong"), torch.device("meta")),
            (RuntimeError("wrong"), None),
        ],
        ids=["held", "skipped", "cpu", "meta", "no_device"],
    )
    def test_is_not_suspected_otherwise(
        self,
        contained: Containment,
        monkeypatch: pytest.MonkeyPatch,
        error: BaseException | None,
        place: torch.device | None,
    ) -> None:
        monkeypatch.setattr(devices, "why_unusable", _raise(AssertionError("it is examined")))
        self.fail(contained, error, device=place)
        self.begin(contained, place)

        assert contained.lost == {}


def open_files() -> set[int]:
    """The numbers under which this process has files open."""
    return {number for number in range(256) if is_open(number)}


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def quicken() -> None:
    """Let the clock of this copy end a run at once, and its last watchdog never."""
    containment.GRACE = 0.04
    faulthandler.dump_traceback_later = lambda *_, **__: None


def block() -> None:
    """Let nothing that is started from now on be interrupted."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})


class TestClock:
    @in_a_copy
    def test_without_a_limit_sets_nothing(self) -> None:
        handler, threads = signal.getsignal(signal.SIGALRM), threading.active_count()
        signal.alarm(0)
        clock = _Clock(0, never)

        with clock.limits("a test"):
            assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
            assert signal.getsignal(signal.SIGALRM) is handler
            assert threading.active_count() == threads
        clock.stop()
        os.fstat(1)

    @in_a_copy
    def test_sets_the_timer_for_each_test_and_gives_all_back(self) -> None:
        handler = signal.getsignal(signal.SIGALRM)
        signal.alarm(0)
        before = threading.active_count()
        clock = _Clock(60.0, never)

        for _ in range(2):
            with clock.limits("a test"):
                assert 59.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60.0
                names = [(each.name, each.daemon) for each in threading.enumerate()]
                assert names.count(("blitz-watchdog", True)) == 1
                assert threading.active_count() == before + 1
            assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0
        clock.stop()

        assert threading.active_count() == before
        assert signal.getsignal(signal.SIGALRM) is handler
        clock.stop()  # once more does no harm

    @in_a_copy
    def test_has_the_standard_error_that_pytest_does_not_capture_while_it_runs(self) -> None:
        before = open_files()
        unlimited = _Clock(0, never)
        assert open_files() == before

        clock = _Clock(60.0, never)
        [own] = open_files() - before
        assert os.path.sameopenfile(own, 2)
        clock.stop()
        assert open_files() == before
        unlimited.stop()
        clock.stop()
        assert open_files() == before

    @in_a_copy
    def test_gives_back_a_standard_error_of_any_number(self) -> None:
        os.close(0)  # the lowest number that is free is taken
        clock = _Clock(60.0, never)
        assert is_open(0)
        clock.stop()

        assert not is_open(0)

    def test_watchdog_is_put_down_for_a_fork_while_nobody_can_wind_it_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps: list[str] = []
        clock = _Clock(0, never)
        lock: Any = SimpleNamespace(acquire=lambda: steps.append("locked"))
        monkeypatch.setattr(clock, "_forking", lock)
        monkeypatch.setattr(
            faulthandler, "cancel_dump_traceback_later", lambda: steps.append("put down")
        )

        clock._before_fork()

        assert steps == ["locked", "put down"]

    @in_a_copy
    def test_interrupts_what_takes_too_long(self) -> None:
        clock = _Clock(0.05, never)

        with pytest.raises(pytest.fail.Exception) as hung, clock.limits("a test"):
            time.sleep(5)

        assert hung.value.msg == "hung: no end after 0.05 s"
        clock.stop()

    @in_a_copy
    def test_ends_the_run_where_that_does_not_help(self) -> None:
        quicken()
        block()
        ended: list[tuple[str, str]] = []
        end = threading.Event()

        def end_of(what: str, fault: str) -> None:
            ended.append((what, fault))
            end.set()

        clock = _Clock(0.05, end_of)
        with clock.limits("one that ends"):
            pass
        begin = time.monotonic()
        with clock.limits("one that hangs"):
            assert end.wait(5)
        took = time.monotonic() - begin
        time.sleep(0.1)
        clock.stop()

        assert ended == [("one that hangs", "hung: no end after 0.05 s")]
        assert took >= 0.09

    @in_a_copy
    def test_goes_by_the_time_whatever_a_test_makes_of_the_clock(self) -> None:
        quicken()
        block()
        ended: list[tuple[str, ...]] = []
        clock, real = _Clock(10, lambda *what: ended.append(what)), time.monotonic
        time.monotonic = lambda: -1e6
        with clock.limits("one that puts the clock right at its end"):
            time.monotonic = real
            time.sleep(0.1)
        clock.stop()

        assert ended == []

    @in_a_copy
    def test_ends_no_run_between_two_tests(self) -> None:
        quicken()
        block()
        clock = _Clock(0.01, never)
        with clock.limits("a test"):
            pass
        [watch] = [each for each in threading.enumerate() if each.name == "blitz-watchdog"]

        time.sleep(0.1)

        assert watch.is_alive()
        clock.stop()

    @in_a_copy
    def test_winds_the_watchdog_up_again_and_again_until_it_stops(self) -> None:
        wound: list[Any] = []
        cancelled: list[str] = []
        faulthandler.dump_traceback_later = lambda *given, **more: wound.append((given, more))
        faulthandler.cancel_dump_traceback_later = lambda: cancelled.append("cancelled")
        containment.GRACE = 0.04
        clock = _Clock(60.0, never)

        with clock.limits("a test"):
            assert len(wound) == 1
            time.sleep(0.2)
        assert len(wound) >= 3
        [(last,)] = {given for given, _ in wound}
        assert last == pytest.approx(60.08)
        assert all(more["exit"] is True for _, more in wound)
        assert all(os.path.sameopenfile(more["file"], 2) for _, more in wound)

        assert cancelled == []
        clock.stop()
        assert cancelled == ["cancelled"]
        clock.stop()
        assert cancelled == ["cancelled"]

    @pytest.mark.parametrize(("grace", "pause"), [(10.0, 0.5), (1.0, 0.25)])
    @in_a_copy
    def test_looks_twice_a_second_or_more_often(self, grace: float, pause: float) -> None:
        containment.GRACE = grace
        clock = _Clock(60.0, never)
        waited: list[float] = []

        def wait(seconds: float) -> bool:
            waited.append(seconds)
            return True

        clock._stopped.wait = wait
        clock._watch()

        assert waited == [pause]
        clock.stop()

    @in_a_copy
    def test_holds_the_watchdog_while_the_process_is_copied(self) -> None:
        quicken()
        hooks: dict[str, Any] = {}
        os.register_at_fork = lambda **given: hooks.update(given)
        wound: list[str] = []
        clock = _Clock(60.0, never)
        with clock.limits("a test"):
            pass
        clock._put_off = lambda: wound.append("up")

        hooks["before"]()
        time.sleep(0.1)
        assert wound == []
        hooks["after_in_parent"]()
        time.sleep(0.1)
        assert wound

        hooks["before"]()
        hooks["after_in_child"]()
        clock.stop()

    @in_a_copy
    def test_does_not_wait_for_ever_for_a_thread_that_hangs(self) -> None:
        clock = _Clock(60.0, never)
        waited: list[float] = []
        clock._thread = SimpleNamespace(join=waited.append)

        clock.stop()

        assert waited == [1]

    @in_a_copy
    def test_of_a_run_is_that_of_its_plug_in(self) -> None:
        quicken()
        block()
        ended: list[tuple[str, str]] = []
        end = threading.Event()
        contained = Containment(0.05, lambda *given: ended.append(given) or end.set())

        hook = contained.pytest_runtest_call(item())
        next(hook)
        assert end.wait(5)
        with pytest.raises(StopIteration):
            hook.send(None)
        contained.stop()

        assert ended == [("spec/test_1.py::test_one", "hung: no end after 0.05 s")]


class TestEndOfARun:
    """What happens, in its order, where a test cannot be interrupted."""

    NODE, FAULT = "spec/test_1.py::test_one", "hung: no end after 5 s"
    WORDS = f"FAILED: {NODE} {FAULT}, and it cannot be interrupted; the run ends here"

    def end(self, monkeypatch: pytest.MonkeyPatch, *plug_ins: str, **config: Any) -> list[Any]:
        """End the run of a configuration with these plug-ins; what is done, in its order."""
        done: list[Any] = []
        for name in ("stdout", "stderr"):
            stream = SimpleNamespace(
                write=lambda text, name=name: done.append((name, text)),
                flush=lambda name=name: done.append((name, "flushed")),
            )
            monkeypatch.setattr(sys, name, stream)
        monkeypatch.setattr(os, "_exit", lambda code: done.append(("exit", code)))
        terminal = SimpleNamespace(
            ensure_newline=lambda: done.append("new line"),
            write_line=lambda text, **how: done.append((text, how)),
        )
        capture = SimpleNamespace(
            suspend_global_capture=lambda **how: done.append(("capture suspended", how))
        )
        there = {"terminalreporter": terminal, "capturemanager": capture}
        made: Any = SimpleNamespace(
            pluginmanager=SimpleNamespace(
                getplugin=lambda name: there[name] if name in plug_ins else None
            ),
            hook=SimpleNamespace(
                pytest_terminal_summary=lambda terminalreporter, exitstatus, config: done.append(
                    (terminalreporter is terminal, exitstatus, config is made)
                )
            ),
            **config,
        )
        results: Any = SimpleNamespace(add_fault=lambda *given: done.append(given))
        end_run(made, results, lambda: done.append("files"), self.NODE, self.FAULT)
        return done

    def test_names_the_test_and_shows_and_writes_what_is_known(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.end(monkeypatch, "terminalreporter", "capturemanager") == [
            (self.NODE, self.FAULT),
            ("capture suspended", {"in_": True}),
            "new line",
            (self.WORDS, {"red": True, "bold": True}),
            (True, pytest.ExitCode.TESTS_FAILED, True),
            "files",
            ("stdout", "flushed"),
            ("exit", 1),
        ]

    @pytest.mark.parametrize(
        ("plug_ins", "config"),
        [(["terminalreporter"], {"workerinput": {}}), ([], {})],
        ids=["worker", "no_terminal"],
    )
    def test_names_the_test_alone_where_nothing_is_shown(
        self, monkeypatch: pytest.MonkeyPatch, plug_ins: list[str], config: dict[str, Any]
    ) -> None:
        assert self.end(monkeypatch, *plug_ins, **config) == [
            (self.NODE, self.FAULT),
            ("stderr", self.WORDS),
            ("stderr", "\n"),
            ("stderr", "flushed"),
            ("stdout", "flushed"),
            ("exit", 1),
        ]

    def test_comes_even_where_nothing_can_be_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ended: list[int] = []
        broken: Any = SimpleNamespace(pluginmanager=None)
        monkeypatch.setattr(os, "_exit", ended.append)

        with pytest.raises(AttributeError):
            end_run(broken, SimpleNamespace(add_fault=print), never, self.NODE, self.FAULT)

        assert ended == [1]
