"""Which devices there are, and whether they can be used."""

from functools import cache

import torch

from blitz.base import backend
from blitz.base.backend import module_of
from blitz.base.errors import UnusableDevice, first_line
from blitz.preflight import trial, verdict_on

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


@cache
def resolve(device: str | torch.device) -> torch.device:
    """Return ``device`` as a ``torch.device`` that works here, with the index its tensors show.

    Raises:
        UnusableDevice: torch knows no such device, or nothing can be computed on it. The message
            names the device, the fault and the remedy. There is no fallback to the cpu.
    """
    name = str(device)
    try:
        device = torch.device(device)
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
    try:
        # Made on the cpu and moved: what any backend can do first.
        trial.compute(torch, torch.arange(9.0).to(device), device, lambda *_: None)
    except Exception as error:  # a backend may raise anything, and a lost device too
        return f"{_sentence(error)} {verdict_on(error).remedy}"
    return None


def describe(device: torch.device) -> str:
    """Return the device's name and, for a GPU, its model: ``cuda:0 (NVIDIA H200)``."""
    name = getattr(module_of(device), "get_device_name", None)
    return f"{device} ({name(device)})" if name is not None else str(device)


def _sentence(error: BaseException) -> str:
    line = first_line(error)
    return line if line.endswith(".") else f"{line}."
