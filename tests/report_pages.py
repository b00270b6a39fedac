"""What the report's tests share: a small specification, reports of runs of it, and a reader."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

from blitz import data
from blitz.harness import contents
from blitz.harness.context import ExitState, RunContext
from blitz.harness.outcomes import Outcome, Results
from blitz.harness.report import page, releases
from blitz.harness.report.options import Request
from blitz.harness.selection import META, NO_ACCELERATOR, Selected, Selection
from blitz.harness.texts import english, texts
from blitz.measuring.throughput import Machine
from tests import small_house
from tests.forked import Done, gate

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "spec"
BENCHMARK = ROOT / "docs" / "two_cores.json"

RELEASES: dict[str, Any] = {
    "versions": dict.fromkeys(("1.7.1", "1.8.1", "2.0.0", "2.0.1")),
    "probes": {
        "habit": {
            "claims": ["T3"],
            "question": "Are habits <zeros>?",
            "question_zh": "习惯是零吗？",
            "old": "habit.next()",
            "new": "next(habit)",
            "seen": {"1.7.1": [True, "0"], "1.8.1": None, "2.0.0": [False, "None & <none>"]},
        }
    },
}

CPU = Selected("cpu")


def furnish(folder: Path, tests: str = small_house.TESTS) -> None:
    """Put the small specification, and the house's conftest, into ``folder``."""
    spec = small_house.make_whole(folder, tests)
    (spec / "releases.json").write_text(json.dumps(RELEASES), encoding="utf-8")


def run_in(
    folder: Path, *options: str, tests: str = small_house.TESTS, prepare: Any = lambda: None
) -> Done:
    """Run ``pytest spec`` on the small specification, in a copy of this process."""
    furnish(folder, tests)
    return gate(folder, *options, prepare=prepare)


class Run(NamedTuple):
    """A run, as far as it came, and what its page is made of besides."""

    context: RunContext
    request: Request
    ending: ExitState


def a_run(folder: Path, outcomes: Sequence[tuple[str, ...]], **other: Any) -> Run:
    """A run of the small specification with these outcomes, without running anything.

    Args:
        folder: Where the specification is put.
        outcomes: Test's name with its parameters, key, device, state, and the reason if any.
        other: Fields of the run; ``failed`` gives the texts of failures by test's name.
    """
    furnish(folder)
    results, failed = Results(), other.pop("failed", {})
    for name, key, device, state, *reason in outcomes:
        node = f"spec/test_1.py::TestJoining::test_{name}"
        outcome = Outcome(node, key, device, state, *reason)
        results._outcomes[node] = replace(outcome, text=failed.get(name, ""))
    return _run(contents.load(folder / "spec" / "contents.toml"), results, **other)


def whole_run(state: Callable[[int], str], **other: Any) -> Run:
    """A run of the real specification on the cpu, in which the n-th test came to ``state(n)``."""
    table = contents.load(SPEC / "contents.toml")
    results = Results()
    for number, place in enumerate(table.places()):
        if place.test.benchmark:
            continue
        node = f"spec/{place.test.file.name}::{place.test.class_name}::test_{place.test.id}"
        device = "cpu" if "device" in place.test.code else "no device"
        came = state(number)
        held = came == "held"
        text = "" if held else f"E  AssertionError: <b>not so</b>\n{'<x> & ' * 400}"
        results._outcomes[node] = Outcome(node, place.claim.key, device, came, text=text)
    return _run(table, results, **other)


def _run(table: contents.Contents, results: Results, **other: Any) -> Run:
    ending = other.pop("ending", ExitState())
    given: dict[str, Any] = {
        "selection": Selection((CPU, META), missing=NO_ACCELERATOR),
        "named": False,
        "images": data.describe(None),
        "threads": 2,
    }
    context = RunContext(
        contents=lambda: table, profile=None, results=results, judged=True, **(given | other)
    )
    probes = releases.load(_spec(context) / "releases.json")
    return Run(context, Request(Path("page.html"), english(), None, probes), ending)


def _spec(context: RunContext) -> Path:
    return context.contents().pages[0].file.parent


def html(run: Run, lang: str = "en", machine: Machine | None = None) -> str:
    """The page of a run."""
    asked = replace(run.request, texts=texts(lang, _spec(run.context)), machine=machine)
    return page.html(run.context, asked, run.ending).decode()


VOID = {"meta", "link", "input", "br", "img"}


@dataclass
class Node:
    """An element of a page, with what is in it."""

    tag: str
    attributes: dict[str, str]
    children: "list[Node | str]" = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it, blanks as one."""
        return " ".join(self.raw.split())

    @property
    def raw(self) -> str:
        """All text in it, as it stands."""
        return "".join(c if isinstance(c, str) else c.raw for c in self.children)

    def all(self, tag: str = "", **attributes: str) -> "Iterator[Node]":
        """The elements in it with this tag and these attributes; of ``cls``, one of the classes."""
        for child in self.children:
            if isinstance(child, Node):
                if child._is(tag, attributes):
                    yield child
                yield from child.all(tag, **attributes)

    def one(self, tag: str = "", **attributes: str) -> "Node":
        """The first of them."""
        found = next(self.all(tag, **attributes), None)
        assert found is not None, f"no {tag} with {attributes}"
        return found

    def _is(self, tag: str, attributes: dict[str, str]) -> bool:
        wanted = dict(attributes)
        name = wanted.pop("cls", None)
        has = name is None or name in self.attributes.get("class", "").split()
        return has and tag in ("", self.tag) and wanted.items() <= self.attributes.items()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Node("page", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> where {self.open[-1].tag} is open"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(page: str) -> Node:
    """The page as a tree; every element is closed where it ought to be, or this fails."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert [node.tag for node in reader.open] == ["page"]
    return reader.open[0]


def claim(page: Node, key: str) -> Node:
    return page.one("article", id=key)


def cells(row: Node) -> list[str]:
    """The signs of a test's row, a blank for none."""
    return [
        c.text for c in row.one("summary").all() if "c" in c.attributes.get("class", "").split()
    ]
