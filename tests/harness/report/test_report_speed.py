"""How fast it is, as the report shows it: what the benchmarks measured, in the page's language."""

import base64
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from blitz.harness import benchmarks
from blitz.harness.selection import NO_ACCELERATOR
from blitz.harness.texts import texts
from blitz.measuring import throughput
from blitz.measuring.throughput import Machine, Point
from tests.report_pages import BENCHMARK, Node, a_run, html, read


def a_machine(*rates: tuple[str, int, int, float], none: str | None = None) -> Machine:
    points = [Point(d, "X", 2, w, b, r, r * 0.9, r * 1.1, 9) for d, w, b, r in rates]
    return Machine("m", tuple(points), none, {"torch": "2.15"}, "2026-11-23")


def at_4(kind: str, *rates: float) -> list[tuple[str, int, int, float]]:
    """Rates over the widths at batch 4."""
    return [(kind, width, 4, rate) for width, rate in zip((6, 24, 96, 384), rates, strict=False)]


def shown(folder: Path, machine: Machine, lang: str = "en") -> Node:
    """The section of a page that shows what was measured."""
    return read(html(a_run(folder, []), lang, machine)).one("section", id="throughput")


CPU, CUDA = ("cpu", 6, 4, 9.0), ("cuda:0", 6, 4, 5.0)


class TestVerdict:
    @pytest.mark.parametrize(
        ("cuda", "said"),
        [
            ([5, 9, 9], "overtakes cpu from width 24 at batch 4 (widths measured: 6, 24, 96)."),
            ([10, 9], "overtakes cpu from width 6 at batch 4 (widths measured: 6, 24)."),
            ([10, 7, 9], "overtakes cpu from width 96 at batch 4 (widths measured: 6, 24, 96)."),
            ([10, 9, 6], "never overtakes cpu at batch 4 (widths measured: 6, 24, 96)."),
            ([8], "never overtakes cpu at batch 4 (widths measured: 6)."),
        ],
        ids=str,
    )
    def test_it_names_where_the_accelerator_overtakes(self, cuda: list[int], said: str) -> None:
        machine = a_machine(*at_4("cpu", 9, 8, 7, 6), *at_4("cuda:0", *cuda))

        assert list(map(str, benchmarks.verdicts(machine.points, None))) == [f"cuda {said}"]

    def test_there_is_one_on_each_accelerator_and_batch_with_widths_in_common(self) -> None:
        points = a_machine(
            *(("cpu", 6, 64, 1.0), ("xpu:0", 6, 64, 2.0), ("aip", 96, 4, 9.0)),
            *(*at_4("cpu", 1, 2), *at_4("cuda:0", 2, 3), *at_4("xpu:0", 3, 1)),
        ).points

        assert list(map(str, benchmarks.verdicts(points, "unused"))) == [
            "cuda overtakes cpu from width 6 at batch 4 (widths measured: 6, 24).",
            "xpu never overtakes cpu at batch 4 (widths measured: 6, 24).",
            "xpu overtakes cpu from width 6 at batch 64 (widths measured: 6).",
        ]

    @pytest.mark.parametrize(
        ("none", "why"),
        [
            (NO_ACCELERATOR, "torch 在本机上没有找到加速器"),
            ("cuda: died", "cuda: died"),
            (None, "本次没有要求"),
        ],
    )
    def test_machine_without_an_accelerator_says_why(self, none: str | None, why: str) -> None:
        (said,) = benchmarks.verdicts(a_machine(CPU).points, none)

        assert said.said(texts("zh")) == f"没有测量任何加速器：{why}"


class TestSection:
    def test_picture_is_the_one_that_blitz_draws_and_the_figures_stand_below(
        self, tmp_path: Path
    ) -> None:
        machine = a_machine(CPU, CUDA, ("cpu", 24, 64, 1234.5))
        doubtful = replace(machine.points[1], disturbed=True)
        page = shown(tmp_path, replace(machine, points=(doubtful, *machine.points[::2])))

        kind, _, content = page.one("img").attributes["src"].partition(";base64,")
        drawn = base64.b64decode(content).decode()
        assert kind == "data:image/svg+xml"
        assert all(f">{words}<" in drawn for words in ("batch 4", "batch 64", "width", "24"))
        assert page.one("img").attributes["alt"].startswith("Images per second over the width")
        rows = page.one("table", cls="numbers").one("tbody").all("tr")
        assert [[cell.text for cell in row.all("td")] for row in rows] == [
            ["6", "4", "9", "5*"],
            ["24", "64", "1,234", "–"],
        ]
        assert "* Other processes took cores of the machine" in page.text
        assert "on 2026-11-23 with torch 2.15; median of 9 rounds" in page.text
        assert "cuda never overtakes cpu at batch 4" in page.text

    def test_without_matplotlib_there_are_the_figures_and_what_lacks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

        page = shown(tmp_path, a_machine(CPU))

        assert not list(page.all("img"))
        assert "The picture needs matplotlib, which is not installed here." in page.text
        assert page.one("table", cls="numbers").one("tbody").one("tr").text == "649"
        assert "* Other processes" not in page.text

    def test_shares_of_a_step_and_what_holds_it_up_are_shown(self, tmp_path: Path) -> None:
        machine = throughput.read(BENCHMARK)
        first = machine.steps[0]
        fed = {**first, "bound": "feed", "figure": "46%", "busy": None}

        page = shown(tmp_path, replace(machine, steps=(first, fed)))

        one, other = page.one("table", cls="steps").all("tbody")
        shares = [f"{100 * share:.0f} %" for share in (*first["parts"].values(), first["busy"])]
        named = [str(first[name]) for name in ("device", "feed", "width", "batch")]
        words = [cell.text for cell in one.all() if cell.tag in ("th", "td")]
        held_up = f"{first['bound']}-bound: twice the images take {first['figure']} times as long"
        assert words == [*named, *shares, held_up]
        assert other.one("span").text == "feed-bound: 46% of a step goes to data and transfer"
        assert list(other.all("td"))[-2].text == "–"
        widths = [float(part.attributes["width"][:-1]) for part in one.all("rect")]
        places = [float(part.attributes["x"][:-1]) for part in one.all("rect")]
        assert places == pytest.approx([sum(widths[:n]) for n in range(len(widths))], abs=0.02)
        assert sum(widths) == pytest.approx(100, abs=0.1)

    def test_all_of_it_is_in_the_page_s_language(self, tmp_path: Path) -> None:
        page = shown(tmp_path, throughput.read(BENCHMARK), "zh")

        assert page.one("table", cls="steps").one("tr", cls="bar").text.startswith("受限于")
        assert "取 3 至 9 次重复的中位数" in page.text
