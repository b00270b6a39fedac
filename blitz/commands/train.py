"""Train the tutorial's classifier, test it, and keep it: its weights, its figures, its pictures.

Without --data or --download the images are made on the spot, from a seed, with no file and no
network. What the training prints is the mean loss over every 2,000 batches, and over the rest of
each epoch. DIR then holds

  model.pt         the weights: the net's state_dict, and nothing else
  result.json      settings, versions, device, images, losses, accuracy, time (docs/result.md)
  samples.png      some training images with their classes
  predictions.png  some test images with their classes and the net's answers
  loss.png         the loss as it fell
  classes.png      the accuracy of each class

and, while it trains, checkpoint.pt. Nothing is lost: after Ctrl-C, a crash or a power cut, the same
command with --resume goes on from the last checkpoint, and ends, on the cpu, with the same bits as
if nothing had happened. Settings need not be repeated then; other ones are refused. Ctrl-C and
SIGTERM (exit code 143) save first; a second Ctrl-C does not wait.
"""

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from blitz.commands import download, options
from blitz.errors import BlitzError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from blitz.checkpoint import Checkpoint
    from blitz.data import Images
    from blitz.run_folder import RunFolder
    from blitz.training import Settings, Training

DONE, FAILED = 0, 1

OUT = "blitz-run"
SHOWN = 24
"""Images in samples.png and in predictions.png."""

SETTINGS = (
    "epochs",
    "batch_size",
    "lr",
    "momentum",
    "width",
    "device",
    "workers",
    "seed",
    "feed",
    "fast",
)
"""The options that become settings of the training; None where they were not given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m blitz train``."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--data",
        metavar="DIR",
        help="the images: the folder that holds cifar-10-batches-py/, or one with train/<class>/ "
        "and test/<class>/ (default: made on the spot)",
    )
    source.add_argument(
        "--download",
        action="store_true",
        help=f"fetch the official CIFAR-10 into {download.FOLDER}/ first, unless it is there; its "
        "server is slow, see python -m blitz download --help",
    )
    parser.add_argument("--mirror", metavar="URL", help="where --download fetches it instead")
    number, positive = options.whole(0), options.whole(1)
    add = parser.add_argument
    add("--epochs", type=positive, metavar="N", help="passes over the images (default: 2)")
    add("--batch-size", type=positive, metavar="N", help="images to a step (default: 4)")
    add("--lr", type=options.rate, metavar="RATE", help="learning rate of SGD (default: 0.001)")
    add("--momentum", type=options.momentum, metavar="M", help="of SGD (default: 0.9)")
    add(
        "--width", type=positive, metavar="N", help="channels of the first convolution (default: 6)"
    )
    add("--device", help="cpu, cuda, cuda:1, … (default: the first accelerator, else the cpu)")
    add("--workers", type=number, metavar="N", help="processes that load images (default: 0)")
    add("--seed", type=number, metavar="N", help="of first weights and order (default: 0)")
    add(
        "--feed",
        choices=("loader", "resident", "captured"),
        help="how batches reach the net: a DataLoader, as the tutorial has it; all images on the "
        "device; the same with whole steps captured in a CUDA graph (default: the fastest that "
        "fits; loader with --workers)",
    )
    add(
        "--fast",
        action="store_const",
        const=True,
        help="on the cpu, let small batches use faster kernels, whose last bits differ from those "
        "of the tutorial's loop",
    )
    add("--out", default=OUT, metavar="DIR", help="where to keep it (default: %(default)s)")
    add("--resume", action="store_true", help="go on with the training in --out, if there is one")
    add(
        "--checkpoint-every",
        type=options.seconds,
        default=10.0,
        metavar="SECONDS",
        help="0 for as often as possible (default: %(default)g)",
    )
    add(
        "--at-least",
        type=options.percent,
        metavar="PERCENT",
        help="exit with 1 where the accuracy is less",
    )


def run(args: argparse.Namespace) -> int:
    """Train, test and keep: 0; 1 where it failed on the way, 128 + signal where it was stopped."""
    from blitz.run_folder import RunFolder
    from blitz.transfer import DownloadError

    folder = RunFolder(args.out)
    try:
        with folder.held():
            return _run(args, folder)
    except DownloadError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return _stopped(args, folder, signal.SIGINT)


def _run(args: argparse.Namespace, folder: "RunFolder") -> int:
    from blitz import checkpoint, data
    from blitz.run_folder import Content

    _refuse_to_overwrite(args, folder)
    given = _given(args)
    if folder.content() is Content.FINISHED:
        return _already_finished(args, given, folder)
    saved = checkpoint.load(folder.checkpoint) if folder.checkpoint.exists() else None
    settings = _settings(given, saved, folder)
    train, test = (data.load(split, settings.data) for split in data.SPLITS)
    counts = f"{len(train):,} for training, {len(test):,} for the test"
    print(f"images: {counts}: {_source(settings)}", flush=True)  # reading them takes a while
    with _threads(settings.threads):
        course = _course(settings, train, saved, folder)
        checkpoint.save(folder.checkpoint, course.checkpoint())
        _introduce(course, train, folder)
        return _train_and_keep(args, course, train, test, folder)


def _refuse_to_overwrite(args: argparse.Namespace, folder: "RunFolder") -> None:
    from blitz.run_folder import Content, RunFolderError

    content = folder.content()
    if content is Content.NOTHING or (args.resume and content is not Content.OTHER):
        return
    remedy = {
        Content.UNFINISHED: f"Go on with it: {_command(args)}\nOr choose another --out.",
        Content.FINISHED: "Choose another --out, or move it away.",
        Content.OTHER: "Choose another --out, or move them away.",
    }[content]
    raise RunFolderError(f"{folder.path} holds {content.value}; nothing was changed. {remedy}")


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given; the others are the training's, or the defaults."""
    given = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    if args.mirror is not None and not args.download:
        raise BlitzError("--mirror says where --download fetches from: give both.")
    if args.download:
        from blitz.download import fetch

        given["data"] = fetch(
            download.FOLDER, mirror=args.mirror, progress=download.shown(sys.stderr)
        )
    elif args.data is not None:
        given["data"] = args.data
    if "data" in given:
        given["data"] = os.path.abspath(given["data"])
    return given


