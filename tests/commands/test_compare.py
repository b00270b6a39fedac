"""``python -m blitz compare``: what changed between two results, the losses first."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blitz.__main__ import main


def result_of(torch_version: str, **claims: dict[str, str]) -> dict[str, Any]:
    """A result with the outcome of each claim on each device (``cuda_0`` for ``cuda:0``)."""
    return {
        "format": "blitz conformance",
        "version": 2,
        "environment": {"torch": torch_version, "devices": []},
        "claims": [
            {
                "key": key,
                "devices": {
                    name.replace("_", ":"): {"outcome": outcome, "tests": []}
                    for name, outcome in outcomes.items()
                },
            }
            for key, outcomes in claims.items()
        ],
    }


class TestCompare:
    BEFORE = result_of(
        "2.6",
        T1={"cpu": "held", "meta": "held"},
        T2={"cpu": "broken", "meta": "held"},
        T3={"cpu": "held", "meta": "held"},
    )
    AFTER = result_of(
        "2.7",
        T1={"cpu": "held", "meta": "broken"},
        T2={"cpu": "held", "cuda_0": "held"},
        T3={"cpu": "broken", "meta": "broken"},
    )

    @pytest.fixture
    def compare(self, tmp_path: Path) -> Callable[..., int]:
        def compare(before: Any, after: Any) -> int:
            files = tmp_path / "a.json", tmp_path / "b.json"
            for file, result in zip(files, (before, after), strict=True):
                file.write_text(json.dumps(result), encoding="utf-8")
            return main(["compare", *map(str, files)])

        return compare

    def test_says_what_changed_the_regressions_first(
        self, compare: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert compare(self.BEFORE, self.AFTER) == 1

        assert capsys.readouterr().out.splitlines() == [
            "torch: 2.6 → 2.7",
            "regression: T3 on cpu: held → broken",
            "regression: T1 on meta: held → broken",
            "regression: T2 on meta: held → not there",
            "regression: T3 on meta: held → broken",
            "change: T2 on cpu: broken → held",
            "change: T2 on cuda:0: not there → held",
            "4 regressions, 2 other changes",
        ]
