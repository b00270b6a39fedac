"""The trial itself: a tensor made, copied, computed with and copied back.

What it asks for is what no claim can be judged without. All else, gradients included, is the
specification's business.
"""

import contextlib
import faulthandler
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from blitz.base.errors import UnusableDevice, first_line
from blitz.base.versions import installed
from blitz.preflight.faults import WrongValues, missing_in, verdict_on
from blitz.preflight.findings import ANY, Verdict

if TYPE_CHECKING:  # the parent of a trial has no need of torch
    from torch import Tensor
    from torch import device as Device

Say = Callable[[str, Any], None]
"""Takes "stage", "facts" or "gap", and what is to be said of it."""

DTYPES = ("float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool", "complex64")


def tell(device: str, modules: Sequence[str], words: str) -> None:
    """Try the device in this process, write what is found to the file ``words``, and exit."""
    faulthandler.disable()  # a crash is expected here: no trace, and no core file
    with contextlib.suppress(ImportError):  # Windows has no resource
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(words, "a", buffering=1, encoding="utf-8") as stream:

        def say(kind: str, what: Any) -> None:
            stream.write(json.dumps([kind, what]) + "\n")

        try:
            trial(device, modules, say)
        except BaseException as error:  # SystemExit of a plug-in too
            said = f"{type(error).__name__}: {first_line(error)}"
            say("verdict", [verdict_on(error).name, said])
        else:
            say("verdict", [Verdict.USABLE.name, ""])
    os._exit(0)  # no exit handlers: what a broken backend does in them is no part of the trial


def trial(device_name: str, modules: Sequence[str], say: Say) -> None:
    """Try the device step by step in this process, saying each stage before it begins.

    Raises:
        Exception: whatever the device makes of it; :func:`verdict_on` puts it into the list.
    """
    say("stage", "import torch")
    import torch

    torch.set_num_threads(1)  # the threads of a process do not survive its fork
    for module in modules:
        say("stage", f"import {module}")
        importlib.import_module(module)
    say("stage", "find the device")
    device = _found(torch, device_name)
    say("facts", _facts_of_torch(torch, device))
    say("stage", "compare torchvision's version with torch's")
    _check_torchvision(torch)
    say("stage", "make a tensor")
    # Made on the cpu and moved: what any backend can do first.
    x = torch.arange(9.0).to(device)
    say("facts", _facts_of_device(torch, x.device))
    compute(torch, x, device, say)
    if device.type != "cpu":
        _probe(torch, x.device, say)


def _found(torch: ModuleType, name: str) -> "Device":
    if name == ANY:
        from blitz.base import backend  # imports torch

        if not backend.finds_accelerator():
            why = f": {warned}" if (warned := backend.driver_warning()) else ""
            raise RuntimeError(f"no such device: no accelerator is available to torch{why}")
        name = f"{torch.accelerator.current_accelerator().type}:0"
    device: Device = torch.device(name)
    return device


def compute(torch: ModuleType, x: "Tensor", device: "Device", say: Say) -> None:
    """Copy ``x``, which is 0 to 8 made for ``device``, back from it, and compute with it there.

    Raises:
        Exception: whatever the device makes of it, except that it lacks an operation.
    """
    from blitz.base import backend  # imports torch

    if x.device.type != device.type or device.index not in (None, x.device.index):
        raise WrongValues(f"a tensor for {device} came to lie on {x.device}")
    say("stage", "copy back")
    _compare("a tensor copied back", x.cpu().tolist(), [0, 1, 2, 3, 4, 5, 6, 7, 8])
    say("stage", "go to NumPy")
    _compare("a tensor in NumPy", x.cpu().numpy().tolist(), x.cpu().tolist())
    say("stage", "compute")
    with _gaps(torch, say):
        sums = x * 2 + 1
        if sums.device != x.device:
            raise WrongValues(f"2 x + 1 lives on {sums.device}, not on {x.device}")
        say("stage", "synchronise")
        # Errors of kernels that were queued come here, and not with the copy that follows.
        with contextlib.suppress(UnusableDevice):  # there is no way to wait
            backend.synchronize(x.device)
        say("stage", "copy the result back")
        _compare("2 x + 1", sums.cpu().tolist(), [1, 3, 5, 7, 9, 11, 13, 15, 17])


