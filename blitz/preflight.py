"""Whether a device can be trusted with anything: a few known sums, in a process of their own.

A device that crashes or hangs takes its process with it, so the trial runs in a child with a time
limit. What became of it is one of :class:`Verdict`, each with a remedy. The child writes what it is
about to do into a file, line by line, so that its last words outlive it.

For the cpu the child is a copy of this process, which spares it the import of torch; for all else
it is a new process, since drivers do not survive a fork.
"""

import contextlib
import faulthandler
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from blitz.base.errors import first_line
from blitz.base.versions import installed

if TYPE_CHECKING:  # the parent of a trial has no need of torch
    from torch import Tensor
    from torch import device as Device

LIMIT = 120.0
"""Seconds that a trial may take: importing torch and starting a cold GPU included."""

AFTER_KILL = 5.0
"""Seconds to wait for a killed child; one that is stuck in its driver never ends."""


ANY = "accelerator"
"""In place of a device's name: the accelerator that torch finds, whatever its name."""


class Verdict(Enum):
    """What became of a trial: a phrase, and what to do about it."""

    USABLE = ("usable", "Nothing to do.")
    NOT_BUILT = (
        "torch was built without this device",
        "Check the device's name, install a build of torch that supports it, or name the plug-in "
        "that brings it with --import MODULE.",
    )
    NO_DRIVER = (
        "no such device, no driver, or too old a driver",
        "Check that the vendor's tool (nvidia-smi, rocm-smi, xpu-smi) lists the device, and "
        "install a driver that suits this build of torch.",
    )
    WRONG_ARCHITECTURE = (
        "this build of torch has no kernels for this GPU's architecture",
        "Install a build of torch whose list of architectures holds this GPU's.",
    )
    TORCHVISION_MISMATCH = (
        "torchvision was built for another torch",
        "Install torch and the torchvision that belongs to it, both in one command.",
    )
    NUMPY_UNUSABLE = (
        "NumPy cannot be used from torch",
        "Install NumPy, in a version that this build of torch was made for.",
    )
    OUT_OF_MEMORY = (
        "out of memory",
        "End the other programs that use the device, or choose another one.",
    )
    WRONG_VALUES = (
        "wrong values",
        "Do not train on it. Update its driver and its build of torch, then report it to the "
        "maintainers of the backend.",
    )
    FAILED = (
        "an operation that every device needs failed",
        "Read the error, update the backend, and report it to its maintainers.",
    )
    CRASHED = (
        "crashed",
        "The driver and this build of torch do not go together, or the device is broken. Update "
        "both; for a GPU that torch half supports, choose another build.",
    )
    HUNG = (
        "hung",
        "Restart the device or the machine and end other programs that use it; if it is only "
        "slow, allow it more time with --preflight-limit SECONDS.",
    )

    def __init__(self, phrase: str, remedy: str) -> None:
        self.phrase = phrase
        self.remedy = remedy


