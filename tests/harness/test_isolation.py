"""A test that kills, hangs or poisons its process costs that process, and the run tells of it."""

import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from blitz.harness import isolation, run_end
from blitz.harness.selection import META, Selected, Selection
from tests import small_house
from tests.forked import Done, gate, needs_python_backends

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")


CLAIMS = 'T1 = ["first"]\nT2 = ["second"]\nT3 = ["third"]\n'

TESTS = '''
import torch

class TestJoining:
    def test_first(self, device):
        """The first holds."""
        assert torch.ones(2, device=device).sum().item() == 2

    def test_second(self, device):
        """The second holds."""
        {}

    def test_third(self, device):
        """The third holds."""
        assert torch.ones(2, device=device).sum().item() == 2
'''


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run three tests, the second of which does something bad, and ask for every file."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # this may be one itself

    def run(bad: str, *options: str, tests: str = TESTS, claims: str = CLAIMS) -> Done:
        def prepare() -> None:
            isolation.IN_A_ROW = 6  # each costs a worker's start

        small_house.make(tmp_path, small_house.PAGE + claims, tests.replace("{}", bad))
        files = ["--conformance=a.json", "--report=a.html", "--junitxml=a.xml"]
        return gate(tmp_path, *files, *options, prepare=prepare)

    return run


def outcomes(folder: Path, device: str = "cpu") -> dict[str, tuple[str, str]]:
    """Each claim's outcome and the reason of its test, as the file for machines has them."""
    result = json.loads((folder / "a.json").read_text(encoding="utf-8"))
    entries = {claim["key"]: claim["devices"].get(device) for claim in result["claims"]}
    return {
        key: (entry["outcome"], entry["tests"][0]["reason"])
        for key, entry in entries.items()
        if entry is not None
    }


HELD = ("held", "")


ENDINGS = """
class TestJoining:
    def test_aborts(self, device):
        \"""It aborts.\"""
        os.fork() or time.sleep(90)  # a child lives on
        os.abort()

    def test_holds_the_gil(self, device):
        \"""It sleeps, and lets no other thread run.\"""
        ctypes.PyDLL(None).sleep(60)

    def test_dies_late(self, device, ending):
        \"""It dies while it is torn down.\"""

    def test_dies_reporting(self, device):
        \"""It ends its process when it is asked for its words.\"""
        raise Ending

    def test_eats_memory(self, device):
        \"""It takes all the memory that there is.\"""
        resource.setrlimit(resource.RLIMIT_AS, (taken() + (100 << 20),) * 2)
        while True:
            eaten.append(bytearray(1 << 16))

    def test_holds(self, device):
        \"""It holds.\"""
        assert torch.ones(2, device=device).sum().item() == 2
"""

HEAD = """
import ctypes, os, resource, time
import pytest, torch

eaten = []

def taken():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

class Ending(Exception):
    def __str__(self):
        os._exit(6)

@pytest.fixture
def ending():
    yield
    os._exit(4)
"""


def test_test_that_ends_or_blocks_its_process_is_named_and_the_others_run(
    house: Callable[..., Done], tmp_path: Path
) -> None:
    ids = ["aborts", "holds_the_gil", "dies_late", "dies_reporting", "eats_memory", "holds"]
    claims = "".join(f'T{number} = ["{name}"]\n' for number, name in enumerate(ids))

    done = house("", "--device=cpu", "--test-limit=4", tests=HEAD + ENDINGS, claims=claims)

    assert done.code == 1
    found = outcomes(tmp_path)
    # Whether enough memory is free again by then to report the error is chance.
    assert found.pop("T4") in (
        ("broken", "MemoryError"),
        ("crashed", "crashed: pytest failed in its process, which may have had no memory left"),
    )
    assert found == {
        "T0": (
            "crashed",
            "crashed: the process died of SIGABRT, in test_1.py:24: os.abort()",
        ),
        "T1": ("hung", "hung: no end after 4 s, in test_1.py:28: ctypes.PyDLL(None).sleep(60)"),
        "T2": ("crashed", "crashed: the process ended with exit code 4"),
        "T3": ("crashed", "crashed: the process ended with exit code 6"),
        "T5": HELD,
    }
    assert re.search(r"cpu: +1 claims held, [01] broken, [34] crashed, 1 hung, 0 not", done.output)
    told = "test_1.py:24: os.abort()\ncrashed claim on cpu\nT0: It aborts.\n"
    assert told in done.output
    assert "died of SIGABRT" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert told in "".join(ElementTree.parse(tmp_path / "a.xml").getroot().itertext())


