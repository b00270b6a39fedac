"""A training from its settings to the files that are kept of it, in one process or several.

The first process has the files and decides; the others get what they need from it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from blitz import classifier, data, devices, plots
from blitz.base import interrupts
from blitz.base.errors import BlitzError
from blitz.data import Images
from blitz.learning import evaluation
from blitz.learning.evaluation import Accuracy
from blitz.learning.running_loss import Report
from blitz.parallel.processes import Group
from blitz.training import checkpoint, record, settings, weights
from blitz.training.checkpoint import Checkpoint
from blitz.training.folder import Content, RunFolder
from blitz.training.loop import Training
from blitz.training.settings import Settings

SHOWN = 24
"""Images in samples.png and in predictions.png."""


class Prepared(NamedTuple):
    """What every process starts from."""

    settings: Settings
    saved: Checkpoint | None
    train: Images
    test: Images


def refuse_to_overwrite(folder: RunFolder, *, resume: bool, processes: Group, command: str) -> None:
    """Raise BlitzError if a training in ``folder`` would overwrite something.

    With ``resume``, or when torchrun restarts its own, it goes on with what is there; the message
    names the ``command`` that does.
    """
    content = folder.content()
    if content is Content.NOTHING or (resume and content is not Content.OTHER):
        return
    if (
        content is Content.UNFINISHED
        and processes.restarted  # by torchrun, with the same command: its own training, or not?
        and checkpoint.load(folder.checkpoint).launch == processes.launch
    ):
        return
    remedy = {
        Content.UNFINISHED: f"Go on with it: {command}\nOr choose another --out.",
        Content.FINISHED: "Choose another --out, or move it away.",
        Content.OTHER: "Choose another --out, or move them away.",
    }[content]
    raise BlitzError(f"{folder.path} holds {content.value}; nothing was changed. {remedy}")


def finished(folder: RunFolder, given: Mapping[str, Any]) -> float | None:
    """Return the accuracy of the finished training in ``folder``; None if there is none.

    Raises BlitzError for other settings than those given, or a damaged result.
    """
    if folder.content() is not Content.FINISHED:
        return None
    saved, accuracy = record.read(folder.result)
    settings.resumed(given, saved, folder.result)
    folder.drop_checkpoint()
    return accuracy


def prepare(folder: RunFolder, given: Mapping[str, Any]) -> Prepared:
    """Read the checkpoint, if there is one, and all images.

    Raises BlitzError (for other settings than those given, too) or DataError.
    """
    saved = checkpoint.load(folder.checkpoint) if folder.checkpoint.exists() else None
    if saved is None:
        found = settings.chosen(given)
    else:
        found = settings.resumed(given, saved.settings, folder.checkpoint)
    return Prepared(found, saved, *data.load_both(found.data))


@contextmanager
def begun(prepared: Prepared, folder: RunFolder, processes: Group) -> Iterator[Training]:
    """Yield the training, at its beginning or where its checkpoint stands, on its threads."""
    before = torch.get_num_threads()
    # From the settings, not from here: a resumed training sums as it did before.
    torch.set_num_threads(prepared.settings.threads)
    try:
        training = Training(prepared.settings, prepared.train, processes)
        if prepared.saved is not None:
            training.go_on_from(prepared.saved, folder.checkpoint)
        # Written before the first step: a folder that cannot be written to is refused at once.
        processes.first(lambda: checkpoint.save(folder.checkpoint, training.checkpoint()))
        yield training
    finally:
        torch.set_num_threads(before)


def described(prepared: Prepared, training: Training) -> Iterator[str]:
    """Yield lines on what is trained, on what and with what."""
    found, feed = training.settings, training.feed
    count = training.processes.rank.processes
    several = f"{count} processes, the first on " if count > 1 else ""
    for split, images in (("train", prepared.train), ("test", prepared.test)):
        yield f"{split} images: {images.origin}"
    yield f"device: {several}{devices.describe(found.device)}; feed: {feed.name}, since {feed.why}"
    yield (
        f"settings: {found.epochs} x {feed.batches:,} batches of {found.batch_size}, "
        f"learning rate {found.lr:g}, momentum {found.momentum:g}, width {found.width}, "
        f"seed {found.seed}{', exact' if found.exact else ''}"
    )
    if training.done:
        yield f"going on after {training.done:,} of {training.batches:,} batches"
    yield f"some images: {classifier.names(prepared.train.labels[:4])}"


def run(
    training: Training, folder: RunFolder, every: float, show: Callable[[list[Report]], object]
) -> int | None:
    """Train to the end, saving a checkpoint in ``folder`` ``every`` so many seconds.

    ``show`` gets the reports that became due, after every few batches. Returns the number of the
    signal that ended it early, after a checkpoint; None if none did.

    Raises:
        Diverged: the loss is no longer a number.
        WriteError: a checkpoint cannot be written; the one before is whole.
    """
    processes, saved_at = training.processes, time.monotonic()
    # From here on a signal waits for the end of a chunk, so that a checkpoint fits it.
    with interrupts.deferred() as asked:
        for reports in training.chunks():
            show(reports)
            stop = processes.largest(sum(asked))  # all of them stop after the same batch
            if processes.leads and (stop or time.monotonic() - saved_at >= every):
                checkpoint.save(folder.checkpoint, training.checkpoint())
                saved_at = time.monotonic()
            if stop:
                return stop
        if processes.leads:
            checkpoint.save(folder.checkpoint, training.checkpoint())
    return None


def keep(
    training: Training, prepared: Prepared, accuracy: Accuracy, folder: RunFolder
) -> list[str]:
    """Write weights, pictures and, last, the result.

    Returns the names of the pictures; without matplotlib there are none.
    """
    weights.save(training.net, folder.model)
    images, labels = _shown(prepared.test)
    answers = evaluation.predict(training.net, images)
    losses, curve = training.losses.reports, training.curve.reports
    drawings: dict[str, Callable[[], Any]] = {
        "samples.png": lambda: plots.sample_grid(*_shown(prepared.train)),
        "predictions.png": lambda: plots.sample_grid(images, labels, answers),
        "loss.png": lambda: plots.loss_curve(losses, curve, training.feed.batches),
        "classes.png": lambda: plots.class_bars(accuracy),
    }
    try:
        for name, drawing in drawings.items():
            folder.write(name, plots.png(drawing()))
    except plots.NoMatplotlib:
        drawings = {}
    found = record.of(training, prepared.train, prepared.test, accuracy)
    # Last: until it is there, the training counts as unfinished, and the checkpoint goes on.
    folder.write(folder.result.name, record.content(found))
    folder.drop_checkpoint()
    return list(drawings)


def _shown(images: Images) -> tuple[torch.Tensor, ...]:
    """Return the first of the images, normalised, and their labels."""
    first = Images(images.pixels[:SHOWN], images.labels[:SHOWN], images.origin)
    return data.normalized(first).tensors