@dataclass(frozen=True)
class Finding:
    """The outcome of a trial.

    Attributes:
        device: The device's name as it was asked for.
        verdict: What became of the trial.
        detail: The error, the wrong values, or the signal; empty where it went well.
        stage: What the trial was doing last.
        facts: What is known of the device and of this torch, by name. ``device`` is the device
            with its index, ``count`` how many of its type this process may use.
        gaps: What the device does not have, such as ``float64`` or ``aten::max_pool2d``, and the
            first line of the error that said so.
        seconds: How long it took.
    """

    device: str
    verdict: Verdict
    detail: str = ""
    stage: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether the device may be used."""
        return self.verdict is Verdict.USABLE

    def __str__(self) -> str:
        """The finding in a sentence or two: the device, the fault and the remedy."""
        if self.usable:
            return f"device {self.device!r} is usable"
        detail = f" ({self.detail})" if self.detail else ""
        return (
            f"device {self.device!r} cannot be used: {self.verdict.phrase}{detail}, at the stage "
            f"{self.stage!r}. {self.verdict.remedy}"
        )


class WrongValues(Exception):
    """The device computed something else than what is known, or somewhere else."""


class TorchvisionMismatch(Exception):
    """torchvision does not go with this torch."""


Say = Callable[[str, Any], None]


def check(
    device: str, *, modules: Sequence[str] = (), limit: float = LIMIT, fork: bool | None = None
) -> Finding:
    """Try ``device`` in a child process.

    Args:
        device: Any name that torch or a backend's plug-in knows, or :data:`ANY`.
        modules: Plug-ins to import first.
        limit: Seconds after which the child is ended and the verdict is ``HUNG``.
        fork: Whether the child is a copy of this process or a new one; None for a copy where
            nothing but the cpu is touched and the platform can.
    """
    if fork is None:
        fork = (
            device == "cpu" and not modules and sys.platform == "linux" and "torch" in sys.modules
        )
    start = _forked if fork else _spawned
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="blitz-preflight-") as folder:
        words, errors = Path(folder, "words"), Path(folder, "errors")
        words.touch()
        child = start(device, modules, words, errors)
        code = child.ended_within(limit)
        return _finding(device, words, errors, code, limit, time.monotonic() - begin)


# What the child does.


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
    gaps = _Gaps(torch, say)
    say("stage", "make a tensor")
    # Made on the cpu and moved: what any backend can do first.
    x = torch.arange(9.0).reshape(1, 1, 3, 3).to(device)
    say("facts", _facts_of_device(torch, x.device))
    if x.device.type != device.type or device.index not in (None, x.device.index):
        raise WrongValues(f"a tensor for {device_name} came to lie on {x.device}")
    _compute(torch, x, say, gaps)
    _convolve(torch, x, say, gaps)
    if device.type != "cpu":
        _probe(torch, x.device, say, gaps)


def _found(torch: ModuleType, name: str) -> "Device":
    if name == ANY:
        if not torch.accelerator.is_available():
            raise RuntimeError("no accelerator is available to torch: no such device")
        name = f"{torch.accelerator.current_accelerator().type}:0"
    device: Device = torch.device(name)
    return device


class _Gaps:
    """Runs what a backend may lack, and says so instead of failing."""

    def __init__(self, torch: ModuleType, say: Say) -> None:
        self._torch, self._say = torch, say

    @contextlib.contextmanager
    def may_lack(self, what: str | None = None, also: tuple[type, ...] = ()) -> Iterator[None]:
        """Take a missing operation (or any error in ``also``) for a gap called ``what``."""
        try:
            yield
        except (WrongValues, MemoryError, self._torch.OutOfMemoryError):
            raise
        except Exception as error:
            missing = missing_in(error)
            if missing is None and not isinstance(error, also):
                raise
            self._say("gap", [what or missing, first_line(error)])


def _compute(torch: ModuleType, x: "Tensor", say: Say, gaps: _Gaps) -> None:
    known = [[[[1.0, 3.0, 5.0], [7.0, 9.0, 11.0], [13.0, 15.0, 17.0]]]]
    say("stage", "copy back")
    _compare("a tensor copied back", x.cpu().tolist(), [[[[0, 1, 2], [3, 4, 5], [6, 7, 8]]]])
    say("stage", "go to NumPy")
    _compare("a tensor in NumPy", x.cpu().numpy().tolist(), x.cpu().tolist())
    say("stage", "compute")
    with gaps.may_lack():
        sums = x * 2 + 1
        _placed("2 x + 1", sums, x.device)
        say("stage", "synchronise")
        _synchronize(torch, x.device)
        say("stage", "copy the result back")
        _compare("2 x + 1", sums.cpu().tolist(), known)


def _convolve(torch: ModuleType, x: "Tensor", say: Say, gaps: _Gaps) -> None:
    image = x.detach().requires_grad_()
    kernel = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]).to(x.device).requires_grad_()
    with gaps.may_lack():
        say("stage", "convolve")
        out = torch.nn.functional.conv2d(image, kernel)
        _placed("a convolution", out, x.device)
        _compare("a convolution", out.detach().cpu().tolist(), [[[[27.0, 37.0], [57.0, 67.0]]]])
        say("stage", "propagate back through a convolution")
        # As a sum: for a gradient given to backward(), torch imports half a second of modules.
        (out * torch.tensor([[[[1.0, 0.0], [0.0, 2.0]]]]).to(x.device)).sum().backward()
        for what, leaf, known in (
            ("input", image, [[[[1, 2, 0], [3, 6, 4], [0, 6, 8]]]]),
            ("weight", kernel, [[[[8, 11], [17, 20]]]]),
        ):
            if leaf.grad is None:
                raise WrongValues(f"a convolution leaves no gradient of its {what}")
            _placed(f"a convolution's gradient of its {what}", leaf.grad, x.device)
            _compare(f"a convolution's gradient of its {what}", leaf.grad.cpu().tolist(), known)


def _probe(torch: ModuleType, device: "Device", say: Say, gaps: _Gaps) -> None:
    """Which dtypes and which everyday means of a backend are missing; values are the tests' job."""
    for name in ("float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool", "complex64"):
        say("stage", f"copy {name} there and back")
        # What a backend says of a dtype that it lacks has no form.
        with gaps.may_lack(name, also=(Exception,)):
            there = torch.tensor([0, 1]).to(getattr(torch, name)).to(device)
            if there.dtype is not getattr(torch, name) or there.cpu().tolist() != [0, 1]:
                say("gap", [name, f"came back as {there.cpu()}"])
    module = getattr(torch, device.type, None)
    for means, why in (
        ("synchronize", "its work cannot be timed"),
        ("manual_seed", "its random numbers cannot be repeated"),
        ("get_rng_state", "its random numbers cannot be restored"),
    ):
        if not hasattr(module, means):
            say("gap", [f"torch.{device.type}.{means}", why])


