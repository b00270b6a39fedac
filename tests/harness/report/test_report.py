"""The report page: what it says of a run, in both languages, and what it never does."""

import json
import re
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pygments.lexers.python import PythonLexer
from pygments.token import Token

from blitz.harness import contents, texts, verdict
from blitz.harness.outcomes import Outcome, Results
from blitz.harness.report import failures, releases, speed
from blitz.harness.selection import META, Selected, Selection
from blitz.harness.texts import Message
from blitz.harness.verdict import ExitState
from blitz.measuring import throughput
from blitz.measuring.throughput import Machine, Point
from tests import report_pages as pages
from tests import small_house
from tests.report_pages import BENCHMARK, SPEC, Node, a_run, html, read, run_in, whole_run

needs_fork = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs fork")

HELD = [
    ("sum_is_six[cpu-one]", "T1", "cpu", "held"),
    ("sum_is_six[cpu-<i>two</i>]", "T1", "cpu", "held"),
    ("shape_is_three[cpu]", "T2", "cpu", "held"),
    ("shape_is_three[meta]", "T2", "meta", "held"),
    ("sign_is_smaller", "T2", "no device", "held"),
    ("old_habit", "T3", "no device", "held"),
    ("accelerators_add[accelerator]", "T7", "accelerator", "not run", "needs accelerator: none"),
]
LEAVING = Outcome(
    "spec/test_1.py::TestLeaving::test_text_was_never_right", "T8", "no device", "held"
)


def claim(page: Node, key: str) -> Node:
    return page.one("article", id=key)


