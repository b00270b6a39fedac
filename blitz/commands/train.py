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

On N devices, or N processes of the cpu: torchrun --nproc-per-node N -m blitz train, with the same
options. The batches are those of one process, shared out (docs/several_devices.md).
"""

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, NamedTuple

from blitz.base import arguments
from blitz.base.errors import BlitzError
from blitz.commands import download

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.data import TensorDataset

    from blitz.data import Images
    from blitz.learning.evaluation import Accuracy
    from blitz.parallel.processes import Processes
    from blitz.training.checkpoint import Checkpoint
    from blitz.training.folder import RunFolder
    from blitz.training.loop import Settings, Training

DONE, FAILED = 0, 1

OUT = "blitz-run"
BATCH_SIZE = "images to a step, those of all processes together (default: 4)"
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
    number, positive = arguments.whole(0), arguments.whole(1)
    add = parser.add_argument
    add("--epochs", type=positive, metavar="N", help="passes over the images (default: 2)")
    add("--batch-size", type=positive, metavar="N", help=BATCH_SIZE)
    add("--lr", type=arguments.rate, metavar="RATE", help="learning rate of SGD (default: 0.001)")
    add("--momentum", type=arguments.momentum, metavar="M", help="of SGD (default: 0.9)")
    add(
        "--width", type=positive, metavar="N", help="channels of the first convolution (default: 6)"
    )
    add(
        "--device",
        help="cpu, cuda, cuda:1, … (default: the first accelerator, else the cpu); under torchrun "
        "the kind alone, since each process has a device of its own",
    )
    add(
        "--workers",
        type=number,
        metavar="N",
        help="processes that load images, for each one that trains (default: 0)",
    )
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
        type=arguments.seconds,
        default=10.0,
        metavar="SECONDS",
        help="0 for as often as possible (default: %(default)g)",
    )
    add(
        "--hang-limit",
        type=arguments.seconds,
        default=120.0,
        metavar="SECONDS",
        help="under torchrun, name a process for which the others wait longer, and end; 0 for no "
        "limit (default: %(default)g)",
    )
    add(
        "--at-least",
        type=arguments.percent,
        metavar="PERCENT",
        help="exit with 1 where the accuracy is less",
    )


def run(args: argparse.Namespace) -> int:
    """Train, test and keep: 0; 1 where it failed on the way, 128 + signal where it was stopped."""
    from blitz.parallel import processes as distributed

    with distributed.joined(args.device, args.hang_limit) as processes:
        code = _run_among(processes, args)
        if code != DONE:
            processes.failed()
        return code


def _run_among(processes: "Processes", args: argparse.Namespace) -> int:
    """The whole of it in the first process; in the others the training and the test, silently."""
    from blitz.images.download import DownloadError
    from blitz.training.folder import RunFolder

    folder = RunFolder(args.out)
    with ExitStack() as until_the_end:
        if not processes.leads:
            silence = until_the_end.enter_context(open(os.devnull, "w"))
            until_the_end.enter_context(redirect_stdout(silence))
        try:
            if processes.leads:
                until_the_end.enter_context(folder.held())
            return _run(args, folder, processes)
        except DownloadError as error:
            print(f"error: {error}", file=sys.stderr)
            return FAILED
        except KeyboardInterrupt:
            return _stopped(args, folder, signal.SIGINT, processes)


class _Prepared(NamedTuple):
    """What the first process prepares, and each of them starts from."""

    settings: "Settings"
    saved: "Checkpoint | None"
    train: "Images"
    test: "Images"
    digest: str


def _run(args: argparse.Namespace, folder: "RunFolder", processes: "Processes") -> int:
    prepared = processes.first(lambda: _prepare(args, folder, processes))
    if isinstance(prepared, int):
        return prepared
    with _threads(prepared.settings.threads):
        course = _course(prepared, folder, processes)
        processes.first(lambda: _begin(course, prepared.train, folder))
        return _train_and_keep(args, course, prepared, folder)


def _prepare(
    args: argparse.Namespace, folder: "RunFolder", processes: "Processes"
) -> _Prepared | int:
    """Settings, checkpoint and images; an exit code where there is nothing left to do."""
    from blitz import data
    from blitz.training import checkpoint
    from blitz.training import loop as training
    from blitz.training.folder import Content

    _refuse_to_overwrite(args, folder, processes)
    given = _given(args)
    if folder.content() is Content.FINISHED:
        return _already_finished(args, given, folder)
    saved = checkpoint.load(folder.checkpoint) if folder.checkpoint.exists() else None
    settings = _settings(given, saved, folder)
    train, test = (data.load(split, settings.data) for split in data.SPLITS)
    counts = f"{len(train):,} for training, {len(test):,} for the test"
    print(f"images: {counts}: {_source(settings)}", flush=True)  # reading them takes a while
    digest = training.digest(train)
    if processes.several:  # the others may be on machines that do not have the files
        train, test = _in_memory(train), _in_memory(test)
    return _Prepared(settings, saved, train, test, digest)


def _in_memory(images: "Images") -> "Images":
    from blitz.data import Images

    return Images(images.pixels(), images.labels, images.origin)


def _refuse_to_overwrite(
    args: argparse.Namespace, folder: "RunFolder", processes: "Processes"
) -> None:
    from blitz.training.folder import Content, RunFolderError

    content = folder.content()
    if content is Content.NOTHING or (args.resume and content is not Content.OTHER):
        return
    if content is Content.UNFINISHED and _is_restart(folder, processes):
        return
    remedy = {
        Content.UNFINISHED: f"Go on with it: {_command(args)}\nOr choose another --out.",
        Content.FINISHED: "Choose another --out, or move it away.",
        Content.OTHER: "Choose another --out, or move them away.",
    }[content]
    raise RunFolderError(f"{folder.path} holds {content.value}; nothing was changed. {remedy}")


def _is_restart(folder: "RunFolder", processes: "Processes") -> bool:
    """Whether torchrun goes on with what it started here itself, and not with an older training."""
    from blitz.training import checkpoint

    return processes.restarted and checkpoint.load(folder.checkpoint).launch == processes.launch


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given; the others are the training's, or the defaults."""
    given = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    if args.mirror is not None and not args.download:
        raise BlitzError("--mirror says where --download fetches from: give both.")
    if args.download:
        from blitz.images.download import fetch

        with download.shown() as progress:
            given["data"] = fetch(download.FOLDER, mirror=args.mirror, progress=progress)
    elif args.data is not None:
        given["data"] = args.data
    if "data" in given:
        given["data"] = os.path.abspath(given["data"])
    return given


