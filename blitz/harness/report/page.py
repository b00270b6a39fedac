"""The report as one HTML page: everything in one file, nothing from elsewhere."""

import base64
import hashlib
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from blitz.harness.report import gather, rows, speed
from blitz.harness.texts import Said, Texts, code_parts
from blitz.measuring.step_breakdown import PARTS

HERE = Path(__file__).parent

# Bytes that the page stays under, so that it opens within a second. In Chinese, with every test
# broken and the picture of the benchmarks, it has 984 kB (2026-11).
LIMIT = 1_000_000

# Bytes for the texts of failures where the page would pass the limit with more.
LITTLE_ROOM = 10_000


def html(run: rows.Run, texts: Texts, measured: speed.Measured | None = None) -> bytes:
    """Return the page of ``run`` in the language of ``texts``, in UTF-8."""
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
        "told": rows.TOLD,
        "parts": PARTS,
    }
    source = _asset("templates/page.html.j2")
    return environment.from_string(re.sub(r">\n(?=[<{])", ">", source))  # none of these is in a pre


def _cells(report: rows.Report, texts: Texts) -> dict[tuple[str, str | None], Markup]:
    """Return what a cell of the table shows, by column and state: there are few."""
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
    """Return the text, with what stands in `backticks` as code."""
    parts = (Markup("<code>{}</code>" if code else "{}").format(p) for code, p in code_parts(words))
    return Markup("").join(parts)


def _said(what: Said) -> Markup:
    """Return the text; where it is not in the page's language, the element says so."""
    text = _coded(what.text)
    return Markup('<span lang="{}">{}</span>').format(what.lang, text) if what.lang else text


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8").strip()


def _style() -> str:
    """Return the style sheet, in fewer bytes."""
    # The dark colours stand in it twice: as the system's theme, and as the one chosen.
    text = _asset("style.css").replace("DARK", _asset("dark.css"))
    return re.sub(r"\s+", " ", text).replace("; ", ";").replace(" {", "{").replace("{ ", "{")


def _hash(script: str) -> str:
    """Return the script as the page's policy names it: no other script runs."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _short(release: str) -> str:
    """Return 1.13 for 1.13.1: the strip has no room for more."""
    return ".".join(release.split(".")[:2])
