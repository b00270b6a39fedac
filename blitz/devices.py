"""Which devices there are, and whether they can be used."""

from functools import cache

import torch

from blitz.base import backend
from blitz.base.backend import module_of
from blitz.base.errors import UnusableDevice, first_line
from blitz.preflight import Verdict, verdict_on

__all__ = ["UnusableDevice", "accelerator", "describe", "pick", "resolve", "why_unusable"]


def accelerator() -> torch.device | None:
    """Return the first accelerator that torch finds on this machine, or None.

    Being found is no proof that it works: :func:`why_unusable` tries it.
    """
    found = torch.accelerator.current_accelerator() if backend.finds_accelerator() else None
    return None if found is None else torch.device(found.type, 0)


def pick() -> torch.device:
    """Return the device to train on: the first accelerator if torch finds one, else the cpu.

    Raises:
        UnusableDevice: torch finds an accelerator, and nothing can be computed on it. There is no
            fallback: name ``cpu`` to train there.

    Tutorial: "Training on GPU".
    """
    found = accelerator()
    return torch.device("cpu") if found is None else resolve(found)


def resolve(device: str | torch.device) -> torch.device:
    """Return ``device`` as a ``torch.device`` that works here, with the index its tensors show.

    Raises:
        UnusableDevice: torch knows no such device, or nothing can be computed on it. The message
            names the device, the fault and the remedy. There is no fallback to the cpu.
    """
    return _resolve(str(device))


@cache
def _resolve(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UnusableDevice(
            f"device {name!r}: torch knows no device of this name. Use 'cpu', 'cuda', 'cuda:1', "
            f"'mps', 'xpu' or the name your backend registers. (torch: {_sentence(error)})"
        ) from error
    fault = why_unusable(device)
    if fault is not None:
        raise UnusableDevice(f"device {name!r} cannot be used: {fault}")
    # cuda becomes cuda:0, as tensors show it: device('cuda') == device('cuda:0') is False.
    return torch.empty(0).to(device).device


def why_unusable(device: torch.device) -> str | None:
    """Return None where a small sum on ``device`` comes back right, else the fault and the remedy.

    The device is tried, not asked: ``is_available()`` says yes for a driver that is too old, for
    a GPU whose kernels this build lacks and for a device that returns garbage.
    """
    if device.type == "meta":
        return None  # shapes without values: there is nothing to compute
    # torch reports a missing backend as AssertionError, NotImplementedError or RuntimeError,
    # and a plug-in that is not loaded as ModuleNotFoundError.
    errors = (RuntimeError, AssertionError, ImportError)
    there = None
    try:
        there = torch.arange(4.0).to(device)  # copied: a new backend may not make numbers yet
        if there.device.type != device.type:
            return f"a tensor for it came to lie on {there.device}. {Verdict.WRONG_VALUES.remedy}"
        sums = (there + 1).cpu().tolist()
    except errors as error:
        if there is not None and isinstance(error, NotImplementedError):
            return None  # a backend that cannot add yet has a gap, not a fault
        return f"{_sentence(error)} {verdict_on(error).remedy}"
    if sums != [1.0, 2.0, 3.0, 4.0]:
        return f"[0, 1, 2, 3] + 1 came back as {sums}. {Verdict.WRONG_VALUES.remedy}"
    return None


def describe(device: torch.device) -> str:
    """Return the device's name and, for a GPU, its model: ``cuda:0 (NVIDIA H200)``."""
    name = getattr(module_of(device), "get_device_name", None)
    return f"{device} ({name(device)})" if name is not None else str(device)


def _sentence(error: BaseException) -> str:
    line = first_line(error)
    return line if line.endswith(".") else f"{line}."