def _settings(given: dict[str, Any], saved: "Checkpoint | None", folder: "RunFolder") -> "Settings":
    from blitz.training import checkpoint
    from blitz.training import loop as training

    if saved is None:
        return training.chosen(given)
    settings = training.resumed(given, saved.settings, folder.checkpoint)
    checkpoint.check_width(folder.checkpoint, saved, settings.width)
    return settings


def _course(prepared: _Prepared, folder: "RunFolder", processes: "Processes") -> "Training":
    from blitz.training.loop import Training

    course = Training(prepared.settings, prepared.train, processes, prepared.digest)
    if prepared.saved is not None:
        course.go_on_from(prepared.saved, folder.checkpoint)
    return course


def _begin(course: "Training", train: "Images", folder: "RunFolder") -> None:
    from blitz.training import checkpoint

    checkpoint.save(folder.checkpoint, course.checkpoint())
    _introduce(course, train, folder)


def _introduce(course: "Training", train: "Images", folder: "RunFolder") -> None:
    """Say what is trained on what and with what, and show some images of it."""
    import torch

    from blitz import data, devices
    from blitz.learning import evaluation

    device = devices.describe(torch.device(course.settings.device))
    count = course.processes.part.processes
    device = f"{count} processes, the first on {device}" if count > 1 else device
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
    print(f"some images: {evaluation.labels_line(some[1][:4])}", flush=True)
    _draw(folder, {"samples.png": lambda plots: plots.sample_grid(*some)})


def _source(settings: "Settings") -> str:
    from pathlib import Path

    from blitz import data
    from blitz.images import folders

    if settings.data is None:
        return data.describe(None)
    return folders.name(Path(settings.data))


