"""Where an accelerator overtakes the cpu, and the files that the rows are read from."""

import json
from pathlib import Path
from typing import Any

import pytest

from blitz.__main__ import main
from blitz.measuring import throughput
from blitz.measuring.throughput import Machine, Point

WIDTHS = (6, 24, 96, 384)


def point(device: str, width: int, batch: int, rate: Any) -> Point:
    return Point(device, "a model", 2, width, batch, rate, 0.9 * rate, 1.1 * rate, 7)


def grid(**rates: Any) -> list[Point]:
    """Points at batch 4 for each kind: rates over the widths."""
    return [
        point(kind if kind == "cpu" else f"{kind}:0", width, 4, rate)
        for kind, of_widths in rates.items()
        for width, rate in zip(WIDTHS, of_widths, strict=False)
    ]


class TestVerdict:
    @pytest.mark.parametrize(
        ("cpu", "cuda", "sentence"),
        [
            ([9, 8, 7, 6], [5, 9, 9, 9], "cuda overtakes cpu from width 24 at batch 4."),
            (
                [9, 8, 7, 6],
                [10, 9, 9, 9],
                "cuda overtakes cpu from width 6, the smallest measured, at batch 4.",
            ),
            ([9, 8, 7, 6], [10, 9, 5, 9], "cuda overtakes cpu from width 384 at batch 4."),
            (
                [9, 8, 7, 6],
                [10, 9, 9, 6],
                "cuda never overtakes cpu at batch 4 (widths measured: 6 to 384).",
            ),
            ([9, 8], [9, 9], "cuda overtakes cpu from width 24 at batch 4."),
            ([9], [8], "cuda never overtakes cpu at batch 4 (widths measured: width 6)."),
        ],
    )
    def test_it_names_where_the_accelerator_overtakes(
        self, cpu: list[int], cuda: list[int], sentence: str
    ) -> None:
        assert [*map(str, throughput.crossovers(grid(cpu=cpu, cuda=cuda)))] == [sentence]

    def test_widths_measured_on_one_device_only_do_not_count(self) -> None:
        points = [point("cpu", 6, 4, 9.0), point("cuda:0", 24, 4, 99.0)]

        assert list(throughput.crossovers(points)) == []
        assert throughput.overtakes_from(points, "cuda", 4) is None

    def test_there_is_one_on_each_accelerator_and_batch_or_why_there_is_none(self) -> None:
        points = [
            *(point("cpu", 6, 64, 1.0), point("xpu:0", 6, 64, 2.0)),
            *grid(cpu=[1, 2], cuda=[2, 3], xpu=[3, 1]),
        ]

        assert list(throughput.verdicts(points, "unused")) == [
            "cuda overtakes cpu from width 6, the smallest measured, at batch 4.",
            "xpu never overtakes cpu at batch 4 (widths measured: 6 to 24).",
            "xpu overtakes cpu from width 6, the smallest measured, at batch 64.",
        ]
        assert list(throughput.verdicts(grid(cpu=[1]), None)) == [
            "no accelerator was measured: it was not asked for"
        ]

    def test_curve_is_of_one_kind_and_batch(self) -> None:
        ours = [point("cpu", width, 4, 1.0) for width in (96, 6, 24)]
        others = [point("cuda:0", 7, 4, 1.0), point("cpu", 8, 64, 1.0)]

        found = throughput.curve([*others, *ours], "cpu", 4)

        assert list(found.items()) == [(6, ours[1]), (24, ours[2]), (96, ours[0])]


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
OTHERS = [{**ROW, "row": "inference"}, {**ROW, "images/s": None}, {"images/s": 3.0}]


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
            "benchmarks": [{"extra_info": row} for row in (ROW, *OTHERS)],
        }
        file.write_text(json.dumps(content))

        of_the_row = Point("cuda:0", "a model", 2, 24, 64, 100.0, low=90.0, high=110.0, rounds=5)
        assert throughput.read(file) == Machine(
            "my run", (of_the_row,), why, versions={"torch": "2.15.0"}, date="2026-11-23"
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

    def test_names_that_several_have_are_counted(self) -> None:
        machines = [Machine(name, (), None, {}, "") for name in "abaca"]

        names = [machine.name for machine in throughput.named_apart(machines)]

        assert names == ["a (1)", "b", "a (2)", "c", "a (3)"]
