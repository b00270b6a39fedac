"""Which devices there are, whether they can be used, and how to wait for them."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from types import ModuleType

import torch
from torch import nn

from blitz.base.errors import BlitzError, first_line


class UnusableDevice(BlitzError, RuntimeError):
    """A device that was asked for and cannot be used; the message says why and what to do."""


def accelerator() -> torch.device | None:
    """The first accelerator that torch finds on this machine, or None.

    Finding one is no proof that it works: :func:`why_unusable` tries it.
    """
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return None if found is None else torch.device(found.type, 0)


def pick() -> torch.device:
    """The device to train on: the first accelerator if torch finds one, else the cpu.

    Raises:
        UnusableDevice: torch finds an accelerator, and nothing can be computed on it. It is not
            passed over in silence: name ``cpu`` to train there.

    Tutorial: "Training on GPU".
    """
    found = accelerator()
    return torch.device("cpu") if found is None else resolve(found)


def resolve(device: str | torch.device) -> torch.device:
    """``device`` as a ``torch.device`` that works here, with the index its tensors will show.

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
            f"'mps', 'xpu' or the name your backend registers. (torch: {_said(error)})"
        ) from error
    fault = why_unusable(device)
    if fault is not None:
        raise UnusableDevice(f"device {name!r} cannot be used: {fault}")
    return torch.empty(0).to(device).device


def why_unusable(device: torch.device) -> str | None:
    """None where a small sum on ``device`` comes back right, else the fault and the remedy.

    The device is tried, not asked: ``is_available()`` says yes for a driver that is too old, for
    a GPU whose kernels this build lacks and for a device that returns garbage.
    """
    if device.type == "meta":
        return None  # shapes without values: there is nothing to compute
    # torch reports a missing backend as AssertionError, NotImplementedError or RuntimeError,
    # and a plug-in that is not loaded as ModuleNotFoundError.
    errors = (RuntimeError, AssertionError, ImportError)
    try:
        there = torch.arange(4.0).to(device)  # what a backend can do before it can make numbers
    except errors as error:
        return f"{_said(error)} {_remedy(device)}"
    if there.device.type != device.type:
        return f"a tensor for it came to lie on {there.device}. Update the backend."
    try:
        sums = (there + 1).cpu().tolist()
    except NotImplementedError:
        return None  # a backend that cannot add yet has a gap, not a fault
    except errors as error:
        return f"{_said(error)} {_remedy(device)}"
    if sums != [1.0, 2.0, 3.0, 4.0]:
        return (
            f"[0, 1, 2, 3] + 1 came back as {sums}. Do not trust this device; update its driver "
            "and its torch build."
        )
    return None


def move_net(net: nn.Module, device: str | torch.device) -> nn.Module:
    """Move every parameter and buffer of ``net`` and of the modules in it; the net itself again.

    Make the optimizer after the move: on some devices (meta, a backend under PrivateUse1) the net
    gets new Parameters, and an optimizer made before would go on updating the old ones.

    Raises:
        TypeError: ``net`` is no module.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Training on GPU".
    """
    if not isinstance(net, nn.Module):
        raise TypeError(
            f"net is a {type(net).__name__}, not a torch.nn.Module. A tensor is moved with "
            "tensor = tensor.to(device), a batch of tensors with move_batch."
        )
    return net.to(resolve(device))


def move_batch(batch: Iterable[torch.Tensor], device: str | torch.device) -> list[torch.Tensor]:
    """The tensors of a batch, inputs and targets alike, on ``device``; the batch stays as it is.

    A tensor that is there already is returned itself, any other as a copy.

    Raises:
        TypeError: ``batch`` is one tensor, or holds something else than tensors.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Training on GPU".
    """
    if isinstance(batch, torch.Tensor):
        raise TypeError(
            f"batch is one tensor of shape {tuple(batch.shape)}, not a list of tensors. Give "
            "[inputs, targets], or move the one with tensor.to(device)."
        )
    tensors = list(batch)
    for place, tensor in enumerate(tensors):
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(
                f"item {place} of the batch is a {type(tensor).__name__}, not a tensor. Convert "
                "it with torch.as_tensor, or leave it out."
            )
    return [tensor.to(resolve(device)) for tensor in tensors]


def synchronize(device: torch.device) -> None:
    """Wait until everything queued on ``device`` is done; at once on the cpu and on meta.

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
    wait(device)


@contextmanager
def forked_generators(used: Iterable[torch.device]) -> Iterator[None]:
    """Restore the random generators of the cpu and of the devices in ``used`` on the way out.

    A device that cannot tell the state of its generator keeps what it has.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        for device in used:
            if has_generator(device):
                stack.callback(set_generator_state, device, generator_state(device))
        yield


def has_generator(device: torch.device) -> bool:
    """Whether this is an accelerator with a random generator whose state can be told and set."""
    module = module_of(device)
    return hasattr(module, "get_rng_state") and hasattr(module, "set_rng_state")


def generator_state(device: torch.device) -> torch.Tensor:
    """The state of the random generator of an accelerator that :func:`has_generator`."""
    module = torch.get_device_module(device)
    state: torch.Tensor = module.get_rng_state(*_arguments(module.get_rng_state, device))
    return state


def set_generator_state(device: torch.device, state: torch.Tensor) -> None:
    """Let the random generator of an accelerator go on from what :func:`generator_state` gave."""
    module = torch.get_device_module(device)
    module.set_rng_state(state, *_arguments(module.get_rng_state, device))


def seed(number: int, used: Iterable[torch.device]) -> None:
    """Seed the random generators of the cpu and of the devices in ``used`` that can be seeded.

    ``torch.manual_seed`` seeds every backend that torch knows, and takes a millisecond for it.
    """
    torch.default_generator.manual_seed(number)
    for device in used:
        module = module_of(device)
        plant = getattr(module, "manual_seed_all", getattr(module, "manual_seed", None))
        if plant is not None:
            plant(number)


def module_of(device: torch.device) -> ModuleType | None:
    """``torch.cuda`` for ``cuda:1``; None where the backend brings no such module."""
    if device.type in ("cpu", "meta"):
        return None
    try:
        return torch.get_device_module(device)
    except RuntimeError:
        return None


@cache
def _arguments(function: Callable[..., object], device: torch.device) -> tuple[torch.device, ...]:
    """What to call a backend's function with: the one device of MPS goes without saying."""
    try:
        return (device,) if inspect.signature(function).parameters else ()
    except ValueError:  # written in C, without a signature
        return (device,)


def describe(device: torch.device) -> str:
    """The device's name and, for a GPU, its model: ``cuda:0 (NVIDIA H200)``."""
    name = getattr(module_of(device), "get_device_name", None)
    return f"{device} ({name(device)})" if name is not None else str(device)


def _said(error: BaseException) -> str:
    """What torch says, as a sentence."""
    line = first_line(error)
    return line if line.endswith(".") else f"{line}."


def _remedy(device: torch.device) -> str:
    if device.type == "cuda" and torch.version.cuda is None and torch.version.hip is None:
        return "This torch was built without CUDA; install a CUDA (or ROCm) build of torch."
    if device.type == "cuda":
        return "Check that nvidia-smi lists the GPU and that its driver suits this torch build."
    return f"Check that this torch build supports {device.type!r} and that its plug-in is imported."