def _settings(given: dict[str, Any], saved: "Checkpoint | None", folder: "RunFolder") -> "Settings":
    from blitz import checkpoint, training

    if saved is None:
        return training.chosen(given)
    settings = training.resumed(given, saved.settings, folder.checkpoint)
    checkpoint.check_width(folder.checkpoint, saved, settings.width)
    return settings


def _course(
    settings: "Settings", train: "Images", saved: "Checkpoint | None", folder: "RunFolder"
) -> "Training":
    from blitz.training import Training

    course = Training(settings, train)
    if saved is not None:
        course.go_on_from(saved, folder.checkpoint)
    return course


def _introduce(course: "Training", train: "Images", folder: "RunFolder") -> None:
    """Say what is trained on what and with what, and show some images of it."""
    import torch

    from blitz import classifier, data, devices

    device = devices.describe(torch.device(course.settings.device))
    print(f"device: {device}; feed: {course.feed.name}, since {course.feed.why}")
    settings = course.settings
    print(
        f"settings: {settings.epochs} x {course.feed.batches:,} batches of {settings.batch_size}, "
        f"learning rate {settings.lr:g}, momentum {settings.momentum:g}, width {settings.width}, "
        f"seed {settings.seed}"
    )
    if course.done:
        print(f"going on after {course.done:,} of {course.batches:,} batches")
    some = data.normalized(_first(train, SHOWN)).tensors
    print(f"some images: {classifier.labels_line(some[1][:4])}", flush=True)
    _draw(folder, {"samples.png": lambda plots: plots.sample_grid(*some)})


def _source(settings: "Settings") -> str:
    from pathlib import Path

    from blitz import data, image_files

    if settings.data is None:
        return data.describe(None)
    return image_files.name(Path(settings.data))


def _train_and_keep(
    args: argparse.Namespace,
    course: "Training",
    train: "Images",
    test: "Images",
    folder: "RunFolder",
) -> int:
    from blitz.checkpoint import CheckpointError
    from blitz.classifier import WeightsError
    from blitz.run_folder import RunFolderError
    from blitz.training import Diverged

    try:
        stopped = _train(args, course, folder)
        if stopped is not None:
            return _stopped(args, folder, stopped)
        accuracy = _keep(course, train, test, folder)
    except Diverged as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except (CheckpointError, RunFolderError, WeightsError) as error:
        print(f"error: {error}\nThen go on with: {_command(args)}", file=sys.stderr)
        return FAILED
    return _judged(args, accuracy)