def test_limit_of_another_plug_in_stays_in_force(
    house: Callable[..., Done], tmp_path: Path
) -> None:
    """As pytest-timeout sets it: the timer of the process, of which there is one."""
    small_house.make(tmp_path, "", "")
    (tmp_path / "spec" / "conftest.py").write_text(
        "import signal\n"
        "def pytest_runtest_setup(item):\n"
        "    signal.signal(signal.SIGALRM, lambda *_: 1 / 0)\n"
        "    signal.setitimer(signal.ITIMER_REAL, 1)\n"
        "def pytest_runtest_teardown(item):\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0)\n"
    )

    house("import time; time.sleep(5)", "--device=cpu", "--test-limit=4")

    found = outcomes(tmp_path)
    assert [found["T1"], found["T3"]] == [HELD, HELD]
    assert found["T2"] == ("broken", "ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("number", "times", "saved_every", "code"),
    [
        (signal.SIGINT, 1, 60.0, pytest.ExitCode.INTERRUPTED),
        (signal.SIGTERM, 20, 60.0, pytest.ExitCode.INTERRUPTED),
        (signal.SIGKILL, 1, 0.0, -signal.SIGKILL),
    ],
    ids=["SIGINT", "SIGTERM", "SIGKILL"],
)
def test_run_that_is_ended_leaves_what_is_known_in_its_files(
    house: Callable[..., Done],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    times: int,
    saved_every: float,
    code: int,
) -> None:
    monkeypatch.setattr(run_end, "SAVED_EVERY", saved_every)
    bad = (
        f"import os, time\n        for _ in range({times}):\n"
        f"            os.kill(os.getppid(), {int(number)})\n            time.sleep(0.05)\n"
        "        time.sleep(60)"
    )

    done = house(bad, "--device=cpu", "--test-limit=50")

    assert done.code == code
    assert outcomes(tmp_path) == {"T1": HELD}
    assert json.loads((tmp_path / "a.json").read_text())["faults"] != []
    assert "The first holds." in (tmp_path / "a.html").read_text(encoding="utf-8")
    if number != signal.SIGKILL:  # pytest is there to the end
        assert "1 claims held, 0 broken, 0 not run" in done.output
        assert "test_first" in (tmp_path / "a.xml").read_text()


def test_time_a_test_may_take_follows_the_first_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 2.0, 10.0, 18.0, 20.0, 29.0])
    monkeypatch.setattr(isolation, "monotonic", lambda: next(now))
    monkeypatch.setattr(isolation, "FIRST", 2)
    limits = []
    for given in (None, 7.0):
        config = SimpleNamespace(getoption=lambda name, given=given: given, add_cleanup=id)
        plugin: Any = isolation.SupervisorPlugin(config, None)
        for node in ("a", "b", "c") if given is None else ():
            plugin.pytest_runtest_logstart(node)
            plugin.pytest_runtest_logfinish(node)
            limits.append(plugin._limit)
        limits.append(plugin._limit)

    assert limits == [300.0, 400.0, 400.0, 400.0, 7.0]


def test_workers_that_cannot_start_end_the_run_with_a_sentence(
    house: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "deadly.py").write_text(
        "import os\nif 'PYTEST_XDIST_WORKER' in os.environ:\n    os._exit(5)\n"
    )

    done = house("pass", "--device=cpu", "--test-limit=60", "--import=deadly")

    assert done.code == pytest.ExitCode.INTERRUPTED
    assert (
        "3 workers died before they ran a test: the process ended with exit code 5" in done.output
    )
    assert (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    ("asked", "claims", "said"),
    [
        ("spec/test_7.py", CLAIMS, "ERROR: file or directory not found: spec/test_7.py"),
        ("spec", CLAIMS + 'T4 = ["fourth"]', "ERROR: T4 names 'fourth', but there is no"),
    ],
    ids=["misspelt", "misfit"],
)
def test_what_a_worker_cannot_collect_ends_the_run_as_without_one(
    house: Callable[..., Done], asked: str, claims: str, said: str
) -> None:
    done = house("pass", "--device=cpu", "--test-limit=60", asked, claims=claims)

    assert (done.code, said in done.output) == (pytest.ExitCode.USAGE_ERROR, True), done.output


def test_run_in_which_every_test_crashes_ends(house: Callable[..., Done], tmp_path: Path) -> None:
    many = "import pytest, os\n" + TESTS.replace(
        "    def test_second(self, device)",
        "    @pytest.mark.parametrize('n', range(9))\n    def test_second(self, n, device)",
    )

    done = house("os._exit(1)", "--device=cpu", "--test-limit=60", tests=many)

    assert done.code == pytest.ExitCode.INTERRUPTED
    assert "6 tests in a row crashed or hung" in done.output
    assert outcomes(tmp_path)["T2"][0] == "crashed"


