"""What each release of torch did when it was asked: ``spec/releases.json``."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Probe:
    """One question that was put to the releases.

    Attributes:
        claims: Keys of the claims that it is evidence for.
        question: By language.
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

    @property
    def spans(self) -> Iterator[tuple[str, str, bool, str]]:
        """Yield the releases in a row that did the same: the first, the last, and what they did.

        One that was not asked ends the row: nothing is said of it.
        """
        for (as_told, answer), group in groupby(self.cells.items(), key=lambda item: item[1]):
            names = [name for name, _ in group]
            if as_told is not None:
                yield names[0], names[-1], as_told, answer


def load(file: Path) -> tuple[Probe, ...]:
    """Return the probes in ``file``; none where there is no such file."""
    if not file.exists():
        return ()
    content = json.loads(file.read_text(encoding="utf-8"))
    return tuple(
        Probe(
            name,
            tuple(row["claims"]),
            {"en": row["question"], "zh": row["question_zh"]},
            row.get("old"),
            row.get("new"),
            _cells(row["seen"], content["versions"]),
        )
        for name, row in content["probes"].items()
    )


def _cells(seen: Mapping[str, Any], releases: Iterable[str]) -> dict[str, tuple[bool | None, str]]:
    cells, last = {}, None
    for release in releases:
        # an answer stands at the first release that gave it, null at the first that was not asked
        last = seen.get(release, last)
        as_told, answer = last or (None, "")
        cells[release] = (as_told, str(answer))
    return cells
