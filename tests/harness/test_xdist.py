"""What pytest-xdist's controller and workers tell each other."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz.harness import xdist
from blitz.harness.context import CONTEXT
from blitz.harness.selection import META, Selected, Selection


@pytest.mark.parametrize(("cores", "threads"), [(8, 2), (4, 1), (1, 1)])
def test_threads_are_shared_out_and_nobody_has_none(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
) -> None:
    config: Any = SimpleNamespace(getoption={"numprocesses": 3}.get)
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)

    assert xdist.threads(config) == threads


def test_worker_has_the_devices_of_the_controller() -> None:
    xpu = Selected("xpu:0", {"float64": "no"}, "Arc")
    chosen = Selection((Selected("cpu"), xpu, META), ("hung",), lost={"xpu:0": "gone"})
    run = SimpleNamespace(selection=chosen)
    node: Any = SimpleNamespace(workerinput={}, config=SimpleNamespace(stash={CONTEXT: run}))

    xdist.pytest_configure_node(node)

    assert xdist.selection(node) == chosen
