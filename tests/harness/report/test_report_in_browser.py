"""The report page in a browser: Debian's Chromium, without a window."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blitz.harness import texts
from blitz.harness.context import ExitState
from blitz.measuring import throughput
from tests.report_pages import BENCHMARK, html, whole_run

sync_api = pytest.importorskip(
    "playwright.sync_api",
    reason="the page is not tried in a browser: playwright drives it. Install it: "
    "uv pip install playwright",
)
CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="the page is not tried in a browser: there is no Chromium. Install it (apt-get install "
    "chromium), or name one in CHROMIUM",
)

BROKEN = {6, 200, 201, 400}
"""The tests that are broken on the pages, by their numbers."""


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the page of a run lies in which some claims are broken, in each language."""
    folder: Path = tmp_path_factory.mktemp("report")
    run = whole_run(lambda n: "broken" if n in BROKEN else "held", ending=ExitState(1))
    for lang in texts.LANGUAGES:
        content = html(run, lang, throughput.read(BENCHMARK))
        (folder / f"{lang}.html").write_text(content, encoding="utf-8")
    return {lang: (folder / f"{lang}.html").as_uri() for lang in texts.LANGUAGES}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def lang() -> str:
    """The language of the page; a test may ask for another."""
    return "en"


both = pytest.mark.parametrize("lang", texts.LANGUAGES)


@pytest.fixture
def page(browser: Any, addresses: dict[str, str], lang: str) -> Iterator[Any]:
    """The page; whatever a test does, the browser has nothing to complain of, nor asks for more."""
    faults = []
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.set_default_timeout(10_000)
    page.on("console", lambda said: faults.append(f"console: {said.type}: {said.text}"))
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("request", lambda asked: faults.append(asked.url))
    page.goto(addresses[lang])
    yield page
    page.close()
    assert {fault.partition(",")[0].partition("#")[0] for fault in faults} <= {
        addresses[lang],
        "data:",
        "data:image/svg+xml;base64",
    }


def shown(page: Any) -> list[str]:
    """The keys of the claims that can be seen."""
    found: list[str] = page.locator("article.claim:visible").evaluate_all(
        "claims => claims.map(claim => claim.id)"
    )
    return found


@both
def test_page_opens_in_less_than_a_second(page: Any) -> None:
    took = 0.0
    for _ in range(10):  # the machine may be busy with other work
        page.reload()
        took = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        if 0 < took < 1000:
            break

    assert 0 < took < 1000


@both
def test_broken_claims_are_open_and_markup_in_them_is_text(page: Any, lang: str) -> None:
    opened = page.locator("details.t[open]")
    said = page.locator(".verdict p").first.inner_text()

    assert opened.count() == page.locator("details.t[open] .c.broken").count() == len(BROKEN)
    text = opened.first.locator(".failure pre")
    assert text.is_visible()
    assert "AssertionError: <b>not so</b>" in text.inner_text()
    assert bool(re.search("[\u4e00-\u9fff]", said)) == (lang == "zh")
    broken = page.locator("article.claim:has(.c.broken)").count()
    assert str(broken) in re.findall(r"\d+", said)


class TestFinding:
    @both
    def test_broken_only(self, page: Any) -> None:
        everything = shown(page)

        page.check("#broken")

        found = shown(page)
        assert page.locator("details.t:visible").count() == len(BROKEN)
        assert {str(len(found)), str(len(everything))} <= {
            *re.findall(r"\d+", page.locator("#shown").inner_text())
        }
        page.click("#all")
        sync_api.expect(page.locator("form.filtered")).to_have_count(0)
        assert shown(page) == everything

    def test_changed_only(self, page: Any) -> None:
        page.check("#changed")

        assert {"T29", "N34", "C14", "C30"} <= set(shown(page))
        assert "T01" not in shown(page)
        tests = page.locator("details.t:visible")
        assert tests.count() == page.locator("details.t:visible summary .chip").count()

    def test_by_device(self, page: Any) -> None:
        labels = page.locator("#device option").all_inner_texts()

        page.select_option("#device", label="meta")

        column = labels.index("meta") - 1
        signs = page.locator("details.t:visible > summary").evaluate_all(
            "(rows, n) => rows.map(row => row.querySelectorAll('.c')[n].textContent)", column
        )
        assert 0 < len(signs) < 300
        assert "" not in signs

    @both
    def test_search_finds_words_code_and_keys(self, page: Any, lang: str) -> None:
        search = page.locator("#search")

        search.fill("zero_grad set_to_none")
        sync_api.expect(page.locator("#T01")).to_be_hidden()
        assert {"N34", "N41"} & set(shown(page))

        search.fill("n34")
        sync_api.expect(page.locator("article.claim:visible")).to_have_count(1)
        assert shown(page) == ["N34"]

        search.fill("梯度" if lang == "zh" else "gradient")
        sync_api.expect(page.locator("#A13")).to_be_visible()
        assert "T01" not in shown(page)

    def test_note_stays_beside_a_test_that_is_found(self, page: Any) -> None:
        page.fill("#search", "cifar10_leaves_intact_files_alone")

        sync_api.expect(page.locator("details.t:visible")).to_have_count(1)
        assert shown(page) == ["C09"]
        assert page.locator("#C09 p.row").is_visible()

    def test_search_for_nothing_there_says_so_and_enter_stays_on_the_page(self, page: Any) -> None:
        page.evaluate("window.same = true")
        page.fill("#search", "no such words as these")

        page.press("#search", "Enter")

        assert page.locator("#nothing").is_visible()
        assert shown(page) == []
        assert page.evaluate("window.same && location.search === ''")