def _placed(what: str, tensor: "Tensor", device: "Device") -> None:
    if tensor.device != device:
        raise WrongValues(f"{what} lives on {tensor.device}, not on {device}")


def _compare(what: str, found: list[Any], known: list[Any]) -> None:
    if found != known:
        raise WrongValues(f"{what} is {found}, known to be {known}")


def _synchronize(torch: ModuleType, device: "Device") -> None:
    module = getattr(torch, device.type, None)
    if device.type != "cpu" and module is not None and hasattr(module, "synchronize"):
        module.synchronize()


def _check_torchvision(torch: ModuleType) -> None:
    """Compare the torch that torchvision asks for with this one; import it only in doubt."""
    from packaging.requirements import Requirement

    try:
        needs = [Requirement(need) for need in metadata.requires("torchvision") or []]
    except metadata.PackageNotFoundError:
        return  # not installed as a package: nothing to compare
    here = str(torch.__version__).partition("+")[0]
    unmet = [n for n in needs if n.name == "torch" and not n.specifier.contains(here, True)]
    if not unmet:
        return
    try:  # torchvision may have been built here, for this torch
        from torchvision.ops import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:
        raise TorchvisionMismatch(
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
        "torch is built for": ", ".join(f"{k} {v}" for k, v in built_for.items() if v)
        or "the cpu only",
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
            with contextlib.suppress(Exception):  # a fact that cannot be had is no fault
                facts[fact] = str(getattr(module, ask)(*arguments))
    return facts


# What its errors mean.


def verdict_on(error: BaseException) -> Verdict:
    """Which of the fixed list an error from a trial is."""
    if isinstance(error, WrongValues):
        return Verdict.WRONG_VALUES
    if isinstance(error, TorchvisionMismatch):
        return Verdict.TORCHVISION_MISMATCH
    if isinstance(error, MemoryError):
        return Verdict.OUT_OF_MEMORY
    text = f"{type(error).__name__}: {error}".lower()
    return next((verdict for verdict, sign in _SIGNS if re.search(sign, text)), Verdict.FAILED)


# Words of torch's own errors, lower case; the first that fits decides.
_SIGNS = (
    (
        Verdict.OUT_OF_MEMORY,
        r"out ?of ?memory|can't allocate memory|alloc_failed|not enough memory",
    ),
    (
        Verdict.WRONG_ARCHITECTURE,
        r"no kernel image|not compatible with the current pytorch|no binary for|nobinaryforgpu",
    ),
    (
        Verdict.NUMPY_UNUSABLE,
        r"numpy is not available|no module named 'numpy|_array_api not found|numpy[\w.]*multiarray",
    ),
    (Verdict.TORCHVISION_MISMATCH, r"torchvision"),
    (
        Verdict.NO_DRIVER,
        r"no nvidia driver|driver on your system is too old|driver version is insufficient"
        r"|no (cuda|hip|xpu) (gpus|devices)|no cuda-capable|invalid device ordinal"
        r"|driver initialization failed|no such device|device index|initialization error"
        r"|no xpu|invalid device id|device ordinal",
    ),
    (
        Verdict.NOT_BUILT,
        r"not compiled with|not linked with|expected one of cpu|don't have support"
        r"|could not run 'aten::|no module named|device string|not built with"
        r"|cannot access accelerator|please register|privateuse",
    ),
)

_MISSING = (
    r"could not run '(aten::[\w.]+)'",
    r"operator '(aten::[\w.]+)' is not currently (?:implemented|supported)",
    r"(\"\w+\" not implemented for '\w+')",
    r"^(\w+_overrideable) not implemented",
    r"(aten(?:::|\.)[\w.]+).*(?:not (?:yet )?(?:currently )?(?:implemented|supported)|unsupported)",
    r"(?:not (?:implemented|supported)|unsupported|unimplemented)\b.*(aten(?:::|\.)[\w.]+)",
    r"(?:doesn't|does not) support (float64|double|complex\w*|bfloat16|float16|half|int64)",
    r"does not have a corresponding module registered as '(torch\.\w+)'",
)
_NO_GAP = r"meta tensor|missing the required \"forward\""  # torch's own, on any device


def missing_in(error: BaseException) -> str | None:
    """The operation or dtype that an error says the device lacks; None where it says no such."""
    if not isinstance(error, RuntimeError | TypeError | Warning):
        return None
    text = str(error)
    for sign in _MISSING:
        found = re.search(sign, text, re.IGNORECASE)
        if found:
            return found[1].rstrip(".")
    if isinstance(error, NotImplementedError) and not re.search(_NO_GAP, text):
        return first_line(error)
    return None


# The child and how it ended.


@dataclass(frozen=True)
class _Child:
    """A running child; ``poll`` gives its exit code, negative for a signal, or None."""

    pid: int
    poll: Callable[[], int | None]

    def ended_within(self, limit: float) -> int | None:
        """Its exit code; None where it had to be killed."""
        try:
            code = self._wait(limit)
        except BaseException:  # the run was interrupted
            self._kill()
            raise
        if code is None:
            self._kill()
        return code

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        self._wait(AFTER_KILL)

    def _wait(self, limit: float) -> int | None:
        end, pause = time.monotonic() + limit, 0.001
        while (code := self.poll()) is None and time.monotonic() < end:
            time.sleep(pause)
            pause = min(0.05, pause * 1.5)
        return code


def _forked(device: str, modules: Sequence[str], words: Path, errors: Path) -> _Child:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, none of which is needed
        pid = os.fork()
    if pid == 0:
        try:
            with errors.open("w") as stream:
                os.dup2(stream.fileno(), 2)
            _tell(device, modules, words)
        finally:
            os._exit(0)

    def poll() -> int | None:
        done, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if done else None

    return _Child(pid, poll)


def _spawned(device: str, modules: Sequence[str], words: Path, errors: Path) -> _Child:
    here = [str(Path(__file__).resolve().parents[1]), *(path for path in sys.path if path)]
    with errors.open("w") as stream:
        child = subprocess.Popen(
            [sys.executable, "-m", "blitz.preflight", str(words), device, *modules],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(here)},
        )
    return _Child(child.pid, child.poll)


