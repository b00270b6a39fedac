"""What each release of torch did when it was asked: ``spec/releases.json``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from blitz.base.errors import BlitzError
from blitz.harness.texts import Said


class ReleasesError(BlitzError):
    """The file of releases does not hold what it is to hold; the message says what is amiss."""


@dataclass(frozen=True)
class Span:
    """Releases in a row that did the same; ``answer`` is what was seen."""

    first: str
    last: str
    answer: str
    as_told: bool | None


@dataclass(frozen=True)
class Probe:
    """One question that was put to the releases.

    Attributes:
        claims: Keys of the claims that it is evidence for.
        question: In English and, by language, in others.
        old: The spelling of former releases, where there are two.
        new: The spelling of today.
        cells: Release → (whether it did what the tutorial says, or None; what was seen).
    """

    name: str
    claims: tuple[str, ...]
    question: Mapping[str, str]
    old: str | None
    new: str | None
    cells: Mapping[str, tuple[bool | None, str]]

    def asked(self, lang: str) -> Said:
        """Return the question in the language ``lang``, or in English where it has none."""
        found = self.question.get(lang)
        return Said(self.question["en"], "en") if found is None else Said(found)

    @property
    def spans(self) -> list[Span]:
        """Return the releases that were asked, those in a row with the same answer together.

        One that was not asked ends the row: nothing is said of it.
        """
        found = []
        for (as_told, answer), group in groupby(self.cells.items(), key=lambda item: item[1]):
            names = [name for name, _ in group]
            if as_told is not None:
                found.append(Span(names[0], names[-1], answer, as_told))
        return found


def load(file: Path) -> tuple[Probe, ...]:
    """Return the probes in ``file``; none where there is no such file.

    Raises:
        ReleasesError: it holds something else.
    """
    if not file.exists():
        return ()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        releases = [str(release) for release in content["releases"]]
        return tuple(_probe(name, row, releases) for name, row in content["probes"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReleasesError(
            f"{file}: {type(error).__name__}: {error}. Put it back as it came."
        ) from error


def _probe(name: str, row: Mapping[str, Any], releases: list[str]) -> Probe:
    questions = {"en": row["question"]}
    questions |= {
        key.removeprefix("question_"): text
        for key, text in row.items()
        if key.startswith("question_") and text
    }
    cells, last = {}, None
    for release in releases:
        # an answer stands at the first release that gave it, null at the first that was not asked
        last = row["seen"].get(release, last)
        as_told, answer = last or (None, "")
        cells[release] = (as_told, str(answer))
    return Probe(
        name,
        tuple(row["claims"]),
        questions,
        row.get("old"),
        row.get("new"),
        cells,
    )
