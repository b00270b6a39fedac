"""What the error of a test says of a device that lacks something."""

import copy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from torch.overrides import TorchFunctionMode

from blitz.base import backend
from blitz.harness import unsupported
from blitz.harness.device_use import DeviceUse, Refusal


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
        ("dtype", "word"),
        [("float16", "half"), ("uint8", "byte"), ("bool", "bool"), ("complex64", "complexfloat")],
    )
    def test_dtype_has_the_names_that_torch_uses(self, dtype: str, word: str) -> None:
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


def use(device: torch.device = CPU, **found: Any) -> DeviceUse:
    made = DeviceUse(device)
    vars(made).update(found)
    return made


def raised(function: Any, *arguments: Any) -> Exception:
    """The error of a call, with its traceback."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of whatever kind
        function(*arguments)
    return caught.value


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

    def refused(self, function: Any, *arguments: Any) -> tuple[Exception, DeviceUse]:
        error = raised(function, *arguments)
        return error, use(refused=Refusal(function, arguments, {}, error))

    def test_call_that_the_cpu_performs_is_one_that_the_device_lacks(self) -> None:
        function = OnlyOnDevice("nix da")
        weight = torch.ones(2, requires_grad=True)
        error, made = self.refused(function, weight, [torch.device("cuda:0"), "cuda"])

        assert unsupported.tried(error, {}, made) == "a call: 'nix da'"
        (tensor, devices), _ = function.given[1]
        assert (tensor.requires_grad, tensor.is_leaf, devices) == (True, True, [CPU, "cpu"])

    def test_cpu_is_tried_without_a_backend_that_takes_its_calls_too(self) -> None:
        class Takes(TorchFunctionMode):
            def __torch_function__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                if func is torch.sin:
                    raise KeyError("mine")
                return func(*args, **(kwargs or {}))

        with Takes():
            error, made = self.refused(torch.sin, torch.ones(1))
            gap = unsupported.tried(error, {}, made)

        assert gap == "torch.sin: 'mine'"

    def test_call_that_the_cpu_refuses_too_or_that_did_not_end_the_test_shows_no_gap(self) -> None:
        error, made = self.refused(torch.mm, torch.ones(2, 3), torch.ones(2, 3))
        _, caught = self.refused(OnlyOnDevice("caught by the test"))

        assert unsupported.tried(error, {}, made) is None
        assert unsupported.tried(AssertionError("1 == 2"), {}, caught) is None

    def test_tensor_that_a_late_device_cannot_give_is_what_it_lacks(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def late(self: torch.Tensor) -> None:
            raise RuntimeError("no lowering of isnan")

        monkeypatch.setattr(unsupported.devices, "why_unusable", lambda device: None)
        monkeypatch.setattr(torch.Tensor, "cpu", late)
        error, made = self.refused(torch.Tensor.cpu, torch.ones(1))

        assert unsupported.tried(error, {}, made) == "late: no lowering of isnan"

    def test_device_that_no_longer_answers_lacks_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unsupported.devices, "why_unusable", lambda device: "gone")
        error, made = self.refused(OnlyOnDevice("lost"))

        assert unsupported.tried(error, {}, made) is None

    @pytest.mark.parametrize(
        ("words", "gap"),
        [
            ("no conv backward", "torch.Tensor.backward: 'no conv backward'"),
            ("element 0 of tensors does not require grad", None),
        ],
    )
    def test_backward_is_judged_by_its_words(self, words: str, gap: str | None) -> None:
        error = KeyError(words)
        made = use(refused=Refusal(torch.Tensor.backward, (torch.ones(1),), {}, error))

        assert unsupported.tried(error, {}, made) == gap

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

        assert unsupported.tried(AssertionError(words), known, use(dtypes=named)) == gap

    @pytest.mark.parametrize(
        ("asked", "answer", "of", "gap"),
        [
            ("stride", (3, 1), "LAYOUT", "strides"),
            ("data_ptr", 0, "ADDRESS", "addresses of storage"),
        ],
    )
    def test_test_of_strides_or_addresses_needs_them(
        self, monkeypatch: pytest.MonkeyPatch, asked: str, answer: Any, of: str, gap: str
    ) -> None:
        made = use(called={getattr(torch.Tensor, asked)})
        assert unsupported.tried(AssertionError(), {}, made) is None

        monkeypatch.setattr(torch.Tensor, asked, lambda x: answer)
        monkeypatch.setattr(unsupported, of, tuple(made.called))

        assert unsupported.tried(AssertionError(), {}, made) == gap
        assert unsupported.tried(AssertionError(), {}, use()) is None

    def test_error_of_the_backends_own_code_is_a_refusal(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        error = raised(OnlyOnDevice("mine"))
        assert unsupported.tried(error, {}, use()) is None

        monkeypatch.setattr(backend, "folders_of", lambda device: [Path(__file__).parent])

        assert unsupported.tried(error, {}, use()) == "KeyError: 'mine'"
        lost = raised(OnlyOnDevice("element 0 of tensors does not require grad"))
        assert unsupported.tried(lost, {}, use()) is None

    def test_error_of_a_library_that_a_backend_calls_is_a_refusal(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        error = raised(numpy.linalg.inv, [[0.0]])
        assert unsupported.tried(error, {}, use()) is None

        monkeypatch.setattr(backend, "folders_of", lambda device: [Path(__file__).parent])

        assert unsupported.tried(error, {}, use()) == "LinAlgError: Singular matrix"

    def test_tensor_s_method_that_lacks_an_argument_is_a_refusal_and_ours_is_not(self) -> None:
        class Backend:
            def numpy(self) -> None: ...

        theirs = raised(lambda: Backend().numpy(force=True))
        ours = raised(lambda: self.refused(copied=True))

        gap = unsupported.tried(theirs, {}, use())
        assert gap is not None
        assert gap.endswith("Backend.numpy() got an unexpected keyword argument 'force'")
        assert unsupported.tried(ours, {}, use()) is None
        assert unsupported.tried(raised(lambda: OnlyOnDevice(force=True)), {}, use()) is None

    def test_copying_is_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        error = raised(copy.deepcopy, sys._getframe())
        assert unsupported.tried(error, {}, use()) is None

        monkeypatch.setattr(torch.Tensor, "__deepcopy__", lambda x, memo: 1 / 0)

        gap = unsupported.tried(error, {}, use())
        assert gap == "TypeError: cannot pickle 'frame' object"


class TestUse:
    """What is noted of a test's calls."""

    def test_dtype_counts_where_it_is_named_for_the_device(self) -> None:
        with DeviceUse(torch.device("meta")) as made:
            torch.zeros(1, dtype=torch.int64)
            torch.zeros(1, dtype=torch.float64, device="meta").to(torch.int32)

        assert made.dtypes == {torch.float64, torch.int32}

    def test_last_error_is_kept_with_its_call(self) -> None:
        one, other = torch.ones(2, 3), torch.ones(2, 3)

        with DeviceUse(CPU) as made:
            error = raised(torch.mm, one, other)

        refused = made.refused
        assert refused is not None
        assert (refused.function, refused.error.args) == (torch.mm, error.args)
        assert refused.error.__traceback__ is None  # its frames would keep the arguments
        assert refused.arguments[0] is not one
        assert torch.equal(refused.arguments[0], one)
        assert torch.mm in made.called
