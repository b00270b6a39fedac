"""The result of a run as a file for machines, and what changed between two of them."""

import datetime
import json
import platform
from pathlib import Path
from typing import Any

import pytest
import torch

from blitz.__main__ import main
from blitz.base import versions
from blitz.harness import conformance, contents
from blitz.harness.conformance import Change, ConformanceError
from blitz.harness.outcomes import (
    BROKEN,
    HELD,
    KNOWN,
    NO_DEVICE,
    NOT_RUN,
    RANK,
    UNSUPPORTED,
    Outcome,
    Results,
)
from blitz.harness.selection import META, Selected, Selection
from blitz.harness.tolerances import Row
from tests import locales, small_house

CLAIMS = """
T1 = ["sum", "mean"]
T2 = ["habit"]
T3 = { untestable = "It is a matter of taste." }
"""

TESTS = '''
class TestJoining:
    def test_sum(self, device):
        """Sums are sums."""

    def test_mean(self, device):
        """Means are means."""

    @pytest.mark.mistaken(text="Habits are zeros.")
    def test_habit(self):
        """Habits are None."""
'''

SELECTION = Selection(
    (
        Selected("cpu", "cpu"),
        Selected("xpu", "xpu:0", 2, {"float64": "no double here"}, "Arc"),
        META,
    )
)


@pytest.fixture
def book(tmp_path: Path) -> contents.Contents:
    (tmp_path / "contents.toml").write_text(small_house.PAGE + CLAIMS)
    (tmp_path / "test_1.py").write_text(TESTS)
    return contents.load(tmp_path / "contents.toml")


def results(*outcomes: tuple[str, str, str, str, str]) -> Results:
    """Results of tests by id, key, device, state and reason."""
    found = Results()
    for node, key, device, state, reason in outcomes:
        found._outcomes[f"{node}[{device}]"] = Outcome(node, key, device, state, reason)
    return found


MIXED = [
    ("sum", "T1", "cpu", HELD, ""),
    ("mean", "T1", "cpu", BROKEN, "2 is not 3"),
    ("sum", "T1", "xpu:0", UNSUPPORTED, "float64"),
    ("mean", "T1", "xpu:0", HELD, ""),
    ("habit", "T2", NO_DEVICE, HELD, ""),
]


def test_environment_is_what_the_result_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "installed", lambda name: f"{name}'s version")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.version, "hip", "7.1")
    before = datetime.datetime.now(datetime.UTC)

    found = conformance.environment(SELECTION, "made on the spot", 3)

    date = found.pop("date")
    assert date.endswith("+00:00")
    assert len(date) == len("2026-01-01T00:00:00+00:00")
    assert abs((datetime.datetime.fromisoformat(date) - before).total_seconds()) < 60
    plain = {"shared_by_workers": 1, "model": "", "backend": "", "unsupported": {}}
    assert found == {
        "torch": str(torch.__version__),
        "cuda": "13.0",
        "hip": "7.1",
        "torchvision": "torchvision's version",
        "numpy": "numpy's version",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": 3,
        "images": "made on the spot",
        "devices": [
            {"name": "cpu", "kind": "cpu", **plain},
            {
                "name": "xpu:0",
                "kind": "accelerator",
                "model": "Arc",
                "backend": "",
                "shared_by_workers": 2,
                "unsupported": {"float64": "no double here"},
            },
            {"name": "meta", "kind": "meta", **plain},
        ],
        "missing_accelerator": None,
    }
    assert type(found["torch"]) is str


def test_environment_says_why_there_is_no_accelerator() -> None:
    found = conformance.environment(Selection((META,), missing="no driver"), "", 1)

    assert found["missing_accelerator"] == "no driver"


