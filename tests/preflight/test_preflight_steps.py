"""The steps of a device's trial, one by one and in this process, on sound and on broken devices."""

import faulthandler
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz import preflight
from blitz.preflight import Finding, TorchvisionMismatch, Verdict, WrongValues

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs fork")

CPU, META = torch.device("cpu"), torch.device("meta")
TO, ADD = torch.Tensor.to, torch.Tensor.__add__
NUMPY, CONVOLUTION = torch.Tensor.numpy, torch.nn.functional.conv2d
TOY = SimpleNamespace(type="toy")
"""A device of a type that torch does not know."""


class Heard(list[tuple[str, Any]]):
    """What a trial says, in its order."""

    def __call__(self, kind: str, what: Any) -> None:
        self.append((kind, what))

    @property
    def stages(self) -> list[str]:
        return [what for kind, what in self if kind == "stage"]

    @property
    def gaps(self) -> dict[str, str]:
        return dict(what for kind, what in self if kind == "gap")


@pytest.fixture
def heard() -> Heard:
    return Heard()


def nine() -> torch.Tensor:
    """The tensor that is computed with: 0 to 8, as an image of one channel."""
    return torch.arange(9.0).reshape(1, 1, 3, 3)


COMPUTED = ["copy back", "go to NumPy", "compute", "synchronise", "copy the result back"]
CONVOLVED = ["convolve", "propagate back through a convolution"]


