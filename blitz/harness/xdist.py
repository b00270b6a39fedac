"""What the controller and the workers of pytest-xdist tell each other: a plug-in.

Devices and whole chapters go to the workers.
"""

import pickle
import sys
from typing import Any

import pytest
import torch

from blitz.harness.context import CONTEXT
from blitz.harness.selection import Selection

KEY = "blitz"


def is_worker(config: pytest.Config) -> bool:
    """Return whether this process is one of the workers."""
    return hasattr(config, "workerinput")


def workers(config: pytest.Config) -> int:
    """Return how many processes share the tests; 1 where pytest-xdist is not used."""
    if is_worker(config):
        return int(config.workerinput["workercount"])  # type: ignore[attr-defined]  # xdist's
    return config.getoption("numprocesses", None) or len(config.getoption("tx", None) or [1])


def has_workers(config: pytest.Config) -> bool:
    """Return whether this process hands the tests to workers."""
    return bool(config.getoption("tx", None)) and not config.getoption("collectonly")


def forks(item: pytest.Item) -> bool:
    """Return whether a test runs several processes, which a server forks."""
    return "several" in getattr(item, "fixturenames", ())


def threads(config: pytest.Config) -> int:
    """Return the threads of each process: the cores are shared out."""
    return max(1, torch.get_num_threads() // workers(config))


def selection(config: pytest.Config) -> Selection:
    """Return, in a worker, the devices that the controller found usable."""
    given: Selection = pickle.loads(config.workerinput[KEY])  # type: ignore[attr-defined]  # xdist's
    return given


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out whole chapters, whose nets would be trained twice else, and classes of devices/."""
    if config.option.dist != "load" or workers(config) == 1:
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ChapterScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            path, name, *_ = f"{nodeid}::".split("::")
            return path.split("/")[-1] + (name if "/devices/" in path else "")

        def remove_node(self, node: Any) -> str | None:
            """Return the test that a worker died of, and do not run it again as xdist would."""
            chapters: list[dict[str, bool]] = list(self.assigned_work[node].values())
            left = [(c, test) for c in chapters for test, done in c.items() if not done]
            for chapter, crashed in left[:1]:
                chapter[crashed] = True
            super().remove_node(node)
            return left[0][1] if left else None

    config.option.loadscopereorder = False  # the largest chapters first are not the longest
    return ChapterScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin, in one of several workers, with the file that waits for processes to start."""
    if is_worker(config) and workers(config) > 1:
        waiting = {item.path for item in items if forks(item)}
        items.sort(key=lambda item: item.path not in waiting)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker which devices there are."""
    # As bytes: execnet sends plain values alone.
    node.workerinput[KEY] = pickle.dumps(node.config.stash[CONTEXT].selection)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Pass on, from a worker, why it cannot collect what was asked for; xdist 3.8 does not."""
    error = sys.exception()
    if is_worker(session.config) and isinstance(error, pytest.UsageError):
        session.config.workeroutput[KEY] = error.args  # type: ignore[attr-defined]  # xdist's


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """End the run with a worker's words and pytest's exit code 4, as without workers."""
    if KEY in getattr(node, "workeroutput", {}):
        raise pytest.UsageError(*node.workeroutput[KEY])