def test_document_is_the_whole_table(book: contents.Contents) -> None:
    row = Row("cpu", "any", "T1 sum", "0", "0.5", "why")

    found = conformance.document(book, SELECTION, results(*MIXED), [row], [], "some", 2)

    none = dict.fromkeys(RANK, 0)
    joining = "https://example.org/tensors.html#joining"
    environment = found.pop("environment")
    assert (environment["images"], environment["threads"]) == ("some", 2)
    assert len(environment["devices"]) == 3
    assert found == {
        "format": "blitz conformance",
        "version": 2,
        "counts": {
            "cpu": {"claims": none | {BROKEN: 1}, "tests": none | {BROKEN: 1, HELD: 1}},
            "xpu:0": {
                "claims": none | {UNSUPPORTED: 1},
                "tests": none | {UNSUPPORTED: 1, HELD: 1},
            },
            NO_DEVICE: {"claims": none | {HELD: 1}, "tests": none | {HELD: 1}},
        },
        "passed": False,
        "faults": [],
        "claims": [
            {
                "key": "T1",
                "section": joining,
                "verdict": "holds",
                "error_of": None,
                "said": "text",
                "kind": "tested",
                "devices": {
                    "cpu": {
                        "outcome": BROKEN,
                        "tests": [
                            {"id": "mean", "outcome": BROKEN, "reason": "2 is not 3"},
                            {"id": "sum", "outcome": HELD, "reason": ""},
                        ],
                    },
                    "xpu:0": {
                        "outcome": UNSUPPORTED,
                        "tests": [
                            {"id": "mean", "outcome": HELD, "reason": ""},
                            {"id": "sum", "outcome": UNSUPPORTED, "reason": "float64"},
                        ],
                    },
                },
            },
            {
                "key": "T2",
                "section": joining,
                "verdict": "mistaken",
                "error_of": "tutorial",
                "said": "text",
                "kind": "tested",
                "devices": {
                    NO_DEVICE: {
                        "outcome": HELD,
                        "tests": [{"id": "habit", "outcome": HELD, "reason": ""}],
                    }
                },
            },
            {
                "key": "T3",
                "section": joining,
                "verdict": "holds",
                "error_of": None,
                "said": "text",
                "kind": "untestable",
                "devices": {},
            },
        ],
        "tolerances": [
            {
                "device": "cpu",
                "dtype": "any",
                "operation": "T1 sum",
                "rtol": "0",
                "atol": "0.5",
                "reason": "why",
            }
        ],
    }


@pytest.mark.parametrize(
    ("state", "faults", "passed"),
    [
        (HELD, [], True),
        (UNSUPPORTED, [], True),
        (KNOWN, [], True),
        (HELD, ["nothing ran on xpu:0"], False),
        (BROKEN, [], False),
    ],
)
def test_run_without_fault_and_broken_claim_has_passed(
    book: contents.Contents, state: str, faults: list[str], passed: bool
) -> None:
    found = results(("habit", "T2", NO_DEVICE, HELD, ""), ("sum", "T1", "cpu", state, ""))

    written = conformance.document(book, SELECTION, found, [], faults, "", 1)

    assert written["passed"] is passed
    assert written["faults"] == faults


GOOD: dict[str, Any] = {
    "format": "blitz conformance",
    "version": 2,
    "environment": {"devices": []},
    "claims": [{"key": "T1", "devices": {"cpu": {"outcome": "held", "tests": []}}}],
}


class TestFile:
    def test_it_is_plain_json_that_people_can_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        locales.speak_ascii(monkeypatch)

        conformance.write(tmp_path / "a.json", {"a": [1], "b": "½"})

        assert (tmp_path / "a.json").read_bytes().decode("utf-8") == (
            '{\n "a": [\n  1\n ],\n "b": "½"\n}\n'
        )

    def test_what_was_written_is_read_in_utf_8_whatever_the_locale(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        locales.speak_ascii(monkeypatch)
        conformance.write(tmp_path / "a.json", GOOD | {"faults": ["½"]})

        assert conformance.read(tmp_path / "a.json") == GOOD | {"faults": ["½"]}

    def test_it_is_written_whole_or_not_at_all(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[Any] = []
        monkeypatch.setattr(conformance.files, "write", lambda *what: written.append(what))

        conformance.write(tmp_path / "a.json", {})

        assert written == [(tmp_path / "a.json", b"{}\n")]

    def test_old_one_stays_whole_where_the_new_cannot_be_written(self, tmp_path: Path) -> None:
        conformance.write(tmp_path / "a.json", {"old": True})

        with pytest.raises(TypeError):
            conformance.write(tmp_path / "a.json", {"new": object()})

        assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
        assert json.loads((tmp_path / "a.json").read_text()) == {"old": True}

    @pytest.mark.parametrize(
        ("error", "why"),
        [(OSError(28, "No space left"), "No space left"), (OSError("a riddle"), "a riddle")],
    )
    def test_that_it_cannot_be_written_is_said_with_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch, error: OSError, why: str
    ) -> None:
        def write(*_: object) -> None:
            raise error

        monkeypatch.setattr(conformance.files, "write", write)

        with pytest.raises(ConformanceError) as refused:
            conformance.write(Path("a.json"), {})

        assert str(refused.value) == (
            f"--conformance a.json: cannot be written: {why}. Choose a file in a folder that has "
            "room and that you may write to."
        )

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("{", ": Expecting property name enclosed in double quotes: line 1 column 2 (char 1). "
             "Write one with --conformance FILE."),
            ("[]", " is no result of a run: its format is not 'blitz conformance'. Write one with "
             "pytest spec --conformance FILE."),
            ('{"version": 2}', " is no result of a run: its format is not 'blitz conformance'. "
             "Write one with pytest spec --conformance FILE."),
            ('{"format": "blitz conformance", "version": 3}', " is of version 3, and version 2 is "
             "known here. Write it anew, or compare with the blitz that wrote it."),
            ('{"format": "blitz conformance"}', " is of version None, and version 2 is "
             "known here. Write it anew, or compare with the blitz that wrote it."),
            ('{"format": "blitz conformance", "version": 2}',
             " lacks what docs/conformance.md asks for. Write it anew."),
        ],
    )  # fmt: skip
    def test_other_file_is_refused_with_the_way_out(
        self, tmp_path: Path, text: str, said: str
    ) -> None:
        (tmp_path / "a.json").write_text(text)

        with pytest.raises(ConformanceError) as refused:
            conformance.read(tmp_path / "a.json")

        assert str(refused.value) == f"{tmp_path / 'a.json'}{said}"

    def test_missing_file_is_refused_by_name(self, tmp_path: Path) -> None:
        with pytest.raises(ConformanceError, match=r"^nowhere\.json: .*No such file"):
            conformance.read(Path("nowhere.json"))

    @pytest.mark.parametrize(
        "damage",
        [
            {"claims": None},
            {"claims": [{"devices": {}}]},
            {"claims": [{"key": 1, "devices": {}}]},
            {"claims": [{"key": "T1", "devices": []}]},
            {"claims": [{"key": "T1", "devices": {"cpu": {"outcome": "fine"}}}]},
            {"claims": [{"key": "T1", "devices": {"cpu": {"outcome": "held"}, "meta": {}}}]},
            {"environment": {}},
            {"environment": {"devices": "cpu"}},
        ],
    )
    def test_damaged_file_is_refused(self, tmp_path: Path, damage: dict[str, Any]) -> None:
        (tmp_path / "a.json").write_text(json.dumps(GOOD | damage))

        with pytest.raises(ConformanceError, match=r"lacks what docs/conformance\.md asks for"):
            conformance.read(tmp_path / "a.json")


