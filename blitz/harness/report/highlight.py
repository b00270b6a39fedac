"""Python source as coloured HTML in few bytes: pygments' tokens in one-letter elements."""

import html

from markupsafe import Markup
from pygments import token
from pygments.lexers.python import PythonLexer

ELEMENTS = {
    token.Keyword: "b",
    token.Operator.Word: "b",
    token.String: "i",
    token.Comment: "small",
    token.Name.Decorator: "var",
    token.Name.Function: "dfn",
    token.Name.Class: "dfn",
}
"""pygments' own spans with classes would make half of the page."""

_LEXER = PythonLexer(stripnl=False, ensurenl=False)


def python(code: str) -> Markup:
    """Return ``code`` with its tokens in elements; all else in it stays text."""
    parts: list[list[str]] = []
    for kind, text in _LEXER.get_tokens(code):
        element = _element(kind)
        if parts and parts[-1][0] == element:
            parts[-1][1] += text
        else:
            parts.append([element, text])
    return Markup("".join(_marked(name, html.escape(text, quote=False)) for name, text in parts))


def _marked(name: str, text: str) -> str:
    return f"<{name}>{text}</{name}>" if name else text


def _element(kind: token._TokenType) -> str:
    while kind is not token.Token:
        if kind in ELEMENTS:
            return ELEMENTS[kind]
        kind = kind.parent
    return ""
