"""How fast it is, as the report shows it: of small made results, each figure worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from blitz.harness.report import speed
from blitz.harness.report.speed import Line, Mark, Measured, Panel, Speed, Step
from blitz.harness.selection import NO_ACCELERATOR
from blitz.harness.texts import Message, english, texts
from blitz.measuring.step_breakdown import PARTS
from blitz.measuring.throughput import Machine, Point, ResultsError
from tests import locales

REMEDY = "Give a file that `pytest --benchmark-only --benchmark-json FILE` wrote."

NAMES = {"cpu": "A cpu", "cuda": "A GPU", "xpu": "Another"}


def a_point(
    device: str,
    width: int,
    batch: int,
    rate: float,
    spread: tuple[float, float] | None = None,
    **other: Any,
) -> Point:
    low, high = (rate, rate) if spread is None else spread
    name = NAMES[device.partition(":")[0]]
    given = {"threads": 2, "rounds": 9} | other
    return Point(device, name, given["threads"], width, batch, rate, low, high, given["rounds"])


def a_machine(*points: Point, none: str | None = None, **versions: str) -> Machine:
    return Machine("m", points, none, versions or {"torch": "2.15.0"}, "2026-11-23")


def shown(*points: Point, lang: str = "en", **other: Any) -> Speed:
    return speed.speed(Measured(a_machine(*points, **other), []), texts(lang))


def rounded(panel: Panel) -> Panel:
    """The panel with its places to the sixth digit."""

    def places(ticks: Any) -> list[tuple[float, Any]]:
        return [(round(place, 6), label) for place, label in ticks]

    lines = [
        Line(
            line.number,
            [
                Mark(*(round(place, 6) for place in (m.x, m.y, m.low, m.high)), m.text)
                for m in line.marks
            ],
        )
        for line in panel.lines
    ]
    return Panel(panel.title, lines, places(panel.xs), places(panel.ys), places(panel.crossovers))


#: On the y axis a decade of images/s takes 56 units, from 192 for 1/s up to 24 for 1000/s.
LOW, HIGH = 1.15, 1000 / 1.15
GRID = (
    a_point("cpu", 6, 4, 100.0, (10.0, HIGH), rounds=9),
    a_point("cpu", 12, 4, 10.0, (LOW, 100.0), rounds=5),
    a_point("cpu", 24, 4, 10.0, threads=4),
    a_point("cpu", 6, 64, 10.0),
    a_point("cuda:0", 24, 4, 100.0),
    a_point("cuda:0", 6, 4, 10.0),
    a_point("cuda:0", 12, 4, 100.0),
)


class TestPicture:
    def test_panel_has_the_points_of_a_batch_on_logarithmic_axes(self) -> None:
        [four, many] = map(rounded, shown(*GRID).panels)

        bottom_of_12, top_of_6 = 192 - 56 * 0.0606978, 24 + 56 * 0.0606978
        assert four == Panel(
            "batch 4",
            [
                Line(
                    0,
                    [
                        Mark(64, 80, 136, pytest.approx(top_of_6, abs=1e-4), "cpu, 6: 100"),
                        Mark(171, 136, pytest.approx(bottom_of_12, abs=1e-4), 80, "cpu, 12: 10"),
                        Mark(278, 136, 136, 136, "cpu, 24: 10"),
                    ],
                ),
                Line(
                    1,
                    [
                        Mark(64, 136, 136, 136, "cuda, 6: 10"),
                        Mark(171, 80, 80, 80, "cuda, 12: 100"),
                        Mark(278, 80, 80, 80, "cuda, 24: 100"),
                    ],
                ),
            ],
            [(64, "6"), (171, "12"), (278, "24")],
            [(192, "1"), (136, "10"), (80, "100"), (24, "1,000")],
            [(171, 1)],
        )
        assert many == Panel(
            "batch 64",
            [Line(0, [Mark(171, 136, 136, 136, "cpu, 6: 10")]), Line(1, [])],
            [(171, "6")],
            four.ys,
            [],
        )

    def test_line_of_a_panel_is_a_path_through_its_points(self) -> None:
        cpu, cuda = shown(*GRID).panels[0].lines

        assert cpu.path == "64.0,80.0 171.0,136.0 278.0,136.0"
        assert cuda.path == "64.0,136.0 171.0,80.0 278.0,80.0"

    def test_ticks_end_a_little_beyond_the_points(self) -> None:
        [panel] = shown(a_point("cpu", 6, 4, 10.0), a_point("cpu", 12, 4, 40.0)).panels

        assert [label for _, label in panel.ys] == ["10", "20"]

    def test_points_of_equal_rates_have_room_above_and_below(self) -> None:
        [panel] = shown(a_point("cpu", 6, 4, 1234.0)).panels

        assert [mark.text for mark in panel.lines[0].marks] == ["cpu, 6: 1,234"]
        assert panel.lines[0].marks[0].y == pytest.approx((192 + 24) / 2)

    def test_point_beside_its_quartiles_is_still_in_the_panel(self) -> None:
        points = (
            a_point("cpu", 6, 4, LOW, (10.0, 20.0)),
            a_point("cpu", 24, 4, HIGH, (10.0, 20.0)),
        )

        marks = shown(*points).panels[0].lines[0].marks

        margin = 56 * 0.0606978
        assert [mark.y for mark in marks] == pytest.approx([192 - margin, 24 + margin], abs=1e-4)

    def test_device_that_computes_nothing_lies_at_the_bottom_or_in_the_middle(self) -> None:
        still = shown(a_point("cpu", 6, 4, 0.0), a_point("cpu", 12, 4, 10.0)).panels[0]
        below = speed._scale(0.01, 1.0, 10.0, 20.0)

        assert [mark.y for mark in still.lines[0].marks] == [108.0, 108.0]
        assert [below(value) for value in (-1.0, 0.0, 0.01, 0.1, 1.0)] == pytest.approx(
            [10.0, 10.0, 10.0, 15.0, 20.0]
        )
        assert speed._scale(5.0, 5.0, 10.0, 20.0)(0.0) == 15.0

    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (1, 10, [1, 2, 5, 10]),
            (0.2, 3, [1, 2]),
            (0.1, 0.4, []),
            (3, 80, [5, 10, 20, 50]),
            (1, 100, [1, 2, 5, 10, 20, 50, 100]),
            (1, 200, [1, 10, 100]),
            (5, 5000, [10, 100, 1000]),
            (2e5, 999_999.9, [200_000, 500_000]),
        ],
    )
    def test_ticks_are_round_numbers_and_not_many(
        self, low: float, high: float, expected: list[int]
    ) -> None:
        assert speed._round_numbers(low, high) == expected


class TestWords:
    def test_all_that_is_shown_of_a_run(self) -> None:
        found = shown(*GRID)

        assert found.lead == (
            "Training steps of the tutorial's net at several widths, measured by "
            "`pytest --benchmark-only` on 2026-11-23 with torch 2.15.0; median of 5 to 9 rounds, "
            "bars from the lower to the upper quartile."
        )
        assert found.legend == [(0, "cpu (A cpu, 2–4 threads)"), (1, "cuda (A GPU)")]
        assert found.kinds == ["cpu", "cuda"]
        assert found.table == [
            (6, 4, ["100", "10"]),
            (12, 4, ["10", "100"]),
            (24, 4, ["10", "100"]),
            (6, 64, ["10", "–"]),
        ]
        assert found.verdicts == ["cuda overtakes cpu from width 12 at batch 4."]
        assert found.steps == []

    def test_words_are_in_the_language_of_the_page(self) -> None:
        chinese = texts("zh")

        found = shown(*GRID, lang="zh")

        span = chinese("throughput.rounds_span", first=5, last=9)
        said = {"date": "2026-11-23", "torch": "2.15.0", "rounds": span}
        assert found.lead == chinese("throughput.lead", **said)
        assert found.legend[1] == (1, chinese("throughput.device", kind="cuda", name="A GPU"))
        assert [panel.title for panel in found.panels] == [
            chinese("throughput.batch", batch=batch) for batch in (4, 64)
        ]
        assert found.verdicts == [
            chinese("throughput.overtakes", kind="cuda", width=12, batch=4),
        ]

    def test_rounds_that_are_all_alike_are_told_once_and_torch_may_be_unknown(self) -> None:
        found = shown(a_point("cpu", 6, 4, 12_345.6), numpy="2.4.6")

        assert "with torch ?; median of 9 rounds" in found.lead
        assert found.legend == [(0, "cpu (A cpu, 2 threads)")]
        assert found.table == [(6, 4, ["12,346"])]

    @pytest.mark.parametrize(
        ("rates", "said"),
        [
            (
                {6: (9.0, 5.0), 12: (3.0, 5.0), 24: (3.0, 5.0)},
                "xpu overtakes cpu from width 12 at batch 4.",
            ),
            (
                {6: (1.0, 5.0), 24: (1.0, 5.0)},
                "xpu overtakes cpu from width 6, the smallest measured, at batch 4.",
            ),
            (
                {6: (9.0, 5.0)},
                "xpu never overtakes cpu at batch 4 (widths measured: width 6).",
            ),
            (
                {6: (9.0, 5.0), 12: (1.0, 5.0), 24: (9.0, 5.0)},
                "xpu never overtakes cpu at batch 4 (widths measured: 6 to 24).",
            ),
        ],
        ids=["from", "from the smallest", "never at one", "never"],
    )
    def test_verdict_says_where_an_accelerator_overtakes_the_cpu(
        self, rates: dict[int, tuple[float, float]], said: str
    ) -> None:
        points = [
            a_point(device, width, 4, rate)
            for width, pair in rates.items()
            for device, rate in zip(("cpu", "xpu:0"), pair, strict=True)
        ]

        assert shown(*points).verdicts == [said]

    def test_each_accelerator_and_batch_with_a_width_in_common_has_a_verdict(self) -> None:
        points = [
            *(a_point("cpu", 6, batch, 1.0) for batch in (1, 4, 64)),
            a_point("cpu", 12, 4, 1.0),
            a_point("cuda:0", 6, 64, 5.0),
            a_point("cuda:0", 6, 4, 5.0),
            a_point("xpu:0", 12, 4, 5.0),
            a_point("xpu:0", 12, 1, 5.0),
        ]

        said = list(speed.verdicts(a_machine(*points)))

        smallest = "throughput.overtakes_from_smallest"
        assert said == [
            Message(smallest, {"kind": kind, "batch": batch, **at})
            for kind, batch, at in (
                ("cuda", 4, {"first": 6, "last": 6, "width": 6}),
                ("cuda", 64, {"first": 6, "last": 6, "width": 6}),
                ("xpu", 4, {"first": 12, "last": 12, "width": 12}),
            )
        ]

    @pytest.mark.parametrize(
        ("none", "lang", "said"),
        [
            (None, "en", "no accelerator was measured: it was not asked for"),
            (
                NO_ACCELERATOR,
                "en",
                "no accelerator was measured: torch finds no accelerator on this machine",
            ),
            ("cuda: died", "en", "no accelerator was measured: cuda: died"),
            (NO_ACCELERATOR, "zh", "没有测量任何加速器：torch 在本机上没有找到加速器"),
        ],
        ids=["not asked", "none found", "unusable", "in Chinese"],
    )
    def test_run_without_an_accelerator_says_why(
        self, none: str | None, lang: str, said: str
    ) -> None:
        [sentence] = shown(a_point("cpu", 6, 4, 1.0), none=none, lang=lang).verdicts

        assert sentence == said


SHARES = {"data": 0.25, "transfer": 0.125, "forward": 0.25, "backward": 0.25, "optimizer": 0.125}


def a_file(folder: Path, *rows: dict[str, Any]) -> Path:
    """Results of the benchmarks: one point of the grid, and these rows beside it."""
    grid = {
        "row": "training",
        "device": "cpu",
        "device name": "A cpu",
        "threads": 2,
        "width": 6,
        "batch": 4,
        "images/s": 10.0,
        "images/s, low": 9.0,
        "images/s, high": 11.0,
        "rounds": 9,
        "versions": {"torch": "2.15.0"},
    }
    file = folder / "results.json"
    content = {
        "benchmarks": [{"extra_info": row} for row in (grid, *rows)],
        "machine_info": {"blitz": {"no accelerator": "none"}},
        "datetime": "2026-11-23T10:20:30",
    }
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def a_row(bound: str = "compute-bound: twice the images take 1.93 times as long") -> dict[str, Any]:
    return {
        "parts": SHARES,
        "bound": bound,
        "device": "cuda:0",
        "feed": "memory",
        "width": "24",
        "batch": "64",
        "busy": "0.5",
    }


class TestSteps:
    def test_steps_are_read_beside_the_grid(self, tmp_path: Path) -> None:
        never = a_row() | {"busy": None, "device": "cpu"}

        measured = speed.read(a_file(tmp_path, {"row": "beside"}, a_row(), {"parts": {}}, never))

        bound = Message("throughput.compute_bound", {"share": "38%", "growth": "1.93"})
        step = Step("cuda:0", "memory", 24, 64, SHARES, 0.5, bound)
        assert measured == Measured(
            Machine(
                "results",
                (a_point("cpu", 6, 4, 10.0, (9.0, 11.0)),),
                "none",
                {"torch": "2.15.0"},
                "2026-11-23",
            ),
            [step, Step("cpu", "memory", 24, 64, SHARES, None, bound)],
        )
        assert list(measured.steps[0].shares) == list(PARTS)
        assert type(measured.steps[0].width) is type(measured.steps[0].batch) is int

    @pytest.mark.parametrize(
        ("bound", "said"),
        [
            ("feed-bound: 38% of a step goes to data and transfer", None),
            ("launch-bound: twice the images take 1.07 times as long", None),
            ("launch-bound: twice the images take 3 times as long", None),
            (
                "launch-bound: by torch 2.15.0 twice the images take 1.07 times as long",
                "launch-bound: twice the images take 1.07 times as long",
            ),
            ("compute-bound", "compute-bound: twice the images take ? times as long"),
        ],
        ids=["feed", "launch", "whole number", "a version", "no number"],
    )
    def test_what_holds_a_step_up_is_told(
        self, tmp_path: Path, bound: str, said: str | None
    ) -> None:
        measured = speed.read(a_file(tmp_path, a_row(bound)))

        assert speed.speed(measured, english()).steps == [(measured.steps[0], said or bound)]

    def test_what_holds_a_step_up_is_told_in_the_language_of_the_page(self, tmp_path: Path) -> None:
        measured = speed.read(a_file(tmp_path, a_row()))

        [(_, said)] = speed.speed(measured, texts("zh")).steps

        assert said == texts("zh")("throughput.compute_bound", growth="1.93")

    def test_steps_are_read_in_utf8_whatever_the_locale(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = a_file(tmp_path, a_row())
        content = json.loads(file.read_text(encoding="utf-8"))
        content["benchmarks"][1]["extra_info"]["feed"] = "größer"
        file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        locales.speak_ascii(monkeypatch)

        [step] = speed.read(file).steps

        assert step.feed == "größer"

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            (
                {"bound": "sky-bound: high"},
                "ValueError: a step is bound by 'sky-bound: high', which is not known",
            ),
            ({"parts": {"data": 1.0}}, "KeyError: 'transfer'"),
            ({"parts": [1.0]}, "TypeError: list indices must be integers or slices, not str"),
            ({"width": None}, "TypeError: int() argument must be"),
        ],
        ids=["bound", "part", "parts", "width"],
    )
    def test_parts_that_cannot_be_read_are_told(
        self, tmp_path: Path, changed: dict[str, Any], said: str
    ) -> None:
        file = a_file(tmp_path, a_row() | changed)

        with pytest.raises(ResultsError) as refused:
            speed.read(file)

        start = f"{file}: what it says of the parts of a step cannot be read ({said}"
        assert str(refused.value).startswith(start)
        assert str(refused.value).endswith(f"). {REMEDY}")