def _compare(what: str, found: list[Any], known: list[Any]) -> None:
    if found != known:
        raise WrongValues(f"{what} is {found}, known to be {known}")


@contextlib.contextmanager
def _gaps(torch: ModuleType, say: Say, what: str | None = None) -> Iterator[None]:
    """Say that an operation is missing, or call any error a gap named ``what``, and go on."""
    try:
        yield
    except (WrongValues, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        missing = what or missing_in(error)
        if missing is None:
            raise
        say("gap", [missing, first_line(error)])


def _probe(torch: ModuleType, device: "Device", say: Say) -> None:
    """Say which dtypes are missing: backends word the lack of one as they like."""
    for name in DTYPES:
        say("stage", f"copy {name} there and back")
        # Made on the cpu and moved: a backend may copy a dtype that it computes nothing in.
        dtype = getattr(torch, name)
        with _gaps(torch, say, name):
            there = torch.tensor([0, 1]).to(dtype).to(device)
            if there.dtype is not dtype or there.cpu().tolist() != [0, 1]:
                back = there.cpu()
                say("gap", [name, f"came back as {back.dtype}: {back.tolist()}"])


def _check_torchvision(torch: ModuleType) -> None:
    """Compare the torch that torchvision asks for with this one; import it only in doubt."""
    from packaging.requirements import Requirement

    try:
        needs = [Requirement(need) for need in metadata.requires("torchvision") or []]
    except metadata.PackageNotFoundError:
        return  # not installed as a package: nothing to compare
    # Without +cu130: a requirement names a release, not a build.
    here = str(torch.__version__).partition("+")[0]
    unmet = [n for n in needs if n.name == "torch" and not n.specifier.contains(here, True)]
    if not unmet:
        return
    try:  # torchvision may have been built here, for this torch
        from torchvision.ops import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:
        raise RuntimeError(
            f"torchvision {metadata.version('torchvision')} needs torch {unmet[0].specifier}, "
            f"found {here}: {first_line(error)}"
        ) from error


def _facts_of_torch(torch: ModuleType, device: "Device") -> dict[str, str]:
    built_for = {
        "CUDA": torch.version.cuda,
        "ROCm": torch.version.hip,
        "XPU": getattr(torch.version, "xpu", None),
    }
    facts = {
        "python": sys.version.split()[0],
        "torch": str(torch.__version__),
        "torch is built for": ", ".join(f"{k} {v}" for k, v in built_for.items() if v) or "the cpu",
        "torchvision": installed("torchvision"),
        "NumPy": installed("numpy"),
    }
    if device.type == "cuda":  # asking starts the driver
        facts["architectures in this build"] = " ".join(torch.cuda.get_arch_list()) or "none"
        facts["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        driver = Path("/proc/driver/nvidia/version")
        facts["driver"] = driver.read_text().splitlines()[0] if driver.exists() else "none found"
    return facts


def _facts_of_device(torch: ModuleType, device: "Device") -> dict[str, str]:
    module = getattr(torch, device.type, None)
    facts = {"device": str(device), "count": "1"}
    for fact, ask, arguments in (
        ("count", "device_count", ()),
        ("model", "get_device_name", (device,)),
        ("capability", "get_device_capability", (device,)),
        ("free and total memory in bytes", "mem_get_info", (device,)),
    ):
        if device.type != "cpu" and hasattr(module, ask):
            with contextlib.suppress(Exception):  # XPU raises where its driver does not tell
                facts[fact] = str(getattr(module, ask)(*arguments))
    return facts
