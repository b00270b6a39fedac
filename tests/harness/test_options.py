"""The options that the specification adds to pytest's own."""

from pathlib import Path

import pytest

from blitz import data
from blitz.harness import options
from tests import small_images


def test_option_of_another_plug_in_is_shared() -> None:
    parser = pytest.Parser(_ispytest=True)
    parser.getgroup("playwright").addoption("--device", default=None, help="Device to emulate.")

    assert options.add(parser) == ["--device"]
    assert vars(parser.parse(["--device=cpu"]))["device"] == "cpu"


def test_images_are_told_of(tmp_path: Path) -> None:
    small_images.make(tmp_path)

    assert options.images(None) == data.describe(None)
    assert options.images(tmp_path) == data.describe(tmp_path)


def test_images_that_are_not_there_are_told_with_the_option(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match=r"^--data: .*nowhere"):
        options.images(tmp_path / "nowhere")