def cells(row: Node) -> list[str]:
    """The signs of a test's row, a blank for none."""
    return [
        c.text for c in row.one("summary").all() if "c" in c.attributes.get("class", "").split()
    ]


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

    def test_what_did_not_run_is_never_shown_as_held(self, page: Node) -> None:
        assert cells(claim(page, "T8").one("details")) == ["", "", "", "–"]
        assert "claims of which no test was part of this run: 4" in page.one("main").text

    def test_rows_without_a_test_say_why(self, page: Node) -> None:
        rows = {key: claim(page, key).one("p", cls="row").text for key in ("T4", "T5", "T6")}

        assert rows == {
            "T4": "slip in a listing A quote & a brace are missing.",
            "T5": "no test can check it It is a matter of taste.",
            "T6": "left to the benchmarks It is about speed: pytest --benchmark-only measures it.",
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

    def test_chip_tells_what_has_changed_from_what_was_never_true(self, page: Node) -> None:
        chips = page.one("section", id="untrue").all("span", cls="chip")

        assert {(chip.attributes["class"], chip.text) for chip in chips} == {
            ("chip changed", "changed in 2.0"),
            ("chip mistaken", "never true"),
            ("chip mistranslated", "wrong in the translation"),
        }
        again = claim(page, "T10").one("details").one("span", cls="chip")
        assert again.attributes["class"] == "chip back"
        assert again.text == "changed in 0.4.1, true again from 2.5 on"

    def test_what_is_not_true_says_what_was_told_what_is_and_since_when(self, page: Node) -> None:
        changed, mistaken, translation = page.one("section", id="untrue").all("article")

        assert changed.one("a", cls="key").attributes["href"] == "#T3"
        assert changed.one("span", cls="chip").text == "changed in 2.0"
        assert [dd.text for dd in changed.one("dl").all("dd")] == [
            "Habits are zeros.",
            "Habits are None.",
        ]
        assert mistaken.one("span", cls="chip").text == "never true"
        assert [dd.text for dd in translation.one("dl").all("dd")] == [
            "Biases are errors.",
            "Biases are biases.",
            "Biases are added.",
        ]
        assert "A quote & a brace are missing." in page.one("section", id="untrue").text

    def test_releases_are_a_strip_of_cells(self, page: Node) -> None:
        probe = page.one("section", id="untrue").one("div", cls="probe")

        assert [code.text for code in probe.one("p", cls="spelling").all("code")] == [
            "habit.next()",
            "next(habit)",
        ]
        assert [li.text for li in probe.one("ol").all("li")] == ["1.7=", "1.8·", "2.0≠"]
        assert [li.attributes["title"] for li in probe.one("ol").all("li")] == [
            "torch 1.7.1: as told: 0",
            "torch 1.8.1: not probed",
            "torch 2.0.1: not as told: None & <none>",
        ]
        assert [b.attributes["aria-label"] for b in probe.one("ol").all("b")] == [
            "as told",
            "not probed",
            "not as told",
        ]
        assert probe.one("dl").text == "1.7: as told02.0: not as toldNone & <none>"


class TestBroken:
    MARKUP = "E  assert '<script>alert(1)</script>' == '<img src=x onerror=alert(2)>' & \"so\""

    @pytest.fixture
    def source(self, tmp_path: Path) -> str:
        broken = [(*HELD[0][:3], "broken", "assert <b>"), *HELD[1:]]
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
        assert page.one("div", cls="verdict").one("p").text == (
            "Failed: 1 of 3 claims that were checked are broken."
        )

    def test_count_of_what_is_broken_stands_out(self, source: str) -> None:
        counts = read(source).one("table", cls="counts").one("tbody")

        assert [
            (cell.text, cell.attributes["class"])
            for cell in counts.all("td")
            if cell.attributes.get("class", "zero") != "zero"
        ] == [("1", "broken")]

    def test_fault_that_the_verdict_tells_is_not_told_twice(self, tmp_path: Path) -> None:
        faults = [Message("fault.idle", {"device": name}) for name in ("xpu", "mps")]
        page = read(html(a_run(tmp_path, HELD, faults=faults, ending=ExitState(1))))

        told = [line.text for line in page.one("div", cls="verdict").all("p")]

        assert [sum(name in line for line in told) for name in ("xpu", "mps")] == [1, 1]

    def test_markup_in_a_claim_a_case_or_an_error_stays_text(self, source: str) -> None:
        page = read(source)

        assert claim(page, "T1").one("span", cls="s").text == "The sum of three twos is <b>six</b>."
        assert len(list(page.all("script"))) == 2
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

        assert "default-src 'none'" in policy
        assert (
            len(re.findall(r"script-src( 'sha256-[\w+/]{43}=')( 'sha256-[\w+/]{43}=');", policy))
            == 1
        )

    def test_terminal_colours_and_control_characters_are_gone(self) -> None:
        text = "\x1b[31mE  red\x1b[0m\x00\x07 \ud800 a\rb\r\nc\td"

        assert failures.printable(text) == "E  red\ufffd\ufffd \ufffd a\nb\nc\td"

    def test_long_text_keeps_its_end(self, tmp_path: Path) -> None:
        broken = [(*HELD[0][:3], "broken"), *HELD[1:]]
        text = "<" * 100_000 + "\nE  the error"

        page = read(html(a_run(tmp_path, broken, failed={"sum_is_six[cpu-one]": text})))

        shown = claim(page, "T1").one("div", cls="failure").one("pre").raw
        assert shown.endswith("\nE  the error")
        assert re.match(r"… [\d]+ characters more\n<", shown)
        assert len(shown) < 10_000

    def test_unsupported_and_known_gaps_have_signs_and_reasons(self, tmp_path: Path) -> None:
        outcomes = [
            (*HELD[0][:3], "unsupported", "aten::<full>"),
            (*HELD[2][:3], "known gap", "profile: later"),
            *HELD[3:],
        ]

        page = read(html(a_run(tmp_path, outcomes)))

        assert cells(claim(page, "T1").one("details"))[0] == "⊘"
        assert "cpu: 1 unsupported: aten::<full>" in claim(page, "T1").text
        assert cells(claim(page, "T2").one("details"))[0] == "◇"
        assert "◇ known gap" in page.one("details", cls="legend").text
        assert page.one("div", cls="verdict").one("p").text == (
            "Passed: of 2 claims that were checked none is broken; 2 meet a gap of a device."
        )


class TestDevices:
    def test_several_accelerators_have_a_column_each(self, tmp_path: Path) -> None:
        chosen = Selection(
            (pages.CPU, Selected("cuda", "cuda:0"), Selected("cuda:1", "cuda:1"), META)
        )
        outcomes = [
            *HELD[:6],
            ("accelerators_add[cuda]", "T7", "cuda:0", "held"),
            ("accelerators_add[cuda:1]", "T7", "cuda:1", "broken", "AssertionError"),
        ]

        page = read(html(a_run(tmp_path, outcomes, selection=chosen)))

        heads = [head.text for head in page.one("form").all("span", cls="h")]
        assert heads == ["cpu", "cuda:0", "cuda:1", "meta", "none"]
        assert cells(claim(page, "T7").one("details")) == ["", "✓", "✗", "", ""]
        assert cells(claim(page, "T1").one("details")) == ["✓", "–", "–", "", ""]

    def test_devices_that_workers_share_by_turns_are_not_missed(self, tmp_path: Path) -> None:
        chosen = Selection((pages.CPU, Selected("cuda", "cuda:0", visible=2), META))
        outcomes = [*HELD[:6], ("accelerators_add[cuda]", "T7", "cuda:1", "held")]

        page = read(html(a_run(tmp_path, outcomes, selection=chosen)))

        heads = [head.text for head in page.one("form").all("span", cls="h")]
        assert heads == ["cpu", "cuda:0", "cuda:1", "meta", "none"]
        assert cells(claim(page, "T7").one("details")) == ["", "", "✓", "", ""]
        assert "cuda:0 to cuda:1 by turns" in page.one("dl", cls="machine").text

    def test_accelerator_alone_leaves_the_cpu_out(self, tmp_path: Path) -> None:
        chosen = Selection((Selected("xpu", "xpu:0", gaps={"float64": "<none>"}),))
        outcomes = [("accelerators_add[xpu]", "T7", "xpu:0", "held")]

        page = read(html(a_run(tmp_path, outcomes, selection=chosen)))

        assert [h.text for h in page.one("form").all("span", cls="h")] == ["xpu:0", "meta", "none"]
        assert cells(claim(page, "T1").one("details")) == ["–", "", ""]
        assert "unsupported on xpu:0float64" in page.one("dl", cls="machine").text


class TestVerdict:
    def results(self, *states: str) -> Results:
        results = Results()
        for number, state in enumerate(states):
            results._outcomes[str(number)] = Outcome(str(number), f"T{number}", "cpu", state)
        return results

    @pytest.mark.parametrize(
        ("states", "faults", "ending", "expected"),
        [
            (["held", "not run"], [], ExitState(), "Passed: all 1 claims that were checked hold."),
            (
                ["held", "broken"],
                [],
                ExitState(1),
                "Failed: 1 of 2 claims that were checked are broken.",
            ),
            (
                ["held"],
                [Message("fault.idle", {"device": "cuda:1"})],
                ExitState(1),
                "Failed: nothing ran on cuda:1, which --device asks for.",
            ),
            (
                ["not run"],
                [Message("fault.all_skipped")],
                ExitState(1),
                "Failed: no claim was checked: every test of the specification was skipped.",
            ),
            ([], [], ExitState(5), "Nothing is known: no claim was checked."),
            (
                ["held"],
                [],
                ExitState(1),
                "Failed: none of 1 claims that were checked is broken, but pytest ended with exit "
                "code 1.",
            ),
            (
                ["held", "broken"],
                [],
                ExitState(2, broken_off=True),
                "Broken off: 2 claims were checked before the run ended, and 1 of them are broken. "
                "Of the rest nothing is known.",
            ),
        ],
        ids=["held", "broken", "fault", "skipped", "nothing", "otherwise", "broken off"],
    )
    def test_sentence_says_what_the_run_comes_to(
        self, states: list[str], faults: list[Message], ending: ExitState, expected: str
    ) -> None:
        assert str(verdict.sentence(self.results(*states), faults, ending)) == expected

    def test_sentence_and_what_it_quotes_are_in_the_page_s_language(self) -> None:
        fault = Message("fault.idle", {"device": "cuda:1"})

        said = verdict.sentence(self.results("held"), [fault], ExitState(1)).said(texts.texts("zh"))

        assert "cuda:1" in said
        assert not re.search("[a-z]{3,} [a-z]{3,}", said)


@cache
def whole(lang: str) -> tuple[str, Node]:
    """The page of the real specification where everything held, as it is and as a tree."""
    source = html(whole_run(lambda n: "held"), lang, speed.read(BENCHMARK))
    return source, read(source)


@pytest.fixture(params=texts.LANGUAGES)
def page(request: pytest.FixtureRequest) -> Node:
    return whole(request.param)[1]


OF_THE_TRANSLATION = [
    place
    for place in contents.load(SPEC / "contents.toml").places()
    if place.test.verdict is not None and place.test.verdict.upstream is not None
]
"""What the English says instead stays English on every page."""


class TestWholeSpecification:
    @pytest.mark.parametrize("lang", texts.LANGUAGES)
    def test_page_stays_under_a_megabyte_even_where_everything_fails(self, lang: str) -> None:
        broken = html(whole_run(lambda n: "broken"), lang, speed.read(BENCHMARK))

        assert len(whole(lang)[0].encode()) < 1_000_000
        assert len(broken.encode()) < 1_000_000

    def test_page_is_well_formed_and_needs_nothing_from_elsewhere(self, page: Node) -> None:
        loads = [
            node.attributes.get("src", node.attributes.get("href", ""))
            for node in page.all()
            if node.tag in ("script", "link", "img", "iframe", "use", "image")
        ]

        assert set(loads) <= {"", "data:,"}
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

        functions = {
            name
            for file in (*SPEC.rglob("test_*.py"), SPEC / "bench_throughput.py")
            for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))
        }
        found = {re.search(r"def (test_\w+)", code)[1] for code in codes}
        unclaimed = functions - found
        assert found <= functions
        assert all(
            f"def {name}" in (SPEC / "bench_throughput.py").read_text() for name in unclaimed
        )
        assert all(code.startswith(("def ", "@")) for code in codes)

    def test_every_claim_of_the_chinese_page_is_chinese(self, page: Node) -> None:
        if page.one("html").attributes["lang"] == "en":
            assert not [n for n in page.all() if n.tag != "html" and "lang" in n.attributes]
            return

        left = [
            node.text
            for node in page.one("body").all()
            if node.attributes.get("lang") == "en" and node.tag not in ("pre", "dd")
        ]
        english = {place.test.verdict.upstream for place in OF_THE_TRANSLATION}
        assert set(left) <= english
        assert page.one("html").attributes["lang"] == "zh-Hans"


