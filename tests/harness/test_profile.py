"""A backend's profile: what its file may say, for which tests, and which lines are stale."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from blitz.base.errors import BlitzError
from blitz.harness import profile
from blitz.harness.outcomes import HELD, KNOWN, NOT_RUN, Outcome
from blitz.harness.profile import Line, Profile
from blitz.harness.texts import Message

CPU, CUDA, XPU, META = (torch.device(name) for name in ("cpu", "cuda:0", "xpu:1", "meta"))
PATH = Path("backend.toml")
SKIP = Line("T1", "skip", "too long")
XFAIL = Line("T2", "xfail", "no gradient")
WIDER = Line("T3", "tolerance", "bfloat16 inside", 1e-2, 0.5)
LINES = {line.key: line for line in (SKIP, XFAIL, WIDER)}


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Profile]:
    def load(text: str, keys: Any = None) -> Profile:
        (tmp_path / "backend.toml").write_text(text, encoding="utf-8")
        return profile.load(tmp_path / "backend.toml", keys)

    return load


class TestFile:
    def test_lines_are_what_it_says(self, load: Callable[..., Profile], tmp_path: Path) -> None:
        loaded = load(
            'device = "npu:1"\n[claims]\n'
            'T1 = { skip = "too long" }\nT2 = { xfail = "no gradient" }\n'
            'T3 = { rtol = 1e-2, atol = 0.5, reason = "bfloat16 inside" }\n'
            'T4 = { rtol = 1, reason = "größer" }\nT5 = { atol = 0, reason = "as it is" }\n',
            keys=["T5", "T4", "T3", "T2", "T1", "T0"],
        )

        lines = {
            **LINES,
            "T4": Line("T4", "tolerance", "größer", rtol=1, atol=0),
            "T5": Line("T5", "tolerance", "as it is", rtol=0, atol=0),
        }
        assert loaded == Profile(tmp_path / "backend.toml", lines, device_type="npu")

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            (None, "No such file"),
            (b"\xff", "invalid start byte"),
            (b"[claims", "Expected ']'"),
            (b"[claim]", "claim is not known. Give device ="),
            (b"device = 7", "a value is not known."),
            (b"claims = 7", "a value is not known."),
            (b'[claims]\nT9 = { skip = "x" }', "T9: stale, there is no such claim."),
            (b"[claims]\nT1 = 7", "T1: give { skip ="),
            (b'[claims]\nT1 = { skip = "x", xfail = "x" }', "T1: give { skip ="),
            (b'[claims]\nT1 = { reason = "x" }', "T1: give { skip ="),
            (b"[claims]\nT1 = { rtol = 1e-3 }", "T1: give { skip ="),
            (b'[claims]\nT1 = { tol = 1e-3, reason = "x" }', "T1: give { skip ="),
            (b'[claims]\nT1 = { xfail = " " }', "T1: give { skip ="),
            (b'[claims]\nT1 = { atol = -0.1, reason = "x" }', "T1: give { skip ="),
        ],
    )
    def test_fault_is_named_with_the_file(
        self, tmp_path: Path, text: bytes | None, fault: str
    ) -> None:
        file = tmp_path / "backend.toml"
        if text is not None:
            file.write_bytes(text)

        with pytest.raises(BlitzError) as refused:
            profile.load(file, ["T1"])
        assert str(refused.value).startswith(f"profile {file}: ")
        assert fault in str(refused.value)


class TestLine:
    @pytest.mark.parametrize(
        ("device_type", "fitting"),
        [(None, {CUDA, XPU}), ("cuda", {CUDA, None}), ("cpu", {CPU, None})],
        ids=str,
    )
    def test_is_for_the_devices_that_the_profile_is_for(
        self, device_type: str | None, fitting: set[torch.device | None]
    ) -> None:
        known = Profile(PATH, LINES, device_type)

        for device in (CPU, CUDA, XPU, META, None):
            assert known.line("T2", device) == (XFAIL if device in fitting else None)
            assert known.line("T9", device) is None
        assert known.line("T1", None) is None  # only a failure is foreseen where none is needed


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
        one = torch.ones(2, dtype=dtype)

        outcome = contextlib.nullcontext() if passes else pytest.raises(AssertionError)
        with profile.widened(*least), outcome:
            assert_close({"sums": [one + off]}, {"sums": [one]}, **given)


@pytest.mark.parametrize(
    ("outcomes", "stale"),
    [
        ([(KNOWN, "xfail")], False),
        ([(HELD, "xfail"), (KNOWN, "xfail")], False),
        ([(HELD, "xfail"), (HELD, "xfail")], True),
        ([(HELD, "xfail"), (NOT_RUN, "xfail")], True),
        ([(HELD, "xfail"), (KNOWN, "")], True),
        ([(NOT_RUN, "xfail")], False),
        ([(HELD, "")], False),
        ([], False),
    ],
)
def test_line_whose_tests_all_hold_is_stale(outcomes: list[tuple[str, str]], stale: bool) -> None:
    results: Any = [Outcome("x", "T2", "cuda:0", state, "", did) for state, did in outcomes]
    results.append(Outcome("y", "T9", "cuda:0", KNOWN, "", "xfail"))

    fault = Message("fault.stale", {"profile": "backend.toml", "key": "T2"})
    assert Profile(PATH, LINES).stale(results) == [fault] * stale
