"""Which devices are found, and which are refused and in what words."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from blitz import devices, preflight
from blitz.base import backend
from blitz.preflight import Verdict

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


class TestAccelerator:
    def test_is_none_where_torch_finds_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)

        assert devices.accelerator() is None

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
    def test_is_the_cpu_without_an_accelerator(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(devices, "accelerator", lambda: None)

        assert devices.pick() == CPU

    def test_is_the_accelerator_where_there_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(devices, "accelerator", lambda: torch.device("meta"))

        assert devices.pick() == torch.device("meta")

    def test_does_not_pass_over_a_broken_accelerator(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(devices, "accelerator", lambda: torch.device("cuda:99"))

        with pytest.raises(devices.UnusableDevice, match="device 'cuda:99' cannot be used"):
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

    def test_refuses_a_gpu_that_is_not_there(self) -> None:
        with pytest.raises(devices.UnusableDevice, match="device 'cuda:99' cannot be used: "):
            devices.resolve("cuda:99")

    @pytest.mark.parametrize("name", ["privateuseone", "vulkan", "xla"])
    def test_refuses_a_device_without_its_backend(self, name: str) -> None:
        with pytest.raises(devices.UnusableDevice) as refusal:
            devices.resolve(name)

        assert f"device {name!r} cannot be used: " in str(refusal.value)
        assert str(refusal.value).endswith(Verdict.NOT_BUILT.remedy)


class TestWhyUnusable:
    def test_is_none_for_the_cpu_and_for_meta(self) -> None:
        assert devices.why_unusable(CPU) is None
        assert devices.why_unusable(torch.device("meta")) is None

    def test_tries_nothing_on_meta(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch, "arange", None)

        assert devices.why_unusable(torch.device("meta")) is None

    def test_tells_of_a_sum_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Broken:
            device = torch.device("xpu")

            def to(self, device: torch.device) -> "Broken":
                return self

            def __add__(self, other: int) -> None:
                raise RuntimeError("no kernel image")

        monkeypatch.setattr(torch, "arange", lambda *_: Broken())

        assert (
            devices.why_unusable(Broken.device)
            == f"no kernel image. {Verdict.WRONG_ARCHITECTURE.remedy}"
        )

    def test_tells_of_wrong_values(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch, "arange", lambda *_, **__: torch.zeros(4))

        assert devices.why_unusable(CPU) == (
            "[0, 1, 2, 3] + 1 came back as [1.0, 1.0, 1.0, 1.0]. " + Verdict.WRONG_VALUES.remedy
        )

    @pytest.mark.parametrize("kind", [RuntimeError, AssertionError, ImportError])
    def test_tells_the_first_line_of_what_torch_reports(
        self, monkeypatch: pytest.MonkeyPatch, kind: Any
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise kind("no kernel image\nCompile with TORCH_USE_CUDA_DSA\n#0 frame")

        monkeypatch.setattr(torch, "arange", fail)

        fault = devices.why_unusable(torch.device("xpu"))

        assert fault == f"no kernel image. {Verdict.WRONG_ARCHITECTURE.remedy}"

    def test_tells_a_sentence_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("No kernel image.")

        monkeypatch.setattr(torch, "arange", fail)

        fault = devices.why_unusable(torch.device("xpu"))
        assert fault is not None
        assert fault.startswith("No kernel image. Install a build of torch")

    def test_tells_the_kind_of_an_error_without_words(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError

        monkeypatch.setattr(torch, "arange", fail)

        assert devices.why_unusable(torch.device("xpu")).startswith("RuntimeError. Read")


class TestDescribe:
    def test_cpu_has_its_name_only(self) -> None:
        assert devices.describe(CPU) == "cpu"

    def test_gpu_has_its_model_beside_its_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Model {device.index}")

        assert devices.describe(torch.device("cuda:1")) == "cuda:1 (Model 1)"

    def test_device_without_a_module_has_its_name_only(self) -> None:
        assert devices.describe(torch.device("vulkan")) == "vulkan"


class TestImportOption:
    @pytest.fixture
    def run(self, pytester: pytest.Pytester) -> Callable[..., Any]:
        """Run pytest with the real conftest.py on one test that holds."""
        pytester.makeconftest((ROOT / "conftest.py").read_text(encoding="utf-8"))
        pytester.makepyfile("def test_holds():\n    pass")
        pytester.syspathinsert()
        return pytester.runpytest_inprocess

    def test_imports_each_module_in_order_after_the_trial(
        self, run: Callable[..., Any], pytester: pytest.Pytester
    ) -> None:
        pytester.makepyfile(
            first="import blitz.devices\nblitz.devices.seen = ['first']",
            second="import blitz.devices\nblitz.devices.seen.append('second')",
        )

        def check(name: str, **_: object) -> preflight.Finding:
            place = "meta:7" if name == preflight.ANY else name
            facts = {"device": place, "count": "1"}
            return preflight.Finding(name, preflight.Verdict.USABLE, facts=facts)

        with pytest.MonkeyPatch.context() as undo:
            undo.setattr(preflight, "check", check)
            undo.setattr(devices, "seen", [], raising=False)

            result = run("--import", "first", "--import=second")

            assert devices.seen == ["first", "second"]
        assert result.ret == 0
        result.stdout.fnmatch_lines(["devices: cpu, meta:7, meta*"])

    def test_module_that_is_not_there_ends_the_run(self, run: Callable[..., Any]) -> None:
        result = run("--import", "torch_of_nobody")

        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ["*--import torch_of_nobody: ModuleNotFoundError: No module named 'torch_of_nobody'"]
        )

    def test_module_that_fails_ends_the_run_with_its_cause(
        self, run: Callable[..., Any], pytester: pytest.Pytester
    ) -> None:
        pytester.makepyfile(broken="raise OSError('libbackend.so: not found')")

        result = run("--import", "broken")

        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*--import broken: OSError: libbackend.so: not found"])
