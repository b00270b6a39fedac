"""The benchmarks' summary, what their JSON notes of the machine, and that each of them runs."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from blitz.base import backend, versions
from blitz.harness import benchmarks
from blitz.measuring import calm, step_breakdown
from tests import small_house

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


def info(device: torch.device, width: int, batch: int, rate: Any) -> dict[str, Any]:
    return {
        "row": "training",
        "device": device,
        "device name": f"the {device} model",
        "threads": 2,
        "precision": "float32",
        "width": width,
        "batch": batch,
        "images/s": rate,
        "images/s, low": rate * 0.9,
        "images/s, high": rate * 1.1,
        "rounds": 5,
        "versions": {"torch": "2.15.0"},
    }


class TestSummary:
    def test_devices_stand_side_by_side(self) -> None:
        rows = [info("cpu", 6, 4, 4000.0), info("cuda:0", 6, 4, 1000.0), info("xpu:1", 6, 4, 8000)]
        rows += [info("cpu", 24, 64, 2000.0), info("cuda:0", 24, 64, 9000.0), {"row": "other"}]

        assert list(benchmarks.lines(rows, None)) == [
            "images/s: forward, backward and step, on images already there (median of the rounds)",
            "  width  batch           cpu          cuda  speed-up",
            "      6      4         4,000         1,000    0.25 x",
            "     24     64         2,000         9,000    4.50 x",
            "  width  batch           cpu           xpu  speed-up",
            "      6      4         4,000         8,000    2.00 x",
            "     24     64         2,000             —         —",
            "cpu: the cpu model, 2 threads of the host",
            "cuda:0: the cuda:0 model, 2 threads of the host",
            "xpu:1: the xpu:1 model, 2 threads of the host",
            "cuda never overtakes cpu at batch 4 (widths measured: 6).",
            "cuda overtakes cpu from width 24 at batch 64 (widths measured: 24).",
            "xpu overtakes cpu from width 6 at batch 4 (widths measured: 6).",
        ]

    def test_row_of_a_busy_machine_is_marked_and_a_missing_accelerator_is_a_dash(self) -> None:
        busy = info("cpu", 6, 4, 7.0) | {"others": calm.BUSY + 0.1}
        calm_one = info("cpu", 24, 4, 4000.0) | {"others": calm.BUSY}

        assert list(benchmarks.lines([busy, calm_one], "torch finds none"))[1:] == [
            "  width  batch           cpu   accelerator  speed-up",
            "      6      4            7*             —         —",
            "     24      4         4,000             —         —",
            "cpu: the cpu model, 2 threads of the host",
            "* on a busy machine, also when measured again: not to be believed",
            "no accelerator was measured: torch finds none",
        ]

    def test_parts_of_a_step_have_shares_and_words(self) -> None:
        parts = dict(zip(step_breakdown.PARTS, (0.7, 0, 0.1, 0.15, 0.05), strict=True))
        row = {"device": "cpu", "feed": "loader", "width": 6, "batch": 4, "parts": parts}
        row |= {"busy": 0.3, "bound": "feed-bound: so"}
        other = row | {"device": "mps", "width": 384, "batch": 1024, "busy": None, "bound": "thus"}

        assert list(benchmarks.lines([row, {"row": "other"}, other], None)) == [
            "",
            "where a step goes",
            "   device      feed width batch"
            "      data  transfer   forward  backward optimizer  busy",
            "      cpu    loader     6     4"
            "       70%        0%       10%       15%        5%   30%  feed-bound: so",
            "      mps    loader   384  1024"
            "       70%        0%       10%       15%        5%     —  thus",
        ]

    def test_floor_of_a_step_is_said(self) -> None:
        row = {"device": "cuda:0", "feed": "captured", "batch": 4, "busy": 0.5}
        row |= {"kernel microseconds": 50.0, "step microseconds": 100.0}

        assert list(benchmarks.lines([row], None)) == [
            "cuda:0, captured feed, batch 4: its kernels take 50 of the 100 µs of a step (50% busy)"
        ]


class TestMachine:
    def test_cpu_has_a_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def name_where(**found: str) -> str:
            monkeypatch.setattr("cpuinfo.get_cpu_info", lambda: found)
            benchmarks.cpu_name.cache_clear()
            return benchmarks.device_name(torch.device("cpu"))

        assert name_where(brand_raw="A Chip 9: µ") == "A Chip 9: µ"
        assert name_where() == platform.machine()
        benchmarks.cpu_name.cache_clear()

    def test_accelerator_has_a_name_or_that_of_its_type(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_name", {torch.device("cuda", 1): 90}.get)
        monkeypatch.delattr(torch.xpu, "get_device_name", raising=False)

        names = [benchmarks.device_name(torch.device(name)) for name in ("cuda:1", "xpu", "vulkan")]

        assert names == ["90", "xpu", "vulkan"]

    def test_rows_note_what_they_ran_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.version, "cuda", None)
        monkeypatch.setattr(torch.version, "hip", "7.2")
        monkeypatch.setattr(benchmarks, "cpu_name", lambda: "A Chip")

        assert benchmarks.about(torch.device("cpu")) == {
            "device": "cpu",
            "device name": "A Chip",
            "threads": torch.get_num_threads(),
            "versions": {**versions.stack(), "hip": "7.2"},
        }


TIMED = """
from blitz.harness import benchmarks

