"""The report page: what it says of a run, in both languages, and what it never does."""

import base64
import hashlib
import re
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from blitz.harness import contents, texts
from blitz.harness.context import ExitState
from blitz.harness.report import gather
from blitz.harness.selection import META, Selected, Selection
from blitz.measuring import throughput
from tests import report_pages as pages
from tests.report_pages import BENCHMARK, SPEC, Node, a_run, cells, claim, html, read, whole_run

NEEDS = "needs accelerator: torch finds no accelerator on this machine"
HELD = [
    ("sum_is_six[cpu-one]", "T1", "cpu", "held"),
    ("sum_is_six[cpu-<i>two</i>]", "T1", "cpu", "held"),
    ("shape_is_three[cpu]", "T2", "cpu", "held"),
    ("shape_is_three[meta]", "T2", "meta", "held"),
    ("sign_is_smaller", "T2", "no device", "held"),
    ("old_habit", "T3", "no device", "held"),
    ("accelerators_add[accelerator]", "T7", "accelerator", "not run", NEEDS),
]
LEAVING = [
    ("text_was_never_right", "T8", "no device", "held"),
    ("word_for_word", "T9", "no device", "held"),
    ("back_again", "T10", "no device", "held"),
    ("shape_of_nothing[meta]", "M1", "meta", "held"),
]
KEYS = [f"T{number}" for number in range(1, 11)]
BROKEN = (*HELD[0][:3], "broken", "assert <b>")
NAMED = {"named": True, "selection": Selection((Selected("xpu"), Selected("mps")))}


