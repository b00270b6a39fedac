"""Which devices are found, and which are refused and in what words."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from blitz import devices
from blitz.base import backend
from blitz.preflight import Verdict

pytest_plugins = ["pytester"]
CPU = torch.device("cpu")

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


class TestAccelerator:
    def test_is_none_where_the_driver_is_too_old_and_the_warning_is_kept(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def too_old() -> bool:
            warnings.warn("The NVIDIA driver on your system is too old", stacklevel=1)
            return False

        monkeypatch.setattr(backend, "_warned", [])
        monkeypatch.setattr(torch.accelerator, "is_available", too_old)

        assert devices.accelerator() is None
        assert backend.driver_warning() == "The NVIDIA driver on your system is too old"

    @pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
    def test_is_the_first_of_its_type(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind, 1))

        assert devices.accelerator() == torch.device(kind, 0)


class TestPick:
    @pytest.mark.parametrize(("found", "picked"), [(None, "cpu"), ("meta", "meta")])
    def test_is_the_accelerator_where_there_is_one(
        self, monkeypatch: pytest.MonkeyPatch, found: str | None, picked: str
    ) -> None:
        monkeypatch.setattr(devices, "accelerator", lambda: found and torch.device(found))

        assert devices.pick() == torch.device(picked)

    def test_does_not_pass_over_a_broken_accelerator(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(devices, "accelerator", lambda: torch.device("cuda:99"))

        with pytest.raises(devices.UnusableDevice, match="device 'cuda:99' cannot be used: "):
            devices.pick()


class TestResolve:
    @pytest.mark.parametrize("name", ["cpu", "meta"])
    def test_gives_the_device_that_tensors_show(self, name: str) -> None:
        assert devices.resolve(name) == torch.empty(1, device=name).device
        assert devices.resolve(torch.device(name)) == torch.device(name)

    @pytest.mark.parametrize("name", ["gpu", "CUDA", "cuda:", "cuda:-1", "cpu0", ""])
    def test_refuses_names_that_torch_does_not_know(self, name: str) -> None:
        with pytest.raises(devices.UnusableDevice) as refusal:
            devices.resolve(name)

        assert f"device {name!r}: torch knows no device of this name." in str(refusal.value)
        assert "Use 'cpu', 'cuda'" in str(refusal.value)

    @needs_no_gpu
    @pytest.mark.parametrize("name", ["cuda", "cuda:0"])
    def test_refuses_cuda_without_a_gpu(self, name: str) -> None:
        with pytest.raises(devices.UnusableDevice) as refusal:
            devices.resolve(name)

        assert f"device {name!r} cannot be used: " in str(refusal.value)
        assert ("nvidia-smi" in str(refusal.value)) == (torch.version.cuda is not None)

    @pytest.mark.parametrize("name", ["privateuseone", "vulkan", "xla"])
    def test_refuses_a_device_without_its_backend(self, name: str) -> None:
        with pytest.raises(devices.UnusableDevice) as refusal:
            devices.resolve(name)

        assert f"device {name!r} cannot be used: " in str(refusal.value)
        assert str(refusal.value).endswith(Verdict.NOT_BUILT.remedy)


class TestWhyUnusable:
    @pytest.mark.parametrize(
        ("error", "fault"),
        [
            (
                RuntimeError("no kernel image\nCompile with TORCH_USE_CUDA_DSA\n#0 frame"),
                f"no kernel image. {Verdict.WRONG_ARCHITECTURE.remedy}",
            ),
            (AssertionError("No kernel image."), "No kernel image. Install a build of torch"),
            (KeyError(), "KeyError. Read"),
        ],
        ids=["two lines", "one line", "no words"],
    )
    @pytest.mark.parametrize("operation", ["to", "__mul__"])
    def test_tells_the_first_line_of_what_torch_reports(
        self, raising: Callable[[str, Exception], None], error: Any, fault: str, operation: str
    ) -> None:
        raising(operation, error)

        assert devices.why_unusable(CPU).startswith(fault)

    def test_device_that_cannot_compute_yet_has_a_gap_and_no_fault(
        self, raising: Callable[[str, Exception], None]
    ) -> None:
        lacks = NotImplementedError("not yet")

        raising("__mul__", lacks)
        assert devices.why_unusable(CPU) is None

        raising("to", lacks)
        assert devices.why_unusable(CPU).startswith("not yet. ")

    def test_tries_nothing_on_meta(self, raising: Callable[[str, Exception], None]) -> None:
        raising("to", RuntimeError())

        assert devices.why_unusable(torch.device("meta")) is None

    def test_tells_of_wrong_values(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.Tensor, "__mul__", lambda x, _: x)

        assert devices.why_unusable(CPU) == (
            f"2 x + 1 is {[x + 1.0 for x in range(9)]}, known to be {list(range(1, 18, 2))}. "
            + Verdict.WRONG_VALUES.remedy
        )


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Exception], None]:
    """Have an operation of tensors raise an error."""

    def raising(operation: str, error: Exception) -> None:
        def broken(*_: object) -> None:
            raise error

        monkeypatch.setattr(torch.Tensor, operation, broken)

    return raising


def test_gpu_is_described_with_its_model_and_others_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Model {device.index}")

    assert devices.describe(torch.device("cuda:1")) == "cuda:1 (Model 1)"
    assert [devices.describe(torch.device(name)) for name in ("cpu", "vulkan")] == ["cpu", "vulkan"]
