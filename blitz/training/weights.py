"""The file of a classifier's weights: written whole, and read without trust."""

import os
import re
from typing import Any

import torch
from torch import nn

from blitz.base import files
from blitz.base.errors import BlitzError
from blitz.classifier import Net

KEYS = ("state_dict", "model_state_dict", "model", "net")
"""Where checkpoints keep a net's state_dict: Lightning's, the PyTorch recipes', …, and ours."""

_WRAPPED = re.compile(r"(module\.|_orig_mod\.)+")
"""What DataParallel and torch.compile put before the names of a net's weights."""

_REMEDY = "Give a file of such weights, as blitz train writes it (model.pt)."


class WeightsError(BlitzError, RuntimeError):
    """Weights that cannot be read; the message names the path, the fault and the remedy."""


def save(net: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write the weights of ``net`` (its state_dict, nothing else) to ``path``, whole or not at all.

    Raises WriteError; an earlier file is then as it was. Tutorial: "Train the network".
    """
    files.write(path, files.dump(net.state_dict()), "the weights")


def load(path: str | os.PathLike[str], device: torch.device | None = None) -> Net:
    """Return the net whose weights are in ``path``, of their width, on ``device`` or the cpu.

    Besides files that :func:`save` wrote, these are taken: weights saved from DataParallel or from
    torch.compile, weights in the dict of a checkpoint (under one of :data:`KEYS`), and the file
    format before torch 1.6. The file is not trusted, and no code in it runs; the random generator
    is left as it was.

    Raises:
        WeightsError: there is no such file, it is damaged, holds something else than the weights
            of such a net, or would run code.

    Tutorial: "Test the network on the test data".
    """
    try:
        content = files.read_tensors(path, device or torch.device("cpu"), "a file of weights")
    except files.ReadError as error:
        raise WeightsError(f"{path}: {error}. {_REMEDY}") from error
    state = _state_in(content)
    if state is None:
        raise WeightsError(
            f"{path}: holds a {type(content).__name__} without weights by name. {_REMEDY}"
        )
    first = state.get("conv1.weight", torch.empty(()))
    with torch.random.fork_rng(devices=[]):  # a new net draws its first weights
        net = Net(max(1, len(first)) if first.dim() else 1).to(device)
    # Ours first: load_state_dict names all differences, some dozen lines for another net.
    fault = _difference(state, net.state_dict())
    if fault is not None:
        raise WeightsError(f"{path}: holds the weights of another net: {fault}. {_REMEDY}")
    net.load_state_dict(state)
    return net


def _state_in(content: Any) -> dict[str, torch.Tensor] | None:
    """Return the float tensors by the names they have in a bare net, or None if there are none."""
    if not isinstance(content, dict):
        return None
    # The first that holds a dict: a checkpoint of ours has its net under "net".
    inner = (content[key] for key in KEYS if isinstance(content.get(key), dict))
    state = next(inner, content)
    if not state or not all(
        isinstance(name, str) and torch.is_tensor(weight) and weight.is_floating_point()
        for name, weight in state.items()
    ):
        return None
    return {_WRAPPED.sub("", name): weight for name, weight in state.items()}


def _difference(state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> str | None:
    """Return the first difference in names and shapes, or None. torch lists all of them."""
    for name, weight in wanted.items():
        if name not in state:
            return f"it has no {name}"
        if state[name].shape != weight.shape:
            found, right = tuple(state[name].shape), tuple(weight.shape)
            return f"its {name} has shape {found}, not {right}"
    more = [name for name in state if name not in wanted]
    return f"its {more[0]} is not part of this one" if more else None
