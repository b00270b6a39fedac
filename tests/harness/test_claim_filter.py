"""Claims by key: which tests are run, and what is told of each."""

from pathlib import Path

import pytest

from blitz.harness import claim_filter, contents
from tests import small_house

TOLD = {
    "T2": [
        "The English original says it, the text followed does not.",
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
        "An older revision says it, the text followed does not.",
        "spec/test_1.py:38  test_back_again",
        "  holds, not true from 0.4.1 until 2.5: Whole numbers do.",
    ],
    "M2": ["It is our own, the tutorial does not say it.", "no test can check it: Nobody knows."],
}


@pytest.fixture
def book(tmp_path: Path) -> contents.Contents:
    return contents.load(small_house.make_whole(tmp_path) / "contents.toml")


@pytest.mark.parametrize("key", TOLD)
def test_everything_known_of_a_claim_is_told(book: contents.Contents, key: str) -> None:
    [claim] = [claim for claim, _ in book.claims() if claim.key == key]

    assert list(claim_filter.told(claim, book)) == TOLD[key]
