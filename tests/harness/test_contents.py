"""The table of contents: what it accounts for, and that it fits the tests both ways."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blitz.harness import contents
from tests import locales, small_house

SPEC = Path(__file__).parents[2] / "spec"


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


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("page = [", "TOMLDecodeError: "),
        ("[[page]]\ntitle = 'x'\nsection = []", "KeyError: 'file'"),
        ("page = [3]", "TypeError: "),
    ],
)
def test_damaged_contents_are_refused_by_name(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "contents.toml"
    file.write_text(text)

    with pytest.raises(contents.ContentsError) as refused:
        contents.load(file)

    assert str(refused.value).startswith(f"{file}: {fault}")


PAGES = """
[[page]]
title = "Tensors"
url = "https://example.org/tensors.html"
file = "test_1.py"
[[page.section]]
heading = "Joining"
anchor = "joining"
class = "TestJoining"
[page.section.claims]
T1 = ["cat_joins"]
T2 = { benchmark = ["speed"] }
T3 = { tests = ["stack_stacks"], benchmark = ["pace"], erratum = "A quote is missing." }
[[page.section]]
heading = "Elsewhere"
url = "https://example.org/more.html"
anchor = "end"
class = "TestElsewhere"
[page.section.claims]
T4 = { untestable = "It is a matter of taste – ½ of it." }
[[page]]
title = "Mistakes"
url = "https://example.org/mistakes.html"
file = "test_2.py"
ours = true
section = []
"""

BENCHMARKS = '''
import pytest

def test_speed(benchmark):
    """It is fast."""
    benchmark(int)

@pytest.mark.benchmark(group="x")
def test_pace(timer):
    """It is – steady."""

def test_cat_joins():
    """It measures nothing."""
'''


@pytest.fixture
def pages(tmp_path: Path) -> contents.Contents:
    """Two pages: one with every kind of claim and its benchmarks, one that is still empty."""
    (tmp_path / "contents.toml").write_text(PAGES, encoding="utf-8")
    (tmp_path / "test_1.py").write_text(TESTS)
    (tmp_path / "bench_throughput.py").write_text(BENCHMARKS, encoding="utf-8")
    return contents.load(tmp_path / "contents.toml")


class TestPages:
    def test_file_says_pages_sections_and_claims(
        self, pages: contents.Contents, tmp_path: Path
    ) -> None:
        bench = tmp_path / "bench_throughput.py"
        joining = contents.Section(
            "Joining",
            "https://example.org/tensors.html#joining",
            "TestJoining",
            (
                contents.Claim("T1", ("cat_joins",)),
                contents.Claim("T2", benchmarks=("speed",)),
                contents.Claim("T3", ("stack_stacks",), ("pace",), "A quote is missing."),
            ),
        )
        elsewhere = contents.Section(
            "Elsewhere",
            "https://example.org/more.html#end",
            "TestElsewhere",
            (contents.Claim("T4", untestable="It is a matter of taste – ½ of it."),),
        )

        assert pages.pages == (
            contents.Page("Tensors", tmp_path / "test_1.py", bench, (joining, elsewhere), False),
            contents.Page("Mistakes", tmp_path / "test_2.py", bench, (), True),
        )
        assert [(claim.key, section) for claim, section in pages.claims()] == [
            ("T1", joining),
            ("T2", joining),
            ("T3", joining),
            ("T4", elsewhere),
        ]

    def test_everything_fits_and_a_file_that_is_not_yet_written_has_no_tests(
        self, pages: contents.Contents
    ) -> None:
        assert pages.misfits() == []

    def test_tests_and_benchmarks_have_places(
        self, pages: contents.Contents, tmp_path: Path
    ) -> None:
        places = list(pages.places())

        assert [(place.claim.key, place.test.id, place.test.benchmark) for place in places] == [
            ("T1", "cat_joins", False),
            ("T2", "speed", True),
            ("T3", "stack_stacks", False),
            ("T3", "pace", True),
        ]
        assert {place.page.title for place in places} == {"Tensors"}
        assert {place.section.heading for place in places} == {"Joining"}
        bench = tmp_path / "bench_throughput.py"
        assert pages.place(bench, "pace") == places[3]
        assert pages.place(bench, "stack_stacks") is None

    def test_benchmark_of_a_test_s_name_does_not_take_its_place(
        self, pages: contents.Contents, tmp_path: Path
    ) -> None:
        assert pages.place(tmp_path / "test_1.py", "cat_joins").test.class_name == "TestJoining"
        assert pages.place(tmp_path / "bench_throughput.py", "cat_joins") is None

    def test_files_are_read_in_utf_8_whatever_the_locale(
        self, pages: contents.Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        locales.speak_ascii(monkeypatch)

        again = contents.load(tmp_path / "contents.toml")

        assert again.pages == pages.pages
        assert list(again.places()) == list(pages.places())

    def test_misfits_are_told_of_the_files_that_were_collected(self, tmp_path: Path) -> None:
        bad = PAGES.replace('["pace"]', '["haste"]')
        (tmp_path / "contents.toml").write_text(bad, encoding="utf-8")
        (tmp_path / "test_1.py").write_text(TESTS)
        found = contents.load(tmp_path / "contents.toml")
        of_benchmarks = [
            "T2 names the benchmark 'speed', but bench_throughput.py has no test_speed",
            "T3 names the benchmark 'haste', but bench_throughput.py has no test_haste",
        ]

        assert found.misfits() == of_benchmarks
        assert found.misfits({tmp_path / "bench_throughput.py"}) == of_benchmarks
        assert found.misfits({tmp_path / "test_1.py", tmp_path / "other.py"}) == of_benchmarks
        assert found.misfits({tmp_path / "test_2.py"}) == []


def test_every_misfit_is_told_in_a_sentence(load: Callable[..., contents.Contents]) -> None:
    claims = """
        T1 = ["stands_elsewhere", "says_nothing", "nobody_wrote"]
        T2 = { benchmark = ["speed"] }
        T3 = {}
        T4 = ["says_nothing"]
    """
    tests = '''
def test_stands_elsewhere():
    """It stands in no class."""

class TestJoining:
    def helper(self):
        """It is no test."""

    def test_says_nothing(self):
        pass

    def test_nobody_claims(self):
        """It is written twice."""

    def test_nobody_claims(self):
        """It is written twice."""
'''

    assert load(claims, tests).misfits() == [
        "T1: test_stands_elsewhere stands in None, its section 'Joining' is TestJoining",
        "test_1.py: test_says_nothing has no docstring to say what it claims",
        "T1 names 'nobody_wrote', but test_1.py has no test_nobody_wrote",
        "T2 names the benchmark 'speed', but bench_throughput.py has no test_speed",
        "T3 is accounted for by nothing: name its tests, or say why it is a benchmark, an erratum "
        "or untestable",
        "test_1.py: test_says_nothing has no docstring to say what it claims",
        "the id 'says_nothing' stands 2 times in the contents",
        "test_1.py: test_nobody_claims belongs to no claim in the contents",
        "test_1.py: test_nobody_claims is written 2 times",
    ]


SHAPES = '''import pytest
@pytest.fixture
def table(device, self):
    return device
@pytest.fixture
def ledger(table, ink, *, pen):
    return table
class TestJoining:
    @pytest.fixture
    def desk(self, desk, /, lamp):
        return desk
    def test_plain(self):
        """It needs no device."""
    def test_own(self, device, desk):
        """It takes a device."""
    @pytest.mark.slow
    @retry(3)
    @pytest.mark.parametrize("n", [1])
    @pytest.mark.on("cpu", "meta")
    def test_marked(self, n, *, ledger):
        """Its fixture's fixture
        takes one.

        And more.
        """
    @pytest.mark.on("meta")
    @pytest.mark.mistaken(text="All desks are tidy.")
    def test_idle(self, desk):
        """A mark alone is no device."""
    def test_by_two(self, desk, ledger):
        """It is asked of the usual devices."""
'''


@pytest.mark.parametrize(
    ("name", "sentence", "lines", "kinds", "verdict"),
    [
        ("plain", "It needs no device.", (12, 13), (), None),
        ("own", "It takes a device.", (14, 15), ("cpu", "accelerator"), None),
        ("marked", "Its fixture's fixture takes one.", (16, 25), ("cpu", "meta"), None),
        (
            "idle",
            "A mark alone is no device.",
            (26, 29),
            (),
            contents.Verdict("mistaken", "All desks are tidy."),
        ),
        (
            "by_two",
            "It is asked of the usual devices.",
            (30, 31),
            ("cpu", "accelerator"),
            None,
        ),
    ],
)
def test_source_says_what_a_test_is(
    load: Callable[..., contents.Contents],
    tmp_path: Path,
    name: str,
    sentence: str,
    lines: tuple[int, int],
    kinds: tuple[str, ...],
    verdict: contents.Verdict | None,
) -> None:
    found = load(f'T1 = ["{name}"]', SHAPES).place(tmp_path / "test_1.py", name)

    assert found.test == contents.Test(
        name, "TestJoining", sentence, verdict, benchmark=False, lines=lines, kinds=kinds
    )


@pytest.mark.parametrize(
    ("node", "parts"),
    [
        ("spec/test_1.py::TestJoining::test_sum", ("test_1.py", "sum", ("",))),
        ("spec/test_1.py::TestJoining::test_sum[cpu]", ("test_1.py", "sum", ("cpu",))),
        ("a/b/test_2.py::test_a_b[cuda:1-x[0]]", ("test_2.py", "a_b", ("cuda:1", "x[0]"))),
        ("test_3.py::test_of_test_files[a::b]", ("test_3.py", "of_test_files", ("a::b",))),
    ],
)
def test_id_is_taken_apart(node: str, parts: tuple[str, str, tuple[str, ...]]) -> None:
    assert contents.parts_of(node) == parts


def test_benchmark_stands_in_the_file_of_benchmarks(
    load: Callable[..., contents.Contents], tmp_path: Path
) -> None:
    (tmp_path / "bench_throughput.py").write_text("def test_speed(benchmark):\n    'Fast.'")
    found = load(FITTING + '\nT7 = { benchmark = ["speed"] }')

    files = {place.test.id: place.file.name for place in found.places()}

    assert files["speed"] == "bench_throughput.py"
    assert files["cat_joins"] == "test_1.py"


@pytest.mark.parametrize("tests", ["def (", "\0"])
def test_file_that_is_no_python_is_named(
    load: Callable[..., contents.Contents], tests: str
) -> None:
    with pytest.raises(contents.ContentsError, match=r"/test_1\.py is no Python: "):
        load(FITTING, tests)


def test_contents_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(contents.ContentsError, match=r"/contents\.toml: FileNotFoundError: "):
        contents.load(tmp_path / "contents.toml")


class TestTheRealContents:
    real = contents.load(SPEC / "contents.toml")

    def test_contents_and_specification_fit(self) -> None:
        assert self.real.misfits() == []

    def test_every_claim_of_the_tutorial_has_a_row(self) -> None:
        at_least = {"T": 35, "A": 49, "N": 42, "C": 41, "G": 16, "U": 15}
        keys = [
            claim.key
            for page in self.real.pages
            if not page.ours
            for section in page.sections
            for claim in section.claims
        ]

        rows = Counter(key[0] for key in keys)
        assert rows.keys() == at_least.keys()
        assert rows >= Counter(at_least)
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
