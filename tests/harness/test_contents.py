"""The table of contents: what it accounts for, and that it fits the tests both ways."""

from collections import Counter
from pathlib import Path

import pytest

from blitz.base.errors import BlitzError
from blitz.harness import contents
from blitz.harness.contents import Claim, Contents, Section
from tests import locales, small_house

SPEC = Path(__file__).parents[2] / "spec"


def load(folder: Path, old: str = "", new: str = "") -> Contents:
    """The small specification, with ``new`` in place of ``old`` in whatever file has it."""
    spec = small_house.make_whole(folder)
    for file in (*spec.glob("*.*"), *spec.glob("*/*.py")):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(old, new) if old else text, encoding="utf-8")
    return contents.load(spec / "contents.toml")


def test_file_says_pages_sections_and_claims(tmp_path: Path) -> None:
    table = load(tmp_path, 'anchor = "leaving"', 'url = "https://b.org"\nanchor = "end"')
    tensors, mistakes = table.pages

    assert (tensors.title, tensors.file.name, tensors.ours) == ("Tensors", "test_1.py", False)
    assert (mistakes.title, mistakes.file.name, mistakes.ours) == ("Mistakes", "test_2.py", True)
    assert tensors.sections[0] == Section(
        "Joining <tensors>",
        "https://example.org/tensors.html#joining",
        "TestJoining",
        (
            Claim("T1", ("sum_is_six",)),
            Claim("T2", ("shape_is_three", "sign_is_smaller"), said="upstream"),
            Claim("T3", ("old_habit",)),
            Claim("T4", erratum="A quote & a brace are missing."),
            Claim("T5", untestable="It is a matter of taste."),
            Claim("T6", benchmarks=("sum_is_quick",)),
            Claim("T7", ("accelerators_add",)),
        ),
    )
    kinds = [claim.kind for claim in tensors.sections[0].claims]
    assert kinds[2:6] == ["tested", "erratum", "untestable", "benchmark"]
    assert tensors.sections[1].address == "https://b.org#end"
    assert table.said() == {"text": 8, "upstream": 1, "older": 1, "ours": 2}
    assert table.misfits() == []


def test_tests_have_places_whatever_file_they_stand_in(tmp_path: Path) -> None:
    table = load(tmp_path)

    found = {p.test.id: (p.claim.key, p.test.file.name) for p in table.places()}
    assert found["sum_is_six"] == ("T1", "test_1.py")
    assert found["sign_is_smaller"] == ("T2", "test_joining.py")
    assert found["sum_is_quick"] == ("T6", "bench_throughput.py")
    assert list(found)[-1] == "shape_of_nothing"
    place = table.place("sign_is_smaller")
    assert place is not None
    assert (place.page.title, place.section.class_name) == ("Tensors", "TestJoining")
    assert table.place("cat_cuts") is None


def test_verdict_is_the_one_on_torch_as_it_is(tmp_path: Path) -> None:
    table = load(tmp_path)

    found = {claim.key: table.verdict(claim) for claim, _ in table.claims()}
    verdicts = {key: verdict.kind for key, verdict in found.items() if verdict is not None}
    assert verdicts == {"T3": "changed", "T8": "mistaken", "T9": "mistaken"}


@pytest.mark.parametrize(
    ("old", "new", "misfit"),
    [
        ('["sum_is_six"]', '["sum_is_six", "cut"]', "T1 names 'cut', but there is no test_cut"),
        (
            'T3 = ["old_habit"]',
            "",
            "test_1.py: test_old_habit belongs to no claim in the contents",
        ),
        (
            '["old_habit"]',
            '["old_habit", "sum_is_six"]',
            "the id 'sum_is_six' stands 2 times in the contents",
        ),
        ("M1 =", "T1 =", "T1 stands 2 times in the contents"),
        ('["sum_is_quick"]', '["speed"]', "T6 names 'speed', but there is no test_speed"),
        ("def test_sign_is_smaller", "def test_old_habit", "test_old_habit is written 2 times"),
    ],
)
def test_misfit_is_named(tmp_path: Path, old: str, new: str, misfit: str) -> None:
    assert misfit in load(tmp_path, old, new).misfits()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("page = [", "TOMLDecodeError: "),
        ("[[page]]\ntitle = 'x'\nsection = []", "KeyError: 'file'"),
        ("page = [3]", "TypeError: "),
        (
            small_house.PAGE + 'T1 = { untestable = "x", said = "me" }',
            "ValueError: T1: said is 'me',",
        ),
    ],
)
def test_damaged_contents_are_refused_by_name(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "contents.toml"
    file.write_text(text)

    with pytest.raises(BlitzError) as refused:
        contents.load(file)

    assert str(refused.value).startswith(f"{file}: {fault}")


def test_files_are_read_in_utf_8_whatever_the_locale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locales.speak_ascii(monkeypatch)

    table = load(tmp_path, "It was so.", "It was so – ½ of it.")

    place = table.place("text_was_never_right")
    assert place is not None
    assert place.test.verdict is not None
    assert place.test.verdict.text == "It was so – ½ of it."


@pytest.mark.parametrize(
    ("node", "parts"),
    [
        ("spec/test_1.py::TestJoining::test_sum", ("sum", ("",))),
        ("spec/test_1.py::TestJoining::test_sum[cpu]", ("sum", ("cpu",))),
        ("a/b/test_2.py::test_a_b[cuda:1-x[0]]", ("a_b", ("cuda:1", "x[0]"))),
        ("test_3.py::test_of_test_files[a::b]", ("of_test_files", ("a::b",))),
    ],
)
def test_id_is_taken_apart(node: str, parts: tuple[str, tuple[str, ...]]) -> None:
    assert contents.parts_of(node) == parts


class TestTheRealContents:
    real = contents.load(SPEC / "contents.toml")

    def test_contents_and_specification_fit(self) -> None:
        assert self.real.misfits() == []

    def test_every_claim_of_the_tutorial_has_a_row(self) -> None:
        at_least = {"T": 35, "A": 49, "N": 42, "C": 41, "G": 16, "U": 15}
        pages = [page for page in self.real.pages if not page.ours]
        keys = [c.key for page in pages for section in page.sections for c in section.claims]

        rows = Counter(key[0] for key in keys)
        assert rows.keys() == at_least.keys()
        assert rows >= Counter(at_least)
        numbered = [f"{c}{n:02}" for c, last in rows.items() for n in range(1, last + 1)]
        assert sorted(keys) == sorted(numbered)

    def test_what_no_test_can_check_says_why_in_a_sentence(self) -> None:
        claims = [claim for claim, _ in self.real.claims()]
        reasons = [r for c in claims for r in (c.erratum, c.untestable) if r is not None]

        assert reasons
        assert all(len(reason) > 30 and reason.endswith(".") for reason in reasons)
