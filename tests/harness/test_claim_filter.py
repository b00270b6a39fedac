"""Claims by key: which tests are run, and what is told of each."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blitz.harness import claim_filter, contents
from blitz.harness.claim_filter import ClaimFilter, UnknownClaim
from tests import small_house

JOINING = "Joining <tensors>: https://example.org/tensors.html#joining"

TOLD = {
    "T2": [
        "said by the English original only",
        "spec/test_1.py:11  test_shape_is_three",
        "  holds: A tensor of three has shape three.",
        "spec/details/test_joining.py:2  test_sign_is_smaller",
        "  holds: One is smaller than two.",
    ],
    "T3": [
        "spec/test_1.py:16  test_old_habit",
        "  changed, not true since 2.0: Habits are zeros.",
        "  true now: Habits are None.",
    ],
    "T4": ["slip in a listing: A quote & a brace are missing."],
    "T5": ["no test can check it: It is a matter of taste."],
    "T6": ["spec/bench_throughput.py:3  test_sum_is_quick", "  holds: A sum is quick."],
    "T8": [
        "spec/test_1.py:28  test_text_was_never_right",
        "  mistaken, never true: It was so.",
        "  true now: It was never so.",
    ],
    "T9": [
        "spec/test_1.py:33  test_word_for_word",
        "  mistaken, never true: Biases are errors.",
        "  wrong in the translation only, the English says: Biases are biases.",
        "  true now: Biases are added.",
    ],
    "T10": [
        "said by an older revision only",
        "spec/test_1.py:38  test_back_again",
        "  holds, not true from 0.4.1 until 2.5: Whole numbers do.",
    ],
    "M2": ["our own, not the tutorial's", "no test can check it: Nobody knows."],
}


@pytest.fixture
def book(tmp_path: Path) -> contents.Contents:
    return contents.load(small_house.make_whole(tmp_path) / "contents.toml")


@pytest.mark.parametrize("key", TOLD)
def test_everything_known_of_a_claim_is_told(book: contents.Contents, key: str) -> None:
    [claim] = [claim for claim, _ in book.claims() if claim.key == key]

    assert list(claim_filter.told(claim, book)) == TOLD[key]


def test_claims_asked_for_are_told_after_all_else_in_the_order_of_the_contents(
    book: contents.Contents,
) -> None:
    lines: list[str] = []
    screen = SimpleNamespace(section=lambda s: lines.append(f"== {s}"), write_line=lines.append)
    manager = pytest.PytestPluginManager()
    other = SimpleNamespace(pytest_terminal_summary=lambda: lines.append("other"))
    for plugin in (other, claim_filter.claim_filter("t5, T4", lambda: book)):
        manager.register(plugin)

    manager.hook.pytest_terminal_summary(terminalreporter=screen, exitstatus=0, config=None)

    assert lines == ["other", "== T4", JOINING, *TOLD["T4"], "== T5", JOINING, *TOLD["T5"]]


def test_unknown_keys_are_refused_by_name(book: contents.Contents) -> None:
    with pytest.raises(UnknownClaim) as refused:
        claim_filter.claim_filter("x9,T1,t11", lambda: book)

    assert str(refused.value) == (
        "--claim T11, X9: the contents have no such claim. The keys stand in spec/contents.toml."
    )


@pytest.mark.parametrize(
    ("key", "kept", "left_out"),
    [
        ("T1", ["test_sum_is_six[cpu]"], [["test_old_habit", "test_odd"]]),
        ("T1,T3", ["test_sum_is_six[cpu]", "test_old_habit"], [["test_odd"]]),
    ],
)
def test_tests_of_other_claims_are_deselected(
    book: contents.Contents, key: str, kept: list[str], left_out: list[list[str]]
) -> None:
    names = ("test_sum_is_six[cpu]", "test_old_habit", "test_odd")
    items: Any = [SimpleNamespace(name=n, originalname=n.partition("[")[0]) for n in names]
    deselected: list[list[str]] = []
    hook = SimpleNamespace(
        pytest_deselected=lambda items: deselected.append([item.name for item in items])
    )

    ClaimFilter(book, key.split(",")).pytest_collection_modifyitems(
        SimpleNamespace(hook=hook), items
    )

    assert ([item.name for item in items], deselected) == (kept, left_out)
