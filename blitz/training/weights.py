"""The file of a classifier's weights, read without trust."""

import os
from typing import Any

import torch

from blitz.base import files
from blitz.base.errors import BlitzError
from blitz.classifier import Net

KEYS = ("state_dict", "model_state_dict", "model", "net")
"""Where checkpoints keep a net's state_dict: Lightning's, the PyTorch recipes', …, and ours."""

_FIRST = "conv1.weight"

_REMEDY = (
    "Save such a net with torch.save(net.state_dict(), FILE); the dict of a checkpoint may hold it "
    f"under {', '.join(KEYS)}."
)


def load(path: str | os.PathLike[str], device: torch.device | None = None) -> Net:
    """Return the net whose weights are in ``path``, of their width, on ``device`` or the cpu.

    Besides a training's model.pt these are taken: weights saved from DataParallel, from
    torch.compile or as a part of a larger module, weights in the dict of a checkpoint (under
    :data:`KEYS`), and the file format before torch 1.6. The file is not trusted, and no code in it
    runs; the random generator is left as it was.

    Raises:
        BlitzError: there is no such file, it is damaged, holds something else than the weights
            of such a net, or would run code.

    Tutorial: "Test the network on the test data".
    """
    content = files.read_tensors(path, "a file of weights", _REMEDY)
    state = _state_in(content)
    if not state:
        raise BlitzError(
            f"{path}: holds a {type(content).__name__} without weights by name. {_REMEDY}"
        )
    first = state.get(_FIRST, torch.empty(()))
    # No memory for a forged width, and no draw of first weights.
    with torch.device("meta"):
        net = Net(max(1, len(first)) if first.dim() else 1)
    # Ours first: load_state_dict names all differences, some dozen lines for another net.
    fault = _difference(state, net.state_dict())
    if fault is not None:
        raise BlitzError(f"{path}: cannot be the weights of the tutorial's net: {fault}. {_REMEDY}")
    net.to_empty(device="cpu").load_state_dict(state)
    return net.to(device)


def _state_in(content: Any) -> dict[str, torch.Tensor]:
    """Return the tensors in ``content`` by the names they have in a bare net."""
    if isinstance(content, dict):
        # The first that holds a dict: a checkpoint of ours has its net under "net".
        inner = (content[key] for key in KEYS if isinstance(content.get(key), dict))
        content = next(inner, content)
    items = content.items() if isinstance(content, dict) else []
    state = {
        str(name).replace("_orig_mod.", ""): weight  # torch.compile's
        for name, weight in items
        if torch.is_tensor(weight)
    }
    # DataParallel puts "module." before the names, a Lightning module its attribute.
    before = {name.removesuffix(_FIRST) for name in state if name.endswith(_FIRST)}
    prefix = before.pop() if len(before) == 1 else ""
    return {n.removeprefix(prefix): weight for n, weight in state.items() if n.startswith(prefix)}


def _difference(state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> str | None:
    """Return the first fault in names, shapes and numbers, or None. torch lists all of them."""
    for name in {**wanted, **state}:
        if name not in state:
            return f"it has no {name}"
        if name not in wanted:
            return f"its {name} is not part of this one"
        weight, shape = state[name], wanted[name].shape
        if weight.shape != shape:
            return f"its {name} has shape {tuple(weight.shape)}, not {tuple(shape)}"
        # An expanded tensor could ask for more memory than there is, once it is copied.
        dense = (
            weight.layout == torch.strided and weight.nbytes <= weight.untyped_storage().nbytes()
        )
        if not dense or weight.is_meta or not weight.is_floating_point():
            return f"its {name} is no dense tensor of floating-point numbers"
        if not weight.float().isfinite().all():
            return f"its {name} has numbers that are not finite"
    return None
