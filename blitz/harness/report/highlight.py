"""Python source as coloured HTML: cheaply, and in few bytes.

Pygments knows more of the language, but takes seconds for the specification, which a run does not
have to spare, and its markup would make half of the page. The suite's own tests compare the two.
"""

import html
import keyword
import re

from markupsafe import Markup

_TOKEN = re.compile(
    r"""
    (?=[\w@\#"'.])(?:  # nothing else begins a token: this saves half of the time
    (?P<small>\#[^\n]*)
    |(?P<i>(?:\b[rbfuRBFU]{1,2})?(?:
        \"{3}(?:[^\\]|\\.)*?(?:\"{3}|\Z) | '{3}(?:[^\\]|\\.)*?(?:'{3}|\Z)
        |"(?:[^"\\\n]|\\.)*"? | '(?:[^'\\\n]|\\.)*'?
    ))
    |(?P<var>(?<!\S)@[\w.]+)  # as formatters write them: a product has a blank behind it
    |\b(?P<definition>def|class)(?P<space>[ ]+)(?P<dfn>\w+)
    |\b(?P<b>KEYWORDS)\b
    |(?P<u>(?<![\w.])(?:0[xXoObB][\da-fA-F_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?j?))
    |\w+)
    """.replace("KEYWORDS", "|".join(keyword.kwlist)),
    re.VERBOSE | re.DOTALL,
)


def python(code: str) -> Markup:
    """``code`` with its tokens in elements; all else in it stays text.

    The elements are few and short: ``b`` for a keyword, ``i`` a string, ``u`` a number, ``small`` a
    comment, ``var`` a decorator, and ``dfn`` the name of a function or class where it is defined.
    """
    # Escaped first: what a string or a comment holds cannot become markup.
    return Markup(_TOKEN.sub(_element, html.escape(code, quote=False)))


def _element(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind is None:
        return match.group()
    if kind == "dfn":
        return f"<b>{match['definition']}</b>{match['space']}<dfn>{match['dfn']}</dfn>"
    return f"<{kind}>{match.group()}</{kind}>"
