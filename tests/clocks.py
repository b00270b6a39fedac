"""Another clock for one module, while all that runs beside the test keeps the real one."""

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
