"""A training on disk. The file is not trusted: its checksums are compared, and no code runs."""

import os
from typing import Any, TypedDict

import torch

from blitz.base import files
from blitz.base.errors import BlitzError

FORMAT = 5

_REMEDY = "Start anew with another --out, or put the checkpoint back from a copy."


class Checkpoint(TypedDict):
    """The state of a training between two batches.

    Attributes:
        format: :data:`FORMAT` of the version that wrote it.
        settings: What the training was started with, as numbers and texts.
        images: Digest of the training images and their order.
        losses: The losses of all batches so far, float64.
        net: The net's state_dict.
        optimizer: The optimizer's, momentum included.
        seconds: Time spent in training so far.
    """

    format: int
    settings: dict[str, Any]
    images: str
    losses: torch.Tensor
    net: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    seconds: float


def save(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path``, whole or not at all.

    Raises:
        WriteError: it cannot be written there; an earlier one is as it was.
    """
    files.write(path, files.dump(checkpoint), "the checkpoint")


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read the checkpoint in ``path``, its tensors on the cpu.

    Raises:
        BlitzError: there is none, it is damaged or of another format, or it would run code.
    """
    content: Checkpoint = files.read_tensors(path, "a checkpoint", _REMEDY)
    if not isinstance(content, dict) or "format" not in content:
        raise BlitzError(f"{path}: is not a checkpoint. {_REMEDY}")
    if content["format"] != FORMAT:
        raise BlitzError(
            f"{path}: is in format {content['format']!r}, and this version reads format {FORMAT}. "
            "Go on with the version of blitz that wrote it, or start anew with another --out."
        )
    if missing := Checkpoint.__required_keys__ - content.keys():
        raise BlitzError(f"{path}: is damaged (without {', '.join(sorted(missing))}). {_REMEDY}")
    return content