def test_missing_translation_is_told_in_english_and_marked(tmp_path: Path) -> None:
    run = a_run(tmp_path, HELD)
    (tmp_path / "spec" / "zh.toml").write_text('[claims]\nold_habit = "习惯是 None。"\n', "utf-8")

    page = read(html(run, "zh"))

    assert claim(page, "T3").one("span", cls="s").one("span", cls="chip").text
    assert claim(page, "T3").one("span", cls="s").text.startswith("习惯是 None。")
    told = claim(page, "T2").one("span", cls="s").one("span")
    assert (told.attributes["lang"], told.text) == ("en", "A tensor of three has shape three.")


class TestWords:
    def test_languages_have_the_same_keys_and_places(self) -> None:
        english = texts.english().words
        for lang in texts.LANGUAGES:
            words = texts.texts(lang).words
            assert words.keys() == english.keys()
            for key in english:
                assert texts.placeholders(words[key]) == texts.placeholders(english[key]), key

    def test_language_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(
            texts.TextsError, match=r"--lang xx: there is no such language\. Choose en"
        ):
            texts.texts("xx")

    def test_code_stands_between_backticks(self) -> None:
        assert texts.code_parts("a `b` c") == [(False, "a "), (True, "b"), (False, " c")]


def _marked(marked: str) -> list[str | None]:
    """For each character of the code, the element it is in."""
    now, found = None, list[str | None]()
    for token in re.finditer(r"<(/?)(b|i|u|small|var|dfn)>|&(?:amp|lt|gt);|.", marked, re.DOTALL):
        if token[2]:
            now = None if token[1] else token[2]
        else:
            found.append(now)
    return found


