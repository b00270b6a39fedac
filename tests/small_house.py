"""A small specification in a folder of its own, with the real conftest.py and pytest.ini."""

from pathlib import Path

ROOT = Path(__file__).parents[1]

PAGE = """
[[page]]
title = "Tensors"
url = "https://example.org/tensors.html"
file = "test_1.py"
[[page.section]]
heading = "Joining"
anchor = "joining"
class = "TestJoining"
[page.section.claims]
"""
"""The contents of one page with one section, up to its claims, which are to follow."""


CONTENTS = (
    PAGE.replace('"Joining"', '"Joining <tensors>"')
    + """
T1 = ["sum_is_six"]
T2 = { tests = ["shape_is_three", "sign_is_smaller"], said = "upstream" }
T3 = ["old_habit"]
T4 = { erratum = "A quote & a brace are missing." }
T5 = { untestable = "It is a matter of taste." }
T6 = { benchmark = ["sum_is_quick"] }
T7 = ["accelerators_add"]
[[page.section]]
heading = "Leaving"
anchor = "leaving"
class = "TestLeaving"
[page.section.claims]
T8 = ["text_was_never_right"]
T9 = ["word_for_word"]
T10 = { tests = ["back_again"], said = "older" }
[[page]]
title = "Mistakes"
url = "https://example.org/mistakes.html"
file = "test_2.py"
ours = true
[[page.section]]
heading = "Beside"
anchor = "beside"
class = "TestBeside"
[page.section.claims]
M1 = ["shape_of_nothing"]
M2 = { untestable = "Nobody knows." }
"""
)
"""A row of every kind: accounted for in each way, said by each source, with each verdict."""

TESTS = '''
import pytest
import torch

class TestJoining:
    @pytest.mark.parametrize("n", [1, 2], ids=["one", "<i>two</i>"])
    def test_sum_is_six(self, n, device):
        """The sum of three twos is <b>six</b>."""
        assert torch.full((3,), 2.0, device=device).sum().item() == 6  # & no more

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_shape_is_three(self, device):
        """A tensor of three has shape three."""
        assert torch.ones(3, device=device).shape == (3,)

    @pytest.mark.changed(since="2.0", text="Habits are zeros.")
    def test_old_habit(self):
        """Habits are None."""
        assert True

    @pytest.mark.on("accelerator")
    def test_accelerators_add(self, device):
        """Accelerators add."""
        assert (torch.ones(1, device=device) + 1).item() == 2


class TestLeaving:
    @pytest.mark.mistaken(text="It was so.")
    def test_text_was_never_right(self):
        """It was never so."""
        assert True

    @pytest.mark.mistaken(text="Biases are errors.", upstream="Biases are biases.")
    def test_word_for_word(self):
        """Biases are added."""
        assert True

    @pytest.mark.changed(since="0.4.1", until="2.5", text="Whole numbers do.")
    def test_back_again(self):
        """Whole numbers do, or are refused."""
        assert True
'''

DETAILS = '''
def test_sign_is_smaller():
    """One is smaller than two."""
    assert 1 < 2, "</script><script>alert('one')</script>"
'''

OWN_TESTS = '''
import pytest
import torch

class TestBeside:
    @pytest.mark.on("meta")
    def test_shape_of_nothing(self, device):
        """Nothing has a shape."""
        assert torch.ones(0, device=device).shape == (0,)
'''

BENCHMARKS = '''
class TestSpeed:
    def test_sum_is_quick(self, benchmark, device):
        """A sum is quick."""
        benchmark(sum, [1, 2])
'''


def make(folder: Path, contents: str, tests: str) -> Path:
    """Write ``spec/contents.toml`` and ``spec/test_1.py``; the folder ``spec``."""
    for name in ("conftest.py", "pytest.ini"):
        (folder / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    spec = folder / "spec"
    spec.mkdir(exist_ok=True)
    (spec / "contents.toml").write_text(contents, encoding="utf-8")
    (spec / "test_1.py").write_text(tests, encoding="utf-8")
    return spec


def make_whole(folder: Path, tests: str = TESTS) -> Path:
    """Write the specification of :data:`CONTENTS`; the folder ``spec``."""
    spec = make(folder, CONTENTS, tests)
    (spec / "details").mkdir(exist_ok=True)
    (spec / "details" / "test_joining.py").write_text(DETAILS, encoding="utf-8")
    (spec / "test_2.py").write_text(OWN_TESTS, encoding="utf-8")
    (spec / "bench_throughput.py").write_text(BENCHMARKS, encoding="utf-8")
    return spec
