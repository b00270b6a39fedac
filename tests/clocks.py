"""Clocks of a test's own, while all that runs beside it keeps the real one."""

import itertools
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest


def give_clock(
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Until the test ends, these are the functions of ``time`` that ``module`` calls."""
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=monotonic, sleep=sleep))


class Ticking:
    """Work of known durations, the last of them for ever, and the clock that shows them."""

    def __init__(self, *durations: float) -> None:
        self.durations = itertools.chain(durations, itertools.repeat(durations[-1]))
        self.now = 0.0
        self.calls = 0

    def work(self) -> None:
        self.calls += 1
        self.now += next(self.durations)

    def read(self) -> float:
        return self.now
