"""The table of tolerances: what torch gives, what a call gives, what a profile gives."""

from pathlib import Path

import pytest

from blitz.harness import contents, tolerances
from blitz.harness.contents import Contents
from blitz.harness.profile import SKIP, TOLERANCE, Line, Profile
from blitz.harness.selection import META, Selected, Selection
from blitz.harness.tolerances import Row
from tests import small_house

CLAIMS = """
T1 = ["third"]
T2 = ["quarter"]
"""

TESTS = '''
TINY = 1e-9

class TestJoining:
    def test_third(self, device):
        """A third is ⅓."""
        assert_close(1 / 3, third(device), rtol=0, atol=TINY * 2)
        assert_close(1 / 3, third(device), rtol=0, atol=TINY * 2)
        assert_close(1 / 3, third(device), rtol=1e-3)
        assert_close(1 / 3, third(device), check_device=False)
        assert third.rtol == 5

    def test_quarter(self, device):
        """A quarter is ¼."""
        assert_close(1 / 4, quarter(device), atol=0.5)

    def test_half(self, device):
        """It has no claim."""
        assert_close(1 / 2, half(device), rtol=9, atol=9)

    def quarter(self, device):
        try:
            assert_close(1 / 4, quarter(device), rtol=8, atol=8)
        except AssertionError:
            raise
'''

CPU, GPU = Selected("cpu"), Selected("xpu:0")

OF_THE_CALLS = [
    Row("cpu", "any", "T1 third", "0", "TINY * 2"),
    Row("cpu", "any", "T1 third", "0.001", "0"),
    Row("cpu", "any", "T2 quarter", "0", "0.5"),
]

OF_TORCH = [
    Row("cpu", "float64, complex128", "any other", "1e-07", "1e-07"),
    Row("cpu", "float32, complex64", "any other", "1.3e-06", "1e-05"),
    Row("cpu", "bfloat16", "any other", "0.016", "1e-05"),
    Row("cpu", "float16", "any other", "0.001", "1e-05"),
    Row("cpu", "whole numbers, bool", "any other", "0", "0"),
]


@pytest.fixture
def book(tmp_path: Path) -> Contents:
    (tmp_path / "contents.toml").write_text(small_house.PAGE + CLAIMS)
    (tmp_path / "test_1.py").write_text(TESTS, encoding="utf-8")
    return contents.load(tmp_path / "contents.toml")


def test_each_device_has_torch_s_own_and_all_share_those_of_the_calls(book: Contents) -> None:
    table = tolerances.table(Selection((CPU, GPU, META)), book, None)

    assert [row.device for row in table] == ["cpu"] * 5 + ["xpu:0"] * 5 + ["cpu, xpu:0"] * 3
    assert [row.rtol for row in table[5:10]] == [row.rtol for row in OF_TORCH]


@pytest.mark.parametrize(("kind", "where"), [("xpu", "xpu"), (None, "accelerators")])
def test_those_of_a_profile_come_last_with_its_reason(
    book: Contents, kind: str | None, where: str
) -> None:
    lines = {
        "T1": Line("T1", SKIP, "too long"),
        "T2": Line("T2", TOLERANCE, "sums in bfloat16", 1e-3, 0.25),
    }

    table = tolerances.table(Selection((CPU,)), book, Profile(Path("p.toml"), lines, kind))

    assert table[:-1] == [*OF_TORCH, *OF_THE_CALLS]
    wider = Row(where, "any", "T2", "at least 0.001", "at least 0.25", "sums in bfloat16")
    assert table[-1] == wider
