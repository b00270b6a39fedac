"""The trial of a device: each verdict from a child that ends that way; what doctor prints."""

import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz import preflight
from blitz.__main__ import main
from blitz.harness import gaps
from blitz.preflight import Verdict

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs fork")

BREAKING = """
import ctypes, os, signal, time
import torch
from torch.nn import functional

def broken(*_, **__):
    {}

{} = broken
"""

CONVOLUTION, MOVE, NUMPY = "functional.conv2d", "torch.Tensor.to", "torch.Tensor.numpy"


def _raise(error: str) -> str:
    return f"raise {error}"


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Write a plug-in that ``--import`` finds; its name again."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str, name: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


@pytest.mark.parametrize("fork", [True, False], ids=["copy", "new_process"])
def test_cpu_is_usable(fork: bool) -> None:
    found = preflight.check("cpu", fork=fork)

    assert found.verdict is Verdict.USABLE
    assert str(found) == "device 'cpu' is usable"
    assert found.facts["torch"] == str(torch.__version__)
    assert (found.facts["device"], found.facts["count"]) == ("cpu", "1")
    assert found.gaps == {}


def test_cpu_costs_next_to_nothing() -> None:
    begin = time.perf_counter()
    preflight.check("cpu")

    assert time.perf_counter() - begin < 0.9


@pytest.mark.parametrize(
    ("what", "how", "verdict", "detail", "stage"),
    [
        pytest.param(
            MOVE,
            _raise("AssertionError('Torch not compiled with XPU enabled')"),
            Verdict.NOT_BUILT,
            "not compiled with XPU",
            "make a tensor",
            id="not_built",
        ),
        pytest.param(
            MOVE,
            _raise("RuntimeError('Found no NVIDIA driver on your system.')"),
            Verdict.NO_DRIVER,
            "no NVIDIA driver",
            "make a tensor",
            id="no_driver",
        ),
        pytest.param(
            MOVE,
            _raise("RuntimeError('The NVIDIA driver on your system is too old (found 9)')"),
            Verdict.NO_DRIVER,
            "too old",
            "make a tensor",
            id="old_driver",
        ),
        pytest.param(
            CONVOLUTION,
            _raise("RuntimeError('CUDA error: no kernel image is available for execution')"),
            Verdict.WRONG_ARCHITECTURE,
            "no kernel image",
            "convolve",
            id="architecture",
        ),
        pytest.param(
            NUMPY,
            _raise("RuntimeError('Numpy is not available')"),
            Verdict.NUMPY_UNUSABLE,
            "Numpy is not available",
            "go to NumPy",
            id="numpy",
        ),
        pytest.param(
            CONVOLUTION,
            "return torch.empty(1 << 60)",
            Verdict.OUT_OF_MEMORY,
            "allocate memory",
            "convolve",
            id="no_memory_on_the_host",
        ),
        pytest.param(
            CONVOLUTION,
            _raise("torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')"),
            Verdict.OUT_OF_MEMORY,
            "out of memory",
            "convolve",
            id="no_memory_on_the_device",
        ),
        pytest.param(
            CONVOLUTION,
            "return torch.zeros(1, 1, 2, 2, requires_grad=True)",
            Verdict.WRONG_VALUES,
            r"a convolution is \[\[\[\[0.0, .* known to be \[\[\[\[27.0, 37.0",
            "convolve",
            id="wrong_values",
        ),
        pytest.param(
            CONVOLUTION,
            "return torch.tensor([[[[27.0, 37.0], [57.0, 67.0]]]], requires_grad=True)",
            Verdict.WRONG_VALUES,
            "a convolution leaves no gradient of its input",
            "propagate back through a convolution",
            id="no_gradient",
        ),
        pytest.param(
            CONVOLUTION,
            _raise("ValueError('the backend is confused')"),
            Verdict.FAILED,
            "ValueError: the backend is confused",
            "convolve",
            id="failed",
        ),
        pytest.param(
            CONVOLUTION,
            "ctypes.string_at(0)",
            Verdict.CRASHED,
            "SIGSEGV",
            "convolve",
            id="segmentation_fault",
        ),
        pytest.param(CONVOLUTION, "os.abort()", Verdict.CRASHED, "SIGABRT", "convolve", id="abort"),
        pytest.param(
            CONVOLUTION, "os._exit(3)", Verdict.CRASHED, "exit code 3", "convolve", id="exit"
        ),
        pytest.param(
            CONVOLUTION,
            "os.write(2, b'terminate called without cause'); os.kill(os.getpid(), 9)",
            Verdict.CRASHED,
            "SIGKILL.*short of memory: terminate called without cause",
            "convolve",
            id="killed",
        ),
        pytest.param(
            CONVOLUTION,
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
            Verdict.HUNG,
            "no end after 1 s",
            "convolve",
            id="hung",
        ),
    ],
)
def test_verdict_on_a_child_that_ends_so(
    brought: Callable[[str, str], str], what: Any, how: Any, verdict: Any, detail: str, stage: str
) -> None:
    plug_in = brought(BREAKING.format(how, what), "breaking")

    limit = 1 if verdict is Verdict.HUNG else 30
    found = preflight.check("cpu", modules=[plug_in], fork=True, limit=limit)

    assert found.verdict is verdict
    assert found.stage == stage
    assert re.search(detail, found.detail)
    assert f"{verdict.phrase} ({found.detail})" in str(found)
    assert str(found).endswith(verdict.remedy)