class TestPage:
    @pytest.fixture
    def page(self, tmp_path: Path) -> Node:
        return read(html(a_run(tmp_path, HELD)))

    def test_contents_link_to_every_section(self, page: Node) -> None:
        linked = {a.attributes["href"] for a in page.one("nav").all("a")}

        sections = {f"#{s.attributes['id']}" for s in page.all("section") if "id" in s.attributes}

        assert linked == sections - {"#claims"}
        assert [a.text for a in page.one("nav").all("a")][2:] == [
            "Tensors",
            "Joining <tensors>",
            "Leaving",
            "Mistakes",
            "Beside",
        ]

    def test_claim_shows_sentence_key_and_code(self, page: Node) -> None:
        row = claim(page, "T2")

        assert row.one("a", cls="key").attributes["href"] == "#T2"
        assert row.one("a", cls="key").text == "T2"
        assert row.one("span", cls="s").text == "A tensor of three has shape three."
        code = row.one("pre", cls="code")
        assert code.raw.startswith('@pytest.mark.on("cpu", "accelerator", "meta")\ndef test_shape')
        assert code.raw.endswith("assert torch.ones(3, device=device).shape == (3,)")
        assert [b.text for b in code.all("b")] == ["def", "assert"]
        assert row.one("p", cls="at").text == "spec/test_1.py:11"

    def test_devices_have_a_column_each(self, page: Node) -> None:
        heads = [head.attributes["title"] for head in page.one("form").all("span", cls="h")]

        assert heads == ["cpu", "accelerator", "meta", "no device"]
        tests = list(claim(page, "T2").all("details"))
        assert [cells(test) for test in tests] == [["✓", "", "✓", ""], ["", "", "", "✓"]]
        assert cells(claim(page, "T7").one("details")) == ["", "–", "", ""]
        titles = [c.attributes["title"] for c in claim(page, "T2").all("span", cls="c")]
        assert titles == ["cpu: held", "meta: held", "no device: held"]

    def test_claim_says_who_else_makes_it_and_why_it_has_no_test(self, page: Node) -> None:
        rows = {key: [p.text for p in claim(page, key).all("p", cls="row")] for key in KEYS}

        assert {key: row[0] for key, row in rows.items() if row} == {
            "T2": "who says it The English original says it, the text followed does not.",
            "T4": "slip in a listing A quote & a brace are missing.",
            "T5": "no test can check it It is a matter of taste.",
            "T6": "left to the benchmarks It is about speed: pytest --benchmark-only measures it.",
            "T10": "who says it An older revision says it, the text followed does not.",
        }

    def test_legend_gives_every_sign_one_meaning(self, page: Node) -> None:
        legend = page.one("details", cls="legend")
        signs = [
            node.text
            for node in legend.all("span")
            if {"c", "sign"} & set(node.attributes.get("class", "").split())
        ]

        assert signs == ["✓", "✗", "⊘", "–", "=", "≠", "·"]

    def test_counts_are_those_of_the_run(self, page: Node) -> None:
        rows = [
            [cell.text for cell in row.all() if cell.tag in ("th", "td")]
            for row in page.one("table", cls="counts").one("tbody").all("tr")
        ]

        assert rows == [
            ["cpu", "2", "0", "0", "0", "3"],
            ["accelerator", "0", "0", "0", "1", "0"],
            ["meta", "1", "0", "0", "0", "1"],
            ["no device", "2", "0", "0", "0", "2"],
        ]
        assert "12 claims: 8 in the text followed, 1 only in the English original," in page.text
        assert "8 tested, 1 left to the benchmarks" in page.text

    def test_what_is_not_true_says_what_was_told_what_is_and_since_when(self, page: Node) -> None:
        untrue = page.one("section", id="untrue")
        cards = {
            card.one("a", cls="key").text: [
                card.one("span", cls="chip").attributes["class"],
                card.one("span", cls="chip").text,
                *(dd.text for dd in card.one("dl").all("dd")),
            ]
            for card in untrue.all("article")
        }

        assert cards == {
            "T3": ["chip changed", "changed in 2.0", "Habits are zeros.", "Habits are None."],
            "T8": ["chip mistaken", "never true", "It was so.", "It was never so."],
            "T9": [
                "chip mistranslated",
                "wrong in the translation",
                "Biases are errors.",
                "Biases are biases.",
                "Biases are added.",
            ],
        }
        assert untrue.one("ul", cls="slips").text == "T4 A quote & a brace are missing."
        again = claim(page, "T10").one("details").one("span", cls="chip")
        assert again.attributes["class"] == "chip back"
        assert again.text == "changed in 0.4.1, true again from 2.5 on"

    def test_releases_are_a_strip_of_cells(self, page: Node) -> None:
        probe = page.one("section", id="untrue").one("div", cls="probe")

        assert [code.text for code in probe.one("p", cls="spelling").all("code")] == [
            "habit.next()",
            "next(habit)",
        ]
        assert [li.text for li in probe.one("ol").all("li")] == [
            "1.7.1=",
            "1.8.1·",
            "2.0≠",
            "2.0.1≠",
        ]
        assert [li.attributes["title"] for li in probe.one("ol").all("li")] == [
            "torch 1.7.1: as told",
            "torch 1.8.1: not probed",
            "torch 2.0.0: not as told",
            "torch 2.0.1: not as told",
        ]
        assert probe.one("dl").text == "1.7.1: as told02.0.0 to 2.0.1: not as toldNone & <none>"