def result(environment: dict[str, Any] | None = None, /, **outcomes: Any) -> dict[str, Any]:
    """A result with the outcome of T1 on each device (``cuda_0`` for ``cuda:0``)."""
    devices = {
        name.replace("_", ":"): {"outcome": outcome, "tests": []}
        for name, outcome in outcomes.items()
    }
    named = {"devices": [{"name": name} for name in devices]}
    claims = [{"key": "T1", "devices": devices}]
    return {"environment": named | (environment or {}), "claims": claims}


class TestCompare:
    @pytest.mark.parametrize(
        ("before", "after", "regression"),
        [
            (HELD, BROKEN, True),
            (HELD, UNSUPPORTED, True),
            (HELD, NOT_RUN, True),
            (NOT_RUN, BROKEN, True),
            (UNSUPPORTED, BROKEN, True),
            (None, BROKEN, True),
            (HELD, None, True),
            (BROKEN, UNSUPPORTED, False),
            (UNSUPPORTED, HELD, False),
            (BROKEN, HELD, False),
            (BROKEN, BROKEN, False),
            (HELD, HELD, False),
            (None, HELD, False),
        ],
    )
    def test_regression_is_what_was_lost(
        self, before: str | None, after: str | None, regression: bool
    ) -> None:
        assert Change("T1", "cpu", before, after).regression is regression

    @pytest.mark.parametrize(
        ("change", "shown"),
        [
            (
                Change("T1", "cpu", HELD, BROKEN, "2 is not 3"),
                "regression: T1 on cpu: held → broken (2 is not 3)",
            ),
            (Change("T1", "cpu", None, HELD), "change: T1 on cpu: not there → held"),
            (Change("T1", "cpu", HELD, None), "regression: T1 on cpu: held → not there"),
        ],
    )
    def test_change_is_told_in_a_line(self, change: Change, shown: str) -> None:
        assert str(change) == shown

    def test_what_was_lost_is_told_first(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        runs = {"a": result(cpu=BROKEN, meta=HELD), "b": result(cpu=HELD, meta=BROKEN)}
        monkeypatch.setattr(conformance, "read", lambda path: runs[str(path)])

        assert main(["compare", "a", "b"]) == 1

        assert capsys.readouterr().out.splitlines() == [
            "regression: T1 on meta: held → broken",
            "change: T1 on cpu: broken → held",
            "1 regressions, 1 other changes",
        ]

    def test_claims_are_compared_on_each_device(self) -> None:
        before, after = result(cpu=HELD, meta=HELD), result(cpu=BROKEN, meta=HELD)

        assert conformance.compare(before, before) == []
        assert conformance.compare(before, after) == [Change("T1", "cpu", HELD, BROKEN)]

    def test_first_reason_of_the_worst_tests_is_told(self) -> None:
        after = result(cpu=BROKEN)
        after["claims"][0]["devices"]["cpu"]["tests"] = [
            {"id": "a", "outcome": HELD, "reason": "it held"},
            {"id": "b", "outcome": BROKEN, "reason": ""},
            {"id": "c", "outcome": BROKEN},
            {"id": "d", "outcome": BROKEN, "reason": "2 is not 3"},
            {"id": "e", "outcome": BROKEN, "reason": "3 is not 4"},
        ]

        [change] = conformance.compare(result(cpu=HELD), after)

        assert change == Change("T1", "cpu", HELD, BROKEN, "2 is not 3")

    def test_entry_without_tests_has_no_reason(self) -> None:
        after = result(cpu=BROKEN)
        del after["claims"][0]["devices"]["cpu"]["tests"]

        [change] = conformance.compare(result(cpu=HELD), after)

        assert change.reason == ""

    def test_claims_that_came_and_went_are_changes(self) -> None:
        before, after = result(cpu=HELD), result(cpu=HELD)
        after["claims"][0]["key"] = "T2"

        assert conformance.compare(before, after) == [
            Change("T1", "cpu", HELD, None),
            Change("T2", "cpu", None, HELD),
        ]

    def test_devices_that_came_and_went_are_changes(self) -> None:
        before, after = result(cpu=HELD, cuda_0=HELD), result(cpu=HELD)
        gone, come = Change("T1", "cuda:0", HELD, None), Change("T1", "cuda:0", None, HELD)

        assert conformance.compare(before, after) == [gone]
        assert conformance.compare(after, before) == [come]
        assert conformance.compare(before, after, "cpu") == []

    def test_accelerators_of_two_machines_are_compared_under_either_name(self) -> None:
        before, after = result(cpu=HELD, cuda_0=HELD), result(cpu=BROKEN, mps_0=BROKEN)
        both = Change("T1", "cuda:0 → mps:0", HELD, BROKEN)

        assert conformance.compare(before, after) == [Change("T1", "cpu", HELD, BROKEN), both]
        assert conformance.compare(before, after, "cuda:0") == [both]
        assert conformance.compare(before, after, "mps:0") == [both]

    @pytest.mark.parametrize(
        ("before", "after", "pairs"),
        [
            ("cpu meta", "meta cpu", ["cpu cpu", "meta meta"]),
            ("cpu cuda_0", "mps_0", ["cuda:0 mps:0", "cpu -"]),
            ("cuda_0", "cpu xpu_0 meta", ["cuda:0 xpu:0", "- cpu", "- meta"]),
            ("cuda_0 xpu_0", "xpu_0 mps_0", ["xpu:0 xpu:0", "cuda:0 mps:0"]),
            ("cuda_0", "mps_0", ["cuda:0 mps:0"]),
            ("cuda_0 cuda_1", "mps_0", ["cuda:0 -", "cuda:1 -", "- mps:0"]),
            ("cuda_0", "mps_0 xpu_0", ["cuda:0 -", "- mps:0", "- xpu:0"]),
            ("cuda_0 cuda_1", "mps_0 xpu_0", ["cuda:0 -", "cuda:1 -", "- mps:0", "- xpu:0"]),
            ("cuda_0", "cpu", ["cuda:0 -", "- cpu"]),
            ("cpu_0", "cuda_0", ["cpu:0 -", "- cuda:0"]),
            ("meta", "cuda_0", ["meta -", "- cuda:0"]),
        ],
    )
    def test_devices_are_paired_by_name_and_lone_accelerators_too(
        self, before: str, after: str, pairs: list[str]
    ) -> None:
        was, now = (result(**dict.fromkeys(names.split(), HELD)) for names in (before, after))

        found = [f"{one or '-'} {other or '-'}" for one, other in conformance.pairs(was, now)]

        assert found == pairs

    def test_tests_that_need_no_device_are_no_accelerator(self) -> None:
        before, after = result(cuda_0=HELD), result(cpu=HELD)
        after["claims"][0]["devices"] = {NO_DEVICE: {"outcome": HELD}}

        assert conformance.pairs(before, after) == [("cuda:0", None), (None, NO_DEVICE)]

    def test_differences_of_the_environments_are_told(self) -> None:
        before = result({"torch": "2.14", "numpy": "2.4", "cuda": "13.0"}, cpu=HELD, meta=HELD)
        after = result({"torch": "2.15", "numpy": "2.4", "hip": "7.1"}, cpu=HELD, xpu_0=HELD)

        assert list(conformance.differences(before, before)) == []
        assert list(conformance.differences(before, after)) == [
            ("torch", "2.14", "2.15"),
            ("cuda", "13.0", None),
            ("hip", None, "7.1"),
            ("devices", "cpu, meta", "cpu, xpu:0"),
        ]

    def test_devices_of_the_same_names_do_not_differ(self) -> None:
        before, after = result(cpu=HELD), result(cpu=HELD)
        after["environment"]["devices"] = [{"name": "cpu", "model": "new"}]

        assert list(conformance.differences(before, after)) == []
