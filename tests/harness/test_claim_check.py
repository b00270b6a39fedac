"""Tests that were collected, held against the table of contents."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blitz.harness import claim_check, contents
from blitz.harness.selection import META, Selected, Selection
from tests import small_house

TESTS = '''
class TestJoining:
    def test_sum(self, device):
        """Sums are sums."""
'''

SELECTION = Selection((Selected("cpu"), Selected("xpu:0"), META))


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return small_house.make(tmp_path, small_house.PAGE + 'T1 = ["sum"]', TESTS)


@pytest.mark.parametrize(
    ("node", "found"),
    [
        ("spec/test_1.py::TestJoining::test_sum[cpu-3]", ("T1", "cpu")),
        ("spec/test_1.py::TestJoining::test_sum[xpu:0]", ("T1", "xpu:0")),
        ("spec/test_1.py::TestJoining::test_sum[3-meta]", ("T1", "meta")),
        ("spec/test_1.py::TestJoining::test_sum", ("T1", "no device")),
        ("spec/test_1.py::TestJoining::test_sum[3]", ("T1", "no device")),
        ("spec/test_1.py::TestJoining::test_mean[cpu]", None),
        ("tests/test_2.py::test_sum[cpu]", None),
    ],
)
def test_key_and_device_are_found_by_the_id_alone(
    spec: Path, node: str, found: tuple[str, str] | None
) -> None:
    table = contents.load(spec / "contents.toml")

    run: Any = SimpleNamespace(contents=lambda: table, selection=SELECTION)

    located = claim_check.located(node, run)

    assert found == (None if located is None else (located[0].claim.key, located[1]))
