"""The Chinese of the specification and of the report: complete, and with the same facts."""

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from blitz.harness import contents, source, texts

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


def english() -> dict[str, dict[str, str]]:
    """What zh.toml has to say, table by table, as the specification says it in English."""
    tests = source.tests_of(SPEC)
    claims = [claim for claim, _ in TABLE.claims()]
    headings = [page.title for page in TABLE.pages]
    headings += [section.heading for page in TABLE.pages for section in page.sections]
    return {
        "headings": {heading: heading for heading in headings},
        "claims": {test.id: test.sentence for test in tests},
        "says": {test.id: test.verdict.text for test in tests if test.verdict is not None},
        "rows": {
            claim.key: " ".join(filter(None, (claim.erratum, claim.untestable)))
            for claim in claims
            if claim.erratum or claim.untestable or claim.benchmarks
        },
    }


ENGLISH = english()


def each(table: str) -> list[tuple[str, str, str]]:
    """(key, English, Chinese) of a table, where both have the key."""
    return [(k, t, SAID[table][k]) for k, t in ENGLISH[table].items() if k in SAID[table]]


def figures(text: str) -> set[str]:
    return set(NUMBER.findall(text))


def identifiers(text: str) -> set[str]:
    return {word.strip("`.") for word in CODE.findall(text)} - {"", "i.e", "e.g"}


def test_tables_are_the_four() -> None:
    assert list(SAID) == list(ENGLISH)


@pytest.mark.parametrize("table", list(ENGLISH))
class TestEveryTable:
    def test_has_the_keys_of_the_english(self, table: str) -> None:
        assert sorted(ENGLISH[table].keys() - SAID[table].keys()) == [], "lack their Chinese"
        assert sorted(SAID[table].keys() - ENGLISH[table].keys()) == [], "stand for nothing"

    def test_has_the_figures_and_identifiers_of_the_english(self, table: str) -> None:
        for key, text, chinese in each(table):
            assert CHINESE.search(chinese), f"{key}: {chinese!r}"
            assert figures(chinese) == figures(text), f"{key}: {text!r}, {chinese!r}"
            lost = [word for word in identifiers(text) if word not in chinese]
            assert lost == [], f"{key}: {text!r}, {chinese!r}"

    def test_says_different_things_differently(self, table: str) -> None:
        pairs = {(chinese, text) for _, text, chinese in each(table)}

        counts = Counter(chinese for chinese, _ in pairs)
        assert [chinese for chinese, count in counts.items() if count > 1] == []


class TestEverySentence:
    def test_is_one_that_ends(self) -> None:
        for key, _, chinese in [*each("claims"), *each("says"), *each("rows")]:
            assert chinese.endswith("。"), f"{key}: {chinese!r}"
            assert len(chinese) >= 8, f"{key}: {chinese!r}"

    def test_is_written_as_chinese_with_one_term_for_one_thing(self) -> None:
        punctuated = re.compile(
            r"[\u4e00-\u9fff] ?[,;:!?.](?![\w])|[,;:!?] ?(?=[\u4e00-\u9fff])|。。|，，"
        )
        without_a_space = re.compile(r"[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]|  ")

        for key, _, chinese in (pair for table in ENGLISH for pair in each(table)):
            assert chinese == chinese.strip(), key
            assert not punctuated.search(chinese), f"{key}: {chinese!r}"
            assert not without_a_space.search(chinese), f"{key}: {chinese!r}"
            for word, term in TERMS.items():
                assert word not in chinese, f"{key}: {term} instead of {word}"


def words_of_the_report() -> list[tuple[str, str, str]]:
    """(key, English, Chinese) of the page's own words, where both have the key."""
    english, chinese = texts.texts("en").words, texts.texts("zh").words
    return [(key, english[key], chinese[key]) for key in english.keys() & chinese.keys()]


class TestWordsOfTheReport:
    """The page's own words, which en.toml and zh.toml beside the report hold."""

    def test_keys_are_the_same(self) -> None:
        assert texts.texts("en").words.keys() == texts.texts("zh").words.keys()

    def test_placeholders_and_code_are_the_same(self) -> None:
        for key, english, chinese in words_of_the_report():
            for held in (r"\{(\w+)\}", r"`([^`]*)`"):
                assert sorted(re.findall(held, english)) == sorted(re.findall(held, chinese)), key

    def test_they_are_chinese_and_end_as_the_english_do(self) -> None:
        for key, english, chinese in words_of_the_report():
            bare = re.sub(r"\{\w+\}|`[^`]*`|torch", "", chinese)
            assert CHINESE.search(bare) or not re.search(r"[A-Za-z]", bare), f"{key}: {chinese!r}"
            if CHINESE.search(chinese):  # a full-width colon needs no blank
                assert (english != english.strip()) == (chinese != chinese.strip()), key
            is_sentence = " " in english and english.endswith(".")
            assert chinese.endswith("。") == is_sentence, f"{key}: {chinese!r}"