MISMATCH = """
import importlib.metadata, sys
requires = importlib.metadata.requires
importlib.metadata.requires = lambda name: (
    ["numpy", "torch (==1.0)"] if name == "torchvision" else requires(name)
)
"""
BROKEN_VISION = "sys.modules['torchvision'] = None; sys.modules['torchvision.ops'] = None"


def test_torchvision_of_another_torch_is_told_by_its_failure(
    brought: Callable[[str, str], str],
) -> None:
    plug_in = brought(MISMATCH + BROKEN_VISION, "mismatch")

    found = preflight.check("cpu", modules=[plug_in], fork=True)

    assert found.verdict is Verdict.TORCHVISION_MISMATCH
    assert "needs torch ==1.0, found" in found.detail


def test_torchvision_that_works_may_ask_for_another_torch(
    brought: Callable[[str, str], str],
) -> None:
    works = "import types; ops = types.ModuleType('torchvision.ops'); ops.nms = lambda *_: None\n"
    works += "sys.modules['torchvision.ops'] = ops"

    found = preflight.check("cpu", modules=[brought(MISMATCH + works, "fits")], fork=True)

    assert found.verdict is Verdict.USABLE


@pytest.mark.parametrize("name", ["gpu", "cuda:", ""])
def test_name_that_torch_does_not_know_is_not_built(name: str) -> None:
    assert preflight.check(name, fork=True).verdict is Verdict.NOT_BUILT


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_a_gpu_is_refused_by_this_torch_itself() -> None:
    found = preflight.check("cuda")  # in a new process: CUDA refuses to start in a copy

    built = torch.version.cuda is not None
    assert found.verdict is (Verdict.NO_DRIVER if built else Verdict.NOT_BUILT)


def test_broken_numpy_is_told_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(
        "raise ImportError('numpy._core.multiarray failed')"
    )
    monkeypatch.syspath_prepend(tmp_path)

    found = preflight.check("cpu", fork=False)

    assert found.verdict is Verdict.NUMPY_UNUSABLE


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("raise OSError('libbackend.so: not found')", Verdict.FAILED),
        ("import os; os.abort()", Verdict.CRASHED),
        ("import time; time.sleep(60)", Verdict.HUNG),
    ],
)
def test_plug_in_that_breaks_is_named_as_the_stage(
    brought: Callable[[str, str], str], source: str, verdict: Any
) -> None:
    found = preflight.check("cpu", modules=[brought(source, "bad")], fork=True, limit=1)

    assert (found.verdict, found.stage) == (verdict, "import bad")


