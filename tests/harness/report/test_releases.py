"""The evidence across releases of torch: its form, the marks beside it, the script behind it."""

import importlib.util
import json
import re
import sys
from contextlib import redirect_stderr
from io import StringIO
from itertools import pairwise
from pathlib import Path
from types import ModuleType
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
RELEASES: list[str] = TABLE["releases"]
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

#: Claims whose probe no column answers, and why.
UNANSWERED = {"A49": "it needs an accelerator"}


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("probe_releases", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script()


class Here(NamedTuple):
    """What the probes see in the torch that runs the tests, and what they complain of."""

    seen: dict[str, Any]
    complaints: str


@pytest.fixture(scope="module")
def here(script: ModuleType) -> Here:
    with redirect_stderr(StringIO()) as complaints, torch.random.fork_rng(devices=[]):
        seen = script.answer_all()
    return Here(seen, complaints.getvalue())


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
    def test_releases_are_in_order_and_every_supported_one_is_there(self) -> None:
        assert sorted(RELEASES, key=numbers) == RELEASES
        assert len(set(RELEASES)) == len(RELEASES)
        assert RELEASES[0] == "1.7.1"
        assert supported.RELEASES.keys() - {"floors"} <= set(RELEASES)

    def test_each_release_says_what_it_was_probed_with(self) -> None:
        assert list(TABLE["versions"]) == RELEASES
        for release, versions in TABLE["versions"].items():
            assert versions["torch"].split("+")[0] == release
            assert {"torch", "torchvision", "numpy", "python"} == versions.keys()

    @pytest.mark.parametrize("name", PROBES)
    def test_probe_has_its_questions_and_answers(self, name: str) -> None:
        row = PROBES[name]

        assert row["claims"]
        assert row["question"].endswith("?")
        assert re.search(r"[\u4e00-\u9fff].*？$", row["question_zh"])
        assert row.keys() - {"claims", "question", "question_zh", "old", "new"} == {"seen"}
        assert ("old" in row) == ("new" in row)
        assert "old" not in row or row["old"] != row["new"]
        assert list(row["seen"]) == [release for release in RELEASES if release in row["seen"]]
        answers = [cell[1] for cell in row["seen"].values() if cell is not None]
        assert all(0 < len(answer) <= 100 for answer in answers)
        assert all(answer == answer.strip().splitlines()[0] for answer in answers)

    @pytest.mark.parametrize("name", sorted(PROBES.keys() - {"step_on_an_accelerator"}))
    def test_every_supported_release_was_asked(self, name: str) -> None:
        assert supported.RELEASES.keys() - {"floors"} <= asked(name).keys()

    def test_same_answer_has_the_same_verdict(self) -> None:
        for name, probe in READ.items():
            verdicts: dict[str, bool | None] = {}
            for as_told, answer in probe.cells.values():
                assert verdicts.setdefault(answer, as_told) == as_told, name


class TestMarks:
    def test_every_claim_exists(self) -> None:
        keys = {claim.key for claim, _ in CONTENTS.claims()}

        assert {key for row in PROBES.values() for key in row["claims"]} <= keys

    def test_every_claim_no_longer_true_is_probed(self) -> None:
        probed = {key for row in PROBES.values() for key in row["claims"]}
        answered = {key for name in PROBES if asked(name) for key in PROBES[name]["claims"]}

        assert VERDICTS.keys() - probed == set()
        assert VERDICTS.keys() - answered <= UNANSWERED.keys()

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

    def test_integer_target_is_taken_again_from_2_12_on(self) -> None:
        told = asked("integer_target")

        assert next(release for release, as_told in told.items() if as_told) == "2.12.0"

    @pytest.mark.parametrize(
        ("name", "release"),
        [
            ("net_zero_grad", "2.0.1"),
            ("optimizer_zero_grad", "2.0.1"),
            ("dataiter_next", "1.13.1"),
            ("node_of_the_output", "1.10.2"),
            ("node_of_the_loss", "1.10.2"),
            ("transpose_of_three_dimensions", "1.11.0"),
            ("pretrained_flag", "1.12.1"),
            ("file_of_a_whole_net", "2.6.0"),
            ("sgd_without_learning_rate", "2.2.2"),
            ("class_probabilities", "1.10.2"),
        ],
    )
    def test_turn_is_at(self, name: str, release: str) -> None:
        assert turn(name) == release

    @pytest.mark.parametrize("name", ["backward_of_a_vector", "second_backward", "file_of_weights"])
    def test_what_holds_held_in_every_release(self, name: str) -> None:
        assert asked(name) == dict.fromkeys(RELEASES, True)


SMALL: dict[str, Any] = {
    "releases": ["1.7.1", "1.8.1", "1.9.1", "2.0.1"],
    "probes": {
        "habit": {
            "claims": ["T3", "T4"],
            "question": "Is it?",
            "question_zh": "是吗？",
            "question_de": "",
            "seen": {
                "1.6.0": [True, "-"],
                "1.7.1": [True, "0"],
                "1.9.1": None,
                "2.0.1": [False, 3],
            },
        },
        "other": {
            "claims": [],
            "question": "What?",
            "old": "before",
            "new": "now",
            "seen": {},
        },
    },
}


class TestReading:
    """What the report makes of the file."""

    def test_every_probe_is_read(self) -> None:
        assert list(READ) == list(PROBES)
        zero_grad = READ["net_zero_grad"]
        assert zero_grad.question["zh"] == PROBES["net_zero_grad"]["question_zh"]
        assert [(s.first, s.last, s.answer, s.as_told) for s in zero_grad.spans] == [
            ("1.7.1", "1.13.1", "tensor([0., 0., 0., 0., 0., 0.])", True),
            ("2.0.1", RELEASES[-1], "None", False),
        ]

    def test_release_that_was_not_asked_has_no_answer_and_is_in_no_span(self) -> None:
        cells = {"1.7": (False, "2 of 62"), "1.8": (None, ""), "1.9": (False, "2 of 62")}
        probe = releases.Probe("p", ("A42",), {"en": "Is it?"}, None, None, cells)

        assert [(span.first, span.last) for span in probe.spans] == [("1.7", "1.7"), ("1.9", "1.9")]
        assert set(READ["step_on_an_accelerator"].cells.values()) == {(None, "")}
        assert READ["step_on_an_accelerator"].spans == []

    def test_probes_are_read_with_their_questions_spellings_and_answers(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "releases.json"
        file.write_text(json.dumps(SMALL), encoding="utf-8")

        assert releases.load(file) == (
            releases.Probe(
                "habit",
                ("T3", "T4"),
                {"en": "Is it?", "zh": "是吗？"},
                None,
                None,
                {
                    "1.7.1": (True, "0"),
                    "1.8.1": (True, "0"),
                    "1.9.1": (None, ""),
                    "2.0.1": (False, "3"),
                },
            ),
            releases.Probe(
                "other",
                (),
                {"en": "What?"},
                "before",
                "now",
                dict.fromkeys(("1.7.1", "1.8.1", "1.9.1", "2.0.1"), (None, "")),
            ),
        )
        assert releases.load(tmp_path / "none.json") == ()

    def test_questions_are_read_in_utf8_whatever_the_locale(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "releases.json"
        file.write_text(json.dumps(SMALL, ensure_ascii=False), encoding="utf-8")
        locales.speak_ascii(monkeypatch)

        assert releases.load(file)[0].question["zh"] == "是吗？"

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("{", "JSONDecodeError: Expecting property name"),
            ("{}", "KeyError: 'releases'"),
            ("[]", "TypeError: list indices must be integers"),
            ('{"releases": [], "probes": []}', "AttributeError: 'list' object has no"),
        ],
    )
    def test_file_that_holds_something_else_is_refused(
        self, tmp_path: Path, content: str, said: str
    ) -> None:
        file = tmp_path / "releases.json"
        file.write_text(content, encoding="utf-8")

        with pytest.raises(releases.ReleasesError) as refused:
            releases.load(file)

        assert str(refused.value).startswith(f"{file}: {said}")
        assert str(refused.value).endswith(". Put it back as it came.")


class TestScript:
    def test_asks_what_the_file_lists(self, script: ModuleType) -> None:
        assert list(script.PROBES) == list(PROBES)

    def test_sees_what_the_column_of_this_release_says(
        self, script: ModuleType, here: Here
    ) -> None:
        if script.release() not in RELEASES:
            pytest.skip(f"torch {script.release()} has no column")

        for name, seen in here.seen.items():
            cell = READ[name].cells[script.release()]
            assert None in (seen, cell[0]) or tuple(seen) == cell, name

    def test_asks_all_that_this_machine_can(self, here: Here) -> None:
        unasked = {name for name, seen in here.seen.items() if seen is None}

        assert unasked <= {"step_on_an_accelerator", "kernels_for_cuda"}
        assert here.complaints == ""

    def test_probe_that_cannot_be_asked_is_null_and_says_why(
        self,
        script: ModuleType,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        two = ("cross_entropy_of_a_single_sample", "net_zero_grad")
        monkeypatch.setattr(script, "PROBES", {name: script.PROBES[name] for name in two})
        monkeypatch.delattr(torch.nn, "CrossEntropyLoss")

        seen = script.answer_all()

        assert seen["cross_entropy_of_a_single_sample"] is None
        assert seen["net_zero_grad"] is not None
        assert "cross_entropy_of_a_single_sample: not probed: Attr" in capsys.readouterr().err

    def test_new_release_adds_a_column(
        self, script: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(script, "release", lambda: "2.16.0")
        seen = dict.fromkeys(PROBES) | {"net_zero_grad": script.Seen(True, "tensor([0.])")}

        table = script.merge(TABLE, seen)

        assert table["releases"] == [*RELEASES, "2.16.0"]
        before = PROBES["net_zero_grad"]["seen"]
        assert table["probes"]["net_zero_grad"]["seen"] == {
            **before,
            "2.16.0": [True, "tensor([0.])"],
        }
        assert table["probes"]["third_node"]["seen"]["2.16.0"] is None

    def test_release_between_others_changes_none_of_theirs(
        self, script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(script, "release", lambda: "1.9.2")
        file = tmp_path / "releases.json"

        script.write(file, script.merge(TABLE, dict.fromkeys(PROBES)))

        assert json.loads(file.read_text(encoding="utf-8"))["releases"][2:4] == ["1.9.1", "1.9.2"]
        for probe in releases.load(file):
            cells = dict(probe.cells)
            assert cells.pop("1.9.2") == (None, "")
            assert cells == READ[probe.name].cells

    def test_what_was_not_asked_again_stays(
        self, script: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(script, "release", lambda: "2.15.0")

        assert script.merge(TABLE, dict.fromkeys(PROBES))["probes"] == PROBES

    def test_same_answer_as_the_release_before_adds_no_words(
        self, script: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(script, "release", lambda: "2.16.0")

        table = script.merge(TABLE, {"net_zero_grad": script.Seen(False, "None")})

        assert table["probes"]["net_zero_grad"] == PROBES["net_zero_grad"]

    def test_command_line_refreshes_a_file_and_keeps_its_form(
        self, script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        file = tmp_path / "releases.json"
        script.write(file, TABLE)
        assert file.read_bytes() == FILE.read_bytes()
        seen = dict.fromkeys(PROBES) | {"net_zero_grad": script.Seen(True, "another")}
        monkeypatch.setattr(script, "answer_all", lambda: seen)
        monkeypatch.setattr(sys, "argv", ["probe_releases.py", "--into", str(file)])

        assert script.main() == 0

        [zero_grad] = (probe for probe in releases.load(file) if probe.name == "net_zero_grad")
        assert zero_grad.cells[script.release()] == (True, "another")
        assert [path.name for path in tmp_path.iterdir()] == ["releases.json"]

    def test_file_is_left_alone_where_writing_fails(
        self, script: ModuleType, tmp_path: Path
    ) -> None:
        file = tmp_path / "releases.json"
        file.write_text("{}")

        with pytest.raises(TypeError, match="not JSON serializable"):
            script.write(file, {"releases": [object()]})

        assert file.read_text() == "{}"
        assert [path.name for path in tmp_path.iterdir()] == ["releases.json"]

    def test_prints_the_column_of_its_own_release(
        self,
        script: ModuleType,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        seen = {"net_zero_grad": script.Seen(False, "None"), "third_node": None}
        monkeypatch.setattr(script, "answer_all", lambda: seen)
        monkeypatch.setattr(sys, "argv", ["probe_releases.py"])

        assert script.main() == 0

        printed = json.loads(capsys.readouterr().out)
        assert printed["release"] == script.release()
        assert printed["versions"]["torch"] == torch.__version__
        assert printed["probes"] == {
            "net_zero_grad": {"answer": "None", "as_told": False},
            "third_node": None,
        }

    def test_uses_nothing_of_this_project(self) -> None:
        source = SCRIPT.read_text(encoding="utf-8")

        assert not re.search(r"^\s*(from|import) (blitz|tests|spec)\b", source, re.MULTILINE)
