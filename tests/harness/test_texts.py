"""The words of the report in its languages."""

from pathlib import Path

from blitz.harness import texts
from blitz.harness.texts import Message


class TestTexts:
    def test_language_without_a_specification_has_the_page_s_words_alone(
        self, tmp_path: Path
    ) -> None:
        assert texts.texts("zh").said == texts.texts("zh", tmp_path).said == {}
        assert texts.texts("zh")("state.held") == "成立"
        assert texts.texts("en", tmp_path) == texts.english() is texts.english()
        assert texts.english().lang == "en"
        assert texts.texts("zh").lang == "zh"

    def test_table_without_a_word_gives_the_english(self) -> None:
        chinese = texts.Texts("zh", {}, {"claims": {"key": "译文"}})

        assert chinese.of("claims", "key", "word") == "译文"
        assert chinese.of("says", "key", "word") == "word"
        assert texts.english().of("claims", "key", "word") == "word"

    def test_message_says_the_messages_in_it_in_the_same_language(self) -> None:
        inner = Message("machine.none_found")
        outer = Message("throughput.no_accelerator", {"reason": inner})

        said = "no accelerator was measured: torch finds no accelerator on this machine"
        assert str(outer) == outer.said(texts.english()) == said
        assert outer.said(texts.texts("zh")) == "没有测量任何加速器：torch 在本机上没有找到加速器"
        assert Message("state.held").said(texts.english()) == "held"
