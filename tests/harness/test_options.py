"""The options that the specification adds to pytest's own."""

from pathlib import Path

import pytest

from blitz import data
from blitz.harness import options
from tests import small_images


@pytest.fixture
def parser() -> pytest.Parser:
    made = pytest.Parser(_ispytest=True)
    options.add(made)
    return made


GIVEN = [
    *("--device=cpu,meta", "--import=a", "--import", "b", "--preflight-limit=3"),
    *("--require-accelerator", "--test-limit=0", "--known-gaps=p.toml", "--tolerances"),
    *("--conformance", "c.json", "--data=d", "--claim", "N34,T01", "--report=r.html"),
]


def test_options_are_understood(parser: pytest.Parser) -> None:
    none, given = vars(parser.parse([])), vars(parser.parse(GIVEN))

    of_each = {name: (none[name], given[name]) for name in given if name != "file_or_dir"}
    assert of_each == {
        "device": (None, "cpu,meta"),
        "imports": ([], ["a", "b"]),
        "preflight_limit": (120.0, 3.0),
        "require_accelerator": (False, True),
        "test_limit": (None, 0.0),
        "known_gaps": (None, Path("p.toml")),
        "tolerances": (False, True),
        "conformance": (None, Path("c.json")),
        "data": (None, Path("d")),
        "claim": (None, "N34,T01"),
        "report": (None, Path("r.html")),
        "lang": (None, None),
        "report_benchmark": (None, None),
    }


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
