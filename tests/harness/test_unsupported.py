"""What the error of a test says of a device that lacks something."""

import copy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz.base import backend
from blitz.harness import unsupported
from blitz.harness.device_use import Calls, DeviceUse, Refusal, asked_for_accelerator


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


CPU = torch.device("cpu")


def raised(function: Any, *arguments: Any) -> Exception:
    """The error of a call, with its traceback."""
    try:
        function(*arguments)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


class OnlyOnDevice:
    """A function that refuses its first call, as a device might, and performs the second."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.given: list[tuple[Any, Any]] = []

    def __call__(self, *arguments: Any, **named: Any) -> None:
        self.given.append((arguments, named))
        if len(self.given) == 1:
            raise KeyError(self.words)


class TestTrying:
    """What trying shows where the words are not known."""

    def refused(self, function: Any, *arguments: Any) -> tuple[Exception, Calls]:
        error = raised(function, *arguments)
        return error, Calls(refused=Refusal(function, arguments, {}, error))

    def test_call_that_the_cpu_performs_is_one_that_the_device_lacks(self) -> None:
        function = OnlyOnDevice("nix da")
        weight = torch.ones(2, requires_grad=True)
        error, calls = self.refused(function, weight, [torch.device("cuda:0"), "cuda"])

        assert unsupported.tried(error, CPU, {}, calls) == "a call: 'nix da'"
        (tensor, devices), _ = function.given[1]
        assert (tensor.requires_grad, tensor.is_leaf, devices) == (True, True, [CPU, "cpu"])

    def test_call_that_the_cpu_refuses_too_shows_no_gap(self) -> None:
        error, calls = self.refused(torch.mm, torch.ones(2, 3), torch.ones(2, 3))

        assert unsupported.tried(error, CPU, {}, calls) is None

    def test_error_of_another_call_shows_no_gap(self) -> None:
        _, calls = self.refused(OnlyOnDevice("caught by the test"))

        assert unsupported.tried(AssertionError("1 == 2"), CPU, {}, calls) is None

    def test_device_that_no_longer_answers_lacks_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unsupported.devices, "why_unusable", lambda device: "gone")
        error, calls = self.refused(OnlyOnDevice("lost"))

        assert unsupported.tried(error, CPU, {}, calls) is None

    @pytest.mark.parametrize(
        ("words", "gap"),
        [
            ("no conv backward", "torch.Tensor.backward: 'no conv backward'"),
            ("element 0 of tensors does not require grad", None),
        ],
    )
    def test_backward_is_judged_by_its_words(self, words: str, gap: str | None) -> None:
        error = KeyError(words)
        calls = Calls(refused=Refusal(torch.Tensor.backward, (torch.ones(1),), {}, error))

        assert unsupported.tried(error, CPU, {}, calls) == gap

    @pytest.mark.parametrize(
        ("words", "named", "gap"),
        [
            ("assert torch.int32 is torch.int64", set(), "int64"),
            ("assert 'tensor([1], dtype=torch.int32)' == 'tensor([1])'", set(), "int64"),
            ("assert torch.int32 is torch.float32", set(), None),
            ("assert tensor([1], dtype=torch.int32) == 2", set(), None),
            ("assert 1 == 2", {torch.int64}, "int64"),
            ("assert 1 == 2", {torch.int32}, None),
        ],
        ids=str,
    )
    def test_dtype_that_comes_back_as_another_is_met_by_name(
        self, words: str, named: set[torch.dtype], gap: str | None
    ) -> None:
        known = {"int64": "came back as torch.int32: [0, 1]"}

        assert unsupported.tried(AssertionError(words), CPU, known, Calls(dtypes=named)) == gap

    def test_test_of_strides_needs_strides(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls, error = Calls(made={torch.Tensor.stride}), AssertionError("(2, 1) == (1, 2)")

        assert unsupported.tried(error, CPU, {}, calls) is None
        monkeypatch.setattr(torch.Tensor, "stride", lambda x: (3, 1))
        calls.made.add(torch.Tensor.stride)
        monkeypatch.setattr(unsupported, "LAYOUT", (torch.Tensor.stride,))
        assert unsupported.tried(error, CPU, {}, calls) == "strides"
        assert unsupported.tried(error, CPU, {}, Calls()) is None

    def test_test_of_addresses_needs_addresses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.Tensor, "data_ptr", lambda x: 0)
        monkeypatch.setattr(unsupported, "ADDRESS", (torch.Tensor.data_ptr,))
        calls = Calls(made={torch.Tensor.data_ptr})

        assert unsupported.tried(AssertionError(), CPU, {}, calls) == "addresses of storage"

    def test_test_of_torch_accelerator_needs_to_be_known_there(self) -> None:
        meta, calls = torch.device("meta"), Calls()
        with asked_for_accelerator(calls):
            pass
        assert unsupported.tried(AssertionError(), meta, {}, calls) is None

        with asked_for_accelerator(calls):
            torch.accelerator.is_available()

        gap = unsupported.tried(AssertionError(), meta, {}, calls)
        assert gap == "torch.accelerator does not know meta"

    def test_error_of_the_backends_own_code_is_a_refusal(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        error = raised(OnlyOnDevice("mine"))
        assert unsupported.tried(error, CPU, {}, Calls()) is None

        monkeypatch.setattr(backend, "folders_of", lambda device: [Path(__file__).parent])

        assert unsupported.tried(error, CPU, {}, Calls()) == "KeyError: 'mine'"
        lost = raised(OnlyOnDevice("element 0 of tensors does not require grad"))
        assert unsupported.tried(lost, CPU, {}, Calls()) is None

    def test_copying_is_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        error = raised(copy.deepcopy, sys._getframe())
        assert unsupported.tried(error, CPU, {}, Calls()) is None

        monkeypatch.setattr(torch.Tensor, "__deepcopy__", lambda x, memo: 1 / 0)

        gap = unsupported.tried(error, CPU, {}, Calls())
        assert gap == "TypeError: cannot pickle 'frame' object"


class TestCalls:
    """What is noted of a test's calls."""

    def test_dtype_counts_where_it_is_named_for_the_device(self) -> None:
        with DeviceUse(torch.device("meta")) as use:
            torch.zeros(1, dtype=torch.int64)
            torch.zeros(1, dtype=torch.float64, device="meta").to(torch.int32)

        assert use.calls.dtypes == {torch.float64, torch.int32}

    def test_last_error_is_kept_with_its_call(self) -> None:
        one, other = torch.ones(2, 3), torch.ones(2, 3)

        with DeviceUse(CPU) as use:
            error = raised(torch.mm, one, other)

        refused = use.calls.refused
        assert refused is not None
        assert (refused.function, refused.error.args) == (torch.mm, error.args)
        assert refused.error.__traceback__ is None  # its frames would keep the arguments
        assert refused.arguments[0] is not one
        assert torch.equal(refused.arguments[0], one)
        assert torch.mm in use.calls.made