class TestLinks:
    def test_link_to_a_claim_shows_and_opens_it_also_where_a_filter_hides_it(
        self, page: Any
    ) -> None:
        page.check("#broken")
        sync_api.expect(page.locator("#N34")).to_be_hidden()

        page.locator("#untrue a.key[href='#N34']").first.click()

        page.wait_for_selector("#N34 details.t[open] pre.code:visible")
        assert not page.is_checked("#broken")
        top = page.locator("#N34").evaluate("claim => claim.getBoundingClientRect().top")
        bar = page.locator("#filters").evaluate("bar => bar.getBoundingClientRect().bottom")
        assert bar <= top + 1 < 900

    def test_contents_lead_to_the_sections(self, page: Any) -> None:
        link = page.locator("#toc ol ol a").nth(20)
        section = link.get_attribute("href")

        link.click()

        top = page.locator(section).evaluate("part => part.getBoundingClientRect().top")
        assert 0 <= top < 450


BACKGROUND = "getComputedStyle(document.body).backgroundColor"

CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return rgb(getComputedStyle(document.body).backgroundColor);
  };
  const faint = new Set();
  for (const element of document.querySelectorAll("body *:not(svg *):not(option):not(script)")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !element.checkVisibility({contentVisibilityAuto: false})) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(rgb(style.color)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.add(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
  }
  return [...faint];
}"""


class TestLooks:
    def test_themes_are_the_system_s_and_texts_stand_out_in_both(self, page: Any) -> None:
        page.locator("#N34 details.t").first.evaluate("test => { test.open = true; }")

        backgrounds = set()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            backgrounds.add(page.evaluate(BACKGROUND))
            assert page.evaluate(CONTRAST) == []

        assert len(backgrounds) == 2

    def test_nothing_has_to_be_scrolled_sideways(self, page: Any) -> None:
        for width in (320, 390, 800, 1280, 2560):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width

    def test_contents_fold_on_a_phone_and_states_have_words(self, page: Any) -> None:
        page.set_viewport_size({"width": 390, "height": 800})

        assert page.locator("#toc ol").first.is_hidden()
        page.locator("#toc > summary").click()
        assert page.locator("#toc ol").first.is_visible()
        said = page.locator("#T01 .c.held").first.evaluate(
            "cell => getComputedStyle(cell, '::after').content"
        )
        assert "cpu" in said

    def test_print_is_light_and_leaves_out_what_paper_cannot_do(self, page: Any) -> None:
        page.emulate_media(color_scheme="dark", media="print")

        assert page.evaluate(BACKGROUND) == "rgb(255, 255, 255)"
        for name in ("nav", ".fields", ".skip"):
            assert page.locator(name).first.is_hidden(), name
        assert page.locator("#T01 .s").first.is_visible()
        assert page.locator(".failure pre").first.is_visible()
        assert page.pdf(format="A4").startswith(b"%PDF")


class TestKeyboard:
    def test_first_stop_skips_to_the_claims(self, page: Any) -> None:
        page.keyboard.press("Tab")
        skip = page.evaluate(
            "[document.activeElement.className, document.activeElement.getBoundingClientRect().top]"
        )
        assert skip[0] == "skip"
        assert skip[1] >= 0

        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("!!document.activeElement.closest('#claims')")

    def test_claim_opens_by_key_and_where_one_is_can_be_seen(self, page: Any) -> None:
        summary = page.locator("#T01 details.t summary").first
        page.keyboard.press("Tab")  # from now on the keyboard is in use
        summary.focus()

        page.keyboard.press("Enter")

        assert page.locator("#T01 details.t[open]").count() == 1
        style = summary.evaluate(
            "s => [getComputedStyle(s).outlineStyle, parseFloat(getComputedStyle(s).outlineWidth)]"
        )
        assert style[0] == "solid"
        assert style[1] >= 2


def test_page_can_be_read_without_scripts(browser: Any, addresses: dict[str, str]) -> None:
    page = browser.new_page(java_script_enabled=False)

    page.goto(addresses["en"])

    assert page.locator("#T01 .s").first.is_visible()
    assert page.locator(".fields").is_hidden()
    page.close()
