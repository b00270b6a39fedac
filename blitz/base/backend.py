"""What torch's backends offer under names of their own: waiting, random generators, memory.

A backend brings a module (``torch.cuda``, ``torch.mps``, ``torch.npu``). What stands in it differs,
and so do the arguments: those of MPS take no device.
"""

import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from blitz.base.errors import UnusableDevice, first_line
from blitz.base.versions import NOT_INSTALLED, installed

MEMINFO = Path("/proc/meminfo")


_warned: list[str] = []


def finds_accelerator() -> bool:
    """Return whether torch finds an accelerator; :func:`driver_warning` keeps what it warns of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = torch.accelerator.is_available()
    _warned.extend(first_line(Warning(each.message)) for each in said)
    return found


def driver_warning() -> str:
    """Return what torch said of the driver as it looked for an accelerator; empty for nothing.

    torch warns once a process, of a driver that is too old for this build.
    """
    return _warned[0] if _warned else ""


def module_of(device: torch.device) -> ModuleType | None:
    """Return ``torch.cuda`` for ``cuda:1``; None for cpu, meta and backends without a module."""
    if device.type in ("cpu", "meta"):
        return None
    try:
        return torch.get_device_module(device)
    except RuntimeError:
        return None


def _packages(device: torch.device) -> list[ModuleType]:
    modules = (module_of(device), sys.modules.get(f"torch_{device.type}"))
    names = {module.__name__.partition(".")[0] for module in modules if module is not None}
    return [sys.modules[name] for name in sorted(names - {"torch"}) if name in sys.modules]


def package_of(device: torch.device) -> str:
    """Return name and version of the package that brings ``device``; empty for torch's own."""
    found = [(each.__name__, installed(each.__name__)) for each in _packages(device)]
    return ", ".join(f"{name} {version}" for name, version in found if version != NOT_INSTALLED)


def folders_of(device: torch.device) -> list[Path]:
    """Return the folders of the package that brings ``device``; none for torch's own."""
    return [Path(folder) for each in _packages(device) for folder in getattr(each, "__path__", ())]


def synchronize(device: torch.device) -> None:
    """Wait until everything queued on ``device`` is done; return at once on the cpu and on meta.

    Raises:
        UnusableDevice: the device offers no way to wait for it, so nothing on it can be timed.
    """
    if device.type in ("cpu", "meta"):
        return
    wait = getattr(module_of(device), "synchronize", None)
    if wait is None:
        raise UnusableDevice(
            f"device {str(device)!r} cannot be timed: torch.{device.type}.synchronize does not "
            "exist. Update the backend, or leave this device out of the benchmarks."
        )
    wait(*_arguments(wait, device))


def seed(number: int, used: Iterable[torch.device]) -> None:
    """Seed the random generators of the cpu and of the devices in ``used`` that can be seeded."""
    # torch.manual_seed would seed every backend that torch knows, which takes a millisecond.
    torch.default_generator.manual_seed(number)
    for device in used:
        for module in _seeded(device):
            # CUDA, XPU and NPU seed all their devices with one call; MPS has manual_seed alone.
            plant = getattr(module, "manual_seed_all", getattr(module, "manual_seed", None))
            if plant is not None:
                plant(number)


def _seeded(device: torch.device) -> Iterator[object]:
    """Yield what may have a function that seeds ``device``."""
    module = module_of(device)
    yield module
    # XLA is seeded by torch_xla.manual_seed: torch.manual_seed does not know it.
    yield sys.modules.get(f"torch_{device.type}")
    # torchax 0.0.13 has an environment to seed; its torch.jax.manual_seed_all does nothing.
    package = sys.modules.get(getattr(module, "__name__", "").partition(".")[0])
    environment = getattr(package, "default_env", None)
    if environment is not None:
        yield environment()


@contextmanager
def forked_generators(used: Iterable[torch.device]) -> Iterator[list[torch.device]]:
    """Restore the random generators of the cpu and of the devices in ``used`` on the way out.

    A generator whose state the backend does not show is left alone; yield the devices of the rest.
    """
    with ExitStack() as stack:
        restored = []
        stack.enter_context(torch.random.fork_rng(devices=[]))
        for device in used:
            module: Any = module_of(device)
            if hasattr(module, "get_rng_state") and hasattr(module, "set_rng_state"):
                place = _arguments(module.get_rng_state, device)
                state = module.get_rng_state(*place)
                if isinstance(state, torch.Tensor):  # torchax 0.0.13 gives a list
                    stack.callback(module.set_rng_state, state, *place)
                    restored.append(device)
        yield restored


def free_bytes(device: torch.device) -> int | None:
    """Return the bytes still free on ``device``; None where the system does not say.

    On the cpu, caches that the kernel would give back count as free. A limit on this process
    alone, such as a container's, is not seen.
    """
    if device.type == "cpu":
        return _free_on_host()
    ask = getattr(module_of(device), "mem_get_info", None)
    if ask is None:
        return None
    try:
        free: int = ask(device)[0]
    except RuntimeError:  # XPU raises where its driver does not tell
        return None
    return free


def allocated_bytes(device: torch.device) -> int | None:
    """Return the bytes in tensors on ``device``; None where torch does not count, as on the cpu."""
    ask = getattr(module_of(device), "memory_allocated", None)
    return None if ask is None else ask(device)


@cache
def _arguments(function: Callable[..., object], device: torch.device) -> tuple[torch.device, ...]:
    """Return the device as an argument, or none for functions that take none (MPS)."""
    try:
        return (device,) if inspect.signature(function).parameters else ()
    except ValueError:  # written in C, without a signature
        return (device,)


def _free_on_host() -> int | None:
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        # Linux has MemAvailable since 3.14; MemFree would leave out the page cache.
        return next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration):
        return None  # not Linux
