"""Python source as coloured HTML in few bytes: pygments' tokens in one-letter elements."""

import html
from itertools import groupby

from markupsafe import Markup
from pygments import token
from pygments.lexers.python import PythonLexer

# pygments' own HtmlFormatter writes <span class="..">, which would make half of the page.
ELEMENTS = {
    token.Keyword: "b",
    token.Operator.Word: "b",
    token.String: "i",
    token.Comment: "small",
    token.Name.Decorator: "var",
    token.Name.Function: "dfn",
    token.Name.Class: "dfn",
}

_LEXER = PythonLexer(stripnl=False, ensurenl=False)


def python(code: str) -> Markup:
    """Return ``code`` with its tokens in elements; all else in it stays text."""
    parts = []
    for name, found in groupby(_LEXER.get_tokens(code), lambda pair: _element(pair[0])):
        text = html.escape("".join(text for _, text in found), quote=False)
        parts.append(f"<{name}>{text}</{name}>" if name else text)
    return Markup("".join(parts))


def _element(kind: token._TokenType) -> str:
    return next((name for above, name in ELEMENTS.items() if kind in above), "")
