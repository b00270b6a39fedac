"""What the error of a test says of a device that lacks something."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz.harness import unsupported


class TestGaps:
    """What the error of a test says of a device."""

    KNOWN = {"float64": "no such dtype here", "int64": "<none>"}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("error", "gap"),
        [
            (None, None),
            (ValueError("whatever"), None),
            (RuntimeError("No such dtype here"), None),
            (RuntimeError("no such dtype here\nand more"), "float64"),
            (TypeError("Cannot convert a DOUBLE tensor"), "float64"),
            (RuntimeError("'index' not implemented for 'Long'"), "int64"),
            (
                RuntimeError("\"add\" not implemented for 'Half'"),
                "\"add\" not implemented for 'Half'",
            ),
            (AssertionError("float64 differs"), None),
            (NotImplementedError("no such thing"), "no such thing"),
        ],
        ids=str,
    )
    def test_is_what_the_error_names(self, error: Any, gap: str | None) -> None:
        assert unsupported.met(error, "cpu", self.KNOWN) == gap

    @pytest.mark.parametrize(
        ("word", "dtype"),
        [
            ("float64", "float64"),
            ("double", "float64"),
            ("float16", "float16"),
            ("half", "float16"),
            ("bfloat16", "bfloat16"),
            ("int64", "int64"),
            ("long", "int64"),
            ("int32", "int32"),
            ("uint8", "uint8"),
            ("byte", "uint8"),
            ("bool", "bool"),
            ("complex64", "complex64"),
            ("complexfloat", "complex64"),
        ],
    )
    def test_dtype_has_the_names_that_torch_uses(self, word: str, dtype: str) -> None:
        error = RuntimeError(f"{word} is not there")

        assert unsupported.met(error, "cpu", {dtype: "unlike that"}) == dtype

    def test_is_what_torch_lacks_for_the_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module, other = SimpleNamespace(), SimpleNamespace()
        monkeypatch.setattr(torch, "xpu", module)
        lacks = AttributeError(name="Event", obj=module)

        assert unsupported.met(lacks, "xpu", {}) == "torch.xpu.Event"
        assert unsupported.met(lacks, "cuda", {}) is None
        assert unsupported.met(AttributeError(name="Event", obj=other), "xpu", {}) is None
        assert unsupported.met(AttributeError(name="Event", obj=other), "vulkan", {}) is None
        assert unsupported.met(AttributeError("Event"), "vulkan", {}) is None  # neither has any

    def test_may_stand_behind_the_error(self) -> None:
        known = {"float64": "no double"}
        cause, context, both, ring = (AssertionError(name) for name in "abcd")
        cause.__cause__ = RuntimeError("no double")
        context.__context__ = AttributeError("x", name="x", obj=None)
        context.__context__.__context__ = RuntimeError("no double")
        both.__cause__, both.__context__ = AssertionError("x"), RuntimeError("no double")
        ring.__cause__ = ring

        assert unsupported.met(cause, "cpu", known) == "float64"
        assert unsupported.met(context, "cpu", known) == "float64"
        assert unsupported.met(both, "cpu", known) is None
        assert unsupported.met(ring, "cpu", known) is None
