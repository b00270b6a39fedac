"""The file of a classifier's weights: written whole, and read without trust.

Tutorial: "Train the network", "Test the network on the test data".
"""

import os
from pathlib import Path

import torch
from torch import nn

from blitz import devices
from blitz.base import files
from blitz.base.errors import BlitzError
from blitz.classifier import Net


class WeightsError(BlitzError, RuntimeError):
    """Weights that cannot be written or read; the message names the path, fault and remedy."""


def save(net: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write the weights of ``net`` (its state_dict, nothing else) to ``path``, whole or not at all.

    A file that is there already is replaced once the new one is complete on the disk.

    Raises:
        WriteError: the file cannot be written there; an earlier one is as it was.
        WeightsError: the net lies on meta and has no values.

    Tutorial: "Train the network".
    """
    state = net.state_dict()
    if any(tensor.is_meta for tensor in state.values()):
        raise WeightsError(
            f"{path}: not written, since the net lies on meta and has no values. Save a net that "
            "lies on the cpu or on an accelerator."
        )
    files.write(path, files.dump(state), "the weights")


def load(
    path: str | os.PathLike[str], device: str | torch.device = "cpu", width: int | None = 6
) -> Net:
    """Return a net of ``width`` on ``device`` with the weights that :func:`save` wrote to ``path``.

    A ``width`` of None takes the one that the file has.

    The file is not trusted: its checksums are compared, only tensors are read from it, and no code
    in it runs. The random generator is left as it was.

    Raises:
        WeightsError: there is no such file, it is damaged, holds something else than the weights
            of such a net, or would run code.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Test the network on the test data".
    """
    device = devices.resolve(device)
    state = _read_state(Path(path), device)
    found = _width_of(state)
    if None not in (found, width) and found != width:
        raise WeightsError(
            f"{path}: holds a net of width {found}, not {width}. Load it with width={found}."
        )
    with torch.random.fork_rng(devices=[]):
        net = Net(found or width or 1).to(device)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{path}: holds the weights of another net. Give a file that blitz train wrote. "
            f"(torch: {error})"
        ) from error
    return net


def _width_of(state: dict[str, torch.Tensor]) -> int | None:
    """Return the width of the net that ``state`` is of; None for another network's."""
    first = state.get("conv1.weight")
    return len(first) if first is not None and first.shape[1:] == (3, 5, 5) else None


def _read_state(path: Path, device: torch.device) -> dict[str, torch.Tensor]:
    """Return the tensors by name in the file ``path``, which is not trusted."""
    remedy = "Save the weights again with blitz train, or give another file."
    try:
        state = files.read_tensors(path, device, "a file of weights")
    except files.ReadError as error:
        raise WeightsError(f"{path}: {error}. {remedy}") from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and torch.is_tensor(weight) and weight.is_floating_point()
        for name, weight in state.items()
    ):
        raise WeightsError(
            f"{path}: holds a {type(state).__name__} that is not a state_dict of float tensors by "
            f"name. {remedy}"
        )
    return state