@needs_python_backends
class TestLostContext:
    # A worker starts with the path that Python gives it, which need not have the folder of tests.
    FAULTY = (
        f"import sys\nsys.path.append({str(Path(__file__).parents[2])!r})"
        """
import os
import torch
from tests import pretend_backend

lost = []

def losing(kernel):
    def run(**arguments):
        lost.append("now")
        raise RuntimeError("device-side assert triggered")
    return run

def lost_with_it(kernel):
    def run(**arguments):
        if lost or os.path.exists("gone"):
            raise RuntimeError("device-side assert triggered")
        return kernel(**arguments)
    return run

pretend_backend.faults |= {
    "aten::cumsum.out": losing, "aten::cumsum": losing, "aten::copy_": lost_with_it,
}
"""
    )

    @pytest.mark.parametrize(
        ("gaps", "code", "state"),
        [("", 1, "broken"), ('T2 = { xfail = "no sums" }', 0, "known gap")],
        ids=["broken", "known gap"],
    )
    def test_it_costs_one_worker(
        self, house: Callable[..., Done], tmp_path: Path, gaps: str, code: int, state: str
    ) -> None:
        (tmp_path / "faulty.py").write_text(self.FAULTY)
        (tmp_path / "gaps.toml").write_text(f"[claims]\n{gaps}")
        bad = "torch.ones(2, device=device).cumsum(0).tolist()"

        options = ("--device=pretend", "--import=faulty", "--known-gaps=gaps.toml")

        done = house(bad, *options, tests=TESTS.replace(".sum()", ".cpu().sum()"))

        assert done.code == code
        found = outcomes(tmp_path, "pretend:0")
        assert (found["T1"], found["T3"]) == (HELD, HELD)
        assert found["T2"][0] == state
        if state == "broken":
            assert found["T2"][1] == "RuntimeError: device-side assert triggered"
            assert "pretend:0 no longer answers" in done.output
            assert "1 failed, 2 passed" in done.output

    def test_device_that_does_not_come_back_is_left_alone(
        self, house: Callable[..., Done], tmp_path: Path
    ) -> None:
        (tmp_path / "faulty.py").write_text(self.FAULTY)
        bad = "open('gone', 'w'); torch.ones(2, device=device).cumsum(0).tolist()"

        done = house(bad, "--device=pretend", "--import=faulty")

        assert done.code == 1
        state, reason = outcomes(tmp_path, "pretend:0")["T3"]
        assert state == "not run"
        assert reason.startswith("did not come back after a crash: device 'pretend:0' cannot be")


ACCELERATED = Selection((Selected("cpu"), Selected("xpu:0")))


@pytest.mark.parametrize(
    ("selection", "options", "supervised"),
    [
        (ACCELERATED, {}, True),
        (Selection((META,)), {"test_limit": 5.0}, True),
        (Selection((Selected("cpu"), META)), {}, False),
        (ACCELERATED, {"collectonly": True}, False),
        (ACCELERATED, {"usepdb": True}, False),
        (ACCELERATED, {"capture": "no"}, False),
        (ACCELERATED, {"numprocesses": 0}, False),
        (ACCELERATED, {"numprocesses": 2}, False),
        (ACCELERATED, {"tx": ["ssh=there"]}, False),
        (ACCELERATED, {"benchmark_only": True}, False),
        (ACCELERATED, {"xdist": False}, False),
    ],
    ids=str,
)
def test_tests_run_in_one_worker_where_something_may_crash_and_nobody_asked_otherwise(
    selection: Selection, options: dict[str, Any], supervised: bool
) -> None:
    usual = {"collectonly": False, "usepdb": False, "capture": "fd", "numprocesses": None}
    usual |= {"tx": [], "test_limit": None, "maxworkerrestart": None, "benchmark_only": False}
    option = SimpleNamespace(**usual | {"xdist": True} | options)
    config: Any = SimpleNamespace(
        pluginmanager=SimpleNamespace(hasplugin=lambda name: vars(option)[name]),
        option=option,
        getoption=lambda name: vars(option)[name],
    )

    assert isolation.supervise(config, selection) is supervised
    asked = options.get("numprocesses"), options.get("tx", [])
    assert (option.numprocesses, option.tx) == ((1, ["popen"]) if supervised else asked)
