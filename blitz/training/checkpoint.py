"""A training on disk. The file is not trusted: each part is checked before it is used."""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from blitz.base import backend, files
from blitz.base.errors import BlitzError, first_line
from blitz.learning.running_loss import Report, RunningLoss
from blitz.learning.step import TrainingStep

KIND, FORMAT = "blitz checkpoint", 3

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
        generators: The states of torch's random generators by device.
        seconds: Time spent in training so far.
        launch: Which start by torchrun it was written under; empty without torchrun.
    """

    settings: dict[str, Any]
    images: str
    losses: RunningLoss
    curve: RunningLoss
    net: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    generators: dict[str, torch.Tensor]
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
    try:
        content = files.read_tensors(path, "a checkpoint")
    except files.ReadError as error:
        raise BlitzError(f"{path}: {error}. {_REMEDY}") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise BlitzError(f"{path}: is not a checkpoint. {_REMEDY}")
    if (number := content.get("format")) != FORMAT:
        raise BlitzError(
            f"{path}: is in format {number!r}, and this version reads format {FORMAT}. Go on with "
            "the version of blitz that wrote it, or start anew with another --out."
        )
    try:
        return Checkpoint(**{name: kind(content[name]) for name, kind in _KINDS.items()})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BlitzError(f"{path}: {_damage(error)}. {_REMEDY}") from error


def _damage(error: Exception) -> str:
    return f"does not hold what a checkpoint must ({type(error).__name__}: {first_line(error)})"


def _losses(content: Mapping[str, Any]) -> RunningLoss:
    reports = [Report(**report) for report in content["reports"]]
    running = RunningLoss(**{**content, "reports": reports})
    for number in (running.every, running.epoch, running.batches + 1):
        # Not isinstance: True is an int, and 2.0 would count batches that do not exist.
        if type(number) is not int or number < 1:
            raise ValueError(f"{number!r} counts no batches")
    return running


_KINDS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("settings", "net", "optimizer", "generators"), dict),
    **dict.fromkeys(("images", "launch"), str),
    **dict.fromkeys(("losses", "curve"), _losses),
    "seconds": float,
}
"""What makes each part of a checkpoint, and raises where it is something else."""


def state_of(step: TrainingStep) -> dict[str, Any]:
    """Return what a training changes, by name: net, optimizer and generators."""
    # The net draws no numbers in training; one with dropout would.
    generators = {"cpu": torch.get_rng_state()}
    state = backend.generator_state(step.device)
    if state is not None:
        generators[str(step.device)] = state
    return {
        "net": step.net.state_dict(),
        "optimizer": step.optimizer.state_dict(),
        "generators": generators,
    }


def restore(path: str | os.PathLike[str], checkpoint: Checkpoint, step: TrainingStep) -> None:
    """Put a new training step, and the generators, into the state of ``checkpoint``.

    Raises:
        BlitzError: it is not the state of such a net and optimizer. ``path`` is named.
    """
    parameters = list(step.net.parameters())
    try:
        state = checkpoint.optimizer["state"]
        # SGD's load_state_dict compares no shapes; the next step would fail, or broadcast.
        for number, entries in state.items():
            for name, value in entries.items():
                if torch.is_tensor(value) and value.shape != parameters[number].shape:
                    raise ValueError(f"{name} of parameter {number} has shape {tuple(value.shape)}")
        step.net.load_state_dict(checkpoint.net)
        # Learning rate and momentum are settings, and not the file's to change.
        groups = step.optimizer.state_dict()["param_groups"]
        step.optimizer.load_state_dict({"state": state, "param_groups": groups})
        torch.set_rng_state(checkpoint.generators["cpu"])
        if backend.generator_state(step.device) is not None:
            # Every process has a device of its own; the first wrote the state of its own.
            (generator,) = (value for name, value in checkpoint.generators.items() if name != "cpu")
            backend.set_generator_state(step.device, generator)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise BlitzError(f"{path}: {_damage(error)}. {_REMEDY}") from error
