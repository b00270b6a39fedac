"""How fast it is, as the report shows it: what the benchmarks measured, in the page's language."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from blitz.harness.report import speed
from blitz.harness.selection import NO_ACCELERATOR
from blitz.harness.texts import texts
from blitz.measuring import throughput
from blitz.measuring.throughput import Machine, Point, ResultsError
from tests.report_pages import BENCHMARK, Node, a_run, html, read


def a_machine(*rates: tuple[str, int, int, float], none: str | None = None) -> Machine:
    points = [Point(d, "X", 2, w, b, r, r * 0.9, r * 1.1, 9) for d, w, b, r in rates]
    return Machine("m", tuple(points), none, {"torch": "2.15"}, "2026-11-23")


def shown(folder: Path, measured: speed.Measured, lang: str = "en") -> Node:
    """The section of a page that shows what was measured."""
    return read(html(a_run(folder, []), lang, measured)).one("section", id="throughput")


CPU, CUDA = ("cpu", 6, 4, 9.0), ("cuda:0", 6, 4, 5.0)


@pytest.mark.parametrize(
    ("rates", "chinese"),
    [
        (
            [CPU, CUDA, ("cpu", 24, 4, 3.0), ("cuda:0", 24, 4, 5.0)],
            "批量为 4 时，cuda 从宽度 24 起超过 cpu。",
        ),
        ([("cpu", 6, 4, 1.0), CUDA], "批量为 4 时，cuda 从测量的最小宽度 6 起就超过 cpu。"),
        ([CPU, CUDA], "批量为 4 时，cuda 始终没有超过 cpu（测量的宽度：只有 6）。"),
        (
            [CPU, CUDA, ("cpu", 24, 4, 6.0), ("cuda:0", 24, 4, 5.0)],
            "批量为 4 时，cuda 始终没有超过 cpu（测量的宽度：6 至 24）。",
        ),
        ([CPU], "没有测量任何加速器：本次没有要求"),
    ],
    ids=["overtakes", "from the smallest", "never at one", "never", "no accelerator"],
)
def test_verdict_is_that_of_the_benchmarks_in_the_page_s_language(
    rates: list[tuple[str, int, int, float]], chinese: str
) -> None:
    machine = a_machine(*rates)

    said = list(speed.verdicts(machine))

    assert list(map(str, said)) == list(throughput.verdicts(machine.points, None))
    assert [message.said(texts("zh")) for message in said] == [chinese]


@pytest.mark.parametrize(
    ("none", "said"),
    [(NO_ACCELERATOR, "torch 在本机上没有找到加速器"), ("cuda: died", "cuda: died")],
)
def test_machine_without_an_accelerator_says_why(tmp_path: Path, none: str, said: str) -> None:
    page = shown(tmp_path, speed.Measured(a_machine(CPU, none=none), []), "zh")

    assert f"没有测量任何加速器：{said}" in page.text


def test_picture_is_the_one_that_blitz_draws_and_the_figures_stand_below(tmp_path: Path) -> None:
    page = shown(tmp_path, speed.Measured(a_machine(CPU, CUDA, ("cpu", 24, 64, 1234.5)), []))

    kind, _, content = page.one("img").attributes["src"].partition(";base64,")
    drawn = base64.b64decode(content).decode()
    assert kind == "data:image/svg+xml"
    assert all(f">{words}<" in drawn for words in ("batch 4", "batch 64", "width", "24"))
    assert page.one("img").attributes["alt"].startswith("Images per second over the width")
    rows = page.one("table", cls="numbers").one("tbody").all("tr")
    assert [[cell.text for cell in row.all("td")] for row in rows] == [
        ["6", "4", "9", "5"],
        ["24", "64", "1,234", "–"],
    ]
    assert "on 2026-11-23 with torch 2.15; median of 9 rounds" in page.text


def test_page_without_matplotlib_has_the_figures_and_says_what_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    page = shown(tmp_path, speed.Measured(a_machine(CPU), []))

    assert not list(page.all("img"))
    assert "The picture needs matplotlib, which is not installed here." in page.text
    assert page.one("table", cls="numbers").one("tbody").one("tr").text == "649"


def test_shares_of_a_step_and_what_holds_it_up_are_shown(tmp_path: Path) -> None:
    steps = [
        row["extra_info"]
        for row in json.loads(BENCHMARK.read_text())["benchmarks"]
        if "parts" in row["extra_info"]
    ]
    steps.append(steps[0] | {"bound": "feed-bound: 46% of a step goes to data and transfer"})

    measured = speed.Measured(a_machine(CPU), [speed._step(step) for step in steps])
    bodies = list(shown(tmp_path, measured).one("table", cls="steps").all("tbody"))

    row, first = steps[0], bodies[0]
    words = [cell.text for cell in first.all() if cell.tag in ("th", "td")]
    shares = [f"{100 * share:.0f} %" for share in (*row["parts"].values(), row["busy"])]
    named = [row["device"], row["feed"], str(row["width"]), str(row["batch"])]
    assert [body.one("span").text for body in bodies] == [step["bound"] for step in steps]
    assert words == [*named, *shares, row["bound"]]
    widths = [float(part.attributes["width"][:-1]) for part in first.all("rect")]
    places = [float(part.attributes["x"][:-1]) for part in first.all("rect")]
    assert places == pytest.approx([sum(widths[:n]) for n in range(len(widths))], abs=0.02)
    assert sum(widths) == pytest.approx(100, abs=0.1)


def test_what_holds_a_step_up_is_in_the_page_s_language(tmp_path: Path) -> None:
    page = shown(tmp_path, speed.read(BENCHMARK), "zh")

    said = page.one("table", cls="steps").one("tr", cls="bar").text

    assert said.startswith("受限于")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"bound": "sky-bound: high"}, "ValueError: a step is bound by 'sky-bound: high'"),
        ({"parts": {"data": 1.0}}, "KeyError: 'transfer'"),
        ({"parts": [1.0]}, "TypeError: list indices must be integers"),
    ],
    ids=["bound", "part", "parts"],
)
def test_parts_that_cannot_be_read_are_told(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    content = json.loads(BENCHMARK.read_text())
    row = next(r for r in content["benchmarks"] if "parts" in r["extra_info"])
    row["extra_info"] |= changed
    file = tmp_path / "results.json"
    file.write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(ResultsError) as refused:
        speed.read(file)

    told = f"{file}: what it says of the parts of a step cannot be read ({said}"
    assert str(refused.value).startswith(told)
    assert str(refused.value).endswith("--benchmark-json FILE` wrote.")
