"""Chapter 1, Tensors: the one listing of the chapter that takes more than a call of torch."""

import torch


def to_gpu(tensor: torch.Tensor) -> torch.Tensor:
    """Return ``tensor`` on the GPU if CUDA is available, else ``tensor`` itself.

    Tutorial: "Tensor Operations", the guarded move as the followed text has it.
    """
    if torch.cuda.is_available():
        tensor = tensor.to("cuda")
    return tensor


def to_accelerator(tensor: torch.Tensor) -> torch.Tensor:
    """Return ``tensor`` on the current accelerator, CUDA or another, if one is available.

    Tutorial: "Tensor Operations", the guarded move as the English original has it by now.
    """
    # torch.accelerator came with torch 2.6, the oldest release supported here.
    if torch.accelerator.is_available():
        tensor = tensor.to(torch.accelerator.current_accelerator())
    return tensor
