"""Chapter 1, Tensors: making, moving, indexing, joining, multiplying and sharing with NumPy."""

import torch

from blitz import devices


def from_data(data, device: str | torch.device = "cpu") -> torch.Tensor:
    """A tensor of nested Python numbers, its dtype inferred from them, its values copied.

    Args:
        data: Numbers nested to any depth, every level of equal length.
        device: Where to make it.

    Raises:
        ValueError, TypeError: as ``torch.tensor`` raises them for ragged or non-numeric data.
        UnusableDevice: ``device`` cannot be used here.

    Tutorial: "Tensor Initialization", directly from data.
    """
    return torch.tensor(data, device=devices.resolve(device))
