"""Claims by key: which tests are run, and what is told of each."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blitz.harness import claims, contents
from blitz.harness.claims import Asked, UnknownClaim
from tests import small_house

CLAIMS = """
T1 = { tests = ["sum", "mean"], benchmark = ["speed"] }
T2 = { tests = ["habit", "zeros"], erratum = "A quote is missing." }
T3 = { untestable = "It is a matter of taste." }
"""

TESTS = '''
class TestJoining:
    def test_sum(self, device):
        """Sums are sums."""

    @pytest.mark.slow
    def test_mean(self, device):
        """Means are means."""

    @pytest.mark.mistaken(text="Habits are old.")
    def test_habit(self):
        """Habits are new."""

    @pytest.mark.changed(since="2.0", text="Grads are zeros.")
    def test_zeros(self):
        """Grads are None."""
'''

ADDRESS = "Joining: https://example.org/tensors.html#joining"

TOLD = {
    "T1": [
        "spec/test_1.py:3  test_sum",
        "  holds: Sums are sums.",
        "spec/test_1.py:6  test_mean",
        "  holds: Means are means.",
        "spec/bench_throughput.py:1  test_speed",
        "  holds: Sums are fast.",
    ],
    "T2": [
        "slip in a listing: A quote is missing.",
        "spec/test_1.py:10  test_habit",
        "  mistaken, never true: Habits are old.",
        "  true now: Habits are new.",
        "spec/test_1.py:14  test_zeros",
        "  changed, not true since 2.0: Grads are zeros.",
        "  true now: Grads are None.",
    ],
    "T3": ["no test can check it: It is a matter of taste."],
}


@pytest.fixture
def book(tmp_path: Path) -> contents.Contents:
    spec = small_house.make(tmp_path, small_house.PAGE + CLAIMS, TESTS)
    (spec / "bench_throughput.py").write_text(
        'def test_speed(benchmark):\n    """Sums are fast."""\n'
    )
    return contents.load(spec / "contents.toml")


class Screen:
    """Takes down what pytest's reporter is given to show."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def section(self, title: str) -> None:
        self.lines.append(f"== {title}")

    def write_line(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("key", TOLD)
def test_everything_known_of_a_claim_is_told(book: contents.Contents, key: str) -> None:
    [claim] = [claim for claim, _ in book.claims() if claim.key == key]

    assert list(claims.told(claim, book)) == TOLD[key]


def test_claims_asked_for_are_told_in_the_order_of_the_contents(book: contents.Contents) -> None:
    screen = Screen()

    claims.asked("t3, T1", lambda: book).pytest_terminal_summary(screen)

    assert screen.lines == ["== T1", ADDRESS, *TOLD["T1"], "== T3", ADDRESS, *TOLD["T3"]]


def test_claims_asked_for_are_told_after_all_else(book: contents.Contents) -> None:
    screen, manager = Screen(), pytest.PytestPluginManager()
    other = SimpleNamespace(pytest_terminal_summary=lambda: screen.section("other"))
    for plugin in (other, claims.asked("T1", lambda: book)):
        manager.register(plugin)

    manager.hook.pytest_terminal_summary(terminalreporter=screen, exitstatus=0, config=None)

    assert screen.lines[:2] == ["== other", "== T1"]


def test_nothing_is_asked_without_the_option(book: contents.Contents) -> None:
    assert claims.asked(None, lambda: book) is None


def test_unknown_keys_are_refused_by_name(book: contents.Contents) -> None:
    with pytest.raises(UnknownClaim) as refused:
        claims.asked("x9,T1,t10", lambda: book)

    assert str(refused.value) == (
        "--claim T10, X9: the contents have no such claim. The keys stand in spec/contents.toml."
    )


class TestTheirTests:
    def item(self, book: contents.Contents, name: str, **more: Any) -> Any:
        return SimpleNamespace(name=name, path=book.pages[0].file, **more)

    def kept(self, book: contents.Contents, items: list[Any], key: str) -> tuple[list, list]:
        """The items that are kept, and those of which pytest is told that they are not."""
        deselected: list[Any] = []
        hook = SimpleNamespace(pytest_deselected=lambda items: deselected.append(items))
        chosen = list(items)

        Asked(book, [key]).pytest_collection_modifyitems(SimpleNamespace(hook=hook), chosen)

        return chosen, deselected

    def test_they_are_kept_and_pytest_is_told_of_the_others(self, book: contents.Contents) -> None:
        mean = self.item(book, "test_mean[cpu]", originalname="test_mean")
        habit, unknown = self.item(book, "test_habit"), self.item(book, "test_odd")
        speed = self.item(book, "test_speed")
        speed.path = book.pages[0].benchmark_file
        elsewhere = SimpleNamespace(name="test_sum", path=Path("test_2.py"))
        items = [habit, mean, unknown, elsewhere, speed]

        assert self.kept(book, items, "T1") == ([mean, speed], [[habit, unknown, elsewhere]])

    def test_pytest_is_told_nothing_where_all_are_kept(self, book: contents.Contents) -> None:
        habit = self.item(book, "test_habit")

        assert self.kept(book, [habit], "T2") == ([habit], [])