class TestTrial:
    def test_on_the_cpu_says_each_stage_and_the_facts(self, heard: Heard) -> None:
        threads = torch.get_num_threads()
        try:
            preflight.trial("cpu", ["json"], heard)
        finally:
            torch.set_num_threads(threads)

        assert heard == [
            ("stage", "import torch"),
            ("stage", "import json"),
            ("stage", "find the device"),
            ("facts", preflight._facts_of_torch(torch, CPU)),
            ("stage", "compare torchvision's version with torch's"),
            ("stage", "make a tensor"),
            ("facts", {"device": "cpu", "count": "1"}),
            *(("stage", stage) for stage in COMPUTED + CONVOLVED),
        ]

    @pytest.fixture
    def steps(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """The steps that are taken, with what each is given; none of them does anything."""
        taken: list[Any] = []
        for name in ("_compute", "_convolve", "_probe", "_check_torchvision"):
            monkeypatch.setattr(
                preflight, name, lambda *given, name=name: taken.append((name, *given))
            )
        monkeypatch.setattr(
            torch, "set_num_threads", lambda count: taken.append(("threads", count))
        )
        return taken

    def test_of_another_device_probes_what_it_has(self, heard: Heard, steps: list[Any]) -> None:
        preflight.trial("meta", [], heard)

        assert [step[:2] for step in steps] == [
            ("threads", 1),
            ("_check_torchvision", torch),
            ("_compute", torch),
            ("_convolve", torch),
            ("_probe", torch),
        ]
        (*_, x, said, gaps), (*_, same, _, _), (*_, device, _, _) = steps[2:]
        assert (x.device, x.shape, same is x, device) == (META, (1, 1, 3, 3), True, META)
        assert all(given[3] is said is heard for given in steps[2:])
        assert all(given[4] is gaps for given in steps[2:])
        assert isinstance(gaps, preflight._Gaps)
        assert heard[-1] == ("facts", {"device": "meta", "count": "1"})
        with gaps.may_lack("float64", also=(ValueError,)):
            raise ValueError("no room")
        assert heard.gaps == {"float64": "no room"}

    def test_on_the_cpu_probes_nothing(self, heard: Heard, steps: list[Any]) -> None:
        preflight.trial("cpu", [], heard)

        assert [step[0] for step in steps][2:] == ["_compute", "_convolve"]

    @pytest.mark.parametrize(
        ("asked", "got", "right"),
        [
            (SimpleNamespace(type="toy", index=None), SimpleNamespace(type="toy", index=0), True),
            (SimpleNamespace(type="toy", index=1), SimpleNamespace(type="toy", index=1), True),
            (SimpleNamespace(type="toy", index=1), SimpleNamespace(type="toy", index=0), False),
            (SimpleNamespace(type="toy", index=None), CPU, False),
        ],
        ids=["any", "the_second", "first_for_second", "cpu_for_any"],
    )
    def test_goes_on_where_the_tensor_lies_as_asked(
        self,
        heard: Heard,
        steps: list[Any],
        monkeypatch: pytest.MonkeyPatch,
        asked: Any,
        got: Any,
        right: bool,
    ) -> None:
        moved: list[Any] = []
        monkeypatch.setattr(preflight, "_found", lambda torch, name: asked)
        monkeypatch.setattr(torch, "toy", SimpleNamespace(device_count=lambda: 4), raising=False)
        monkeypatch.setattr(
            torch.Tensor, "to", lambda _, to: moved.append(to) or SimpleNamespace(device=got)
        )

        if right:
            preflight.trial("toy", [], heard)
            assert heard[-1] == ("facts", {"device": str(got), "count": "4"})
        else:
            with pytest.raises(WrongValues, match="a tensor for toy came to lie on"):
                preflight.trial("toy", [], heard)

        assert moved == [asked]
        assert ("_probe" in [step[0] for step in steps]) is right

    def test_finds_the_device_by_its_name(self) -> None:
        assert preflight._found(torch, "meta") == META

    @pytest.mark.parametrize("there", [True, False])
    def test_finds_the_first_accelerator_where_any_will_do(self, there: bool) -> None:
        accelerator = SimpleNamespace(
            is_available=lambda: there, current_accelerator=lambda: SimpleNamespace(type="toy")
        )
        stand_in: Any = SimpleNamespace(accelerator=accelerator, device=lambda name: name)

        if there:
            assert preflight._found(stand_in, preflight.ANY) == "toy:0"
        else:
            with pytest.raises(RuntimeError, match="no accelerator is available to") as caught:
                preflight._found(stand_in, preflight.ANY)
            assert preflight.verdict_on(caught.value) is Verdict.NO_DRIVER


def _lives_on_meta(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: TO(function(*arguments), "meta")


def _is_off_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: function(*arguments) + 1


SQUARES = "[[[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]]]"
NEXT = "[[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]]"
DOUBLED = "[[[[0.0, 2.0, 4.0], [6.0, 8.0, 10.0], [12.0, 14.0, 16.0]]]]"
ODD = "[[[[1.0, 3.0, 5.0], [7.0, 9.0, 11.0], [13.0, 15.0, 17.0]]]]"


class TestComputation:
    def run(self, heard: Heard, x: torch.Tensor | None = None) -> None:
        preflight._compute(torch, nine() if x is None else x, heard, preflight._Gaps(torch, heard))

    def test_that_is_right_says_its_stages(
        self, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited: list[Any] = []
        monkeypatch.setattr(preflight, "_synchronize", lambda *given: waited.append(given))

        self.run(heard)

        assert heard == [("stage", stage) for stage in COMPUTED]
        assert waited == [(torch, CPU)]

    def test_tells_a_wrong_copy(self, heard: Heard) -> None:
        with pytest.raises(WrongValues) as caught:
            self.run(heard, nine() + 1)

        known = SQUARES.replace(".0", "")
        assert str(caught.value) == f"a tensor copied back is {NEXT}, known to be {known}"
        assert heard.stages == COMPUTED[:1]

    @pytest.mark.parametrize(
        ("name", "broken", "said", "stage"),
        [
            (
                "numpy",
                lambda tensor: NUMPY(tensor) + 1,
                f"a tensor in NumPy is {NEXT}, known to be {SQUARES}",
                "go to NumPy",
            ),
            ("__add__", _lives_on_meta(ADD), "2 x + 1 lives on meta, not on cpu", "compute"),
            (
                "__add__",
                lambda tensor, _: tensor,
                f"2 x + 1 is {DOUBLED}, known to be {ODD}",
                "copy the result back",
            ),
        ],
        ids=["numpy", "elsewhere", "sum"],
    )
    def test_tells_what_is_wrong(
        self,
        heard: Heard,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        broken: Any,
        said: str,
        stage: str,
    ) -> None:
        monkeypatch.setattr(torch.Tensor, name, broken)

        with pytest.raises(WrongValues) as caught:
            self.run(heard)

        assert str(caught.value) == said
        assert heard.stages[-1] == stage

    def test_that_the_device_lacks_is_a_gap(
        self, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lacks(*_: Any) -> None:
            raise NotImplementedError("Could not run 'aten::mul.Tensor' with arguments\nof X")

        monkeypatch.setattr(torch.Tensor, "__mul__", lacks)
        self.run(heard)

        assert heard.gaps == {"aten::mul.Tensor": "Could not run 'aten::mul.Tensor' with arguments"}
        assert heard.stages[-1] == "compute"

    def test_that_fails_otherwise_is_none(
        self, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: Any) -> None:
            raise torch.OutOfMemoryError("aten::mul is not supported: out of memory")

        monkeypatch.setattr(torch.Tensor, "__mul__", fails)
        with pytest.raises(torch.OutOfMemoryError):
            self.run(heard)

        assert heard.gaps == {}


RIGHT = "[[[[27.0, 37.0], [57.0, 67.0]]]]"


class TestConvolution:
    def run(self, heard: Heard) -> None:
        preflight._convolve(torch, nine(), heard, preflight._Gaps(torch, heard))

    def test_that_is_right_says_its_stages(self, heard: Heard) -> None:
        self.run(heard)

        assert heard == [("stage", stage) for stage in CONVOLVED]

    def test_has_its_weights_on_the_device(
        self, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moved: list[Any] = []
        monkeypatch.setattr(
            torch.Tensor, "to", lambda tensor, to: moved.append((tensor.tolist(), to)) or tensor
        )
        self.run(heard)

        assert moved == [
            ([[[[1.0, 2.0], [3.0, 4.0]]]], CPU),
            ([[[[1.0, 0.0], [0.0, 2.0]]]], CPU),
        ]

    @pytest.mark.parametrize(
        ("broken", "said", "stages"),
        [
            (_lives_on_meta(CONVOLUTION), "a convolution lives on meta, not on cpu", 1),
            (
                _is_off_by_one(CONVOLUTION),
                f"a convolution is [[[[28.0, 38.0], [58.0, 68.0]]]], known to be {RIGHT}",
                1,
            ),
            (
                lambda image, kernel: CONVOLUTION(image.detach(), kernel),
                "a convolution leaves no gradient of its input",
                2,
            ),
            (
                lambda image, kernel: CONVOLUTION(image, kernel.detach()),
                "a convolution leaves no gradient of its weight",
                2,
            ),
            (
                lambda image, kernel: CONVOLUTION(image * 2 - image.detach(), kernel),
                "a convolution's gradient of its input is [[[[2.0, 4.0, 0.0], [6.0, 12.0, 8.0], "
                "[0.0, 12.0, 16.0]]]], known to be [[[[1, 2, 0], [3, 6, 4], [0, 6, 8]]]]",
                2,
            ),
            (
                lambda image, kernel: CONVOLUTION(image, kernel * 2 - kernel.detach()),
                "a convolution's gradient of its weight is [[[[16.0, 22.0], [34.0, 40.0]]]], "
                "known to be [[[[8, 11], [17, 20]]]]",
                2,
            ),
        ],
        ids=["elsewhere", "value", "no_input", "no_weight", "input", "weight"],
    )
    def test_tells_what_is_wrong(
        self, heard: Heard, monkeypatch: pytest.MonkeyPatch, broken: Any, said: str, stages: int
    ) -> None:
        monkeypatch.setattr(torch.nn.functional, "conv2d", broken)

        with pytest.raises(WrongValues) as caught:
            self.run(heard)

        assert str(caught.value) == said
        assert heard.stages == CONVOLVED[:stages]

    @pytest.mark.parametrize("leaf", ["input", "weight"])
    def test_leaves_its_gradients_on_the_device(
        self, heard: Heard, monkeypatch: pytest.MonkeyPatch, leaf: str
    ) -> None:
        side = 3 if leaf == "input" else 2
        gradient = torch.Tensor.grad

        def moved(tensor: Any) -> Any:
            found = gradient.__get__(tensor)
            return TO(found, "meta") if tensor.shape[-1] == side else found

        monkeypatch.setattr(torch.Tensor, "grad", property(moved))
        with pytest.raises(WrongValues) as caught:
            self.run(heard)

        said = f"a convolution's gradient of its {leaf} lives on meta, not on cpu"
        assert str(caught.value) == said

    def test_that_the_device_lacks_is_a_gap(
        self, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lacks(*_: Any) -> None:
            raise NotImplementedError("convolution_overrideable not implemented. You are likely")

        monkeypatch.setattr(torch.nn.functional, "conv2d", lacks)
        self.run(heard)

        assert list(heard.gaps) == ["convolution_overrideable"]


DTYPES = ["float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool", "complex64"]
MEANS = ("synchronize", "manual_seed", "get_rng_state")


class TestProbe:
    def run(self, heard: Heard, device: Any) -> None:
        preflight._probe(torch, device, heard, preflight._Gaps(torch, heard))

    def test_tries_each_dtype_on_the_device(
        self, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moved: list[Any] = []
        monkeypatch.setattr(
            torch.Tensor, "to", lambda tensor, to: moved.append(to) or TO(tensor, to)
        )
        self.run(heard, CPU)

        assert heard.stages == [f"copy {name} there and back" for name in DTYPES]
        wanted = [[getattr(torch, name), CPU] for name in DTYPES]
        assert [moved[i : i + 2] for i in range(0, len(moved), 2)] == wanted

    def test_names_the_dtypes_that_are_missing_or_come_back_as_others(
        self, heard: Heard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def to(tensor: Any, to: Any) -> Any:
            if to is torch.float64:
                raise ValueError("no room\nfor so many digits")
            if to is torch.float16:
                raise NotImplementedError("Could not run 'aten::_to_copy' with arguments")
            if to is torch.bfloat16:
                return tensor
            if to is torch.int32:
                return TO(tensor + 1, to)
            return tensor if to is TOY else TO(tensor, to)

        module = SimpleNamespace(**dict.fromkeys(MEANS))
        monkeypatch.setattr(torch, "toy", module, raising=False)
        monkeypatch.setattr(torch.Tensor, "to", to)
        self.run(heard, TOY)

        assert heard.gaps == {
            "float64": "no room",
            "float16": "Could not run 'aten::_to_copy' with arguments",
            "bfloat16": "came back as tensor([0, 1])",
            "int32": "came back as tensor([1, 2], dtype=torch.int32)",
        }
        assert len(heard.stages) == len(DTYPES)

    @pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
    def test_fails_where_the_device_or_the_host_is_out_of_memory(
        self, heard: Heard, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        def to(*_: Any) -> None:
            raise error("out of memory")

        monkeypatch.setattr(torch.Tensor, "to", to)
        with pytest.raises(error):
            self.run(heard, CPU)

    @pytest.mark.parametrize("there", [None, {"synchronize": None}], ids=["nothing", "one"])
    def test_names_the_means_that_are_missing(
        self, heard: Heard, monkeypatch: pytest.MonkeyPatch, there: dict[str, Any] | None
    ) -> None:
        if there is not None:
            monkeypatch.setattr(torch, "toy", SimpleNamespace(**there), raising=False)
        monkeypatch.setattr(
            torch.Tensor, "to", lambda tensor, to: tensor if to is TOY else TO(tensor, to)
        )
        self.run(heard, TOY)

        missing = {
            "torch.toy.synchronize": "its work cannot be timed",
            "torch.toy.manual_seed": "its random numbers cannot be repeated",
            "torch.toy.get_rng_state": "its random numbers cannot be restored",
        }
        if there is not None:
            del missing["torch.toy.synchronize"]
        assert heard.gaps == missing


class TestWaiting:
    def waited(self, device: Any, **modules: Any) -> list[str]:
        waited: list[str] = []
        made = {
            name: SimpleNamespace(**{means: lambda name=name: waited.append(name)})
            for name, means in modules.items()
        }
        stand_in: Any = SimpleNamespace(**made)
        preflight._synchronize(stand_in, device)
        return waited

    def test_is_for_the_device_and_never_for_the_cpu(self) -> None:
        assert self.waited(TOY, toy="synchronize", other="synchronize") == ["toy"]
        assert self.waited(CPU, cpu="synchronize") == []

    def test_is_left_out_where_there_is_no_means(self) -> None:
        assert self.waited(TOY, toy="wait") == []
        assert self.waited(TOY) == []


class TestTorchvision:
    """What it asks for is compared with this torch; only in doubt is it imported."""

    @pytest.fixture
    def asks(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        def set_up(needs: list[str] | None, nms: Any = None) -> None:
            packages = {"torchvision": needs}
            monkeypatch.setattr(importlib.metadata, "requires", packages.__getitem__)
            monkeypatch.setattr(importlib.metadata, "version", {"torchvision": "0.25"}.__getitem__)
            operations = None if nms is None else SimpleNamespace(nms=nms)
            monkeypatch.setitem(sys.modules, "torchvision.ops", operations)

        return set_up

    def here(self, version: str) -> Any:
        return SimpleNamespace(__version__=version, zeros=torch.zeros)

    @pytest.mark.parametrize(
        ("needs", "version"),
        [
            (["numpy", "torch==2.15.0"], "2.15.0+cu130"),
            (["numpy<1", "torch==2.15.0"], "2.15.0"),
            (["torch>=2.8"], "2.15.0a0+git1234"),
            (["numpy<1"], "2.15.0"),
            ([], "2.15.0"),
            (None, "2.15.0"),
        ],
    )
    def test_that_fits_is_not_imported(
        self, asks: Callable[..., None], needs: list[str] | None, version: str
    ) -> None:
        asks(needs)

        preflight._check_torchvision(self.here(version))

    def test_that_is_no_package_is_not_compared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def requires(name: str) -> None:
            raise PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "requires", requires)
        monkeypatch.setitem(sys.modules, "torchvision.ops", None)

        preflight._check_torchvision(self.here("2.15.0"))

    def test_of_another_torch_is_tried(self, asks: Callable[..., None]) -> None:
        tried: list[Any] = []
        asks(["numpy", "torch==2.14.0"], lambda *given: tried.append(given))

        preflight._check_torchvision(self.here("2.15.0"))

        [(boxes, scores, threshold)] = tried
        assert (boxes.tolist(), scores.tolist(), threshold) == ([[0.0] * 4], [0.0], 0.5)

    def test_of_another_torch_that_fails_is_told(self, asks: Callable[..., None]) -> None:
        def nms(*_: Any) -> None:
            raise RuntimeError("operator torchvision::nms does not exist\nmore")

        asks(["numpy", "torch==2.14.0", "torch<2"], nms)
        with pytest.raises(TorchvisionMismatch) as caught:
            preflight._check_torchvision(self.here("2.15.0+cpu"))

        assert str(caught.value) == (
            "torchvision 0.25 needs torch ==2.14.0, found 2.15.0: "
            "operator torchvision::nms does not exist"
        )
        assert isinstance(caught.value.__cause__, RuntimeError)


class TestFacts:
    @pytest.fixture(autouse=True)
    def _packages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        versions = {"torchvision": "0.25", "numpy": "2.3"}
        monkeypatch.setattr(preflight, "installed", versions.__getitem__)

    GENERAL = {  # noqa: RUF012
        "python": sys.version.split()[0],
        "torch": "2.15.0+cu130",
        "torch is built for": "the cpu only",
        "torchvision": "0.25",
        "NumPy": "2.3",
    }

    def stand_in(self, architectures: list[str] | None = None, **versions: Any) -> Any:
        return SimpleNamespace(
            __version__="2.15.0+cu130",
            version=SimpleNamespace(**{"cuda": None, "hip": None, **versions}),
            cuda=SimpleNamespace(get_arch_list=lambda: architectures),
        )

    @pytest.mark.parametrize(
        ("versions", "built_for"),
        [
            ({}, "the cpu only"),
            ({"cuda": "13.0"}, "CUDA 13.0"),
            ({"hip": "7.1", "xpu": None}, "ROCm 7.1"),
            ({"cuda": "13.0", "xpu": "2025"}, "CUDA 13.0, XPU 2025"),
        ],
    )
    def test_name_the_versions(self, versions: dict[str, str], built_for: str) -> None:
        found = preflight._facts_of_torch(self.stand_in(**versions), CPU)

        assert found == {**self.GENERAL, "torch is built for": built_for}

    @pytest.mark.parametrize("there", [True, False])
    def test_of_cuda_name_its_driver_and_architectures(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool
    ) -> None:
        driver = tmp_path / "version"
        monkeypatch.setattr(preflight, "Path", {"/proc/driver/nvidia/version": driver}.__getitem__)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if there:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
            driver.write_text("NVRM version: 1\nGCC version: 2\n")
        stand_in = self.stand_in(["sm_90", "sm_100"] if there else [])

        found = preflight._facts_of_torch(stand_in, torch.device("cuda"))

        assert found == self.GENERAL | {
            "architectures in this build": "sm_90 sm_100" if there else "none",
            "CUDA_VISIBLE_DEVICES": "0,3" if there else "not set",
            "driver": "NVRM version: 1" if there else "none found",
        }

    def test_of_a_device_are_what_its_module_tells(self) -> None:
        device = torch.device("cuda:1")

        def lost(device: Any) -> None:
            raise RuntimeError(f"{device} is lost")

        module = SimpleNamespace(
            device_count=lambda: 4,
            get_device_name=lambda device: f"model of {device}",
            get_device_capability=lost,
            mem_get_info=lambda device: (device.index, 2),
        )
        stand_in: Any = SimpleNamespace(cuda=module, cpu=module)

        assert preflight._facts_of_device(stand_in, device) == {
            "device": "cuda:1",
            "count": "4",
            "model": "model of cuda:1",
            "free and total memory in bytes": "(1, 2)",
        }
        module.get_device_capability = lambda device: (9, device.index)
        assert preflight._facts_of_device(stand_in, device)["capability"] == "(9, 1)"
        assert preflight._facts_of_device(stand_in, CPU) == {"device": "cpu", "count": "1"}

    def test_of_a_device_without_a_module_are_few(self) -> None:
        stand_in: Any = SimpleNamespace()

        found = preflight._facts_of_device(stand_in, META)

        assert found == {"device": "meta", "count": "1"}


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "verdict"),
        [
            (WrongValues("out of memory"), Verdict.WRONG_VALUES),
            (TorchvisionMismatch("out of memory"), Verdict.TORCHVISION_MISMATCH),
            (MemoryError(), Verdict.OUT_OF_MEMORY),
            (torch.OutOfMemoryError("no"), Verdict.OUT_OF_MEMORY),
            (RuntimeError("MPS: Not Enough Memory"), Verdict.OUT_OF_MEMORY),
            (RuntimeError("CUDA error: no kernel image is there"), Verdict.WRONG_ARCHITECTURE),
            (RuntimeError("Numpy is not available"), Verdict.NUMPY_UNUSABLE),
            (RuntimeError("operator torchvision::nms"), Verdict.TORCHVISION_MISMATCH),
            (RuntimeError("No CUDA GPUs are available"), Verdict.NO_DRIVER),
            (AssertionError("Torch not compiled with CUDA enabled"), Verdict.NOT_BUILT),
            (ValueError("anything else"), Verdict.FAILED),
        ],
        ids=str,
    )
    def test_has_its_verdict(self, error: BaseException, verdict: Verdict) -> None:
        assert preflight.verdict_on(error) is verdict

    @pytest.mark.parametrize(
        ("error", "missing"),
        [
            (RuntimeError("COULD NOT RUN 'aten::mm' here"), "aten::mm"),
            (RuntimeError("unsupported: aten::x.X."), "aten::x.X"),
            (TypeError("this device Does Not support float64"), "float64"),
            (NotImplementedError("first\nsecond"), "first"),
            (RuntimeError("first"), None),
            (NotImplementedError('missing the required "forward" function'), None),
        ],
        ids=str,
    )
    def test_names_what_is_missing(self, error: BaseException, missing: str | None) -> None:
        assert preflight.missing_in(error) == missing


class Clock:
    """A clock that stands still but for those who sleep."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(preflight, "time", made)
    return made


class TestChild:
    @pytest.fixture
    def killed(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        killed: list[tuple[int, int]] = []
        monkeypatch.setattr(os, "kill", lambda *given: killed.append(given))
        return killed

    def test_that_ends_gives_its_code(self, clock: Clock, killed: list[Any]) -> None:
        codes = iter([None, None, None, 3])

        assert preflight._Child(7, lambda: next(codes)).ended_within(1.0) == 3
        assert clock.slept == [0.001, 0.0015, 0.00225]
        assert killed == []

    def test_that_goes_on_is_asked_ever_more_seldom_and_killed(
        self, clock: Clock, killed: list[Any]
    ) -> None:
        def poll() -> int | None:
            return -9 if killed and clock.now >= 103.0 else None

        assert preflight._Child(7, poll).ended_within(2.0) is None
        assert max(clock.slept) == 0.05
        assert killed == [(7, signal.SIGKILL)]
        assert 103.0 <= clock.now < 103.1

    def test_is_ended_by_the_one_signal_that_windows_has(
        self, monkeypatch: pytest.MonkeyPatch, clock: Clock, killed: list[Any]
    ) -> None:
        monkeypatch.setattr(sys, "platform", "win32")

        assert preflight._Child(7, lambda: -15 if killed else None).ended_within(0.1) is None
        assert killed == [(7, signal.SIGTERM)]

    def test_that_cannot_be_killed_is_left_after_a_while(
        self, clock: Clock, killed: list[Any]
    ) -> None:
        assert preflight._Child(7, lambda: None).ended_within(0.5) is None
        assert 105.5 <= clock.now < 105.7

    def test_is_not_asked_once_the_time_is_up(self, clock: Clock, killed: list[Any]) -> None:
        def poll() -> None:
            clock.now += 2.0

        assert preflight._Child(7, poll)._wait(2.0) is None
        assert clock.slept == []

    def test_that_is_gone_cannot_be_killed(
        self, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def kill(*_: Any) -> None:
            raise ProcessLookupError

        monkeypatch.setattr(os, "kill", kill)

        assert preflight._Child(7, lambda: None).ended_within(0.1) is None

    def test_is_killed_where_the_run_is_interrupted(self, clock: Clock, killed: list[Any]) -> None:
        def poll() -> int:
            if not killed:
                raise KeyboardInterrupt
            return -9

        with pytest.raises(KeyboardInterrupt):
            preflight._Child(7, poll).ended_within(1.0)

        assert killed == [(7, signal.SIGKILL)]
        assert clock.slept == []


class TestCopy:
    """A child that is a copy of this process."""

    @pytest.mark.parametrize("fault", [None, SystemExit(5)], ids=["ends", "raises"])
    def test_tells_its_words_and_errors_in_files(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: BaseException | None
    ) -> None:
        def tell(*given: Any) -> None:
            given[2].write_text(repr(given))
            os.write(2, b"terminate called")
            if fault is not None:
                raise fault

        monkeypatch.setattr(preflight, "_tell", tell)
        words, errors = tmp_path / "words", tmp_path / "errors"

        child = preflight._forked("cpu", ["json"], words, errors)

        assert child.ended_within(20.0) == 0
        assert words.read_text() == repr(("cpu", ["json"], words))
        assert errors.read_text() == "terminate called"

    def test_is_running_until_it_ends(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        read, write = os.pipe()
        monkeypatch.setattr(preflight, "_tell", lambda *_: os.read(read, 1))

        child = preflight._forked("cpu", [], tmp_path / "words", tmp_path / "errors")

        assert child.pid != os.getpid()
        assert child.poll() is None
        os.write(write, b"!")
        assert child.ended_within(20.0) == 0
        os.close(read)
        os.close(write)

    def test_that_is_killed_has_the_signal_for_a_code(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(preflight, "_tell", lambda *_: time.sleep(20))

        child = preflight._forked("cpu", [], tmp_path / "words", tmp_path / "errors")
        os.kill(child.pid, signal.SIGTERM)

        assert child.ended_within(10.0) == -signal.SIGTERM

    def test_is_made_without_python_s_warning_of_threads(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[str] = []

        def fork() -> int:
            warnings.warn("of threads", DeprecationWarning, stacklevel=1)
            made.append("copy")
            warnings.warn("of something else", UserWarning, stacklevel=1)
            return 7

        monkeypatch.setattr(os, "fork", fork)
        with pytest.raises(UserWarning, match="of something else"):
            preflight._forked("cpu", [], Path("words"), Path("errors"))

        assert made == ["copy"]


class TestNewProcess:
    """A child that is a new process."""

    def test_is_given_the_words_device_plug_ins_and_this_path(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        started: list[Any] = []

        def popen(command: list[str], **options: Any) -> Any:
            started.append((command, options, options["stderr"].name))
            return SimpleNamespace(pid=7, poll=lambda: 3)

        monkeypatch.setattr(subprocess, "Popen", popen)
        monkeypatch.setattr(sys, "path", ["", "/one", "/two"])
        monkeypatch.setenv("PYTHONPATH", "/old")
        monkeypatch.setenv("KEPT", "yes")
        words, errors = tmp_path / "words", tmp_path / "errors"

        child = preflight._spawned("toy:1", ["one", "two"], words, errors)

        [(command, options, stderr)] = started
        assert (child.pid, child.poll()) == (7, 3)
        assert command == [
            *(sys.executable, "-m", "blitz.preflight"),
            *(str(words), "toy:1", "one", "two"),
        ]
        assert options["stdin"] == options["stdout"] == subprocess.DEVNULL
        assert (stderr, errors.read_text()) == (str(errors), "")
        package = str(Path(preflight.__file__).resolve().parents[1])
        assert options["env"]["PYTHONPATH"] == os.pathsep.join([package, "/one", "/two"])
        assert options["env"]["KEPT"] == "yes"


class TestTelling:
    @pytest.fixture(autouse=True)
    def quiet(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        quiet: list[str] = []
        monkeypatch.setattr(preflight, "_end_quietly", lambda: quiet.append("quiet"))
        return quiet

    def told(self, words: Path) -> list[Any]:
        return [json.loads(line) for line in words.read_text().splitlines()]

    def test_writes_each_word_before_it_goes_on(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quiet: list[str]
    ) -> None:
        words = tmp_path / "words"
        words.write_text('["stage", "start"]\n')

        def trial(device: str, modules: list[str], say: Any) -> None:
            assert quiet == ["quiet"]
            say("stage", [device, modules])
            assert self.told(words) == [["stage", "start"], ["stage", ["cpu", ["json"]]]]

        monkeypatch.setattr(preflight, "trial", trial)
        preflight._tell("cpu", ["json"], words)

        assert self.told(words)[2:] == [["verdict", ["USABLE", ""]]]

    @pytest.mark.parametrize(
        ("error", "verdict"),
        [
            (ValueError("confused\nfor long"), ["FAILED", "ValueError: confused"]),
            (WrongValues("6"), ["WRONG_VALUES", "WrongValues: 6"]),
            (SystemExit(3), ["FAILED", "SystemExit: 3"]),
        ],
        ids=["failed", "wrong_values", "exit"],
    )
    def test_ends_with_the_verdict_on_any_error(
        self,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        error: BaseException,
        verdict: list[str],
    ) -> None:
        def trial(*_: Any) -> None:
            raise error

        monkeypatch.setattr(preflight, "trial", trial)
        preflight._tell("cpu", [], tmp_path / "words")

        assert self.told(tmp_path / "words") == [["verdict", verdict]]


class TestCrash:
    def test_leaves_no_core_and_no_trace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import resource

        done: list[Any] = []
        monkeypatch.setattr(faulthandler, "disable", lambda: done.append("no trace"))
        monkeypatch.setattr(resource, "setrlimit", lambda *given: done.append(given))

        preflight._end_quietly()

        assert done == ["no trace", (resource.RLIMIT_CORE, (0, 0))]

    def test_may_leave_a_core_where_there_are_no_limits(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        monkeypatch.setattr(faulthandler, "disable", lambda: done.append("no trace"))
        monkeypatch.setitem(sys.modules, "resource", None)

        preflight._end_quietly()

        assert done == ["no trace"]


class TestFinding:
    def found(self, folder: Path, words: list[Any], errors: bytes = b"", code: int = 0) -> Finding:
        (folder / "words").write_text("".join(json.dumps(word) + "\n" for word in words))
        (folder / "errors").write_bytes(errors)
        return preflight._finding("toy", folder / "words", folder / "errors", code, 9.0, 1.5)

    def test_holds_the_last_stage_and_all_facts_and_gaps(self, tmp_path: Path) -> None:
        words = [
            ["stage", "one"],
            ["facts", {"device": "toy:0", "count": "1"}],
            ["gap", ["float64", "no room"]],
            ["facts", {"count": "2"}],
            ["stage", "two"],
            ["gap", ["int64", "not yet"]],
            ["verdict", ["FAILED", "confused"]],
        ]

        assert self.found(tmp_path, words, b"noise", -6) == Finding(
            "toy",
            Verdict.FAILED,
            "confused",
            "two",
            {"device": "toy:0", "count": "2"},
            {"float64": "no room", "int64": "not yet"},
            1.5,
        )

    @pytest.mark.parametrize(
        ("errors", "detail"),
        [
            (b"", "SIGABRT"),
            (b"first\nlast word\n\n", "SIGABRT: last word"),
            (b"caf\xe9 \xff\n", "SIGABRT: caf\ufffd \ufffd"),
        ],
        ids=["silent", "last_line", "no_text"],
    )
    def test_of_a_crash_holds_the_last_words(
        self, tmp_path: Path, errors: bytes, detail: str
    ) -> None:
        crashed = Finding("toy", Verdict.CRASHED, detail, "start", {}, {}, 1.5)

        assert self.found(tmp_path, [], errors, -signal.SIGABRT) == crashed

    @pytest.mark.parametrize(
        ("code", "words", "verdict", "detail"),
        [
            (None, "", Verdict.HUNG, "no end after 0.5 s"),
            (0, "", Verdict.CRASHED, "exit code 0"),
            (1, "why", Verdict.CRASHED, "exit code 1: why"),
            (-1, "", Verdict.CRASHED, "SIGHUP"),
            (-11, "", Verdict.CRASHED, "SIGSEGV"),
            (-9, "", Verdict.CRASHED, "SIGKILL, perhaps from a system short of memory"),
            (-9, "why", Verdict.CRASHED, "SIGKILL, perhaps from a system short of memory: why"),
        ],
    )
    def test_of_a_child_without_a_verdict_says_how_it_ended(
        self, code: int | None, words: str, verdict: Verdict, detail: str
    ) -> None:
        assert preflight._ending(code, 0.5, words) == (verdict, detail)

    def test_is_told_in_a_sentence_or_two(self) -> None:
        remedy = Verdict.HUNG.remedy

        assert str(Finding("toy", Verdict.USABLE, "x", "y")) == "device 'toy' is usable"
        assert str(Finding("toy", Verdict.HUNG, "no end", "compute")) == (
            f"device 'toy' cannot be used: hung (no end), at the stage 'compute'. {remedy}"
        )
        assert str(Finding("toy", Verdict.HUNG, stage="compute")) == (
            f"device 'toy' cannot be used: hung, at the stage 'compute'. {remedy}"
        )


class TestCheck:
    @pytest.fixture
    def started(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[Any]:
        """How children are started; each takes 2 seconds and crashes."""
        started: list[Any] = []

        def starter(how: str) -> Callable[..., Any]:
            def start(device: str, modules: Any, words: Path, errors: Path) -> Any:
                assert words.read_text() == ""
                words.write_text('["stage", "compute"]\n')
                errors.write_text("last words")
                started.append((how, device, modules, words, errors))

                def ended_within(limit: float) -> int | None:
                    clock.sleep(2.0)
                    return None if limit < 2.0 else -signal.SIGABRT

                return SimpleNamespace(ended_within=ended_within)

            return start

        monkeypatch.setattr(preflight, "_forked", starter("copy"))
        monkeypatch.setattr(preflight, "_spawned", starter("new"))
        return started

    def test_gives_what_became_of_the_child(self, started: list[Any]) -> None:
        found = preflight.check("toy", modules=["json"], limit=9.0)

        detail = "SIGABRT: last words"
        assert found == Finding("toy", Verdict.CRASHED, detail, "compute", {}, {}, 2.0)
        [(how, device, modules, words, errors)] = started
        assert (how, device, modules) == ("new", "toy", ["json"])
        assert (words.name, errors.name) == ("words", "errors")
        assert words.parent == errors.parent
        assert words.parent.name.startswith("blitz-preflight-")
        assert not words.parent.exists()

    def test_keeps_to_the_limit(self, started: list[Any]) -> None:
        found = preflight.check("toy", limit=1.0)

        assert (found.verdict, found.detail) == (Verdict.HUNG, "no end after 1 s")

    @pytest.mark.parametrize(
        ("name", "modules", "platform", "loaded", "how"),
        [
            ("cpu", [], "linux", True, "copy"),
            ("toy", [], "linux", True, "new"),
            ("cpu", ["json"], "linux", True, "new"),
            ("cpu", [], "darwin", True, "new"),
            ("cpu", [], "linux", False, "new"),
        ],
    )
    def test_copies_this_process_for_the_cpu_where_it_can(
        self,
        started: list[Any],
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        modules: list[str],
        platform: str,
        loaded: bool,
        how: str,
    ) -> None:
        monkeypatch.setattr(sys, "platform", platform)
        if not loaded:
            modules_without = {k: v for k, v in sys.modules.items() if k != "torch"}
            monkeypatch.setattr(sys, "modules", modules_without)

        preflight.check(name, modules=modules)

        assert started[0][0] == how

    @pytest.mark.parametrize(("fork", "how"), [(True, "copy"), (False, "new")])
    def test_does_as_it_is_told(self, started: list[Any], fork: bool, how: str) -> None:
        preflight.check("cpu", modules=["json"] if fork else [], fork=fork)

        assert started[0][0] == how
