"""``python -m blitz test``: the figures of a net that was kept."""

from pathlib import Path

import pytest

from blitz import data
from blitz.__main__ import main
from blitz.parallel.processes import evaluate
from blitz.training import weights


def test_counts_what_the_net_names_right(
    model: str, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", "--model", model, "--data", str(images), "--device", "cpu"]) == 0

    first, *figures = capsys.readouterr().out.splitlines()
    accuracy = evaluate(weights.load(model), data.normalized(data.load("test", images)))
    assert figures == accuracy.lines()
    assert first == f"images: 12 of 12 test images of the class folders in {images}"


@pytest.mark.parametrize("what", ["--model", "--data"])
def test_what_is_not_there_is_named(
    model: str, images: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    given = {"--model": model, "--data": str(images), what: "none"}

    assert main(["test", *(word for pair in given.items() for word in pair)]) == 2

    assert "error: none" in capsys.readouterr().err
