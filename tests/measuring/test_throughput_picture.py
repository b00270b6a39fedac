"""The picture of throughput over width, and the command that writes it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from blitz.__main__ import main
from blitz.measuring import throughput
from blitz.measuring.picture import COLORS, MARKERS, throughput_over_width
from blitz.measuring.throughput import Machine, Point
from tests import locales

to_hex = pytest.importorskip("matplotlib.colors").to_hex

LEGEND = ["cpu (a chip, 2 threads)", "cuda (a card)"]


def point(device: str, width: int, batch: int, rate: float, rounds: int = 5) -> Point:
    name = "a chip" if device == "cpu" else "a card"
    return Point(device, name, 2, width, batch, rate, rate - 30, rate + 70, rounds)


POINTS = (
    *(point("cpu", 24, 4, 400.0), point("cpu", 6, 4, 800.0), point("cpu", 6, 64, 1000.0)),
    *(point("cuda:0", 6, 4, 500.0), point("cuda:0", 24, 4, 600.0)),
)
MACHINE = Machine("desk", POINTS, None, {"torch": "2.15.0"}, "2026-11-23")


class TestPanels:
    def test_there_is_one_for_each_batch(self) -> None:
        figure = throughput_over_width([MACHINE])

        assert [axes.get_title() for axes in figure.axes] == ["batch 4", "batch 64"]
        assert [axes.get_xlabel() for axes in figure.axes] == ["width"] * 2
        assert figure.axes[0].get_ylabel() == "images/s (forward, backward and step)"
        assert figure.get_suptitle().startswith("Training throughput of the tutorial's classifier")
        assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()  # to be compared
        assert figure.get_size_inches().tolist() == pytest.approx([8.7, 5.2])

    def test_axes_have_a_tick_at_each_width_and_few_at_rates(self) -> None:
        axes, other = throughput_over_width([MACHINE]).axes

        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert axes.get_xticks().tolist() == [6, 24]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["6", "24"]
        assert [label.get_text() for label in other.get_xticklabels()] == ["6"]
        assert [*axes.xaxis.get_minorticklocs(), *axes.yaxis.get_minorticklocs()] == []
        rates = axes.yaxis.get_major_locator().tick_values(100, 9000)
        assert [rate for rate in rates.tolist() if 100 <= rate <= 9000] == pytest.approx(
            [100, 200, 500, 1000, 2000, 5000]
        )
        assert axes.yaxis.get_major_formatter()(12345.0) == "12,345"


class TestLines:
    def test_points_are_medians_and_bars_are_quartiles(self) -> None:
        axes = throughput_over_width([MACHINE]).axes[0]

        cpu, cuda = axes.containers
        assert cpu.lines[0].get_xydata().tolist() == [[6, 800], [24, 400]]
        assert cuda.lines[0].get_xydata().tolist() == [[6, 500], [24, 600]]
        bars = [segment.tolist() for segment in cpu.lines[2][0].get_segments()]
        assert bars == [[[6, 770], [6, 870]], [[24, 370], [24, 470]]]

    def test_colours_and_markers_stay_with_their_device(self) -> None:
        names = ["cpu", *"abcdefg"]
        points = [point(name, 6, 4, 100.0) for name in names]
        points += [point(name, 6, 64, 100.0) for name in names if name != "a"]

        first, second = throughput_over_width([replace(MACHINE, points=tuple(points))]).axes

        looks = [*zip(COLORS, MARKERS, strict=True), (COLORS[0], MARKERS[0])]
        assert len(set(looks)) == 7
        for axes, shown in ((first, looks), (second, [looks[0], *looks[2:]])):
            lines = [bars.lines[0] for bars in axes.containers]
            assert [(line.get_color(), line.get_marker()) for line in lines] == shown
        (legend,) = first.figure.legends
        colors = [to_hex(handle.get_color()[0]) for handle in legend.legend_handles]
        assert colors == [color.lower() for color, _ in looks]

    def test_overtaking_is_marked_where_it_begins(self) -> None:
        first, second = throughput_over_width([MACHINE]).axes

        (text,) = first.texts
        assert text.get_text() == "cuda ahead from width 24"
        assert (text.xy, text.xycoords) == ((24, 0.02), ("data", "axes fraction"))
        assert (text.xyann, text.anncoords, text.get_rotation()) == ((3, 0), "offset points", 90)
        assert (text.get_color(), text.get_fontsize()) == (COLORS[1], 8)
        (mark,) = (line for line in first.get_lines() if line.get_linestyle() == ":")
        assert (mark.get_xdata()[0], mark.get_color(), mark.get_linewidth()) == (24, COLORS[1], 1.2)
        assert list(second.texts) == []
        slow = replace(MACHINE, points=(POINTS[1], POINTS[3]))
        assert list(throughput_over_width([slow]).axes[0].texts) == []

    def test_point_of_a_busy_machine_is_hollow_and_said_to_be(self) -> None:
        busy = replace(POINTS[0], disturbed=True)
        figure = throughput_over_width([replace(MACHINE, points=(busy, *POINTS[1:]))])

        hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
        assert [line.get_xydata().tolist() for line in hollow] == [[[24, 400]]]
        assert [(line.get_marker(), line.get_color()) for line in hollow] == [
            (MARKERS[0], COLORS[0])
        ]
        assert "hollow: measured on a busy machine" in figure.legends[0].get_title().get_text()
        lines = throughput_over_width([MACHINE]).axes[0].lines
        assert "white" not in [line.get_markerfacecolor() for line in lines]


class TestLegend:
    def shown(self, machines: Sequence[Machine]) -> tuple[list[str], list[str]]:
        """The entries of the legend, and the lines of its title."""
        (legend,) = throughput_over_width(machines).legends
        entries = [text.get_text() for text in legend.get_texts()]
        return entries, legend.get_title().get_text().splitlines()

    def test_names_each_device_once_and_how_it_was_measured(self) -> None:
        assert self.shown([MACHINE]) == (
            LEGEND,
            ["torch 2.15.0, float32, 2026-11-23; median and quartiles of 5 rounds"],
        )

    def test_several_machines_are_named(self) -> None:
        points = (point("cpu", 6, 4, 1.0, rounds=9), point("cpu", 24, 4, 1.0))
        other = Machine("rack", points, "torch finds none", {}, "2026-11-24")
        third = replace(other, name="shelf", points=points[1:], no_accelerator=None)

        entries, notes = self.shown([MACHINE, other, third])

        names = [f"{name}: cpu (a chip, 2 threads)" for name in ("desk", "rack", "shelf")]
        assert entries == [names[0], "desk: cuda (a card)", *names[1:]]
        unknown = "torch of an unknown version, float32, 2026-11-24; median and quartiles of"
        assert notes == [
            "desk: torch 2.15.0, float32, 2026-11-23; median and quartiles of 5 rounds",
            f"rack: {unknown} 5 to 9 rounds",
            "rack: no accelerator was measured: torch finds none",
            f"shelf: {unknown} 5 rounds",
            "shelf: no accelerator was measured: it was not asked for",
        ]

    @pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (3, 3), (4, 3)])
    def test_stands_below_the_panels_in_three_columns_at_most(
        self, count: int, columns: int
    ) -> None:
        points = tuple(point(name, 6, 4, 100.0) for name in ["cpu", *"abc"][:count])
        figure = throughput_over_width([replace(MACHINE, points=points)])

        figure.draw_without_rendering()

        (legend,) = figure.legends
        frame, label = legend.get_window_extent(), figure.axes[0].xaxis.label.get_window_extent()
        assert 0 <= frame.y0 < frame.y1 <= label.y0
        places = {round(text.get_window_extent().x0) for text in legend.get_texts()}
        assert len(places) == columns
        sizes = legend.get_texts()[0].get_fontsize(), legend.get_title().get_fontsize()
        assert (legend.get_frame_on(), *sizes) == (False, 9, 8)


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., Path]:
    def results(name: str, points: Sequence[Point], no_accelerator: Any = None) -> Path:
        names = {"name": "device name", "rate": "images/s"}
        names |= {"low": "images/s, low", "high": "images/s, high"}
        rows = [
            {names.get(key, key): value for key, value in asdict(point).items()}
            | {"row": "training", "versions": {"torch": "2.15.0"}}
            for point in points
        ]
        content = {
            "datetime": "2026-11-23T12:00:00",
            "machine_info": {"blitz": {"no accelerator": no_accelerator}},
            "benchmarks": [{"extra_info": row} for row in rows],
        }
        file = tmp_path / name
        file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        return file

    return results


def test_results_are_read_in_utf8_whatever_the_locale(
    results: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = results("run.json", [replace(POINTS[0], name="Größe 9 ×2")])
    locales.speak_ascii(monkeypatch)

    (read,) = throughput.read(file).points

    assert read.name == "Größe 9 ×2"


def test_command_writes_the_picture_and_says_who_overtakes_where(
    results: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [results("a.json", POINTS), results("b.json", POINTS[:3], "torch finds none")]
    out, nowhere = tmp_path / "plot.png", tmp_path / "missing" / "plot.png"

    assert main(["plot-benchmark", *map(str, files), "-o", str(out)]) == 0
    assert main(["plot-benchmark", *map(str, files), "-o", str(nowhere)]) == 2

    said = capsys.readouterr()
    assert out.read_bytes().startswith(b"\x89PNG")
    assert said.out.splitlines() == [
        f"{tmp_path}/a: cuda overtakes cpu from width 24 at batch 4 (widths measured: 6, 24).",
        f"{tmp_path}/b: no accelerator was measured: torch finds none",
        f"wrote {out}",
    ]
    assert f"{nowhere}: the picture cannot be written there: No such" in said.err
