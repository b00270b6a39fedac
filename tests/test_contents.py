"""The table of contents: what it accounts for, and that it fits the tests both ways."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_house

from blitz.harness import contents

SPEC = Path(__file__).parents[1] / "spec"


TESTS = '''
import pytest

class TestJoining:
    def test_cat_joins(self):
        """Cat joins
        tensors.

        More words.
        """

    @pytest.mark.changed(since="2.0", text="It gives zeros.")
    def test_stack_stacks(self):
        """Stack stacks."""
'''

FITTING = 'T1 = ["cat_joins", "stack_stacks"]'


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., contents.Contents]:
    def load(claims: str, tests: str = TESTS) -> contents.Contents:
        (tmp_path / "contents.toml").write_text(small_house.PAGE + claims)
        (tmp_path / "test_1.py").write_text(tests)
        return contents.load(tmp_path / "contents.toml")

    return load


def test_contents_that_fit_have_no_misfits(load: Callable[..., contents.Contents]) -> None:
    assert load(FITTING).misfits() == []


@pytest.mark.parametrize(
    ("claims", "fault"),
    [
        (
            FITTING + '\nT2 = ["cat_cuts"]',
            "T2 names 'cat_cuts', but test_1.py has no test_cat_cuts",
        ),
        ('T1 = ["cat_joins"]', "test_1.py: test_stack_stacks belongs to no claim"),
        (FITTING + "\nT2 = []", "T2 is accounted for by nothing"),
        (FITTING + "\nT2 = { untestable = '' }", "T2 is accounted for by nothing"),
        (FITTING + '\nT2 = ["cat_joins"]', "the id 'cat_joins' stands 2 times in the contents"),
        (FITTING + '\nT2 = { benchmark = ["speed"] }', "T2 names the benchmark 'speed', but"),
    ],
)
def test_misfit_is_named(load: Callable[..., contents.Contents], claims: Any, fault: str) -> None:
    assert any(misfit.startswith(fault) for misfit in load(claims).misfits())


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("class TestJoining", "class TestElsewhere", "stands in TestElsewhere, its section"),
        ('"""Stack stacks."""', "pass", "test_stack_stacks has no docstring"),
        ("def test_stack_stacks", "def test_cat_joins", "test_cat_joins is written 2 times"),
    ],
)
def test_misfit_in_the_tests_is_named(
    load: Callable[..., contents.Contents], old: str, new: str, fault: str
) -> None:
    assert any(fault in misfit for misfit in load(FITTING, TESTS.replace(old, new)).misfits())


def test_key_that_stands_twice_is_named(load: Callable[..., contents.Contents]) -> None:
    other = (
        '[[page.section]]\nheading = "B"\nanchor = "b"\nclass = "TestB"\n[page.section.claims]\n'
    )

    found = load(FITTING + "\n" + other + 'T1 = { untestable = "No clock." }').misfits()

    assert found == ["T1 stands 2 times in the contents"]


def test_misfits_of_files_that_were_not_collected_are_left_out(
    load: Callable[..., contents.Contents],
) -> None:
    assert load('T1 = ["cat_joins"]').misfits({Path("elsewhere.py")}) == []


def test_place_knows_sentence_verdict_and_address(
    load: Callable[..., contents.Contents], tmp_path: Path
) -> None:
    place = load(FITTING).place(tmp_path / "test_1.py", "stack_stacks")

    assert place.claim.key == "T1"
    assert place.section.address == "https://example.org/tensors.html#joining"
    assert place.test.sentence == "Stack stacks."
    assert place.test.verdict == contents.Verdict("changed", "It gives zeros.", "2.0")


def test_sentence_is_the_first_paragraph_on_one_line(
    load: Callable[..., contents.Contents], tmp_path: Path
) -> None:
    assert load(FITTING).place(tmp_path / "test_1.py", "cat_joins").test.sentence == (
        "Cat joins tensors."
    )


def test_test_without_claim_has_no_place(
    load: Callable[..., contents.Contents], tmp_path: Path
) -> None:
    assert load(FITTING).place(tmp_path / "test_1.py", "cat_cuts") is None


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ('["cat_joins"]', "tested"),
        ('{ benchmark = ["speed"] }', "benchmark"),
        ('{ erratum = "A quote is missing." }', "erratum"),
        ('{ untestable = "It is a matter of taste." }', "untestable"),
        ('{ tests = ["cat_joins"], erratum = "A quote is missing." }', "tested"),
    ],
)
def test_claim_is_accounted_for_in_one_way(
    load: Callable[..., contents.Contents], entry: str, kind: str
) -> None:
    ((claim, _),) = load(f"T1 = {entry}").claims()

    assert claim.kind == kind


@pytest.mark.parametrize("text", ["page = [", "[[page]]\ntitle = 'x'"])
def test_damaged_contents_are_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "contents.toml").write_text(text)

    with pytest.raises(contents.ContentsError, match=r"contents\.toml"):
        contents.load(tmp_path / "contents.toml")


class TestTheRealContents:
    real = contents.load(SPEC / "contents.toml")

    def test_contents_and_specification_fit(self) -> None:
        assert self.real.misfits() == []

    def test_every_claim_of_the_tutorial_has_a_row(self) -> None:
        rows = {"T": 35, "A": 49, "N": 42, "C": 41, "G": 16, "U": 15}
        keys = [
            claim.key
            for page in self.real.pages
            if not page.ours
            for section in page.sections
            for claim in section.claims
        ]

        assert len(keys) == 198
        assert sorted(keys) == sorted(
            f"{chapter}{number:02}"
            for chapter, last in rows.items()
            for number in range(1, last + 1)
        )

    def test_what_no_test_can_check_says_why_in_a_sentence(self) -> None:
        reasons = [
            reason
            for claim, _ in self.real.claims()
            for reason in (claim.erratum, claim.untestable)
            if reason is not None
        ]

        assert reasons
        assert all(len(reason) > 30 and reason.endswith(".") for reason in reasons)