def _lexed(code: str) -> list[str | None]:
    """The same by pygments; what stands in the braces of an f-string is left to it."""
    found, inside = list[str | None](), 0
    for _, token, text in PythonLexer(stripnl=False).get_tokens_unprocessed(code):
        inside += (token is Token.Literal.String.Interpol) * (text.count("{") - text.count("}"))
        kind = None
        if token in Token.Comment:
            kind = "small"
        elif token in Token.Literal.String and token is not Token.Literal.String.Interpol:
            kind = "i"
        elif (token in Token.Keyword or token in Token.Operator.Word) and inside <= 0:
            kind = "b"
        found += [kind] * len(text)
    return found


class TestSpeed:
    def machine(self, *rates: tuple[str, int, int, float], none: str | None = None) -> Machine:
        points = [Point(d, "X", 2, w, b, r, r * 0.9, r * 1.1, 9) for d, w, b, r in rates]
        return Machine("m", tuple(points), none, {"torch": "2.15"}, "2026-11-23")

    @pytest.mark.parametrize(
        "rates",
        [
            [
                ("cpu", 6, 4, 9.0),
                ("cuda:0", 6, 4, 5.0),
                ("cpu", 24, 4, 3.0),
                ("cuda:0", 24, 4, 5.0),
            ],
            [("cpu", 6, 4, 1.0), ("cuda:0", 6, 4, 5.0)],
            [("cpu", 6, 4, 9.0), ("cuda:0", 6, 4, 5.0)],
            [
                ("cpu", 6, 4, 9.0),
                ("cuda:0", 6, 4, 5.0),
                ("cpu", 24, 4, 6.0),
                ("cuda:0", 24, 4, 5.0),
            ],
            [("cpu", 6, 4, 9.0)],
        ],
        ids=["overtakes", "from the smallest", "never at one", "never", "no accelerator"],
    )
    def test_crossover_is_the_sentence_of_the_benchmarks(
        self, rates: list[tuple[str, int, int, float]]
    ) -> None:
        machine = self.machine(*rates)

        said = [str(message) for message in speed.verdicts(machine)]

        assert said == list(throughput.verdicts(machine.points, machine.no_accelerator))

    def test_picture_has_a_panel_a_batch_and_a_point_a_width(self) -> None:
        panels = list(whole("en")[1].one("section", id="throughput").all("svg", cls="panel"))

        assert [panel.one("text", cls="title").text for panel in panels] == [
            "batch 4",
            "batch 64",
            "batch 1024",
        ]
        assert [len(list(panel.all("circle"))) for panel in panels] == [4, 4, 4]
        heights = [float(c.attributes["cy"]) for c in panels[1].all("circle")]
        assert heights == sorted(heights)  # the wider, the slower, the lower
        point = throughput.curve(speed.read(BENCHMARK).machine.points, "cpu", 4)[6]
        assert panels[0].one("title").text == f"cpu, 6: {point.rate:,.0f}"

    def test_parts_of_a_bar_stand_one_behind_the_other(self) -> None:
        _, page = whole("en")

        for bar in page.one("section", id="throughput").all("tr", cls="bar"):
            parts = [
                (float(part.attributes["x"][:-1]), float(part.attributes["width"][:-1]))
                for part in bar.all("rect")
            ]
            ends = [0.0, *(x + width for x, width in parts)]
            assert [x for x, _ in parts] == pytest.approx(ends[:-1], abs=0.02)
            assert ends[-1] == pytest.approx(100, abs=0.1)

    def test_shares_of_a_step_and_what_holds_it_up_are_shown(self) -> None:
        first = whole("en")[1].one("table", cls="steps").one("tbody")

        words = [cell.text for cell in first.all() if cell.tag in ("th", "td")]
        row = next(
            row["extra_info"]
            for row in json.loads(BENCHMARK.read_text())["benchmarks"]
            if "parts" in row["extra_info"]
        )
        shares = [f"{100 * share:.0f} %" for share in (*row["parts"].values(), row["busy"])]
        assert words[:10] == [
            row["device"],
            row["feed"],
            str(row["width"]),
            str(row["batch"]),
            *shares,
        ]
        assert words[10] == row["bound"]
        assert sum(float(r.attributes["width"][:-1]) for r in first.all("rect")) == pytest.approx(
            100, abs=0.1
        )

    def test_accelerator_that_overtakes_is_marked(self, tmp_path: Path) -> None:
        rates = [
            ("cpu", 6, 4, 9.0),
            ("cuda:0", 6, 4, 5.0),
            ("cpu", 24, 4, 3.0),
            ("cuda:0", 24, 4, 5.0),
        ]
        measured = speed.Measured(self.machine(*rates), [])

        page = read(html(a_run(tmp_path, HELD), measured=measured))

        panel = page.one("svg", cls="panel")
        mark = panel.one("path", cls="crossover").attributes["d"]
        second = list(panel.all("rect"))[1].attributes
        assert float(mark.split()[0][1:]) == pytest.approx(float(second["x"]) + 3.5, abs=0.11)
        assert "cuda overtakes cpu from width 24 at batch 4." in page.text


