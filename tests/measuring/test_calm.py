"""Whether other processes took the machine's cores while something was measured."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from blitz.measuring import calm


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Say how many ticks all processes have taken of two cores; ours takes none."""
    monkeypatch.setattr(calm, "PROC", tmp_path)
    monkeypatch.setattr(calm.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(calm.os, "times", lambda: (0.0, 0.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr(calm.multiprocessing, "active_children", list)
    now = itertools.count()
    monkeypatch.setattr(calm.time, "monotonic", lambda: float(next(now)))

    def taken(ticks: int) -> None:
        (tmp_path / "stat").write_text(f"cpu  {ticks} 0 0 9 9 0 0 0 0 0\ncpu0 1\n")

    return taken


def test_share_is_of_all_cores_and_of_others(proc: Callable[[int], None]) -> None:
    a_second = os.sysconf("SC_CLK_TCK")
    proc(0)
    before = calm.usage()
    proc(a_second)

    assert calm.others_share(before, calm.usage()) == 0.5


def test_own_work_and_that_of_workers_is_not_others() -> None:
    before = calm.Usage(all=10, ours=2, clock=5)
    after = calm.Usage(all=12, ours=4, clock=6)

    assert calm.others_share(before, after) == 0


@pytest.mark.parametrize(
    ("ticks", "measured"), [([0, 0], 1), ([0, 1000, 1000], 2), ([0, 1000, 2000, 3000, 4000], 3)]
)
def test_measures_again_up_to_a_limit(
    proc: Callable[[int], None], ticks: list[int], measured: int
) -> None:
    taken = iter(ticks[1:])
    proc(ticks[0])
    done: list[int] = []

    def work() -> None:
        done.append(1)
        proc(next(taken))

    _, share = calm.measured(work)

    assert len(done) == measured
    assert (share > calm.BUSY) == (measured == calm.ATTEMPTS)


def test_is_not_known_where_the_system_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calm, "PROC", tmp_path)

    assert calm.measured(lambda: 7) == (7, None)