def _tell(device: str, modules: Sequence[str], words: Path) -> None:
    """Try the device in this process and write stages, facts and the end to the file."""
    _end_quietly()
    with words.open("a", buffering=1, encoding="utf-8") as stream:

        def say(kind: str, what: Any) -> None:
            stream.write(json.dumps([kind, what]) + "\n")

        try:
            trial(device, modules, say)
        except BaseException as error:  # whatever it is, the parent is told
            said = f"{type(error).__name__}: {first_line(error)}"
            say("verdict", [verdict_on(error).name, said])
        else:
            say("verdict", [Verdict.USABLE.name, ""])


def _end_quietly() -> None:
    """A crash is expected here: it leaves no core file and no trace in the parent's output."""
    faulthandler.disable()
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _finding(
    device: str, words: Path, errors: Path, code: int | None, limit: float, seconds: float
) -> Finding:
    stage, verdict, detail = "start", None, ""
    facts: dict[str, str] = {}
    gaps: dict[str, str] = {}
    for line in words.read_text(encoding="utf-8").splitlines():
        kind, what = json.loads(line)
        if kind == "stage":
            stage = what
        elif kind == "facts":
            facts |= what
        elif kind == "gap":
            gaps[what[0]] = what[1]
        else:
            verdict, detail = Verdict[what[0]], what[1]
    if verdict is None:
        last = errors.read_text(errors="replace").strip().splitlines()[-1:]
        verdict, detail = _ending(code, limit, "".join(last))
    return Finding(device, verdict, detail, stage, facts, gaps, seconds)


def _ending(code: int | None, limit: float, last_words: str) -> tuple[Verdict, str]:
    """The verdict on a child that ended without giving one."""
    if code is None:
        return Verdict.HUNG, f"no end after {limit:g} s"
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    if how == "SIGKILL":
        how += ", perhaps from a system short of memory"
    return Verdict.CRASHED, f"{how}: {last_words}" if last_words else how


if __name__ == "__main__":
    _tell(sys.argv[2], sys.argv[3:], Path(sys.argv[1]))
    # Not one step further: what a broken backend does at exit is no part of the trial.
    sys.stderr.flush()
    os._exit(0)
