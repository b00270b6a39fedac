"""A training on disk: all that it takes to go on as if it had never been left off.

One file, written whole. It is not trusted when it is read: checksums are compared, only tensors
and plain values are taken from it, and each of them is checked before it is used.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from blitz.base import backend, files
from blitz.base.errors import BlitzError
from blitz.learning.running_loss import Report, RunningLoss
from blitz.learning.step import TrainingStep

KIND, FORMAT = "blitz checkpoint", 1


class CheckpointError(BlitzError, RuntimeError):
    """A checkpoint that cannot be written, read or gone on from; what to do is in the message."""


@dataclass
class Losses:
    """The losses of a training so far, as means; none is kept batch by batch.

    Attributes:
        running: Means over as many batches as the tutorial prints.
        fine: Means over fewer, for a curve.
        reports: What ``running`` gave so far.
        curve: What ``fine`` gave so far.
    """

    running: RunningLoss
    fine: RunningLoss
    reports: list[Report] = field(default_factory=list)
    curve: list[Report] = field(default_factory=list)

    def add(self, loss: float) -> list[Report]:
        """Take the next batch's loss; the reports that fall due."""
        self.curve += _some(self.fine.add(loss))
        return self._due(self.running.add(loss))

    def end_epoch(self) -> list[Report]:
        """Go on to the next epoch; the report on the batches left over, if there are any."""
        self.curve += _some(self.fine.end_epoch())
        return self._due(self.running.end_epoch())

    def _due(self, report: Report | None) -> list[Report]:
        self.reports += _some(report)
        return _some(report)


@dataclass
class Checkpoint:
    """The state of a training between two batches.

    Attributes:
        settings: What the training was started with; only numbers and texts.
        images: Digest of the training images and of their order.
        losses: The losses so far; ``losses.running`` has the position: the epoch, and the batches
            of it that are done.
        net: The net's state_dict.
        optimizer: The optimizer's, momentum included.
        generators: The state of torch's random generators by device.
        seconds: Time spent in training so far.
        launch: Which start by torchrun it was written under; empty without torchrun.
    """

    settings: dict[str, Any]
    images: str
    losses: Losses
    net: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    generators: dict[str, torch.Tensor]
    seconds: float
    launch: str = ""


def save(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path``, whole or not at all, in the place of the former one.

    Raises:
        WriteError: it cannot be written there; the former one is as it was.
    """
    content = {"kind": KIND, "format": FORMAT, **vars(checkpoint)}
    content["losses"] = asdict(checkpoint.losses)
    files.write(path, files.dump(content), "the checkpoint")


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint in ``path``, its tensors on the cpu.

    Raises:
        CheckpointError: there is none, it is damaged or of a newer format, or it would run code.
    """
    try:
        content = files.read_tensors(path, "cpu", "a checkpoint")
    except files.ReadError as error:
        raise CheckpointError(f"{path}: {error}. {_REMEDY}") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise CheckpointError(f"{path}: holds something else than a checkpoint. {_REMEDY}")
    number = content.get("format")
    if number != FORMAT:
        raise CheckpointError(
            f"{path}: is in format {number!r}, and this version reads format {FORMAT}. Go on with "
            "the version of blitz that wrote it, or start anew with another --out."
        )
    try:
        return _checked(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: {_damage(error)}. {_REMEDY}") from error


_REMEDY = "Start anew with another --out, or put the checkpoint back from a copy."


def _damage(error: Exception) -> str:
    return f"does not hold what a checkpoint must ({type(error).__name__}: {error})"


def _checked(content: Mapping[str, Any]) -> Checkpoint:
    """The content as a checkpoint; raises what a wrong or missing part brings about."""
    losses = content["losses"]
    checkpoint = Checkpoint(
        settings=dict(content["settings"]),
        images=str(content["images"]),
        losses=Losses(
            RunningLoss(**losses["running"]),
            RunningLoss(**losses["fine"]),
            [Report(**report) for report in losses["reports"]],
            [Report(**report) for report in losses["curve"]],
        ),
        net=dict(content["net"]),
        optimizer=dict(content["optimizer"]),
        generators=dict(content["generators"]),
        seconds=float(content["seconds"]),
        launch=str(content.get("launch", "")),
    )
    for running in (checkpoint.losses.running, checkpoint.losses.fine):
        for number in (running.every, running.epoch, running.batches + 1):
            if type(number) is not int or number < 1:
                raise ValueError(f"{running} counts no batches")
    return checkpoint


def check_width(path: str | os.PathLike[str], checkpoint: Checkpoint, width: int) -> None:
    """Compare the net in ``checkpoint`` with its settings, before such a net is made.

    Raises:
        CheckpointError: it is a net of another width. ``path`` is named.
    """
    first = checkpoint.net.get("conv1.weight")
    found = len(first) if torch.is_tensor(first) and first.dim() else "unknown"
    if found != width:
        raise CheckpointError(
            f"{path}: holds a net of width {found}, and its settings say {width}. {_REMEDY}"
        )


def state_of(step: TrainingStep) -> dict[str, Any]:
    """What changes in the course of a training: net, optimizer and generators, by those names."""
    return {
        "net": _on_cpu(step.net.state_dict()),
        "optimizer": _on_cpu(step.optimizer.state_dict()),
        "generators": _generators(step.device),
    }


def restore(path: str | os.PathLike[str], checkpoint: Checkpoint, step: TrainingStep) -> None:
    """Put a new training step, and the generators, into the state of ``checkpoint``.

    Raises:
        CheckpointError: the state is not that of such a net and optimizer. ``path`` is named.
    """
    try:
        _restore(checkpoint, step)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: {_damage(error)}. {_REMEDY}") from error


def _restore(checkpoint: Checkpoint, step: TrainingStep) -> None:
    parameters = list(step.net.parameters())
    state = checkpoint.optimizer["state"]
    for number, parts in state.items():
        for name, part in parts.items():
            if torch.is_tensor(part) and part.shape != parameters[number].shape:
                raise ValueError(f"{name} of parameter {number} has shape {tuple(part.shape)}")
    step.net.load_state_dict(checkpoint.net)
    # Learning rate and momentum are settings, and not the file's to change.
    groups = step.optimizer.state_dict()["param_groups"]
    step.optimizer.load_state_dict({"state": state, "param_groups": groups})
    torch.set_rng_state(checkpoint.generators["cpu"])
    if backend.has_generator(step.device):
        # Every process has a device of its own; the first wrote the state of its own.
        (state,) = (state for name, state in checkpoint.generators.items() if name != "cpu")
        backend.set_generator_state(step.device, state)


def _generators(device: torch.device) -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if backend.has_generator(device):
        states[str(device)] = backend.generator_state(device)
    return states


def _on_cpu(state: Any) -> Any:
    """``state`` with every tensor in it copied to the cpu, as deep as dicts and lists go."""
    if torch.is_tensor(state):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, Mapping):
        return {key: _on_cpu(value) for key, value in state.items()}
    return [_on_cpu(value) for value in state] if isinstance(state, list) else state


def _some(report: Report | None) -> list[Report]:
    return [] if report is None else [report]