def test_row(benchmark, request):
    benchmark(int)
    row = {"device": "cpu", "feed": "resident", "batch": 4, "busy": 0.5}
    row |= {"kernel microseconds": 50.0, "step microseconds": 100.0}
    request.config.stash.setdefault(benchmarks.rows_key, []).append(row)
"""


def test_summary_comes_after_the_table_and_the_machine_is_noted(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # this may be one itself
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    spec = small_house.make(pytester.path, small_house.PAGE + 'T1 = { untestable = "So." }', "")
    (spec / "bench_throughput.py").write_text(TIMED)
    options = ("--benchmark-only", "--benchmark-max-time=0", "--benchmark-json=a.json")

    result = pytester.runpytest_inprocess("spec", *options, "--device=cpu")

    lines = ["*benchmark: 1 tests*", "*how fast the 60 Minute Blitz is*", "cpu, resident feed, *"]
    result.stdout.fnmatch_lines(lines)
    noted = json.loads((pytester.path / "a.json").read_text())["machine_info"]["blitz"]
    assert noted == {"cpu": benchmarks.cpu_name(), "cores": 7, "no accelerator": None}


def fixtures_of_benchmarks(until: str) -> str:
    """What spec/bench_throughput.py holds before ``until``."""
    source = (ROOT / "spec" / "bench_throughput.py").read_text(encoding="utf-8")
    return source[: source.index(until)]


NAPS = """
import time
from blitz.measuring import throughput

@pytest.mark.benchmark(group="naps")
def test_naps(timed, benchmark, device):
    begun, due = time.perf_counter(), [0.0]
    backend.synchronize = lambda device: time.sleep(max(0.0, due[0] - time.perf_counter()))

    def nap_later():
        now = time.perf_counter()
        due[0] = min(max(due[0], now) + 0.01, now + 1)  # a clock that does not wait ends soon
        return "asleep"

    assert timed(nap_later, unit="naps/s", amount=2, width=6) == "asleep"

    noted = benchmark.extra_info
    assert noted["rounds"] >= 3
    assert noted["a round"] >= 2 * 5
    assert 20 < noted["naps/s, low"] <= noted["naps/s"] <= noted["naps/s, high"] < 201
    assert noted["width"] == 6
    assert noted["others"] == 0  # measured a third time
    assert benchmark.group == "naps"
    assert time.perf_counter() - begun < 10
"""


def test_rounds_are_long_enough_wait_for_the_device_and_are_repeated_on_a_busy_machine(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # this may be one itself
    monkeypatch.setattr(backend, "synchronize", backend.synchronize)  # put back afterwards
    used_by_others = iter([0.0, 1e9, 1e9, 2e9, 2e9, 2e9])
    monkeypatch.setattr(calm, "others", lambda: next(used_by_others))
    pytester.makeconftest(DEVICE)
    pytester.makepyfile(fixtures_of_benchmarks("class TestOperations") + NAPS)

    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=1)


DEVICE = """
import pytest, torch

@pytest.fixture
def device():
    return torch.device("cpu")
"""

ROWS = """
@pytest.mark.parametrize("row", ["good", "bad"])
def test_row(device, row):
    pass
"""


def test_row_that_keeps_memory_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocated = iter([10**6, 10**6, 10**6, 10**6 + 70_000])
    monkeypatch.setattr(backend, "allocated_bytes", lambda device: next(allocated))
    pytester.makeconftest(DEVICE)
    pytester.makepyfile(fixtures_of_benchmarks("@pytest.fixture\ndef timed") + ROWS)

    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*AssertionError: cpu: a row kept 70,000 bytes for itself*"])


def test_every_benchmark_passes_without_timing(tmp_path: Path) -> None:
    """A quick pass: one round of each, with the real wiring, in a process of its own."""
    report = tmp_path / "report.xml"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "spec/bench_throughput.py", "--benchmark-disable"),
            *("--device", "cpu", "--junitxml", str(report), "-q"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    suite = ElementTree.parse(report).getroot()[0]
    assert int(suite.get("failures")) == int(suite.get("errors")) == 0
    passed = int(suite.get("tests")) - int(suite.get("skipped"))
    assert passed >= 28
    assert "test_training_step[cpu-width_384-batch_1024]" in report.read_text()