class TestReleases:
    def test_releases_in_a_row_that_did_the_same_are_told_together(self) -> None:
        cells = {"1.7": (True, "0"), "1.8": (True, "0"), "1.9": (None, ""), "2.0": (False, "None")}

        spans = releases.Probe("p", (), {}, None, None, cells).spans

        assert [(s.first, s.last, s.answer, s.as_told) for s in spans] == [
            ("1.7", "1.8", "0", True),
            ("2.0", "2.0", "None", False),
        ]

    def test_file_that_holds_something_else_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "releases.json").write_text('{"releases": ["1.7"], "probes": {"p": {}}}')

        with pytest.raises(releases.ReleasesError, match=r"releases.json: KeyError: 'question'"):
            releases.load(tmp_path / "releases.json")

    def test_probes_are_of_claims_that_there_are(self) -> None:
        keys = {c.key for c, _ in whole_run(lambda n: "held").contents.claims()}

        assert {key for p in releases.load(SPEC / "releases.json") for key in p.claims} <= keys


@needs_fork
class TestOption:
    @pytest.fixture
    def report(self, tmp_path: Path) -> Callable[..., Any]:
        """Run the small specification with --report; what it wrote, and how it ended."""

        def run(*options: str, **other: Any) -> tuple[Any, Node | None]:
            file = tmp_path / "page.html"
            done = run_in(tmp_path, f"--report={file}", *options, **other)
            return done, read(file.read_text(encoding="utf-8")) if file.exists() else None

        return run

    @pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
    def test_page_shows_what_came_of_the_run(
        self, report: Callable[..., Any], workers: tuple[str, ...]
    ) -> None:
        head = '"""Habits are None."""\n        assert '
        wrong = small_house.TESTS.replace(f"{head}True", f"{head}print('<b>printed</b>') or 2 < 1")

        done, page = report("--device=cpu,meta", *workers, tests=wrong)

        assert done.code == 1
        said = "Failed: 1 of 7 claims that were checked are broken."
        assert f"{said} The report: " in done.output
        assert page.one("div", cls="verdict").one("p").text == said
        rows = [claim(page, key).one("details") for key in ("T2", "T3")]
        assert [cells(row)[:1] + cells(row)[-2:] for row in rows] == [["✓", "✓", ""], ["", "", "✗"]]
        text = rows[1].one("div", cls="failure").one("pre").raw
        assert "assert (None or 2 < 1)" in text
        assert "<b>printed</b>" in text
        assert page.one("dl", cls="machine").text.endswith("made on the spot, no file, no network")
        counts = next(page.one("table", cls="counts").one("tbody").all("tr"))
        assert [cell.text for cell in counts.all()] == ["cpu", "2", "0", "0", "0", "3"]

    def test_part_of_the_specification_leaves_the_rest_not_run(
        self, report: Callable[..., Any]
    ) -> None:
        done, page = report("--device=cpu,meta", "-k", "three", "--lang=zh")

        assert done.code == 0
        assert page.one("html").attributes["lang"] == "zh-Hans"
        shape, sign = claim(page, "T2").all("details")
        assert cells(shape) == ["✓", "", "✓", ""]
        assert cells(sign) == ["", "", "", "–"]
        for key in ("T3", "T7", "T8"):
            signs = {
                sign for row in claim(page, key).all("details", cls="t") for sign in cells(row)
            }
            assert signs == {"–", ""}

    @pytest.mark.parametrize(
        ("body", "options", "said"),
        [
            ("raise KeyboardInterrupt", (), "Broken off: 3 claims were checked"),
            ("assert False", ("-x",), "Broken off: 4 claims were checked"),
        ],
        ids=["Ctrl-C", "first failure"],
    )
    def test_run_that_is_broken_off_says_so(
        self, report: Callable[..., Any], body: str, options: tuple[str, ...], said: str
    ) -> None:
        tests = small_house.TESTS.replace(
            '"""Habits are None."""\n        assert True', f'"""Habits are None."""\n        {body}'
        )
        assert body in tests

        _, page = report("--device=cpu,meta", *options, tests=tests)

        assert page.one("div", cls="verdict").one("p").text.startswith(said)
        assert "Of the rest nothing is known." in page.one("div", cls="verdict").text
        assert cells(claim(page, "T8").one("details"))[-1] == "–"

    def test_code_is_shown_as_it_ran(self, report: Callable[..., Any], tmp_path: Path) -> None:
        edits = "open(__file__, 'w').write('gone = 1')"
        habit = '"""Habits are None."""'
        tests = small_house.TESTS.replace(habit, f"{habit}; {edits}")

        _, page = report("--device=cpu", tests=tests)

        assert (tmp_path / "spec" / "test_1.py").read_text() == "gone = 1"
        assert edits in claim(page, "T3").text

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (
                ["--report=none/page.html"],
                "--report none/page.html: the folder .*none is not there",
            ),
            (["--report=spec"], "--report spec: is a folder"),
            (["--report=p.html", "--lang=xx"], "--lang xx: there is no such language"),
            (["--lang=zh"], "--lang zh is for a report, and none is asked for. Add --report"),
            (["--report-benchmark=b.json"], "--report-benchmark b.json is for a report"),
            (["--report=p.html", "--report-benchmark=b.json"], "b.json: cannot be read: No such"),
            (
                ["--report=p.html", "--report-benchmark=pytest.ini"],
                "pytest.ini: not the results of the benchmarks",
            ),
        ],
        ids=[
            "folder",
            "is a folder",
            "language",
            "language alone",
            "benchmark alone",
            "missing",
            "no JSON",
        ],
    )
    def test_bad_input_is_refused_before_anything_runs(
        self, tmp_path: Path, options: list[str], words: str
    ) -> None:
        done = run_in(tmp_path, *options)

        assert done.code == pytest.ExitCode.USAGE_ERROR
        assert re.search(f"ERROR: .*{words}", done.output)
        assert "collected" not in done.output
        assert not (tmp_path / "p.html").exists()

    def test_collecting_alone_writes_nothing(self, report: Callable[..., Any]) -> None:
        assert report("--device=cpu", "--collect-only")[1] is None

    def test_page_that_cannot_be_written_leaves_the_old_one_and_fails_the_run(
        self, report: Callable[..., Any], tmp_path: Path
    ) -> None:
        (tmp_path / "page.html").write_text("<p>before</p>")

        def prepare() -> None:
            from blitz.base import files as atomic

            def refuse(*_: object) -> None:
                raise OSError(28, "No space left on device")

            atomic.write = refuse

        done, page = report("--device=cpu", prepare=prepare)

        assert done.code == 1
        assert page.text == "before"
        assert "page.html: cannot be written: No space left on device" in done.output
        assert "Traceback" not in done.output

    def test_page_costs_seconds_not_minutes(self) -> None:
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
