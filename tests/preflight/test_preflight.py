"""The trial of a device: each verdict from a child that ends that way."""

import re
import signal
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from blitz import preflight
from blitz.preflight import Verdict, child
from blitz.preflight.faults import WrongValues

# Most trials here run in a copy of this process, which spares each the import of torch.
pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs fork"),
    pytest.mark.skipif(torch.accelerator.is_available(), reason="a copy would use the accelerator"),
]

BREAKING = """
import ctypes, os, signal, time
import torch

def broken(*_, **__):
    {}

torch.Tensor.{} = broken
"""

SUM, MOVE, COPY, NUMPY = "__mul__", "to", "cpu", "numpy"


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Write a plug-in that ``--import`` finds; its name again."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str, name: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


@pytest.mark.parametrize("fork", [True, False], ids=["copy", "new_process"])
def test_cpu_is_usable(fork: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "can_fork", lambda *_: fork)

    found = preflight.check("cpu")

    assert found.verdict is Verdict.USABLE
    assert str(found) == "device 'cpu' is usable"
    assert found.facts["torch"] == str(torch.__version__)
    assert (found.facts["device"], found.facts["count"]) == ("cpu", "1")
    assert found.gaps == {}


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try devices in copies of this process, whatever they are."""
    monkeypatch.setattr(child, "can_fork", lambda *_: True)


ENDS: dict[str, tuple[str, str, Verdict, str, str]] = {
    "elsewhere": (
        MOVE,
        "return torch.ones(9, device='meta')",
        Verdict.WRONG_VALUES,
        "a tensor for cpu came to lie on meta",
        "make a tensor",
    ),
    "wrong copy": (
        COPY,
        "return torch.ones(9)",
        Verdict.WRONG_VALUES,
        r"a tensor copied back is \[1.0, .* known to be \[0, 1",
        "copy back",
    ),
    "numpy": (
        NUMPY,
        "raise RuntimeError('Numpy is not available')",
        Verdict.NUMPY_UNUSABLE,
        "Numpy is not available",
        "go to NumPy",
    ),
    "wrong values": (
        SUM,
        "return torch.zeros(9)",
        Verdict.WRONG_VALUES,
        r"2 x \+ 1 is \[1.0, 1.0, .* known to be \[1, 3",
        "copy the result back",
    ),
    "sum elsewhere": (
        SUM,
        "return torch.zeros(9, device='meta')",
        Verdict.WRONG_VALUES,
        r"2 x \+ 1 lives on meta, not on cpu",
        "compute",
    ),
    "failed": (
        SUM,
        "raise ValueError('the backend is confused')",
        Verdict.FAILED,
        "ValueError: the backend is confused",
        "compute",
    ),
    "segfault": (SUM, "ctypes.string_at(0)", Verdict.CRASHED, "SIGSEGV", "compute"),
    "exit": (SUM, "os._exit(3)", Verdict.CRASHED, "exit code 3", "compute"),
    "killed": (
        SUM,
        "os.write(2, b'terminate called'); os.kill(os.getpid(), 9)",
        Verdict.CRASHED,
        "SIGKILL.*short of memory: terminate called",
        "compute",
    ),
    "hung": (
        SUM,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        Verdict.HUNG,
        "no end after 1 s",
        "compute",
    ),
}


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize(("what", "how", "verdict", "detail", "stage"), ENDS.values(), ids=ENDS)
def test_verdict_on_a_child_that_ends_so(
    brought: Callable[[str, str], str], what: Any, how: Any, verdict: Any, detail: str, stage: str
) -> None:
    plug_in = brought(BREAKING.format(how, what), "breaking")

    limit = 1 if verdict is Verdict.HUNG else 30
    found = preflight.check("cpu", modules=[plug_in], limit=limit)

    assert found.verdict is verdict
    assert found.stage == stage
    assert re.search(detail, found.detail)
    assert f"{verdict.phrase} ({found.detail})" in str(found)
    assert str(found).endswith(verdict.remedy)


LACKING = """
import torch
def lacks(*_, **__):
    raise NotImplementedError("Could not run 'aten::mul.Tensor' with arguments of X")
