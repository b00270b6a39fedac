"""docs/several_devices.md: its arithmetic, and the script that measures."""

import json
import re
import runpy
from pathlib import Path

import pytest
import torch

from blitz.classifier import Net

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "several_devices.md").read_text(encoding="utf-8")
LINKS = (1e9 / 8, 10e9 / 8, 100e9 / 8, 300e9)
"""Bytes a second, in the order of the columns."""


def seconds(parameters: int, processes: int, bandwidth: float) -> float:
    """Of a ring that adds up so many float32 gradients."""
    return 2 * (processes - 1) / processes * 4 * parameters / bandwidth


ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.match(r"\| (the tutorial's net|ResNet-18) \|", line)
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}, {row[3]}")
def test_arithmetic_of_the_table(row: list[str]) -> None:
    parameters, processes = int(row[1].replace(",", "")), int(row[3])

    assert row[2] == f"{4 * parameters / 1e6:.3g} MB"
    assert row[4:] == [f"{1000 * seconds(parameters, processes, b):.3g} ms" for b in LINKS]


def test_measured_table_is_that_of_the_file() -> None:
    figures = json.loads((DOCS / "scale_two_cores.json").read_text(encoding="utf-8"))
    measured = [row for row in figures["rows"] if row["threads of each"] == 1]
    more = {True: ", more than cores", False: ""}

    table = PAGE.partition("| processes | images/s | efficiency |\n|---|---|---|---|---|---|\n")[2]

    assert table.partition("\n\n")[0].splitlines() == [
        f"| {row['size']} | {row['width']} | {row['batch']} "
        f"| {row['processes']}{more[row['more than cores']]} | {row['images/s']:,.0f} "
        f"| {row['efficiency']:.0%} |"
        for row in measured
    ]
    assert f"{figures['date']}, median of {figures['rounds']} rounds of 2 s" in PAGE
    assert (figures["cpu"], figures["seconds"], figures["cores"]) == ("AMD EPYC", 2, 2)
    wide = {
        (row["processes"], row["threads of each"]): row["times one process"]
        for row in figures["rows"]
        if row["width"] == 48
    }
    assert f"the wide net {wide[1, 2]:.2f}\ntimes as fast" in PAGE
    assert f"two processes {wide[2, 1]:.2f} times" in PAGE


def test_parameters_of_the_table() -> None:
    from torchvision.models import resnet18

    with torch.device("meta"):
        nets = {"the tutorial's net": Net(), "ResNet-18": resnet18()}

    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    assert [(row[0], int(row[1].replace(",", "")), row[3]) for row in ROWS] == [
        (name, count, processes) for name, count in counts.items() for processes in ("2", "8")
    ]


def test_efficiency_is_the_median_of_the_rounds_beside_one_process() -> None:
    script = runpy.run_path(str(DOCS / "scale_processes.py"))
    alone, two = (script["Row"](script["SIZES"][0], count, 1) for count in (1, 2))

    rows = script["_figures"]({alone: [100.0, 200.0, 100.0], two: [150.0, 300.0, 160.0]}, 2)

    assert [row["efficiency"] for row in rows] == [1.0, 0.75]
