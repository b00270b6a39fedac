"""The outline of the text: every sentence and listing has its claims, or a reason for none."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from blitz.harness import contents

SPEC = Path(__file__).parents[1] / "spec"
OUTLINE = tomllib.loads((SPEC / "outline.toml").read_text(encoding="utf-8"))
PLACES = {place: found for page in OUTLINE.values() for place, found in page.items()}
NAMED = {key for found in PLACES.values() if isinstance(found, list) for key in found}
WHY_NONE = {
    "front matter of the translation",
    "heading",
    "announces what follows",
    "sums up",
    "points elsewhere",
    "imports alone",
    "praise: no behaviour",
    "a comparison: no behaviour",
    "a figure: the classes are C03",
}
CHINESE = "\u4e00-\u9fff"


def test_claims_of_the_text_are_those_that_the_outline_names() -> None:
    claims = contents.load(SPEC / "contents.toml").claims()

    assert {claim.key for claim, _ in claims if claim.said == "text"} == NAMED


def test_what_makes_no_claim_says_why() -> None:
    assert {found for found in PLACES.values() if isinstance(found, str)} == WHY_NONE


@pytest.mark.skipif("BLITZ_TEXT" not in os.environ, reason="BLITZ_TEXT does not name the text")
def test_every_sentence_and_listing_of_the_text_has_a_place() -> None:
    lines = Path(os.environ["BLITZ_TEXT"]).read_text(encoding="utf-8").split("\n")

    assert list(places(lines)) == list(PLACES)


def places(lines: list[str]) -> Iterator[str]:
    """Yield the line of each listing, heading, figure and output, and line.number of a sentence."""
    at = 0
    while at < len(lines):
        line, first = lines[at], at + 1
        if line.startswith("```"):
            at = lines.index("```", first) if "```" in lines[first:] else len(lines)
            yield str(first)
        elif re.search(f"[{CHINESE}]", line) and not re.match(r"#|!\[|\*\*[^*]*\*\*：?$", line):
            count = len(sentences(line))
            yield from [f"{first}.{n}" for n in range(1, count + 1)] if count > 1 else [str(first)]
        elif line.strip():
            yield str(first)
            while is_output(line) and at + 1 < len(lines) and is_output(lines[at + 1]):
                at += 1
        at += 1


def is_output(line: str) -> bool:
    """Tell a printed line from a sentence, a heading, a figure and the fence of a listing."""
    return bool(line.strip()) and not re.search(rf"[{CHINESE}]|^#|^!\[|^```", line)


def sentences(line: str) -> list[str]:
    """Split at full stops; an ASCII one counts where Chinese follows."""
    without_links = re.sub(r"!?\[(?:\[[^\]]*\]|[^\]])*\]\([^)]*\)", "@", line)
    parts = re.split(rf"(?<=[。！？?])|(?<=\.)(?=\s*[{CHINESE}])", without_links)
    return [part for part in parts if part.strip()]
