"""The result of a run as a file for machines, and what changed between two of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from blitz.__main__ import main
from blitz.harness import conformance
from blitz.harness.conformance import Change
from blitz.harness.outcomes import (
    BROKEN,
    HELD,
    NOT_RUN,
    UNSUPPORTED,
)

GOOD: dict[str, Any] = {
    "format": "blitz conformance",
    "version": 2,
    "environment": {"devices": []},
    "claims": [{"key": "T1", "devices": {"cpu": {"outcome": "held", "tests": []}}}],
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "a.json: Expecting property name"),
        ("[]", "a.json is no result of a run: its format is not 'blitz conformance'."),
        ('{"version": 2}', "a.json is no result of a run: its format is not 'blitz conformance'."),
        (json.dumps(GOOD | {"version": 3}), "is of version 3, and version 2 is known here."),
        (json.dumps(GOOD | {"claims": None}), "lacks what docs/conformance.md asks for."),
        (json.dumps(GOOD | {"claims": [{"key": 1}]}), "lacks what docs/conformance.md asks for."),
        (json.dumps(GOOD | {"environment": {}}), "lacks what docs/conformance.md asks for."),
        (None, "No such file"),
    ],
)
def test_file_that_holds_no_result_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, said: str
) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "a.json"
    good.write_text(json.dumps(GOOD))
    if text is not None:
        bad.write_text(text)

    assert main(["compare", str(good), str(good)]) == 0
    assert main(["compare", str(good), str(bad)]) == 2
    assert said in capsys.readouterr().err


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
