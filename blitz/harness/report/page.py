"""The report as one HTML page: everything in one file, nothing from elsewhere."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from blitz.base import files
from blitz.harness.context import ExitState, RunContext
from blitz.harness.outcomes import FAILED
from blitz.harness.report import gather, highlight, speed
from blitz.harness.report.options import Request
from blitz.measuring.step_breakdown import PARTS

HERE = Path(__file__).parent


def write(run: RunContext, asked: Request, ending: ExitState) -> None:
    """Write the page of ``run`` that was asked for, whole or not at all.

    Raises:
        BlitzError: it cannot be written there.
    """
    files.write(asked.path, html(run, asked, ending), "the report")


def html(run: RunContext, asked: Request, ending: ExitState) -> bytes:
    """Return the page in UTF-8."""
    texts, machine = asked.texts, asked.machine
    script = _asset("page.js")
    style = re.sub(r"\s+", " ", _asset("style.css"))
    page = _template().render(
        r=gather.Report(run, asked, ending),
        t=texts,
        english=Markup("" if texts.lang == "en" else ' lang="en"'),
        speed=None if machine is None else speed.section(machine, texts),
        style=Markup(style.replace("; ", ";").replace(" {", "{").replace("{ ", "{")),
        script=Markup(script),
        # The page's policy names its script: no other one runs.
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
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
    environment.globals |= {
        "coded": _coded,
        "highlighted": highlight.python,
        "signs": gather.SIGNS,
        # As keys of the texts and classes of the page, which cannot hold a blank.
        "names": {state: state.replace(" ", "_") for state in gather.SIGNS},
        "failed_states": FAILED,
        # Whether a release does what the tutorial says: what that is called, and its sign.
        "told": {True: ("as_told", "="), False: ("not_as_told", "≠"), None: ("not_probed", "·")},
        "parts": PARTS,
    }
    source = _asset("templates/page.html.j2")
    return environment.from_string(re.sub(r">\n(?=[<{])", ">", source))  # none of these is in a pre


def _coded(words: str) -> Markup:
    """Return the text, with what stands in `backticks` as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(words))))


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8").strip()
