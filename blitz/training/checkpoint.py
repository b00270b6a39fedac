"""A training on disk. The file is not trusted: its checksums are compared, and no code runs."""

import os
from dataclasses import asdict, dataclass
from typing import Any

import torch

from blitz.base import files
from blitz.base.errors import BlitzError, first_line
from blitz.learning.running_loss import Report, RunningLoss

KIND, FORMAT = "blitz checkpoint", 4

_REMEDY = "Start anew with another --out, or put the checkpoint back from a copy."


@dataclass
class Checkpoint:
    """The state of a training between two batches.

    Attributes:
        settings: What the training was started with, as numbers and texts.
        images: Digest of the training images and their order.
        losses: The losses so far, the epoch and its batches done.
        curve: The same in means over fewer batches.
        net: The net's state_dict.
        optimizer: The optimizer's, momentum included.
        seconds: Time spent in training so far.
        launch: Which start by torchrun it was written under; empty without torchrun.
    """

    settings: dict[str, Any]
    images: str
    losses: RunningLoss
    curve: RunningLoss
    net: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    seconds: float
    launch: str


def save(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path``, whole or not at all.

    Raises:
        WriteError: it cannot be written there; an earlier one is as it was.
    """
    content = {"kind": KIND, "format": FORMAT, **vars(checkpoint)}
    content |= {"losses": asdict(checkpoint.losses), "curve": asdict(checkpoint.curve)}
    files.write(path, files.dump(content), "the checkpoint")


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read the checkpoint in ``path``, its tensors on the cpu.

    Raises:
        BlitzError: there is none, it is damaged or of another format, or it would run code.
    """
    content = files.read_tensors(path, "a checkpoint", _REMEDY)
    if not isinstance(content, dict) or content.pop("kind", None) != KIND:
        raise BlitzError(f"{path}: is not a checkpoint. {_REMEDY}")
    if (number := content.pop("format", None)) != FORMAT:
        raise BlitzError(
            f"{path}: is in format {number!r}, and this version reads format {FORMAT}. Go on with "
            "the version of blitz that wrote it, or start anew with another --out."
        )
    try:
        for name in ("losses", "curve"):
            reports = [Report(**report) for report in content[name]["reports"]]
            content[name] = RunningLoss(**{**content[name], "reports": reports})
        return Checkpoint(**content)
    except (KeyError, TypeError) as error:
        raise BlitzError(f"{path}: is damaged ({first_line(error)}). {_REMEDY}") from error