class TestBroken:
    MARKUP = "E  assert '<script>alert(1)</script>' == '<img src=x onerror=alert(2)>' & \"so\""

    @pytest.fixture
    def source(self, tmp_path: Path) -> str:
        broken = [BROKEN, *HELD[1:]]
        failed = {"sum_is_six[cpu-one]": self.MARKUP}
        return html(a_run(tmp_path / "", broken, failed=failed, ending=ExitState(1)))

    def test_broken_claim_is_open_with_the_text_of_its_failure(self, source: str) -> None:
        page = read(source)
        test = claim(page, "T1").one("details")

        assert "open" in test.attributes
        assert cells(test)[0] == "✗"
        assert test.one("div", cls="failure").one("pre").raw == self.MARKUP
        assert test.one("div", cls="failure").one("p").text == "What failed on cpu [cpu-one]"
        assert sum("open" in d.attributes for d in page.all("details", cls="t")) == 1
        counts = page.one("table", cls="counts").one("tbody").all("td", cls="broken")
        assert [cell.text for cell in counts] == ["1"]
        count = page.one("nav").one("a", cls="count")
        assert (count.text, count.attributes["href"]) == ("✗ 1", "#T1")

    def test_markup_in_a_claim_a_case_or_an_error_stays_text(self, source: str) -> None:
        page = read(source)

        assert claim(page, "T1").one("span", cls="s").text == "The sum of three twos is <b>six</b>."
        assert len(list(page.all("script"))) == 1
        assert not list(page.all("img"))
        assert (
            '"""The sum of three twos is <b>six</b>."""'
            in claim(page, "T1").one("pre", cls="code").raw
        )
        assert "</script><script>alert" not in source
        assert "<i>two" not in source

    def test_only_the_scripts_of_the_page_may_run(self, source: str) -> None:
        page = read(source)
        policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]

        scripts = [hashlib.sha256(script.raw.encode()).digest() for script in page.all("script")]
        assert "default-src 'none'" in policy
        assert re.findall("'sha256-([^']+)'", policy) == [
            base64.b64encode(digest).decode() for digest in scripts
        ]

    @pytest.mark.parametrize(
        ("broken", "shown", "more"), [(5, 5, 0), (6, 5, 1), (101, 1, 100)], ids=str
    )
    def test_few_of_many_failures_are_shown(
        self, tmp_path: Path, broken: int, shown: int, more: int
    ) -> None:
        outcomes = [
            (f"sum_is_six[{n}]", "T1", "cpu", "broken", f"error {n}") for n in range(broken)
        ]

        row = claim(read(html(a_run(tmp_path, outcomes))), "T1")

        texts = [failure.one("pre").raw for failure in row.all("div", cls="failure")]
        assert texts == [f"error {n}" for n in range(shown)]
        assert (f"… and {more} more failures of this test, not shown" in row.text) == bool(more)

    def test_long_text_keeps_its_end(self, tmp_path: Path) -> None:
        broken = [BROKEN, *HELD[1:]]
        text = "<" * 100_000 + "\nE  the error"

        page = read(html(a_run(tmp_path, broken, failed={"sum_is_six[cpu-one]": text})))

        shown = claim(page, "T1").one("div", cls="failure").one("pre").raw
        assert shown.endswith("\nE  the error")
        assert re.match(r"… [\d]+ characters more\n<", shown)
        assert len(shown) < 10_000

    @pytest.mark.parametrize(
        ("lang", "state", "sign", "name", "verdict"),
        [
            ("en", "unsupported", "⊘", "unsupported", "Passed: 3 claims checked, none broken; 1 "),
            ("en", "known gap", "◇", "known gap", "Passed: 3 claims checked, none broken; 1 run "),
            ("en", "crashed", "†", "crashed", "Failed: 3 claims checked, 1 broken."),
            ("zh", "hung", "∞", "超时", "未通过：检验了 3 条论断，1 条不成立。"),
        ],
    )
    def test_each_state_has_a_sign_a_word_its_reason_and_a_verdict(
        self, tmp_path: Path, lang: str, state: str, sign: str, name: str, verdict: str
    ) -> None:
        outcomes = [(*HELD[0][:3], state, "aten::<full>"), *HELD[1:]]

        page = read(html(a_run(tmp_path, outcomes), lang))

        assert cells(claim(page, "T1").one("details"))[0] == sign
        why = {"en": f"cpu: 1 {name}: aten::<full>", "zh": f"cpu：1 个测试{name}：aten::<full>"}
        assert why[lang] in claim(page, "T1").text
        assert f"{sign} {name}" in page.one("details", cls="legend").text
        assert page.one("div", cls="verdict").one("p").text.startswith(verdict)

    def test_test_that_was_skipped_says_why_or_which_device_it_needs(self, tmp_path: Path) -> None:
        skipped = (*HELD[0][:3], "not run", "no <b>matplotlib</b>")

        page = read(html(a_run(tmp_path, [skipped, *HELD[1:]])))

        assert "cpu: 1 not run: no <b>matplotlib</b>" in claim(page, "T1").text
        assert f"accelerator: 1 not run: {NEEDS}" in claim(page, "T7").text


T7 = "accelerators_add"


def test_each_device_that_was_asked_has_a_column(tmp_path: Path) -> None:
    devices = (pages.CPU, Selected("cuda:0"), Selected("cuda:1"), META)
    on_both = [(T7, "T7", "cuda:0", "held"), (f"{T7}[1]", "T7", "cuda:1", "broken", "wrong")]

    page = read(html(a_run(tmp_path, [*HELD[:6], *on_both], selection=Selection(devices))))

    heads = [head.text for head in page.one("form").all("span", cls="h")]
    assert heads == ["cpu", "cuda:0", "cuda:1", "meta", "none"]
    assert cells(claim(page, "T7").one("details")) == ["", "✓", "✗", "", ""]
    assert cells(claim(page, "T1").one("details")) == ["✓", "", "", "", ""]
    assert cells(claim(page, "T8").one("details")) == ["–"] * 5  # not part of the run
    assert "cuda:0, cuda:1" in page.one("dl", cls="machine").text


