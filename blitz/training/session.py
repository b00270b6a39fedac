"""A training from its settings to the files that are kept of it, in one process or several.

The first process has the files and decides; the others get what they need from it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

from blitz import classifier, data, devices, plots
from blitz.base import files
from blitz.base.errors import BlitzError
from blitz.data import Images
from blitz.learning import evaluation, running_loss
from blitz.learning.evaluation import Accuracy
from blitz.parallel.processes import Group
from blitz.training import checkpoint, record, settings
from blitz.training.folder import Content, RunFolder
from blitz.training.loop import Training
from blitz.training.settings import Settings

SHOWN = 24
"""Images in samples.png and in predictions.png."""

CURVE_POINTS = 100
"""About so many means of the loss are drawn as a curve in loss.png."""


class Prepared(NamedTuple):
    """What every process starts from."""

    settings: Settings
    saved: dict[str, Any] | None
    train: Images
    test: Images


def refuse_to_overwrite(folder: RunFolder, *, resume: bool, processes: Group) -> None:
    """Raise BlitzError if a training in ``folder`` would overwrite something.

    With ``resume``, or after a restart by torchrun, it goes on with what is there.
    """
    content = folder.content()
    if content is Content.NOTHING or (resume and content is not Content.OTHER):
        return
    if content is Content.UNFINISHED and processes.restarted:
        return
    unfinished = "The same command with --resume goes on with it; or choose another --out."
    remedy = unfinished if content is Content.UNFINISHED else "Choose another --out."
    raise BlitzError(f"{folder.path} holds {content.value}; nothing was changed. {remedy}")


def prepare(folder: RunFolder, given: Mapping[str, Any]) -> Prepared | float:
    """Read the checkpoint, if there is one, and all images; return the accuracy of a finished one.

    Raises BlitzError (for other settings than those given, too) or DataError.
    """
    if folder.content() is Content.FINISHED:
        recorded, accuracy = record.read(folder.result)
        settings.resumed(given, recorded, folder.result)
        folder.drop_checkpoint()
        return accuracy
    saved = checkpoint.load(folder.checkpoint) if folder.checkpoint.exists() else None
    if saved is None:
        found = settings.chosen(given)
    else:
        found = settings.resumed(given, saved["settings"], folder.checkpoint)
    return Prepared(found, saved, *data.load_both(found.data))


def begin(prepared: Prepared, folder: RunFolder, processes: Group) -> Training:
    """Return the training, at its beginning or where its checkpoint stands; sets its threads."""
    # From the settings, not from here: a resumed training sums as it did before.
    torch.set_num_threads(prepared.settings.threads)
    training = Training(prepared.settings, prepared.train, prepared.test, processes)
    if prepared.saved is not None:
        training.go_on_from(prepared.saved, folder.checkpoint)
    # Written before the first step: a folder that cannot be written to is refused at once.
    processes.first(lambda: checkpoint.save(folder.checkpoint, training.state()))
    return training


def described(training: Training) -> Iterator[str]:
    """Yield lines on what is trained, on what and with what."""
    found, feed = training.settings, training.feed
    count = training.processes.rank.processes
    several = f"{count} processes, the first on " if count > 1 else ""
    for split, images in (("train", training.train), ("test", training.test)):
        yield f"{split} images: {images.origin}"
    yield f"device: {several}{devices.describe(found.device)}; feed: {feed.name}"
    yield (
        f"settings: {found.epochs} x {feed.batches:,} batches of {found.batch_size}, "
        f"learning rate {found.lr:g}, momentum {found.momentum:g}, width {found.width}, "
        f"seed {found.seed}{', exact' if found.exact else ''}"
    )
    if training.losses:
        yield f"going on after {len(training.losses):,} of {training.batches:,} batches"
    yield f"some images: {classifier.names(training.train.labels[:4])}"


def keep(training: Training, accuracy: Accuracy, folder: RunFolder) -> list[str]:
    """Write weights, pictures and, last, the result.

    Returns the names of the pictures; without matplotlib there are none.
    """
    files.write(folder.model, files.dump(training.net.state_dict()), "the weights")
    images, labels = _shown(training.test)
    answers = evaluation.predict(training.net, images)
    printed = training.reports(running_loss.REPORT_EVERY)
    curve = training.reports(max(1, training.batches // CURVE_POINTS))
    drawings: dict[str, Callable[[], Any]] = {
        "samples.png": lambda: plots.sample_grid(*_shown(training.train)),
        "predictions.png": lambda: plots.sample_grid(images, labels, answers),
        "loss.png": lambda: plots.loss_curve(printed, curve, training.feed.batches),
        "classes.png": lambda: plots.class_bars(accuracy),
    }
    try:
        for name, drawing in drawings.items():
            files.write(folder.path / name, plots.png(drawing()), name)
    except plots.NoMatplotlib:
        drawings = {}
    # Last: until it is there, the training counts as unfinished, and the checkpoint goes on.
    content = record.content(record.of(training, accuracy))
    files.write(folder.result, content, folder.result.name)
    folder.drop_checkpoint()
    return list(drawings)


def _shown(images: Images) -> tuple[torch.Tensor, ...]:
    """Return the first of the images, normalised, and their labels."""
    first = Images(images.pixels[:SHOWN], images.labels[:SHOWN], images.origin)
    return data.normalized(first).tensors
