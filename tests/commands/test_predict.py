"""``python -m blitz predict``: the likeliest classes of image files."""

import io
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from blitz import data
from blitz.__main__ import main
from blitz.training import weights


@pytest.fixture
def photo(images: Path) -> str:
    return str(images / "test" / "frog" / "06.png")


def test_names_the_top_three_with_probabilities(
    model: str, photo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--model", model, photo, photo]) == 0

    with Image.open(photo) as image:
        scores = weights.load(model)(data.transform()(image)[None])[0]
    chances = (scores.exp() / scores.exp().sum()).tolist()
    best = sorted(range(10), key=lambda label: -chances[label])[:3]
    expected = ", ".join(f"{data.CLASSES[label]} {chances[label]:.1%}" for label in best)
    assert capsys.readouterr().out == 2 * f"{photo}: {expected}\n"


@pytest.mark.parametrize("bad", [1, 2])
def test_files_that_are_no_images_are_named_and_the_others_are_done(
    model: str, photo: str, capsys: pytest.CaptureFixture[str], bad: int
) -> None:
    assert main(["predict", "--model", model, *(bad * [model]), photo]) == 2

    printed = capsys.readouterr()
    assert printed.err.count(f"error: {model} cannot be read as an image: its format") == bad
    assert printed.err.endswith("Give an image file, such as a JPEG or PNG.\n")
    assert printed.out.startswith(f"{photo}: ")


def test_name_that_stdout_cannot_print_is_escaped(
    model: str, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, "ascii"))
    cat = shutil.copy(photo, tmp_path / "猫.png")

    assert main(["predict", "--model", model, str(cat)]) == 0

    assert rb"\u732b.png: " in printed.getvalue()


def test_device_that_cannot_be_used_is_refused(
    model: str, photo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--model", model, "--device", "nowhere", photo]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "nowhere" in printed.err
