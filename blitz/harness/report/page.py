"""The report as one HTML page: everything in one file, nothing from elsewhere."""

import base64
import hashlib
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from blitz.harness.report import gather, rows, speed
from blitz.harness.texts import Said, Texts, code_parts
from blitz.measuring.step_breakdown import PARTS

HERE = Path(__file__).parent

DARK = """
color-scheme: dark;
--bg: #15181c; --panel: #1e2228; --fg: #e7e9ec; --soft: #a9b0b9; --line: #333a43;
--link: #8cbcff; --focus: #8cbcff;
--held: #6bd69a; --broken: #ff958d; --broken-bg: #3a1d1c; --gap: #f1bd62; --off: #929aa5;
--changed: #ffd98a; --changed-bg: #423313; --never: #ffa8d2; --never-bg: #451f35;
--other: #ccd5df; --other-bg: #303944;
--good-bg: #16301f; --mark: #ffe27a;
--kw: #d9a2f5; --str: #8fd6a5; --num: #8cbcff; --com: #9aa2ac; --def: #ffb884; --dec: #d9d57c;
--l0: #5db7f0; --l1: #ff9a52; --l2: #35c79b; --l3: #e594c0; --l4: #86cdf3; --l5: #edb74a;
--l6: #e7e9ec;
--p0: #e07a30; --p1: #d382ad; --p2: #3a9ad9; --p3: #8fd0f5; --p4: #2fbd92;
"""
"""The dark theme's colours, which the style names twice: as the system's, and as chosen."""


LIMIT = 1_000_000
"""Bytes that the page stays under."""

LITTLE_ROOM = 10_000
"""Bytes for the texts of failures where with more of them the page would not."""


def html(run: rows.Run, texts: Texts, measured: speed.Measured | None = None) -> bytes:
    """The page, in UTF-8.

    Args:
        run: What came of the tests.
        texts: The words of its language.
        measured: What came of the benchmarks.
    """
    page = _render(run, texts, measured)
    if len(page) < LIMIT:
        return page
    return _render(replace(run, room=LITTLE_ROOM), texts, measured)


def _render(run: rows.Run, texts: Texts, measured: speed.Measured | None) -> bytes:
    script, first = _asset("page.js"), _asset("first.js")
    report = gather.report(run, texts)
    page = _template().render(
        r=report,
        t=texts,
        cells=_cells(report, texts),
        english=Markup("" if texts.lang == "en" else ' lang="en"'),
        speed=None if measured is None else speed.speed(measured, texts),
        style=Markup(_style()),
        script=Markup(script),
        first_script=Markup(first),
        hashes=" ".join(_hash(text) for text in (first, script)),
    )
    return page.encode("utf-8", "replace")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,  # whatever a test prints or a path contains stays text
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": _short}
    environment.globals |= {
        "coded": _coded,
        "said": _said,
        "names": rows.NAMES,
        "signs": rows.SIGNS,
        "told": (
            ("as_told", rows.AS_TOLD),
            ("not_as_told", rows.NOT_AS_TOLD),
            ("not_probed", rows.NOT_PROBED),
        ),
        "parts": PARTS,
        "size": (int(speed.WIDTH), int(speed.HEIGHT)),
        "left": speed.LEFT,
        "right": speed.WIDTH - speed.RIGHT,
        "top": speed.TOP,
        "bottom": speed.HEIGHT - speed.BOTTOM,
    }
    source = _asset("templates/page.html.j2")
    return environment.from_string(re.sub(r">\n(?=[<{])", ">", source))  # none of these is in a pre


def _cells(report: rows.Report, texts: Texts) -> dict[tuple[str, str | None], Markup]:
    """What a cell of the table shows, by the name of its column and its state: there are few."""
    found: dict[tuple[str, str | None], Markup] = {}
    for column in report.columns:
        found[column.name, None] = Markup('<i class="c"></i>')
        for state, name in rows.NAMES.items():
            said = f"{column.label}{texts('page.colon')}{texts(f'state.{name}')}"
            found[column.name, state] = Markup(
                '<span class="c {}" role="img" title="{}">{}</span>'
            ).format(name, said, rows.SIGNS[state])
    return found


def _coded(words: str) -> Markup:
    """The text, with what stands in `backticks` as code."""
    if "`" not in words:
        return escape(words)
    parts = (Markup("<code>{}</code>" if code else "{}").format(p) for code, p in code_parts(words))
    return Markup("").join(parts)


def _said(what: Said) -> Markup:
    """The text; where it is not in the page's language, the element says so."""
    text = _coded(what.text)
    return Markup('<span lang="{}">{}</span>').format(what.lang, text) if what.lang else text


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8").strip()


def _style() -> str:
    """The style sheet, in fewer bytes."""
    text = _asset("style.css").replace("DARK", DARK)
    return re.sub(r"\s+", " ", text).replace("; ", ";").replace(" {", "{").replace("{ ", "{")


def _hash(script: str) -> str:
    """The script as the page's policy names it: no other script runs, whatever a test prints."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _short(release: str) -> str:
    """1.13 for 1.13.1: the strip has no room for more."""
    return ".".join(release.split(".")[:2])
