"""The files of the benchmarks, and what is refused of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from blitz.__main__ import main
from blitz.measuring import throughput
from blitz.measuring.throughput import Machine, Point

ROW: dict[str, Any] = {
    "row": "training",
    "device": "cuda:0",
    "device name": "a model",
    "threads": 2,
    "precision": "float32",
    "width": 24,
    "batch": 64,
    "images/s": 100.0,
    "images/s, low": 90.0,
    "images/s, high": 110.0,
    "rounds": 5,
    "versions": {"torch": "2.15.0"},
}
PARTS = {"data": 0.6, "transfer": 0.1, "forward": 0.1, "backward": 0.1, "optimizer": 0.1}
STEP = {"device": "cpu", "feed": "loader", "width": 6, "batch": 4, "parts": PARTS, "busy": 0.5}
STEP |= {"bound": "feed-bound: 70% of a step goes to data and transfer"}
OTHERS = [{**ROW, "row": "inference"}, {**ROW, "images/s": None}, {"images/s": 3.0}]


def with_step(**changed: Any) -> str:
    return json.dumps({"machine_info": {}, "benchmarks": [{"extra_info": {**STEP, **changed}}]})


class TestFile:
    @pytest.mark.parametrize(
        ("machine", "why"),
        [({"blitz": {"no accelerator": "none found"}}, "none found"), ({}, None)],
    )
    def test_machine_is_what_it_says(self, tmp_path: Path, machine: Any, why: str | None) -> None:
        file = tmp_path / "my run.json"
        content = {
            "datetime": "2026-11-23T12:00:00",
            "machine_info": machine,  # another's than ours says nothing of accelerators
            "benchmarks": [{"extra_info": row} for row in (ROW, STEP, *OTHERS)],
        }
        file.write_text(json.dumps(content))

        of_the_row = Point("cuda:0", "a model", 2, 24, 64, 100.0, low=90.0, high=110.0, rounds=5)
        step = {**STEP, "bound": "feed", "figure": "70%"}
        assert throughput.read(file) == Machine(
            str(tmp_path / "my run"), (of_the_row,), why, {"torch": "2.15.0"}, "2026-11-23", (step,)
        )

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            ("no json", "not the results"),
            ("[]", "not the results"),
            ("{}", "not the results of the benchmarks (KeyError: 'benchmarks')"),
            ('{"benchmarks": [], "machine_info": {}, "datetime": "x"}', "holds no throughput"),
            ('{"benchmarks": [{"extra_info": {"row": "training", "images/s": 1}}]}', "not the"),
            (None, "foreign.json: cannot be read: No such "),
            (with_step(bound="sky-bound: 1 "), "(ValueError: a step is bound by 'sky-bound: 1 '"),
            (with_step(parts={"data": 1.0}), "(KeyError: 'transfer')"),
            (with_step(parts=[1.0]), "(TypeError: list indices must be integers"),
        ],
    )
    def test_foreign_one_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, fault: str
    ) -> None:
        pytest.importorskip("matplotlib")
        file = tmp_path / "foreign.json"
        if content is not None:
            file.write_text(content)

        code = main(["plot-benchmark", str(file), "-o", str(tmp_path / "plot.png")])

        error = capsys.readouterr().err
        assert code == 2
        assert fault in error
        assert "--benchmark-json" in error
        assert not (tmp_path / "plot.png").exists()
