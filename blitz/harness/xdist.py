"""What the controller and the workers of pytest-xdist tell each other."""

import os
from typing import Any

import pytest
import torch

from blitz.harness.profile import Applied
from blitz.harness.selection import Selection

KEY = "blitz"


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of the workers."""
    return hasattr(config, "workerinput")


def workers(config: pytest.Config) -> int:
    """How many processes share the tests; 1 where pytest-xdist is not used."""
    if is_worker(config):
        return int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    return config.getoption("numprocesses", None) or len(config.getoption("tx", None) or [1])


def threads(config: pytest.Config) -> int:
    """The threads of each process: the cores are shared out."""
    return max(1, torch.get_num_threads() // workers(config))


def selection(config: pytest.Config) -> Selection:
    """In a worker: the devices that the controller found usable, those of them that are its own."""
    given: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]  # xdist's
    number = int(given["workerid"].removeprefix("gw"))
    return Selection.unpacked(given[KEY]).for_worker(number)


class Exchange:
    """A pytest plugin: devices go to the workers, and what they collected comes back.

    Args:
        selection: The devices of the run, which were tried once for all.
        profile: The profile in force.
    """

    def __init__(self, selection: Selection, profile: Applied | None) -> None:
        self._selection, self._profile = selection, profile

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker which devices there are."""
        node.workerinput[KEY] = self._selection.packed()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear from a worker whose claims it collected whole; one that crashed says nothing."""
        if self._profile is not None:
            self._profile.whole |= set(getattr(node, "workeroutput", {}).get(KEY, ()))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """In a worker: leave for the controller what it is to hear."""
        if is_worker(session.config):
            whole = () if self._profile is None else self._profile.whole
            left: dict[str, Any] = session.config.workeroutput  # type: ignore[attr-defined]  # xdist's
            left[KEY] = sorted(whole)