class TestVerdict:
    @pytest.mark.parametrize(
        ("outcomes", "asked", "ending", "tone", "said"),
        [
            (HELD, {}, ExitState(), "good", "Passed: 3 claims checked, all hold."),
            ([BROKEN, *HELD[1:]], {}, ExitState(1), "bad", "Failed: 3 claims checked, 1 broken."),
            (HELD, NAMED, ExitState(1), "bad", "Failed: nothing ran on xpu, which --device asks "),
            ([], {}, ExitState(5), "open", "Nothing is known: no claim was checked."),
        ],
        ids=["held", "broken", "fault", "nothing"],
    )
    def test_verdict_says_what_the_run_comes_to(
        self, tmp_path: Path, outcomes: Any, asked: Any, ending: ExitState, tone: str, said: str
    ) -> None:
        run = a_run(tmp_path, outcomes, ending=ending, **asked)

        verdict = read(html(run)).one("div", cls="verdict")

        assert tone in verdict.attributes["class"].split()
        assert verdict.one("p").text.startswith(said)

    def test_each_fault_is_told_once_in_the_page_s_language(self, tmp_path: Path) -> None:
        run = a_run(tmp_path, HELD, ending=ExitState(1), **NAMED)

        told = [line.text for line in read(html(run, "zh")).one("div", cls="verdict").all("p")]

        assert told[:2] == [
            "未通过：--device 要求的 xpu 上没有运行任何测试。",
            "未通过：--device 要求的 mps 上没有运行任何测试。",
        ]

    @pytest.mark.parametrize(
        ("outcomes", "said"),
        [
            (HELD[:3], ["6 of the claims.", "1 of the claims."]),  # T2 in part
            (HELD, ["4 of the claims."]),
            ([*HELD, *LEAVING], []),
        ],
        ids=["some in part", "some not", "all"],
    )
    def test_notes_count_what_was_not_part_of_the_run(
        self, tmp_path: Path, outcomes: Any, said: list[str]
    ) -> None:
        page = read(html(a_run(tmp_path, outcomes)))

        notes = [note.text for note in page.one("div", cls="verdict").all("p", cls="note")]

        assert (
            notes[0] == "0 claims ran on an accelerator: torch finds no accelerator on this machine"
        )
        assert [note.rpartition(": ")[2] for note in notes[2:]] == said
        assert ("This run was of a part of the specification" in " ".join(notes)) == bool(said)


class TestMachine:
    def test_machine_names_each_device_its_model_what_it_lacks_and_what_is_left_out(
        self, tmp_path: Path
    ) -> None:
        chosen = Selection(
            (
                Selected("cpu", model="an old cpu"),
                Selected("cuda:0", model="a GPU"),
                Selected("xpu:1", gaps={"float64": "no", "sparse": "none"}),
            ),
            unusable=("mps: died", "hpu: hung"),
            missing="mps: died",
        )

        page = read(html(a_run(tmp_path, HELD, selection=chosen, images="/data/\udcff", threads=4)))

        told = [row.all() for row in page.one("dl", cls="machine").all("div")]
        assert [tuple(part.text for part in row) for row in told][3:] == [
            ("devices", "cpu (an old cpu), cuda:0 (a GPU), xpu:1"),
            ("no accelerator", "mps: died"),
            ("left out", "hpu: hung"),
            ("unsupported on xpu:1", "float64, sparse"),
            ("threads", "4"),
            ("images", "/data/?"),  # no page may hold half of a character
        ]


@cache
def whole(lang: str) -> tuple[str, Node]:
    """The page of the real specification where everything held, as it is and as a tree."""
    source = html(whole_run(lambda n: "held"), lang, throughput.read(BENCHMARK))
    return source, read(source)


