"""Whether other processes took the machine's cores while something was measured."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from blitz.measuring import calm


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say how many ticks of two cores were taken: by all, and of these by a worker and by us."""
    now = itertools.count()
    a_second, ours = os.sysconf("SC_CLK_TCK"), [0]
    monkeypatch.setattr(calm, "PROC", tmp_path)
    monkeypatch.setattr(calm.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(calm.os, "times", lambda: (0.0, ours[0] / a_second, 0.0, 0.0, 7.0))
    monkeypatch.setattr(calm.multiprocessing, "active_children", lambda: [SimpleNamespace(pid=4)])
    monkeypatch.setattr(calm.time, "monotonic", lambda: float(next(now)))
    (tmp_path / "4").mkdir()

    def taken(ticks: int, by_a_worker: int = 0, by_us: int = 0) -> None:
        (tmp_path / "stat").write_text(f"cpu  {ticks} 0 0 9 9 0 0 0 0 0\ncpu0 1\n")
        user, system = by_a_worker - by_a_worker // 3, by_a_worker // 3
        (tmp_path / "4" / "stat").write_text(f"4 (a) b) R {'9 ' * 10}{user} {system} 9 9")
        ours[:] = [by_us]

    return taken


def test_share_is_of_all_cores_and_of_others(proc: Callable[..., None]) -> None:
    a_tenth = os.sysconf("SC_CLK_TCK") // 10
    proc(0)

    _, share = calm.measured(
        lambda: proc(17 * a_tenth, by_a_worker=10 * a_tenth, by_us=5 * a_tenth)
    )

    assert share == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("ticks", "measured"), [([0, 0], 1), ([0, 1000, 1000], 2), ([0, 1000, 2000, 3000, 4000], 3)]
)
def test_measures_again_up_to_a_limit(
    proc: Callable[..., None], ticks: list[int], measured: int
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
