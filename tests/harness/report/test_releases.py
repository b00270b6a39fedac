"""The evidence across releases of torch: its form, the marks beside it, the script behind it."""

import json
import re
import runpy
from contextlib import redirect_stderr
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from blitz.harness import contents
from blitz.harness.report import releases
from tests import locales
from tests import releases as supported

ROOT = Path(__file__).parents[3]
FILE = ROOT / "spec" / "releases.json"
SCRIPT = ROOT / "docs" / "probe_releases.py"

TABLE: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
RELEASES: list[str] = list(TABLE["versions"])
PROBES: dict[str, dict[str, Any]] = TABLE["probes"]
READ = {probe.name: probe for probe in releases.load(FILE)}
CONTENTS = contents.load(ROOT / "spec" / "contents.toml")

#: Claims marked changed or mistaken, by key; no release is asked about a slip of the translation.
VERDICTS = {
    place.claim.key: place.test.verdict
    for place in CONTENTS.places()
    if place.test.verdict is not None and place.test.verdict.upstream is None
}

#: Answers that do not follow the mark of their claim, and why.
BESIDE_THE_MARK = {
    "convolution_of_a_single_sample": "true of this layer until 1.11, never of all of torch.nn",
    "cross_entropy_of_a_single_sample": "true of this loss until 1.11, never of all of torch.nn",
}

#: Probes that the machines of the columns could not ask.
UNANSWERED = {"step_on_an_accelerator"}


def numbers(version: str) -> tuple[int, ...]:
    """1.10.2+cu102 as (1, 10, 2)."""
    return tuple(int(part) for part in version.split("+")[0].split("."))


def asked(name: str) -> dict[str, bool]:
    """Whether each release that was asked answered as told."""
    cells = READ[name].cells.items()
    return {release: as_told for release, (as_told, _) in cells if as_told is not None}


def turn(name: str) -> str | None:
    """The first release that answered not as told after one that did."""
    falls = [now for (_, before), (now, told) in pairwise(asked(name).items()) if before > told]
    return falls[0] if falls else None


class TestForm:
    def test_releases_are_in_order_and_every_supported_one_was_asked(self) -> None:
        needed = supported.RELEASES.keys() - {"floors"}

        assert sorted(RELEASES, key=numbers) == RELEASES
        assert [TABLE["versions"][name]["torch"].split("+")[0] for name in RELEASES] == RELEASES
        assert {name for name in PROBES if not needed <= asked(name).keys()} == UNANSWERED

    @pytest.mark.parametrize("name", PROBES)
    def test_probe_has_its_questions_and_answers(self, name: str) -> None:
        row = PROBES[name]

        assert row["question"].endswith("?")
        assert re.search(r"[\u4e00-\u9fff].*？$", row["question_zh"])
        assert row.keys() - {"old", "new"} == {"claims", "question", "question_zh", "seen"}
        assert (row.get("old") is None) == (row.get("new") is None)
        assert list(row["seen"]) == [release for release in RELEASES if release in row["seen"]]
        verdicts: dict[str, bool | None] = {}
        for as_told, answer in READ[name].cells.values():
            assert verdicts.setdefault(answer, as_told) == as_told, "one answer, two verdicts"
            assert len(answer) <= 100
            assert "\n" not in answer


class TestMarks:
    def test_every_claim_no_longer_true_is_probed(self) -> None:
        keys = {claim.key for claim, _ in CONTENTS.claims()}
        probed = {key for row in PROBES.values() for key in row["claims"]}
        answered = {key for name in PROBES if asked(name) for key in PROBES[name]["claims"]}

        assert VERDICTS.keys() <= probed <= keys
        assert VERDICTS.keys() - answered <= {"A49"}  # it needs an accelerator

    @pytest.mark.parametrize("name", sorted(PROBES.keys() - BESIDE_THE_MARK.keys()))
    def test_probe_turns_where_its_mark_says(self, name: str) -> None:
        for verdict in filter(None, map(VERDICTS.get, PROBES[name]["claims"])):
            for release, as_told in asked(name).items():
                assert as_told != verdict.untrue(release), f"{release}: {verdict}"

    def test_pooling_never_refused_a_single_sample_as_others_did(self) -> None:
        both = [asked(name) for name in BESIDE_THE_MARK]

        assert [turn(name) for name in BESIDE_THE_MARK] == ["1.11.0"] * 2
        assert set(asked("pooling_of_a_single_sample").values()) == {False}
        assert both[0] == both[1]