"""


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize(
    ("lacks", "gaps"),
    [
        ("torch.conv2d = torch.nn.functional.conv2d = torch.Tensor.backward = lacks", []),
        ("torch.Tensor.__mul__ = lacks", ["aten::mul.Tensor"]),
    ],
    ids=["convolution and gradients", "product"],
)
def test_device_that_lacks_an_operation_is_left_to_the_claims(
    brought: Callable[[str, str], str], lacks: str, gaps: list[str]
) -> None:
    found = preflight.check("cpu", modules=[brought(LACKING + lacks, "lacking")])

    assert found.usable, found
    assert found.gaps == {gap: f"Could not run '{gap}' with arguments of X" for gap in gaps}


PRETEND_LACKS = """
import tests.pretend_backend
import torch
to = torch.Tensor.to
def without_double(tensor, *arguments, **options):
    if tensor.dtype is torch.float64 and torch.device("pretend", 0) in arguments:
        raise TypeError("no double here")
    moved = to(tensor, *arguments, **options)
    return moved.new_zeros(2) if tensor.dtype is torch.bool and moved.is_pretend else moved
torch.Tensor.to = without_double
"""


def test_dtypes_that_are_missing_or_come_back_as_others_are_gaps(
    brought: Callable[[str, str], str],
) -> None:
    plug_in = brought(PRETEND_LACKS, "without_double")

    found = preflight.check("pretend", modules=[plug_in])

    assert found.usable, found
    assert found.facts["device"] == "pretend:0"
    assert found.gaps["float64"] == "no double here"
    assert found.gaps["bool"].startswith("came back as torch.bool: [False, False]")
    assert len(found.gaps) == 2


@pytest.mark.parametrize("error", ["torch.OutOfMemoryError", "MemoryError"])
def test_memory_that_ends_while_a_dtype_is_tried_is_no_gap(
    brought: Callable[[str, str], str], error: str
) -> None:
    plug_in = brought(PRETEND_LACKS.replace("TypeError", error), "without_memory")

    found = preflight.check("pretend", modules=[plug_in])

    assert (found.verdict, found.gaps) == (Verdict.OUT_OF_MEMORY, {})


MISMATCH = """
import importlib.metadata, sys
requires = importlib.metadata.requires
importlib.metadata.requires = lambda name: (
    ["numpy", "torch (==1.0)"] if name == "torchvision" else requires(name)
)
"""
BROKEN_VISION = "sys.modules['torchvision'] = None; sys.modules['torchvision.ops'] = None"
WORKING_VISION = """
import types
ops = types.ModuleType('torchvision.ops'); ops.nms = lambda *_: None
sys.modules['torchvision.ops'] = ops
"""


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize(
    ("vision", "verdict", "detail"),
    [
        (BROKEN_VISION, Verdict.TORCHVISION_MISMATCH, "needs torch ==1.0, found"),
        (WORKING_VISION, Verdict.USABLE, ""),
    ],
    ids=["fails", "works"],
)
def test_torchvision_of_another_torch_is_told_by_its_failure(
    brought: Callable[[str, str], str], vision: str, verdict: Any, detail: str
) -> None:
    found = preflight.check("cpu", modules=[brought(MISMATCH + vision, "other")])

    assert found.verdict is verdict
    assert detail in found.detail


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("name", ["gpu", "cuda:", ""])
def test_name_that_torch_does_not_know_is_not_built(name: str) -> None:
    assert preflight.check(name).verdict is Verdict.NOT_BUILT


def test_cuda_without_a_gpu_is_refused_by_this_torch_itself() -> None:
    found = preflight.check("cuda")  # in a new process: CUDA refuses to start in a copy

    built = torch.version.cuda is not None
    assert found.verdict is (Verdict.NO_DRIVER if built else Verdict.NOT_BUILT)


@pytest.mark.usefixtures("copied")
def test_accelerator_that_torch_does_not_find_has_no_driver(
    brought: Callable[[str, str], str],
) -> None:
    plug_in = brought(
        "import torch, warnings\n"
        "def asked():\n"
        "    warnings.warn('The NVIDIA driver on your system is too old')\n"
        "torch.accelerator.is_available = asked",
        "asking",
    )

    found = preflight.check(preflight.ANY, modules=[plug_in])

    assert found.verdict is Verdict.NO_DRIVER
    assert "to torch: The NVIDIA driver on your system is too old" in found.detail


def test_broken_numpy_is_told_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(
        "raise ImportError('numpy._core.multiarray failed')"
    )
    monkeypatch.syspath_prepend(tmp_path)

    assert preflight.check("cpu", modules=["json"]).verdict is Verdict.NUMPY_UNUSABLE


@pytest.mark.usefixtures("copied")
def test_plug_in_that_breaks_is_named_as_the_stage(brought: Callable[[str, str], str]) -> None:
    plug_in = brought("raise OSError('libbackend.so: not found')", "bad")

    found = preflight.check("cpu", modules=[plug_in])

    assert (found.verdict, found.stage) == (Verdict.FAILED, "import bad")


class TestHowTheChildIsMade:
    @pytest.mark.parametrize(
        ("name", "modules", "found", "copied"),
        [
            ("cpu", [], False, True),
            ("cpu", ["json"], False, False),
            ("meta", [], False, False),
            ("cpu", [], True, False),  # its threads would have autograd refuse in a copy
        ],
    )
    def test_copies_this_process_only_for_the_cpu_and_without_an_accelerator(
        self,
        name: str,
        modules: list[str],
        found: bool,
        copied: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        made: list[str] = []
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: found)
        monkeypatch.setattr(child, "_forked", lambda *_: made.append("copy") or 0)
        monkeypatch.setattr(child, "_spawned", lambda *_: made.append("new") or 0)

        ended = preflight.check(name, modules=modules)

        assert made == ["copy" if copied else "new"]
        assert (ended.verdict, ended.detail) == (Verdict.CRASHED, "exit code 0")

    @pytest.mark.parametrize(
        ("ends", "raised"),
        [(subprocess.TimeoutExpired("stuck", 1), None), (KeyboardInterrupt(), KeyboardInterrupt)],
        ids=["stuck in its driver", "interrupted"],
    )
    def test_one_that_does_not_end_is_killed_once_and_left(
        self, monkeypatch: pytest.MonkeyPatch, ends: BaseException, raised: Any
    ) -> None:
        killed: list[Any] = []

        class Child:
            def __init__(self, *_: object, **__: object) -> None: ...

            def kill(self) -> None:
                killed.append(self)

            def wait(self, seconds: float) -> None:
                raise subprocess.TimeoutExpired("stuck", seconds) if killed else ends

        monkeypatch.setattr(subprocess, "Popen", Child)

        with pytest.raises(raised) if raised else nullcontext():
            assert preflight.check("cpu", modules=["json"], limit=1).verdict is Verdict.HUNG

        assert len(killed) == 1


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (WrongValues("out of memory"), Verdict.WRONG_VALUES),
        (MemoryError(), Verdict.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), Verdict.OUT_OF_MEMORY),
        (RuntimeError("MPS: Not Enough Memory"), Verdict.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), Verdict.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: no kernel image is available"), Verdict.WRONG_ARCHITECTURE),
        (RuntimeError("operator torchvision::nms"), Verdict.TORCHVISION_MISMATCH),
        (RuntimeError("No CUDA GPUs are available"), Verdict.NO_DRIVER),
        (RuntimeError("Found no NVIDIA driver on your system."), Verdict.NO_DRIVER),
        (RuntimeError("The NVIDIA driver on your system is too old"), Verdict.NO_DRIVER),
        (AssertionError("Torch not compiled with CUDA enabled"), Verdict.NOT_BUILT),
        (ValueError("anything else"), Verdict.FAILED),
    ],
    ids=str,
)
def test_error_has_its_verdict(error: BaseException, verdict: Any) -> None:
    assert preflight.verdict_on(error) is verdict


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
        (RuntimeError("unsupported operator: aten::x.X."), "aten::x.X"),
        (ValueError("Operator with name aten::x.X has no lowering"), "aten::x.X"),
        (TypeError("Cannot convert: the MPS framework doesn't support float64."), "float64"),
        (NotImplementedError("npy cannot do this\nat all"), "npy cannot do this"),
        (
            UserWarning(
                "The operator 'aten::x' is not currently supported on the MPS backend and will "
                "fall back to run on the CPU"
            ),
            "aten::x",
        ),
        (NotImplementedError("Cannot copy out of meta tensor; no data!"), None),
        (NotImplementedError('missing the required "forward" function'), None),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (AssertionError("aten::mm is not supported"), None),
    ],
    ids=str,
)
def test_missing_operation_is_read_from_the_error(error: Any, missing: str | None) -> None:
    assert preflight.missing_in(error) == missing
