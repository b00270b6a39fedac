"""What pytest-xdist's controller and workers tell each other."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz.harness import xdist
from blitz.harness.context import CONTEXT
from blitz.harness.selection import META, Selected, Selection

SELECTION = Selection(
    (Selected("cpu", "cpu"), Selected("xpu", "xpu:0", {"float64": "no"}), META), ("hung",)
)


class Config:
    """As much of pytest's as is asked for."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def getoption(self, name: str, *default: Any) -> Any:
        return self.options.get(name, *default) if default else self.options[name]


class WorkerConfig(Config):
    """That of the second of three workers, as the controller made it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        controller = SimpleNamespace(stash={CONTEXT: SimpleNamespace(selection=SELECTION)})
        node = SimpleNamespace(workerinput={"workerid": "gw1"}, config=controller)
        xdist.pytest_configure_node(node)
        self.workerinput = node.workerinput


class TestShares:
    @pytest.mark.parametrize(("cores", "threads"), [(8, 2), (4, 1), (1, 1)])
    def test_threads_are_shared_out_and_nobody_has_none(
        self, monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
    ) -> None:
        monkeypatch.setattr(torch, "get_num_threads", lambda: cores)

        assert xdist.threads(Config(numprocesses=3)) == threads


class TestBridge:
    def test_worker_has_the_devices_of_the_controller(self) -> None:
        assert xdist.selection(WorkerConfig()) == SELECTION
