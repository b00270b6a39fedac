"""The options that the specification adds to pytest's own."""

import pytest

from blitz.harness import options


def test_option_of_another_plug_in_is_shared() -> None:
    parser = pytest.Parser(_ispytest=True)
    parser.getgroup("playwright").addoption("--device", default=None, help="Device to emulate.")

    options.add(parser)

    assert vars(parser.parse(["--device=cpu"]))["device"] == "cpu"
