"""A backend's profile: what its file may say, and for which tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from blitz.harness import profile
from blitz.harness.profile import Line, Profile, ProfileError

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

    def test_file_without_a_line_is_none_too(
        self, load: Callable[..., Profile], tmp_path: Path
    ) -> None:
        assert load("", keys=[]) == Profile(tmp_path / "backend.toml", {}, None)

    def test_claims_are_not_asked_for_where_they_are_not_known(
        self, load: Callable[..., Profile]
    ) -> None:
        assert list(load('[claims]\nT9 = { skip = "why" }').lines) == ["T9"]

    def test_claims_that_do_not_exist_are_stale(
        self, load: Callable[..., Profile], tmp_path: Path
    ) -> None:
        text = '[claims]\nT9 = { skip = "x" }\nT1 = { skip = "x" }\nT7 = { skip = "x" }'

        with pytest.raises(ProfileError) as caught:
            load(text, keys=["T1"])
        assert str(caught.value) == (
            f"profile {tmp_path / 'backend.toml'}: T7, T9: stale, there is no such claim. "
            "Keys stand in spec/contents.toml."
        )

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ('[claim]\nT1 = { skip = "x" }', "claim"),
            ("one = 1\ntwo = 2\n[claims]", "one, two"),
            ("device = 7", "a value"),
            ("claims = 7", "a value"),
        ],
    )
    def test_what_is_not_known_is_refused(
        self, load: Callable[..., Profile], tmp_path: Path, text: str, what: str
    ) -> None:
        with pytest.raises(ProfileError) as caught:
            load(text)
        assert str(caught.value) == (
            f"profile {tmp_path / 'backend.toml'}: {what} is not known. Give device = "
            '"TYPE" and a table [claims] with lines such as T16 = { skip = "why" }.'
        )

    @pytest.mark.parametrize(
        "entry",
        [
            '"skip"',
            "7",
            "{}",
            '{ skips = "x" }',
            '{ skip = "x", xfail = "x" }',
            '{ skip = "x", reason = "x" }',
            '{ reason = "x" }',
            "{ rtol = 1e-3 }",
            '{ tol = 1e-3, reason = "x" }',
            '{ rtol = 1e-3, tol = 1e-3, reason = "x" }',
        ],
    )
    def test_line_that_says_something_else_is_refused(
        self, load: Callable[..., Profile], tmp_path: Path, entry: str
    ) -> None:
        with pytest.raises(ProfileError) as caught:
            load(f"[claims]\nT1 = {entry}")
        assert str(caught.value) == (
            f"profile {tmp_path / 'backend.toml'}: T1: give "
            '{ skip = "why" }, { xfail = "why" } or '
            '{ rtol = 1e-3, atol = 1e-4, reason = "why" }.'
        )

    @pytest.mark.parametrize(
        "entry",
        [
            "{ skip = 7 }",
            '{ xfail = " " }',
            '{ rtol = -0.1, reason = "x" }',
            '{ atol = -0.1, reason = "x" }',
            '{ rtol = 0.1, atol = "0.1", reason = "x" }',
            "{ rtol = 0.1, reason = 7 }",
        ],
    )
    def test_reason_is_a_sentence_and_tolerances_are_numbers(
        self, load: Callable[..., Profile], tmp_path: Path, entry: str
    ) -> None:
        with pytest.raises(ProfileError) as caught:
            load(f"[claims]\nT1 = {entry}")
        assert str(caught.value) == (
            f"profile {tmp_path / 'backend.toml'}: T1: the reason is a sentence, and "
            "tolerances are numbers of 0 or more."
        )

    @pytest.mark.parametrize("content", [None, b"\xff", b"[claims"])
    def test_file_that_cannot_be_read_is_named_with_the_fault(
        self, tmp_path: Path, content: bytes | None
    ) -> None:
        if content is not None:
            (tmp_path / "backend.toml").write_bytes(content)

        with pytest.raises(ProfileError) as caught:
            profile.load(tmp_path / "backend.toml")
        assert str(caught.value) == f"profile {tmp_path / 'backend.toml'}: {caught.value.__cause__}"


class TestLine:
    @pytest.mark.parametrize(
        ("device_type", "alone", "fitting"),
        [
            (None, False, {CUDA, XPU}),
            (None, True, {CUDA, XPU, CPU, META}),
            ("cuda", False, {CUDA}),
            ("cuda", True, {CUDA}),
            ("cpu", False, {CPU}),
        ],
    )
    def test_is_for_the_devices_that_the_profile_is_for(
        self, device_type: str | None, alone: bool, fitting: set[torch.device]
    ) -> None:
        known = Profile(PATH, LINES, device_type)

        for device in (CPU, CUDA, XPU, META):
            assert known.line("T1", device, alone) == (SKIP if device in fitting else None)
            assert known.line("T9", device, alone) is None
        assert known.line("T1", None, alone) is None
