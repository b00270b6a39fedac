"""``blitz gaps`` and ``blitz backends``: a profile and a table from the results of runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from blitz.__main__ import main
from blitz.harness import profile
from blitz.harness.profile import SKIP, XFAIL, Line

OUTCOMES = {
    "T1": ("held", ""),
    "T2": ("broken", 'assert "a\\b" == 1 — off\x7f'),
    "T3": ("unsupported", "aten::mm"),
    "T4": ("crashed", "crashed: the process died of SIGSEGV"),
    "T5": ("hung", "hung: no end after 300 s"),
    "T6": ("known gap", "profile: as before"),
    "T7": ("broken", ""),
}


def result(*devices: str) -> dict[str, Any]:
    """A result in which the same came out on every device."""
    states = [state for state, _ in OUTCOMES.values()]
    counts = {state: states.count(state) for state in states}
    return {
        "format": "blitz conformance",
        "version": 2,
        "environment": {
            "torch": "2.9.0",
            "date": "2026-11-28T12:00:00+00:00",
            "devices": [{"name": name, "backend": f"torch_{name[:3]} 1"} for name in devices],
        },
        "counts": {name: {"claims": counts, "tests": counts} for name in devices},
        "claims": [
            {
                "key": key,
                "devices": {
                    name: {
                        "outcome": state,
                        "tests": [{"id": key, "outcome": state, "reason": reason}],
                    }
                    for name in devices
                },
            }
            for key, (state, reason) in OUTCOMES.items()
        ],
    }


@pytest.fixture
def a(tmp_path: Path) -> Path:
    """A file with the result of a run on the cpu and on xla."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(result("cpu", "xla:0")), encoding="utf-8")
    return path


def test_gaps_are_a_profile_of_what_failed(
    a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gaps", str(a)]) == 0

    written = capsys.readouterr().out
    (tmp_path / "xla.toml").write_text(written, encoding="utf-8")
    read = profile.load(tmp_path / "xla.toml", ["T2", "T4", "T5", "T6", "T7"])
    assert written.startswith("# Known gaps of xla:0: torch 2.9.0, torch_xla 1, 2026-11-28.\n")
    assert read.device_type == "xla"
    assert read.lines == {
        "T2": Line("T2", XFAIL, 'assert "a\\b" == 1 — off\x7f'),
        "T4": Line("T4", SKIP, "crashed: the process died of SIGSEGV"),
        "T5": Line("T5", SKIP, "hung: no end after 300 s"),
        "T6": Line("T6", XFAIL, "as before"),
        "T7": Line("T7", XFAIL, "broken"),
    }


def test_gaps_are_those_of_the_device_asked_for(
    a: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gaps", str(a), "--device", "cpu"]) == 0
    assert 'device = "cpu"' in capsys.readouterr().out

    assert main(["gaps", str(a), "--device", "npu:0"]) == 2
    assert "--device npu:0: the run has cpu, xla:0. Name one" in capsys.readouterr().err


def test_gaps_of_several_accelerators_need_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.json").write_text(json.dumps(result("xla:0", "npu:0")), encoding="utf-8")

    assert main(["gaps", str(tmp_path / "b.json")]) == 2
    assert "the accelerator: the run has xla:0, npu:0." in capsys.readouterr().err


def test_table_has_a_row_for_each_device_that_ran_tests(
    a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    b = result("no device", "npu:0", "meta")
    b["counts"]["meta"]["tests"] = {"not run": 3}
    (tmp_path / "b.json").write_text(json.dumps(b), encoding="utf-8")

    assert main(["backends", str(a), str(tmp_path / "b.json")]) == 0

    figures = "2026-11-28 | 7 | 1 | 2 | 1 | 1 | 1 | 1 |"
    head, line, *rows = capsys.readouterr().out.splitlines()
    assert head.endswith("| held | broken | unsupported | known gap | crashed | hung |")
    assert line.count("|") == head.count("|")
    assert rows == [
        f"| cpu | torch 2.9.0, torch_cpu 1 | {figures}",
        f"| xla:0 | torch 2.9.0, torch_xla 1 | {figures}",
        f"| npu:0 | torch 2.9.0, torch_npu 1 | {figures}",
    ]