class TestReading:
    """What the report makes of the file."""

    def test_answers_last_until_the_next_whatever_the_locale(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = {"1.6.0": [True, "-"], "1.7.1": [True, "0"], "1.9.1": None, "2.0.1": [False, "3"]}
        row = {"claims": ["T3"], "question": "Is it?", "question_zh": "是吗？", "seen": seen}
        names = ("1.7.1", "1.8.1", "1.9.1", "2.0.1")
        content = {"versions": dict.fromkeys(names), "probes": {"habit": row}}
        file = tmp_path / "releases.json"
        file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        locales.speak_ascii(monkeypatch)

        (probe,) = releases.load(file)

        cells = [(True, "0"), (True, "0"), (None, ""), (False, "3")]
        question = {"en": "Is it?", "zh": "是吗？"}
        found = dict(zip(names, cells, strict=True))
        assert probe == releases.Probe("habit", ("T3",), question, None, None, found)
        assert list(probe.spans) == [
            ("1.7.1", "1.8.1", True, "0"),
            ("2.0.1", "2.0.1", False, "3"),
        ]

    def test_specification_without_the_file_has_no_probes(self, tmp_path: Path) -> None:
        assert releases.load(tmp_path / "none.json") == ()


class Asked(NamedTuple):
    """The script after it asked the torch that runs the tests: its names, answers and words."""

    names: dict[str, Any]
    seen: dict[str, Any]
    complaints: str


@pytest.fixture(scope="module")
def script() -> Asked:
    with redirect_stderr(StringIO()) as complaints, torch.random.fork_rng(devices=[]):
        names = runpy.run_path(str(SCRIPT))
        seen = names["answer_all"]()
    return Asked(names, seen, complaints.getvalue())


class TestScript:
    def test_asks_what_the_file_lists_and_sees_what_its_column_says(self, script: Asked) -> None:
        release = script.names["release"]()
        unasked = {name for name, seen in script.seen.items() if seen is None}

        assert script.seen.keys() == PROBES.keys()
        assert unasked <= {*UNANSWERED, "kernels_for_cuda"}
        assert script.complaints == ""
        for name in script.seen.keys() - unasked if release in RELEASES else ():
            assert READ[name].cells[release][0] in (None, script.seen[name].as_told), name
            assert READ[name].cells[release] in ((None, ""), tuple(script.seen[name])), name

    def test_probe_that_cannot_be_asked_is_null_and_says_why(
        self, script: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delattr(torch.nn, "CrossEntropyLoss")

        seen = script.names["answer_all"]()

        assert seen["cross_entropy_of_a_single_sample"] is None
        assert seen["net_zero_grad"] is not None
        assert "cross_entropy_of_a_single_sample: not probed: Attr" in capsys.readouterr().err

    @pytest.mark.parametrize("release", ["1.9.2", "2.15.0", "2.16.0"])
    def test_column_changes_none_of_the_others(self, tmp_path: Path, release: str) -> None:
        names = runpy.run_path(str(SCRIPT))
        file = tmp_path / "releases.json"
        file.write_bytes(FILE.read_bytes())
        seen = {**dict.fromkeys(PROBES), "net_zero_grad": names["Seen"](True, "another")}
        replaced = {"FILE": file, "release": lambda: release, "answer_all": lambda: seen}
        names["main"].__globals__.update(replaced)

        names["main"]()

        assert list(json.loads(file.read_text())["versions"]) == sorted(
            {*RELEASES, release}, key=numbers
        )
        for probe in releases.load(file):
            cells, before = dict(probe.cells), dict(READ[probe.name].cells)
            kept = before.pop(release, (None, ""))  # what is not asked again stays
            assert cells.pop(release) == (seen[probe.name] or kept)
            assert cells == before

    def test_same_answers_leave_the_file_as_it_is(self, script: Asked) -> None:
        seen = {name: script.names["Seen"](*READ[name].cells["2.15.0"]) for name in PROBES}
        names = runpy.run_path(str(SCRIPT))
        versions = TABLE["versions"]["2.15.0"]
        names["main"].__globals__.update(release=lambda: "2.15.0", versions=lambda: versions)

        text = names["as_text"](names["merge"](TABLE, {n: s for n, s in seen.items() if s[1]}))

        assert text == FILE.read_text(encoding="utf-8")

    def test_uses_nothing_of_this_project(self) -> None:
        source = SCRIPT.read_text(encoding="utf-8")

        assert not re.search(r"^\s*(from|import) (blitz|tests|spec)\b", source, re.MULTILINE)