@pytest.mark.parametrize("verdict", Verdict, ids=lambda verdict: verdict.name)
def test_every_verdict_has_words_and_a_remedy(verdict: Any) -> None:
    assert verdict.phrase
    assert verdict.remedy.endswith(".")


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (NotImplementedError("Could not run 'aten::mm' with arguments from the 'X'"), "aten::mm"),
        (
            NotImplementedError("The operator 'aten::roll' is not currently implemented for MPS"),
            "aten::roll",
        ),
        (
            RuntimeError("\"addmm\" not implemented for 'Half'"),
            "\"addmm\" not implemented for 'Half'",
        ),
        (RuntimeError("mojo: aten.sort.stable is not supported"), "aten.sort.stable"),
        (RuntimeError("unsupported operator: aten::sort"), "aten::sort"),
        (
            TypeError("Cannot convert: the MPS framework doesn't support float64."),
            "float64",
        ),
        (NotImplementedError("npy cannot do this"), "npy cannot do this"),
        (
            UserWarning(
                "The operator 'aten::x' is not currently supported on the MPS backend and will "
                "fall back to run on the CPU"
            ),
            "aten::x",
        ),
        (NotImplementedError("Cannot copy out of meta tensor; no data!"), None),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (AssertionError("aten::mm is not supported"), None),
    ],
)
def test_missing_operation_is_read_from_the_error(error: Any, missing: str | None) -> None:
    assert preflight.missing_in(error) == missing


class TestDoctor:
    @pytest.fixture(autouse=True)
    def _copies(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(preflight, "check", partial(preflight.check, fork=True))

    def test_usable_device_is_0_with_its_facts(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["doctor", "--device", "cpu"]) == 0

        said = capsys.readouterr().out
        assert said.startswith("cpu: usable (tried in ")
        assert f"  torch: {torch.__version__}\n" in said

    def test_unusable_device_is_1_with_verdict_and_remedy(
        self, brought: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        plug_in = brought(BREAKING.format("os.abort()", CONVOLUTION), "aborting")

        assert main(["doctor", "--device", "cpu", "--import", plug_in]) == 1

        said = capsys.readouterr().out
        assert "cpu: NOT USABLE: crashed: SIGABRT" in said
        assert "  at the stage: convolve\n" in said
        assert f"  what to do: {Verdict.CRASHED.remedy}\n" in said

    @pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator here")
    def test_machine_without_an_accelerator_is_sound(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["doctor"]) == 0

        assert "accelerator: torch finds none on this machine" in capsys.readouterr().out

    def test_gpu_that_only_the_system_sees_is_tried(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "version").write_text("NVRM version: 1\n")
        monkeypatch.setattr("blitz.commands.doctor.NVIDIA", tmp_path / "version")
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)

        main(["doctor"])

        assert "\ncuda: " in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--import", "torch_of_nobody"], "there is no module of this name"),
            (["--device", "cpu,"], "give names such as cpu"),
            (["--device", "meta"], "nothing to try on meta"),
        ],
    )
    def test_bad_option_is_2(
        self, capsys: pytest.CaptureFixture[str], options: list[str], words: str
    ) -> None:
        assert main(["doctor", *options]) == 2
        assert words in capsys.readouterr().err


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
        assert gaps.met(error, "cpu", self.KNOWN) == gap

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

        assert gaps.met(error, "cpu", {dtype: "unlike that"}) == dtype

    def test_is_what_torch_lacks_for_the_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module, other = SimpleNamespace(), SimpleNamespace()
        monkeypatch.setattr(torch, "xpu", module)
        lacks = AttributeError(name="Event", obj=module)

        assert gaps.met(lacks, "xpu", {}) == "torch.xpu.Event"
        assert gaps.met(lacks, "cuda", {}) is None
        assert gaps.met(AttributeError(name="Event", obj=other), "xpu", {}) is None
        assert gaps.met(AttributeError(name="Event", obj=other), "vulkan", {}) is None
        assert gaps.met(AttributeError("Event"), "vulkan", {}) is None  # neither has any

    def test_may_stand_behind_the_error(self) -> None:
        known = {"float64": "no double"}
        cause, context, both, ring = (AssertionError(name) for name in "abcd")
        cause.__cause__ = RuntimeError("no double")
        context.__context__ = AttributeError("x", name="x", obj=None)
        context.__context__.__context__ = RuntimeError("no double")
        both.__cause__, both.__context__ = AssertionError("x"), RuntimeError("no double")
        ring.__cause__ = ring

        assert gaps.met(cause, "cpu", known) == "float64"
        assert gaps.met(context, "cpu", known) == "float64"
        assert gaps.met(both, "cpu", known) is None
        assert gaps.met(ring, "cpu", known) is None
