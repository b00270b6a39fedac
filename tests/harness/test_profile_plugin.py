"""A backend's profile at work: what it does to the tests, and which of its lines are stale."""

import contextlib
from typing import Any

import pytest
import torch

from blitz.harness import profile_plugin
from blitz.harness.outcomes import (
    BROKEN,
    HELD,
    KNOWN,
    NOT_RUN,
    Outcome,
)
from blitz.harness.profile import Line, Profile
from blitz.harness.profile_plugin import ProfilePlugin
from blitz.harness.texts import Message
from tests.harness.test_profile import LINES, PATH


def applied(**lines: Line) -> ProfilePlugin:
    return ProfilePlugin(Profile(PATH, lines or LINES), alone=False)


class TestWidening:
    @pytest.mark.parametrize(
        ("least", "given", "dtype", "off", "passes"),
        [
            ((1e-2, 0.0), {}, torch.float32, 0.009, True),
            ((1e-2, 0.0), {}, torch.float32, 0.011, False),
            ((0.0, 0.5), {}, torch.float32, 0.4, True),
            ((0.0, 1e-3), {}, torch.bfloat16, 0.015625, True),  # 0.016 is torch's own
            ((1e-2, 0.5), {"rtol": 0.1, "atol": 0.7}, torch.float32, 0.79, True),
            ((1e-2, 0.5), {"rtol": 0.0, "atol": 0.1}, torch.float32, 0.5, True),
            ((1e-2, 0.5), {"rtol": 0.0, "atol": 0.1}, torch.float32, 0.52, False),
        ],
    )
    def test_least_tolerances_widen_those_of_the_test_or_of_the_dtype(
        self,
        least: tuple[float, float],
        given: dict[str, float],
        dtype: torch.dtype,
        off: float,
        passes: bool,
    ) -> None:
        heeding = profile_plugin.widening(torch.testing.assert_close)
        one = torch.ones(2, dtype=dtype)

        with profile_plugin.widened(9.0, 9.0), profile_plugin.widened(*least):
            outcome = contextlib.nullcontext() if passes else pytest.raises(AssertionError)
            with outcome:
                heeding({"sums": [one + off]}, {"sums": [one]}, **given)

    def test_tolerance_that_was_not_needed_or_not_enough_is_not_noted(self) -> None:
        heeding = profile_plugin.widening(torch.testing.assert_close)
        one, other = torch.tensor(1.0), torch.tensor(2.0)

        with profile_plugin.widened(0.1, 0.1) as use:
            heeding(one, one)
            assert not use.needed
            with pytest.raises(AssertionError):
                heeding(one, other)
            assert not use.needed
            heeding(one, one + 0.05)
            assert use.needed


class TestStale:
    @pytest.mark.parametrize(
        ("key", "outcomes", "fault"),
        [
            ("T1", [(NOT_RUN, "skip")], None),
            ("T1", [(HELD, "skip")], None),
            ("T2", [(KNOWN, "xfail")], None),
            ("T2", [(HELD, "xfail"), (KNOWN, "xfail")], None),
            ("T2", [(HELD, "xfail"), (HELD, "xfail")], "fault.stale_xfail"),
            ("T2", [(HELD, "xfail"), (NOT_RUN, "xfail")], "fault.stale_xfail"),
            ("T2", [(HELD, "xfail"), (KNOWN, "")], "fault.stale_xfail"),
            ("T2", [(NOT_RUN, "xfail")], None),
            ("T2", [(HELD, "")], None),
            ("T2", [], None),
            ("T3", [(HELD, "tolerance")], "fault.stale_tolerance"),
            ("T3", [(HELD, "tolerance"), (HELD, "tolerance needed")], None),
            ("T3", [(HELD, "tolerance"), (BROKEN, "tolerance")], None),
            ("T3", [(NOT_RUN, "tolerance")], None),
        ],
    )
    def test_lines_that_the_run_refutes(
        self, key: str, outcomes: list[tuple[str, str]], fault: str | None
    ) -> None:
        results: Any = [Outcome("x", key, "cuda:0", state, "", did) for state, did in outcomes]
        results.append(Outcome("y", "T9", "cuda:0", KNOWN, "", "xfail"))
        judge = applied()
        assert judge.stale(results) == []  # no claim's tests are known to be all there
        judge.whole = {"T1", "T2", "T3"}

        faults = [] if fault is None else [Message(fault, {"profile": "backend.toml", "key": key})]
        assert judge.stale(results) == faults
