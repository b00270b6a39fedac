"""The tool that tells lies: which it counts as noticed, which not, and what its list names."""

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from blitz.harness import contents
from tests import small_house
from tests.lies import run
from tests.lies.all import LIES
from tests.lies.lie import Lie, Register, accept, after, assigned, aten, instead

ROOT = Path(__file__).parents[1]

CONTENTS = (
    small_house.PAGE
    + """
T1 = ["sum_is_six"]
T2 = ["shape_is_three", "shape_has_one_dimension"]
"""
)

TESTS = '''
import pytest
import torch

class TestJoining:
    def test_sum_is_six(self, device):
        """The sum of three twos is six."""
        assert torch.full((3,), 2.0, device=device).sum().item() == 6

    def test_shape_is_three(self):
        """A tensor of three has shape three."""
        assert torch.ones(3).shape == (3,)

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_shape_has_one_dimension(self, device):
        """A tensor of three has one dimension."""
        assert torch.ones(3, device=device).dim() == 1
'''


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A small specification in a house of its own."""
    return small_house.make(tmp_path, CONTENTS, TESTS)


def told(spec: Path, install: Any, *breaks: str, **options: Any) -> run.Finding:
    [finding] = run.examine([Lie("a_lie", "It is a lie.", breaks, install)], spec, **options)
    return finding


def sums_are_off() -> None:
    instead("sum")(lambda old, t: old(t) + 1)


def zeros_are_off() -> None:
    instead(torch, "zeros")(lambda old, *size: torch.ones(*size))


class TestOneLie:
    def test_that_a_test_of_a_claim_catches_is_noticed(self, spec: Path) -> None:
        finding = told(spec, sums_are_off, "T1")

        assert finding.state == run.NOTICED
        assert (finding.claim, finding.test) == ("T1", "test_sum_is_six[cpu]")
        assert finding.how == "AssertionError: assert 7.0 == 6"
        assert str(finding).startswith("a_lie: T1 test_sum_is_six[cpu] (")

    def test_that_names_the_wrong_claim_is_noticed_all_the_same(self, spec: Path) -> None:
        finding = told(spec, sums_are_off, "T2")

        assert (finding.state, finding.claim) == (run.NOTICED, "T1")

    def test_that_no_test_catches_is_reported(self, spec: Path) -> None:
        finding = told(spec, zeros_are_off, "T1")

        assert finding.state == run.GREEN
        assert finding.how == "all 4 tests of claims ran and stayed green"
        assert "NOT NOTICED" in str(finding)

    def test_is_told_in_a_process_of_its_own(self, spec: Path) -> None:
        told(spec, sums_are_off, "T1")

        assert torch.full((3,), 2.0).sum().item() == 6

    def test_does_not_count_where_no_test_runs(self, spec: Path) -> None:
        (spec / "test_1.py").write_text(TESTS + "\nimport no_such_module\n")

        finding = told(spec, sums_are_off, "T1")

        assert finding.state == run.SPOILED
        assert "no test of a claim ran" in finding.how

    def test_does_not_count_where_only_a_set_up_breaks(self, spec: Path) -> None:
        broken = TESTS.replace("(self, device)", "(self, device, tmp_path)")
        (spec / "test_1.py").write_text(
            broken + "\n@pytest.fixture\ndef tmp_path():\n    assert torch.zeros(1) == 0\n"
        )

        finding = told(spec, zeros_are_off, "T1")

        assert finding.state == run.SPOILED
        assert "test_sum_is_six[cpu], setup: " in finding.how

    def test_does_not_count_where_it_cannot_be_installed(self, spec: Path) -> None:
        def install() -> None:
            raise AttributeError("torch has no such thing")

        finding = told(spec, install, "T1")

        assert finding.state == run.SPOILED
        assert finding.how == "it could not be told: AttributeError: torch has no such thing"

    def test_does_not_count_where_its_process_dies(self, spec: Path) -> None:
        assert told(spec, lambda: os._exit(3), "T1").how == "the process that told it died"

    def test_does_not_count_where_it_never_ends(self, spec: Path) -> None:
        finding = told(spec, lambda: time.sleep(60), "T1", limit=0.5)

        assert finding.state == run.SPOILED
        assert finding.how == "no end after 0 s"

    def test_that_raises_instead_of_lying_is_told_apart(self, spec: Path) -> None:
        def install() -> None:
            def broken(t: Any) -> None:
                raise TypeError("a slip of the lie's author")

            broken.__code__ = broken.__code__.replace(co_filename=str(run.HERE / "tensors.py"))
            torch.Tensor.sum = broken

        assert "[in the lie's own code] TypeError" in told(spec, install, "T1").how


def test_several_lies_are_told_at_once(spec: Path) -> None:
    lies = [Lie(f"lie_{n}", "It is a lie.", ("T1",), sums_are_off) for n in range(3)]

    findings = list(run.examine(lies, spec, jobs=2))

    assert {finding.lie.name for finding in findings} == {"lie_0", "lie_1", "lie_2"}
    assert {finding.state for finding in findings} == {run.NOTICED}


@pytest.mark.parametrize("truth", [run.TRUTH, run.LOOKED_AT], ids=lambda truth: truth.name)
def test_truth_is_green(spec: Path, truth: Any) -> None:
    [finding] = run.examine([truth], spec)

    assert finding.state == run.GREEN


class TestWaysToLie:
    """Each in a process of its own, through a specification that would notice."""

    def test_operator_below_autograd(self, spec: Path) -> None:
        finding = told(spec, lambda: aten({"sum.default": lambda sum_, t, **kw: sum_(t) + 1}), "T1")

        assert (finding.state, finding.claim) == (run.NOTICED, "T1")

    def test_refusal_that_is_none(self, spec: Path) -> None:
        (spec / "test_1.py").write_text(
            TESTS.replace(
                "assert torch.ones(3).shape == (3,)",
                "with pytest.raises(RuntimeError):\n            torch.ones(3).view(2)",
            )
        )

        def install() -> None:
            accept(torch.Tensor, "view", RuntimeError, lambda t, *size: t)

        finding = told(spec, install, "T2")

        assert finding.test == "test_shape_is_three"
        assert finding.how.startswith("Failed: DID NOT RAISE")

    def test_attribute_is_read_and_assigned_by_the_lie(self) -> None:
        class Owner:
            size = property(vars, lambda owner, size: vars(owner).update(size=size))

        owner = Owner()
        instead(Owner, "size")(lambda old, owner: [old(owner)])
        assigned(Owner, "size")(lambda put, owner, size: put(owner, size + 1))

        owner.size = 2

        assert owner.size == [{"size": 3}]

    def test_result_is_changed_in_every_place_named(self) -> None:
        class Owner:
            def first(self, n: int) -> int:
                return n

            def second(self, n: int) -> int:
                return 2 * n

        after(Owner, "first", "second")(lambda made, owner, n: (made, n))

        assert (Owner().first(1), Owner().second(n=4)) == ((1, 1), (8, 4))


class TestTheList:
    def test_is_long(self) -> None:
        assert len(LIES) >= 80

    def test_gives_each_lie_a_sentence_and_a_claim(self) -> None:
        for lie in LIES.values():
            assert re.fullmatch(r"\S[^\n]*\.", lie.intent), lie.name
            assert lie.breaks, lie.name

    def test_breaks_every_claim_that_has_a_test(self) -> None:
        book = contents.load(ROOT / "spec" / "contents.toml")
        tested = {claim.key for claim, _ in book.claims() if claim.tests}
        broken = {key for lie in LIES.values() for key in lie.breaks}

        assert broken <= tested
        # They speak of two GPUs, and lies are told on the cpu.
        assert tested - broken == {"G10", "S08"}

    def test_takes_no_name_twice(self) -> None:
        lie = Register()

        def repeated() -> None:
            """It is a lie."""

        lie("T1")(repeated)
        with pytest.raises(ValueError, match="two lies are called 'repeated'"):
            lie("T2")(repeated)
