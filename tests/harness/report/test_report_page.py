"""The pieces that the report's page is put together of."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from blitz.harness.report import page, speed
from blitz.harness.report.rows import Run
from blitz.harness.texts import english, texts
from tests import locales
from tests.report_pages import BENCHMARK, a_run, html, read


def test_style_sheet_has_no_needless_blanks_and_the_dark_theme_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sheets = {"style.css": "a {\n  b: c d;\n  e: f;\n}\n\n@media {\n  html { DARK }\n}\ng {DARK}"}
    monkeypatch.setattr(page, "_asset", sheets.__getitem__)
    monkeypatch.setattr(page, "DARK", "--x: 1;\n--y: 2;")

    assert page._style() == ("a{b: c d;e: f;} @media{html{--x: 1;--y: 2;} } g{--x: 1;--y: 2;}")


def test_pieces_are_read_in_utf8_whatever_the_locale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.js").write_text(" 'größer'\n", encoding="utf-8")
    monkeypatch.setattr(page, "HERE", tmp_path)
    locales.speak_ascii(monkeypatch)

    assert page._asset("page.js") == "'größer'"


def test_page_holds_its_scripts_its_style_and_nothing_beside(tmp_path: Path) -> None:
    whole = read(html(a_run(tmp_path, [])))

    scripts = [script.raw for script in whole.all("script")]
    policy = whole.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    folder = Path(page.__file__).parent
    assert scripts == [
        (folder / name).read_text(encoding="utf-8").strip() for name in ("first.js", "page.js")
    ]
    assert re.findall("'sha256-([^']+)'", policy) == digests
    assert f"script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}';" in policy
    assert whole.one("style").raw == f"{page._style()}:root{{--columns:4}}"
    assert not list(whole.all("section", id="throughput"))


@pytest.mark.parametrize(("lang", "marked"), [("en", None), ("zh", "en")])
def test_code_is_marked_as_english_where_the_page_is_not(
    tmp_path: Path, lang: str, marked: str | None
) -> None:
    whole = read(html(a_run(tmp_path, []), lang, speed.read(BENCHMARK)))

    assert {pre.attributes.get("lang") for pre in whole.all("pre", cls="code")} == {marked}
    assert whole.one("title").text == texts(lang)("page.title")
    speed_of = whole.one("section", id="throughput")
    assert speed_of.one("h2").text == texts(lang)("page.throughput")


def test_character_that_no_page_may_hold_is_replaced(tmp_path: Path) -> None:
    source = page.html(a_run(tmp_path, [], images="/images/\udcff"), english())

    assert b"<dd>/images/?</dd>" in source
    assert "本机上的 60 分钟入门".encode() in page.html(a_run(tmp_path, []), texts("zh"))


@pytest.mark.parametrize(
    ("size", "rooms"),
    [(page.LIMIT - 1, [120_000]), (page.LIMIT, [120_000, page.LITTLE_ROOM])],
)
def test_page_that_would_be_too_large_tells_less_of_the_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, rooms: list[int]
) -> None:
    asked: list[tuple[Any, ...]] = []

    def render(run: Run, *others: Any) -> bytes:
        asked.append((run.room, *others))
        return bytes(size if run.room == 120_000 else 7)

    monkeypatch.setattr(page, "_render", render)
    words, measured = english(), speed.read(BENCHMARK)

    source = page.html(a_run(tmp_path, []), words, measured)

    assert asked == [(room, words, measured) for room in rooms]
    assert len(source) == (size if len(rooms) == 1 else 7)
