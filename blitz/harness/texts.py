"""The words of the report in its languages: those of the page itself, and of the claims.

The page's own words are data: ``en.toml`` and ``zh.toml`` beside this file have the same keys. What
the claims say is English in the specification; ``spec/<lang>.toml`` holds it in another language.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "report"

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Texts:
    """All words of one language.

    Attributes:
        lang: ``en`` or ``zh``.
        words: The page's own words by key (``verdict.held``), with {placeholders}.
        said: What ``spec/<lang>.toml`` holds: the tables headings, claims, says and rows.
    """

    lang: str
    words: Mapping[str, str]
    said: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __call__(self, key: str, /, **values: object) -> str:
        """Return the page's words under ``key``, with ``values`` in the places named for them.

        Raises:
            KeyError: there is no such key, or a value is missing.
        """
        return self.words[key].format(**values)

    def of(self, table: str, key: str, english: str) -> str:
        """Return what a table of the specification's words has under ``key``, else the English."""
        return self.said.get(table, {}).get(key, english)


def texts(lang: str, spec: Path | None = None) -> Texts:
    """Return the words of a language; without the folder ``spec``, claims stay English."""
    claims = None if spec is None else spec / f"{lang}.toml"
    said = _load(claims) if claims is not None and claims.exists() else {}
    return Texts(lang, _flat(_load(HERE / f"{lang}.toml")), said)


@cache
def english() -> Texts:
    """Return the words of the page in English."""
    return texts("en")


@dataclass(frozen=True)
class Message:
    """A sentence that is kept as its parts, so that it can be said in any language.

    Attributes:
        key: Of its words.
        values: For the places in them; one that is a message is said in the same language.
    """

    key: str
    values: Mapping[str, object] = field(default_factory=dict)

    def said(self, texts: Texts) -> str:
        """Return the sentence in the language of ``texts``."""
        values = {
            name: value.said(texts) if isinstance(value, Message) else value
            for name, value in self.values.items()
        }
        return texts(self.key, **values)

    def __str__(self) -> str:
        return self.said(english())


def _load(file: Path) -> dict[str, Any]:
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _flat(tables: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {f"{table}.{key}": words for table, row in tables.items() for key, words in row.items()}
