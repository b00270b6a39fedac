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
import signal
import sys
import time
from contextlib import ExitStack, redirect_stdout
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from blitz.base import arguments
from blitz.commands import download

if TYPE_CHECKING:
    from blitz.parallel.processes import Group
    from blitz.training.folder import RunFolder
    from blitz.training.loop import Training

DONE, FAILED = 0, 1
OUT = "blitz-run"
GO_ON = "the same command with --resume goes on."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``python -m blitz train``."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", metavar="DIR", help=arguments.DATA)
    source.add_argument(
        "--download",
        action="store_true",
        help=f"fetch the official CIFAR-10 into {download.FOLDER}/ first, unless it is there; its "
        "server is slow: for a mirror, see python -m blitz download --help",
    )
    number, positive = arguments.whole(0), arguments.whole(1)
    # No defaults: with --resume, an option that was not typed is the training's own.
    add = parser.add_argument
    add("--epochs", type=positive, metavar="N", help="passes over the images (default: 2)")
    add("--batch-size", type=positive, metavar="N", help="images to a step in all (default: 4)")
    add("--lr", type=arguments.rate, metavar="RATE", help="learning rate of SGD (default: 0.001)")
    add("--momentum", type=arguments.momentum, metavar="M", help="of SGD (default: 0.9)")
    add("--width", type=positive, metavar="N", help="of the first convolution (default: 6)")
    add("--device", help=arguments.DEVICE)
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
        "--exact",
        action="store_const",
        const=True,
        help="on the cpu, compute the tutorial's loop to the last bit (default: small batches use "
        "faster kernels, which round otherwise)",
    )
    add("--out", default=OUT, metavar="DIR", help="where to keep it (default: %(default)s)")
    add("--resume", action="store_true", help="go on with the training in --out, if there is one")
    seconds: dict[str, Any] = {"type": arguments.seconds, "metavar": "SECONDS"}
    often = "0 for as often as possible (default: %(default)g)"
    add("--checkpoint-every", **seconds, default=10.0, help=often)
    hang = "under torchrun, name a process for which the others wait longer, and end; 0 for no "
    hang += "limit (default: %(default)g)"
    add("--hang-limit", **seconds, default=120.0, help=hang)
    least = "exit with 1 where the accuracy is less"
    add("--at-least", type=arguments.percent, metavar="PERCENT", help=least)


def run(args: argparse.Namespace) -> int:
    """Train, test and keep; return 0, 1 if it failed on the way, 128 + signal if interrupted."""
    from blitz.parallel.joining import joined
    from blitz.training.folder import RunFolder

    folder = RunFolder(args.out)
    with joined(args.device, args.hang_limit) as processes, ExitStack() as until_the_end:
        if not processes.leads:  # the first holds the folder, the others print nothing
            until_the_end.enter_context(redirect_stdout(None))
        try:
            if processes.leads:
                until_the_end.enter_context(folder.held())
            code = _run(args, folder, processes)
        except KeyboardInterrupt as asked:
            code = _interrupted(folder, processes, *asked.args)
        if code != DONE:
            # Else the others would wait for this one for as long as --hang-limit allows.
            processes.failed()
        return code


def _run(args: argparse.Namespace, folder: "RunFolder", processes: "Group") -> int:
    from blitz.base.files import WriteError
    from blitz.training import session

    def prepare() -> session.Prepared | float:
        # First of all: a folder that is refused costs no download.
        session.refuse_to_overwrite(folder, resume=args.resume, processes=processes)
        return session.prepare(folder, _given(args))

    prepared = processes.first(prepare)
    if isinstance(prepared, float):
        print(
            f"{folder.path} holds the whole of this training: {prepared:.1f} % of the test images "
            "named right. There is nothing left to do."
        )
        return _judged(args, prepared)
    training = session.begin(prepared, folder, processes)
    print(*session.described(training), sep="\n", flush=True)
    try:
        _train(args, training, folder)
        return _judged(args, _keep(training, folder))
    except WriteError as error:
        print(f"error: {error} Then {GO_ON}", file=sys.stderr)
        return FAILED


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given, the device resolved and the images downloaded."""
    from blitz import devices
    from blitz.images.download import fetch
    from blitz.training.settings import Settings

    names = {field.name for field in fields(Settings)}
    given = {n: value for n, value in vars(args).items() if n in names and value is not None}
    if "device" in given:
        given["device"] = devices.resolve(given["device"])
    if args.download:
        with download.shown() as progress:
            given["data"] = fetch(download.FOLDER, progress=progress)
    if "data" in given:
        # A training goes on from any folder.
        given["data"] = os.path.abspath(given["data"])
    return given


def _train(args: argparse.Namespace, training: "Training", folder: "RunFolder") -> None:
    """Train to the end under a bar, with a checkpoint every so many seconds and at the end.

    A signal ends it early: KeyboardInterrupt with its number, after a checkpoint.
    """
    from blitz.base import interrupts, progress
    from blitz.training import checkpoint

    processes, saved_at = training.processes, time.monotonic()
    with (
        progress.bar(
            training.batches, "batches", len(training.losses), shown=processes.leads
        ) as bar,
        # From here on a signal waits for the end of a chunk, so that a checkpoint fits it.
        interrupts.deferred() as asked,
    ):
        for reports in training.chunks():
            for report in reports:
                progress.line(str(report))
            bar.update(len(training.losses) - bar.n)
            stop = processes.largest(sum(asked))  # all of them stop after the same batch
            if processes.leads and (stop or time.monotonic() - saved_at >= args.checkpoint_every):
                checkpoint.save(folder.checkpoint, training.state())
                saved_at = time.monotonic()
            if stop:
                raise KeyboardInterrupt(stop)
        if processes.leads:
            checkpoint.save(folder.checkpoint, training.state())
    took = timedelta(seconds=round(training.seconds))
    # Of a training that was resumed, over all its parts.
    print(f"training took {took}: {training.images / training.seconds:,.0f} images/s", flush=True)


def _keep(training: "Training", folder: "RunFolder") -> float:
    """Test the net, print the figures and keep everything; return the accuracy."""
    from blitz import data
    from blitz.parallel.processes import evaluate
    from blitz.training import session

    accuracy = evaluate(training.net, data.normalized(training.test), training.processes)
    print(*accuracy.lines(), sep="\n", flush=True)
    drawn = training.processes.first(lambda: session.keep(training, accuracy, folder))
    pictures = f", {', '.join(drawn)}" if drawn else "; pictures need: pip install matplotlib"
    print(f"in {folder.path}: model.pt, result.json{pictures}")
    return accuracy.percent


def _judged(args: argparse.Namespace, accuracy: float) -> int:
    if args.at_least is not None and accuracy < args.at_least:
        print(
            f"the accuracy is {accuracy:.1f} %, less than the {args.at_least:g} % asked for",
            file=sys.stderr,
        )
        return FAILED
    return DONE


def _interrupted(folder: "RunFolder", processes: "Group", number: int = signal.SIGINT) -> int:
    """Print how to go on; return the exit code that shells give for a signal."""
    kept = "all is saved" if folder.checkpoint.exists() else "nothing was trained yet"
    if processes.leads:
        print(f"interrupted; {kept}; {GO_ON}", file=sys.stderr)
    return 128 + number
