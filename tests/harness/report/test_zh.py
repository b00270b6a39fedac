"""The Chinese of the specification and of the report: complete, and with the same facts."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from blitz.harness import contents, texts

ROOT = Path(__file__).parents[3]
SPEC = ROOT / "spec"
REPORT = ROOT / "blitz" / "harness" / "report"

SAID: dict[str, dict[str, str]] = tomllib.loads((SPEC / "zh.toml").read_text(encoding="utf-8"))
TABLE = contents.load(SPEC / "contents.toml")

CHINESE = re.compile(r"[\u4e00-\u9fff]")
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
CODE = re.compile(
    r"`[^`]+`"  # what is marked as code
    r"|\w*_\w*"  # zero_grad, new_
    r"|\w+(?:\.\w+)+"  # torch.autograd.grad
    r"|\.\w+"  # .grad
    r"|\w+=\w+"  # copy=True
    r"|\w+\(\)"  # next()
    r"|\b[A-Z]?[a-z]+[A-Z]\w*"  # DataLoader, NumPy
)

#: One term for one thing: the words not to be used, and the one that is.
TERMS = {
    "就地": "原地",
    "偏差": "偏置 (bias), 标准差 (deviation)",
    "批次": "批量",
    "权值": "权重",
    "自动微分": "自动求导",
    "反传": "反向传播",
    "叶节点": "叶子张量, 叶子",
    "缓存": "缓冲区",
    "拷贝": "复制, 副本",
    "缺省": "默认",
    "标准化": "归一化",
}


def sentences_of(file: Path) -> dict[str, str]:
    """The first paragraph of every test's docstring, on one line, by the test's id."""
    return {
        node.name.removeprefix("test_"): " ".join(
            (ast.get_docstring(node) or "").split("\n\n")[0].split()
        )
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def english() -> dict[str, dict[str, str]]:
    """What zh.toml has to say, table by table, as the specification says it in English."""
    files = [*sorted(SPEC.rglob("test_*.py")), SPEC / "bench_throughput.py"]
    headings = [page.title for page in TABLE.pages]
    headings += [section.heading for page in TABLE.pages for section in page.sections]
    rows = {claim.key: (claim.erratum, claim.untestable) for claim, _ in TABLE.claims()}
    measured = {claim.key for claim, _ in TABLE.claims() if claim.benchmarks}
    return {
        "headings": {heading: heading for heading in headings},
        "claims": {key: text for file in files for key, text in sentences_of(file).items()},
        "says": {
            place.test.id: place.test.verdict.text
            for place in TABLE.places()
            if place.test.verdict is not None
        },
        "rows": {
            key: " ".join(filter(None, reasons))
            for key, reasons in rows.items()
            if any(reasons) or key in measured
        },
    }


ENGLISH = english()


def each(table: str) -> list[tuple[str, str, str]]:
    """(key, English, Chinese) of a table, where both have the key."""
    return [(k, t, SAID[table][k]) for k, t in ENGLISH[table].items() if k in SAID[table]]


def everything() -> list[tuple[str, str, str]]:
    """(key, English, Chinese) of all tables."""
    return [pair for table in ENGLISH for pair in each(table)]


def figures(text: str) -> set[str]:
    return set(NUMBER.findall(text))


def identifiers(text: str) -> set[str]:
    return {word.strip("`.") for word in CODE.findall(text)} - {"", "i.e", "e.g"}


def test_no_id_stands_in_two_files() -> None:
    files = [*SPEC.rglob("test_*.py"), SPEC / "bench_throughput.py"]

    counts = Counter(key for file in files for key in sentences_of(file))

    assert [key for key, count in counts.items() if count > 1] == []


def test_tables_are_the_four() -> None:
    assert list(SAID) == ["headings", "claims", "says", "rows"]


@pytest.mark.parametrize("table", list(ENGLISH))
class TestEveryTable:
    def test_has_the_keys_of_the_english(self, table: str) -> None:
        assert sorted(ENGLISH[table].keys() - SAID[table].keys()) == [], "lack their Chinese"
        assert sorted(SAID[table].keys() - ENGLISH[table].keys()) == [], "stand for nothing"

    def test_is_chinese(self, table: str) -> None:
        for key, _, chinese in each(table):
            assert CHINESE.search(chinese), f"{key}: {chinese!r}"
            assert chinese == chinese.strip(), key

    def test_has_the_figures_of_the_english(self, table: str) -> None:
        for key, text, chinese in each(table):
            assert figures(chinese) == figures(text), f"{key}: {text!r}, {chinese!r}"

    def test_keeps_identifiers(self, table: str) -> None:
        for key, text, chinese in each(table):
            lost = [word for word in identifiers(text) if word not in chinese]
            assert lost == [], f"{key}: {text!r}, {chinese!r}"

    def test_says_different_things_differently(self, table: str) -> None:
        by_chinese: dict[str, set[str]] = {}
        for _, text, chinese in each(table):
            by_chinese.setdefault(chinese, set()).add(text)

        assert [c for c, english in by_chinese.items() if len(english) > 1] == []


class TestEverySentence:
    def test_is_one_that_ends(self) -> None:
        for key, _, chinese in [*each("claims"), *each("says"), *each("rows")]:
            assert chinese.endswith("。"), f"{key}: {chinese!r}"
            assert len(chinese) >= 8, f"{key}: {chinese!r}"

    def test_is_punctuated_as_chinese(self) -> None:
        wrong = re.compile(
            r"[\u4e00-\u9fff] ?[,;:!?.](?![\w])|[,;:!?] ?(?=[\u4e00-\u9fff])|。。|，，"
        )

        for key, _, chinese in everything():
            assert not wrong.search(chinese), f"{key}: {chinese!r}"

    def test_has_a_space_between_scripts(self) -> None:
        close = re.compile(r"[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]|  ")

        for key, _, chinese in everything():
            assert not close.search(chinese), f"{key}: {chinese!r}"

    def test_uses_one_term_for_one_thing(self) -> None:
        for key, _, chinese in everything():
            for word, term in TERMS.items():
                assert word not in chinese, f"{key}: {term} instead of {word}"


class TestWordsOfTheReport:
    """The page's own words, which en.toml and zh.toml beside the report hold."""

    english = texts.texts("en").words
    chinese = texts.texts("zh").words

    def test_keys_are_the_same(self) -> None:
        assert sorted(self.english.keys() - self.chinese.keys()) == [], "lack their Chinese"
        assert sorted(self.chinese.keys() - self.english.keys()) == [], "stand for nothing"

    def test_placeholders_are_the_same(self) -> None:
        for key in self.english.keys() & self.chinese.keys():
            chinese, english = (
                set(re.findall(r"{(\w+)}", words[key])) for words in (self.chinese, self.english)
            )
            assert chinese == english, key

    def test_code_is_the_same(self) -> None:
        for key in self.english.keys() & self.chinese.keys():
            marked = [
                Counter(part for is_code, part in texts.code_parts(words[key]) if is_code)
                for words in (self.english, self.chinese)
            ]
            assert marked[0] == marked[1], key

    def test_they_are_chinese(self) -> None:
        for key in self.english.keys() & self.chinese.keys():
            words = self.chinese[key]
            bare = re.sub(r"\{\w+\}|`[^`]*`|torch", "", words)
            assert CHINESE.search(bare) or not re.search(r"[A-Za-z]", bare), f"{key}: {words!r}"
            if CHINESE.search(words):  # a full-width colon needs no blank
                edges = [w != w.strip() for w in (self.english[key], words)]
                assert edges[0] == edges[1], key

    def test_they_end_as_the_english_do(self) -> None:
        for key in self.english.keys() & self.chinese.keys():
            english, chinese = self.english[key], self.chinese[key]
            is_sentence = " " in english and english.endswith(".")
            assert chinese.endswith("。") == is_sentence, f"{key}: {chinese!r}"
