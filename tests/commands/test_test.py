"""``python -m blitz test``: the figures of a net that was kept."""

from pathlib import Path
from typing import Any

import pytest

from blitz import data
from blitz.__main__ import main
from blitz.learning import evaluation
from blitz.parallel import joining, processes
from blitz.parallel.shares import Rank
from blitz.training import weights


def test_counts_what_the_net_names_right(
    model: str, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", "--model", model, "--data", str(images), "--device", "cpu"]) == 0

    first, *figures = capsys.readouterr().out.splitlines()
    accuracy = evaluation.evaluate(
        weights.load(model), [data.normalized(data.load("test", images))[:]]
    )
    assert figures == [accuracy.line(), *accuracy.class_lines()]
    assert first == f"images: 12 of 12 test images of the class folders in {images}"


def test_other_processes_print_nothing(
    model: str, images: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Second(processes.Processes):
        rank = Rank(1, 2)

        def first(self, work: Any) -> Any:
            read = work()
            capsys.readouterr()
            return read

    monkeypatch.setattr(joining, "ALONE", Second())

    assert main(["test", "--model", model, "--data", str(images)]) == 0

    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("what", ["--model", "--data"])
def test_what_is_not_there_is_named(
    model: str, images: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    given = {"--model": model, "--data": str(images), what: "none"}

    assert main(["test", *(word for pair in given.items() for word in pair)]) == 2

    assert "error: none" in capsys.readouterr().err
