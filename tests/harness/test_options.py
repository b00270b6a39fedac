"""The options that the specification adds to pytest's own."""

from pathlib import Path

import pytest

from blitz import data
from blitz.harness import options
from tests import small_images


@pytest.fixture
def parser() -> pytest.Parser:
    made = pytest.Parser(_ispytest=True)
    options.add(made.getgroup("blitz"))
    return made


GIVEN = [
    *("--device=cpu,meta", "--import=a", "--import", "b", "--preflight-limit=3"),
    *("--require-accelerator", "--test-limit=0", "--profile=p.toml", "--tolerances"),
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
        "test_limit": (300.0, 0.0),
        "profile": (None, Path("p.toml")),
        "tolerances": (False, True),
        "conformance": (None, Path("c.json")),
        "data": (None, Path("d")),
        "claim": (None, "N34,T01"),
        "report": (None, Path("r.html")),
        "lang": (None, None),
        "report_benchmark": (None, None),
    }


def test_help_says_what_each_is_good_for(
    parser: pytest.Parser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    shown = " ".join(parser.optparser.format_help().split())

    for words in (
        "--device=NAME[,NAME…] run the claims on these devices only",
        "--import=MODULE import MODULE first",
        "--preflight-limit=SECONDS take a device for hung whose first trial takes longer "
        "(default: 120)",
        "--require-accelerator fail where",
        "--test-limit=SECONDS end and name a test that takes longer; 0 for no limit (default: 300)",
        "--profile=FILE.toml the known gaps",
        "--tolerances show the",
        "--conformance=FILE.json write the whole result",
        "--data=DIR use the CIFAR-10 images",
        "--claim=KEY[,KEY…] run the tests",
    ):
        assert words in shown


def test_images_are_told_of(tmp_path: Path) -> None:
    small_images.make(tmp_path)

    assert options.images(None) == data.describe(None)
    assert options.images(tmp_path) == data.describe(tmp_path)


def test_images_that_are_not_there_are_told_with_the_option(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match=r"^--data: .*nowhere"):
        options.images(tmp_path / "nowhere")