def _train_and_keep(
    args: argparse.Namespace,
    course: "Training",
    prepared: _Prepared,
    folder: "RunFolder",
) -> int:
    from blitz.base.files import WriteError
    from blitz.training.checkpoint import CheckpointError
    from blitz.training.folder import RunFolderError
    from blitz.training.loop import Diverged
    from blitz.training.weights import WeightsError

    try:
        stopped = _train(args, course, folder)
        if stopped is not None:
            return _stopped(args, folder, stopped, course.processes)
        accuracy = _keep(course, prepared, folder)
    except Diverged as error:
        if course.processes.leads:  # in the others it is the same
            print(f"error: {error}", file=sys.stderr)
        return FAILED
    except (CheckpointError, RunFolderError, WeightsError, WriteError) as error:
        print(f"error: {error}\nThen go on with: {_command(args)}", file=sys.stderr)
        return FAILED
    return _judged(args, accuracy)


def _train(args: argparse.Namespace, course: "Training", folder: "RunFolder") -> int | None:
    """Train to the end, with checkpoints; the signal's number where one broke it off."""
    from datetime import timedelta

    from blitz.base import interrupts
    from blitz.base.progress import Bar
    from blitz.training import checkpoint

    processes = course.processes
    stream = sys.stderr if processes.leads else sys.stdout  # which is silent then
    saved_at = time.monotonic()
    with (
        interrupts.deferred() as asked,
        Bar(course.batches, "batches", course.done, stream=stream) as bar,
    ):
        for reports in course.chunks():
            for report in reports:
                bar.line(str(report))
            bar.update(course.done)
            due = time.monotonic() - saved_at >= args.checkpoint_every
            stop = processes.largest(asked.signal or 0)  # all of them stop after the same batch
            if processes.leads and (due or stop):
                checkpoint.save(folder.checkpoint, course.checkpoint())
                saved_at = time.monotonic()
            if stop:
                return stop
        if processes.leads:
            checkpoint.save(folder.checkpoint, course.checkpoint())
    pace = course.images / course.seconds
    took = timedelta(seconds=round(course.seconds))
    print(f"training took {took}: {pace:,.0f} images/s", flush=True)
    return None


def _keep(course: "Training", prepared: _Prepared, folder: "RunFolder") -> float:
    """Test the net, show and write all there is of it; the accuracy."""
    from blitz import data
    from blitz.parallel import processes as distributed

    test = data.normalized(prepared.test)
    accuracy = distributed.evaluate(course.net, test, course.processes)
    print(accuracy.line(), *accuracy.class_lines(), sep="\n", flush=True)
    course.processes.first(lambda: _write(course, prepared, test, accuracy, folder))
    return accuracy.percent


def _write(
    course: "Training",
    prepared: _Prepared,
    test: "TensorDataset",
    accuracy: "Accuracy",
    folder: "RunFolder",
) -> None:
    """Write all there is of a training to its folder, the result last."""
    from blitz.learning import evaluation
    from blitz.training import record as run_record
    from blitz.training import weights

    weights.save(course.net, folder.model)
    images, labels = (tensor[:SHOWN] for tensor in test.tensors)
    answers = evaluation.predict(course.net, images)
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
    record = run_record.of(course, prepared.train, prepared.test, accuracy)
    folder.write(folder.result.name, run_record.content(record))
    folder.drop_checkpoint()
    kept = ["model.pt", "result.json", *(["samples.png", *drawn] if drawn else [])]
    print(f"in {folder.path}: {', '.join(kept)}")


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
    from blitz.training import loop as training
    from blitz.training import record as run_record

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


def _stopped(
    args: argparse.Namespace, folder: "RunFolder", number: int, processes: "Processes"
) -> int:
    """Say how to go on; the exit code that shells give a process that a signal ended."""
    kept = "all is saved" if folder.checkpoint.exists() else "nothing was trained yet"
    if processes.leads:
        print(f"interrupted; {kept}. Go on with:\n  {_command(args)}", file=sys.stderr)
    return 128 + number


def _command(args: argparse.Namespace) -> str:
    """The command that goes on with this training."""
    words = [*_started_by(), "-m", "blitz", "train", "--out", args.out]
    for name in ("data", "mirror", *SETTINGS):
        value = getattr(args, name)
        if value is not None:
            words.append(f"--{name.replace('_', '-')}")
            words += [] if value is True else [str(value)]
    return shlex.join([*words, *(["--download"] if args.download else []), "--resume"])


def _started_by() -> list[str]:
    beside = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return ["python"] if beside == "1" else ["torchrun", "--nproc-per-node", beside]


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