@pytest.fixture(params=texts.LANGUAGES)
def page(request: pytest.FixtureRequest) -> Node:
    return whole(request.param)[1]


SPECIFICATION = contents.load(SPEC / "contents.toml")


class TestWholeSpecification:
    @pytest.mark.parametrize("lang", texts.LANGUAGES)
    def test_page_stays_under_a_megabyte_even_where_everything_fails(self, lang: str) -> None:
        run = whole_run(lambda n: "broken")

        broken = html(run, lang, throughput.read(BENCHMARK))

        assert len(whole(lang)[0].encode()) < 1_000_000
        assert len(broken.encode()) < 1_000_000
        few = {"shown": 100, "failed": len(run.context.results)}
        assert texts.texts(lang)("counts.few_shown", **few) in broken

    def test_page_is_well_formed_and_needs_nothing_from_elsewhere(self, page: Node) -> None:
        loads = [
            node.attributes.get("src", node.attributes.get("href", ""))
            for node in page.all()
            if node.tag in ("script", "link", "img", "iframe", "use", "image")
        ]

        assert {load.partition(";")[0] for load in loads} == {"", "data:,", "data:image/svg+xml"}
        assert "url(" not in page.one("style").raw
        assert "@import" not in page.one("style").raw

    def test_ids_are_used_once_and_links_lead_somewhere(self, page: Node) -> None:
        ids = [node.attributes["id"] for node in page.all() if "id" in node.attributes]
        links = {a.attributes["href"][1:] for a in page.all("a") if a.attributes["href"][0] == "#"}

        assert len(ids) == len(set(ids))
        assert links <= set(ids)
        assert {"T01", "N34", "G16"} <= set(ids)

    def test_every_test_is_there_with_its_code(self, page: Node) -> None:
        codes = [pre.raw for pre in page.all("pre", cls="code")]

        found = [re.search(r"def test_(\w+)", code)[1] for code in codes]
        assert found == [place.test.id for place in SPECIFICATION.places()]
        assert all(code.startswith(("def ", "@")) for code in codes)

    def test_every_claim_of_the_chinese_page_is_chinese(self, page: Node) -> None:
        if page.one("html").attributes["lang"] == "en":
            assert not [n for n in page.all() if n.tag != "html" and "lang" in n.attributes]
            return

        sentences = [span.text for span in page.all("span", cls="s")]
        assert len(sentences) > 500
        assert [said for said in sentences if not re.search("[\u4e00-\u9fff]", said)] == []
        assert page.one("html").attributes["lang"] == "zh-Hans"


def test_missing_translation_is_told_in_english(tmp_path: Path) -> None:
    run = a_run(tmp_path, HELD)
    (tmp_path / "spec" / "zh.toml").write_text('[claims]\nold_habit = "习惯是 None。"\n', "utf-8")

    page = read(html(run, "zh"))

    assert claim(page, "T3").one("span", cls="s").one("span", cls="chip").text
    assert claim(page, "T3").one("span", cls="s").text.startswith("习惯是 None。")
    assert claim(page, "T2").one("span", cls="s").text == "A tensor of three has shape three."


@pytest.mark.parametrize(
    ("text", "printable"),
    [
        ("a\r\nb\rc\nd\te", "a\nb\nc\nd\te"),
        ("\x1b[1;31mred\x1b[0m \x1b[?25lhidden", "red hidden"),
        ("\x1b alone \x00\x08\x0b\x1f\x7f", "\ufffd alone " + "\ufffd" * 5),
        ("\ud800 \udfff \ufffe \uffff \ue000 é", "\ufffd \ufffd \ufffd \ufffd \ue000 é"),
    ],
)
def test_no_character_is_left_that_a_page_may_not_hold(text: str, printable: str) -> None:
    assert gather.printable(text) == printable


def test_page_costs_seconds_not_minutes() -> None:
    run = whole_run(lambda n: "held")
    html(run)  # jinja2 and the template

    start = time.process_time()
    html(run)

    assert time.process_time() - start < 5.0  # 1.4 s, half of it pygments


def test_page_is_in_the_wheel() -> None:
    text = (pages.ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert '"blitz.harness.report",' in text
    for pattern in ("*.toml", "*.css", "*.js", "templates/*.j2"):
        assert f'"{pattern}"' in text
