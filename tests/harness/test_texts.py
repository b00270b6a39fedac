"""The words of the report in its languages, and the texts of failed tests."""

from pathlib import Path

import pytest

from blitz.harness import texts
from blitz.harness.report import failures
from blitz.harness.texts import Message


class TestTexts:
    def test_language_without_a_specification_has_the_page_s_words_alone(
        self, tmp_path: Path
    ) -> None:
        assert texts.texts("zh").said == texts.texts("zh", tmp_path).said == {}
        assert texts.texts("zh")("state.held") == "成立"
        assert texts.texts("en", tmp_path) is texts.english()
        assert texts.english().lang == "en"
        assert texts.texts("zh").lang == "zh"

    @pytest.mark.parametrize("table", ["claims", "says", "rows", "headings"])
    def test_each_table_has_its_own_words_and_english_ones_where_they_lack(
        self, table: str
    ) -> None:
        chinese = texts.Texts("zh", {}, {table: {"key": "译文"}})

        def said(words: texts.Texts) -> list[texts.Said]:
            by_id = [
                words.claim("key", "word"),
                words.says("key", "word"),
                words.row("key", "word"),
            ]
            return [*by_id, words.heading("key")]

        place = ["claims", "says", "rows", "headings"].index(table)
        expected = [*([texts.Said("word", "en")] * 3), texts.Said("key", "en")]
        expected[place] = texts.Said("译文")
        assert said(chinese) == expected
        assert said(texts.english()) == [*([texts.Said("word")] * 3), texts.Said("key")]

    def test_word_that_a_language_lacks_is_told_in_english(self) -> None:
        some = texts.Texts("zh", {"fault.idle": "{device} 闲着"})

        assert some("fault.idle", device="cuda") == "cuda 闲着"
        assert some("state.held") == "held"
        with pytest.raises(KeyError, match="no such key"):
            some("no such key")

    def test_message_says_the_messages_in_it_in_the_same_language(self) -> None:
        inner = Message("machine.none_found")
        outer = Message("throughput.no_accelerator", {"reason": inner})

        said = "no accelerator was measured: torch finds no accelerator on this machine"
        assert str(outer) == outer.said(texts.english()) == said
        assert outer.said(texts.texts("zh")) == "没有测量任何加速器：torch 在本机上没有找到加速器"
        assert Message("state.held").said(texts.english()) == "held"
        assert str(texts.Said("a word", "en")) == "a word"

    @pytest.mark.parametrize(
        ("words", "parts"),
        [
            ("", []),
            ("plain", [(False, "plain")]),
            ("`code`", [(True, "code")]),
            ("a `b` c `d`", [(False, "a "), (True, "b"), (False, " c "), (True, "d")]),
            ("``empty", [(False, "empty")]),
            ("an `open end", [(False, "an `open end")]),
        ],
    )
    def test_words_fall_into_code_and_other_text(
        self, words: str, parts: list[tuple[bool, str]]
    ) -> None:
        assert texts.code_parts(words) == parts


class TestFailures:
    def report(self, outcome: str, text: str, *sections: tuple[str, str]) -> pytest.TestReport:
        return pytest.TestReport(
            "a.py::b", ("a.py", 1, "b"), {}, outcome, text, "call", list(sections)
        )

    def test_failure_is_kept_with_what_the_test_printed(self) -> None:
        kept = failures.Failures()

        kept.pytest_runtest_logreport(self.report("passed", "", ("Captured stdout call", "out")))
        assert kept.get("a.py::b") == ""
        kept.pytest_runtest_logreport(
            self.report(
                "failed",
                "\n\ndef test_X\nE  \x1b[31mred\x1b[0m X\n\n",
                ("Captured stdout call", "\n out\r\n\n"),
                ("Captured log call", " \n"),
                ("Other", "unseen"),
                ("Captured stderr call", "err"),
            )
        )

        first = (
            "def test_X\nE  red X\n\n--- Captured stdout call ---\n\n out\n"
            "\n--- Captured stderr call ---\nerr"
        )
        assert kept.get("a.py::b") == first
        kept.pytest_runtest_logreport(self.report("failed", "at its end"))
        assert kept.get("a.py::b") == f"{first}\n\nat its end"
        assert kept.get("a.py::c") == ""

    @pytest.mark.parametrize(
        ("text", "printable"),
        [
            ("a\r\nb\rc\nd\te", "a\nb\nc\nd\te"),
            ("\x1b[1;31mred\x1b[0m \x1b[?25lhidden", "red hidden"),
            ("\x1b alone \x00\x08\x0b\x1f\x7f", "\ufffd alone " + "\ufffd" * 5),
            ("\ud800 \udfff \ufffe \uffff \ue000 é", "\ufffd \ufffd \ufffd \ufffd \ue000 é"),
        ],
    )
    def test_no_character_is_left_that_a_page_may_not_hold(self, text: str, printable: str) -> None:
        assert failures.printable(text) == printable