def _train(args: argparse.Namespace, course: "Training", folder: "RunFolder") -> int | None:
    """Train to the end, with checkpoints; the signal's number where one broke it off."""
    from blitz import checkpoint, interrupts
    from blitz.progress import Bar, duration

    saved_at = time.monotonic()
    with (
        interrupts.deferred() as asked,
        Bar(course.batches, "batches", course.done) as bar,
    ):
        for reports in course.chunks():
            for report in reports:
                bar.line(str(report))
            bar.update(course.done)
            due = time.monotonic() - saved_at >= args.checkpoint_every
            if due or asked.signal is not None:
                checkpoint.save(folder.checkpoint, course.checkpoint())
                saved_at = time.monotonic()
            if asked.signal is not None:
                return asked.signal
        checkpoint.save(folder.checkpoint, course.checkpoint())
    pace = course.images / course.seconds
    print(f"training took {duration(course.seconds)}: {pace:,.0f} images/s", flush=True)
    return None


def _keep(course: "Training", train: "Images", test: "Images", folder: "RunFolder") -> float:
    """Test the net, show and write all there is of it, the result last; the accuracy."""
    from blitz import classifier, data, run_record

    normalized = data.normalized(test)
    accuracy = classifier.evaluate(course.net, data.loader(normalized, 100, shuffle=False))
    print(accuracy.line(), *accuracy.class_lines(), sep="\n", flush=True)
    classifier.save(course.net, folder.model)
    images, labels = (tensor[:SHOWN] for tensor in normalized.tensors)
    answers = classifier.predict(course.net, images)
    losses = course.losses
    drawn = _draw(
        folder,
        {
            "predictions.png": lambda plots: plots.sample_grid(images, labels, answers),
            "loss.png": lambda plots: plots.loss_curve(
                losses.reports, losses.curve, course.feed.batches
            ),
            "classes.png": lambda plots: plots.class_bars(accuracy),
        },
    )
    record = run_record.of(course, train, test, accuracy)
    folder.write(folder.result.name, run_record.content(record))
    folder.drop_checkpoint()
    kept = ["model.pt", "result.json", *(["samples.png", *drawn] if drawn else [])]
    print(f"in {folder.path}: {', '.join(kept)}")
    return accuracy.percent


def _draw(folder: "RunFolder", drawings: dict[str, Callable[..., "Figure"]]) -> list[str]:
    """Write the pictures, by their names, and return the names; none without matplotlib."""
    from blitz import plots

    try:
        for name, draw in drawings.items():
            folder.write(name, plots.png(draw(plots)))
    except plots.NoMatplotlib as error:
        print(f"no {', no '.join(drawings)}: {error}", flush=True)
        return []
    return list(drawings)


def _first(images: "Images", count: int) -> "Images":
    from blitz.data import Images

    return Images(images.items[:count], images.labels[:count], images.origin)


def _already_finished(args: argparse.Namespace, given: dict[str, Any], folder: "RunFolder") -> int:
    """Nothing is left to do where the settings are those of the training that is there."""
    from blitz import run_record, training

    record = run_record.read(folder.result)
    training.resumed(given, run_record.settings_of(record), folder.result)
    folder.drop_checkpoint()
    print(
        f"{folder.path} holds the whole of this training: {record['accuracy']:.1f} % of the test "
        "images named right. There is nothing left to do."
    )
    return _judged(args, record["accuracy"])


def _judged(args: argparse.Namespace, accuracy: float) -> int:
    if args.at_least is not None and accuracy < args.at_least:
        print(
            f"the accuracy is {accuracy:.1f} %, less than the {args.at_least:g} % asked for",
            file=sys.stderr,
        )
        return FAILED
    return DONE


def _stopped(args: argparse.Namespace, folder: "RunFolder", number: int) -> int:
    """Say how to go on; the exit code that shells give a process that a signal ended."""
    kept = "all is saved" if folder.checkpoint.exists() else "nothing was trained yet"
    print(f"interrupted; {kept}. Go on with:\n  {_command(args)}", file=sys.stderr)
    return 128 + number


def _command(args: argparse.Namespace) -> str:
    """The command that goes on with this training."""
    words = ["python", "-m", "blitz", "train", "--out", args.out]
    for name in ("data", "mirror", *SETTINGS):
        value = getattr(args, name)
        if value is not None:
            words.append(f"--{name.replace('_', '-')}")
            words += [] if value is True else [str(value)]
    return shlex.join([*words, *(["--download"] if args.download else []), "--resume"])


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """torch's threads inside; as they were, outside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
