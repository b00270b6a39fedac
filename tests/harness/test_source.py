"""What the source of a test says about it."""

import textwrap
from pathlib import Path

import pytest

from blitz.base.errors import BlitzError
from blitz.harness import source
from blitz.harness.source import Verdict

SHAPES = '''import pytest
class TestJoining:
    @pytest.fixture
    def desk(self, lamp):
        return lamp
    def test_plain(self):
        """It has no decorator."""
    @pytest.mark.slow
    @retry(3)
    def test_marked(self, n, *, ledger):
        """Its sentence
        goes on.

        And more.
        """
    @pytest.mark.on("meta")
    @pytest.mark.mistaken(text="All desks are tidy.", upstream="Some are.")
    def test_idle(self, desk):
        pass
@retry(4)
def test_pace(timer):
    """It is – steady."""
'''


@pytest.mark.parametrize(
    ("name", "sentence", "lines"),
    [
        ("plain", "It has no decorator.", (6, 7)),
        ("marked", "Its sentence goes on.", (8, 15)),
        ("idle", "", (16, 19)),
        ("pace", "It is – steady.", (20, 22)),
    ],
)
def test_source_says_what_a_test_is(
    tmp_path: Path, name: str, sentence: str, lines: tuple[int, int]
) -> None:
    spec = tmp_path / "spec"
    spec.mkdir()
    (spec / "test_1.py").write_text(SHAPES, encoding="utf-8")
    [test] = [test for test in source.tests_of(spec) if test.id == name]

    verdict = Verdict("mistaken", "All desks are tidy.", upstream="Some are.")
    first, last = lines
    assert test == source.Test(
        name,
        spec / "test_1.py",
        None if name == "pace" else "TestJoining",
        sentence,
        verdict if name == "idle" else None,
        f"spec/test_1.py:{first}",
        textwrap.dedent("\n".join(SHAPES.split("\n")[first - 1 : last])),
    )
    assert not test.benchmark


def test_tests_of_the_chapters_come_before_those_of_folders(tmp_path: Path) -> None:
    (tmp_path / "details").mkdir()
    for name in ("details/test_1.py", "test_2.py", "bench_1.py", "table.py"):
        test_id = name.replace("/", "_").removesuffix(".py")
        (tmp_path / name).write_text(f"def test_{test_id}(): ...", encoding="utf-8")

    found = [(test.id, test.benchmark) for test in source.tests_of(tmp_path)]

    assert found == [("bench_1", True), ("test_2", False), ("details_test_1", False)]


@pytest.mark.parametrize("tests", ["def (", "\0"])
def test_file_that_is_no_python_is_named(tmp_path: Path, tests: str) -> None:
    (tmp_path / "test_1.py").write_text(tests)

    with pytest.raises(BlitzError, match=r"/test_1\.py is no Python: "):
        source.tests_of(tmp_path)


@pytest.mark.parametrize(
    ("since", "until", "release", "untrue"),
    [
        (None, None, "2.6.0", True),
        ("1.11", None, "2.6.0", True),
        ("2.9", None, "2.8.0", False),
        ("2.9", None, "2.9.0a0+git1", True),
        ("0.4.1", "2.12", "2.11.0", True),
        ("0.4.1", "2.12", "2.12.0+cu132", False),
        ("0.4.1", "2.12", "2.12.0a0", False),
        ("torchvision 0.13", None, "", True),
        ("torchvision 9", None, "", False),
    ],
)
def test_sentence_is_untrue_from_one_release_to_another(
    since: str | None, until: str | None, release: str, untrue: bool
) -> None:
    assert Verdict("changed", "", since, until).untrue(release) is untrue


@pytest.mark.parametrize(
    ("since", "until", "span"),
    [
        (None, None, "never true"),
        ("1.11", None, "not true since 1.11"),
        ("0.4.1", "2.12", "not true from 0.4.1 until 2.12"),
    ],
)
def test_span_is_told_in_words(since: str | None, until: str | None, span: str) -> None:
    assert Verdict("changed", "", since, until).span == span
