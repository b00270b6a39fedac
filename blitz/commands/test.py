"""Test a classifier that train kept: its accuracy in all and for each class.

The file is not trusted: its checksums are compared, and no code in it runs. Without --data the net
is tested on images made on the spot.

On N devices, or N processes of the cpu: torchrun --nproc-per-node N -m blitz test, with the same
options. Each image is counted once; the first process reads the files and prints the figures.
"""

import argparse
from typing import TYPE_CHECKING

from blitz.base import arguments

if TYPE_CHECKING:
    from torch.utils.data import TensorDataset

    from blitz.classifier import Net


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``python -m blitz test``."""
    add = parser.add_argument
    add("--model", required=True, metavar="FILE", help="the weights: model.pt of a training")
    add("--data", metavar="DIR", help=arguments.DATA)
    add("--device", help=arguments.DEVICE)


def run(args: argparse.Namespace) -> int:
    """Test the net, print the figures and return 0."""
    from blitz import devices
    from blitz.parallel.joining import joined
    from blitz.parallel.processes import evaluate

    with joined(args.device) as processes:
        named = devices.pick() if args.device is None else devices.resolve(args.device)
        device = processes.device(named)
        # One process reads: the others may be on machines that lack the files.
        net, images = processes.first(lambda: _read(args))
        accuracy = evaluate(net.to(device), images, processes)
        if processes.leads:
            print(*accuracy.lines(), sep="\n")
    return 0


def _read(args: argparse.Namespace) -> "tuple[Net, TensorDataset]":
    """Read the net, onto the cpu, and the images, and print where they are from."""
    from blitz import data
    from blitz.training import weights

    net = weights.load(args.model)
    images = data.load("test", args.data)
    print(f"images: {images.origin}", flush=True)
    return net, data.normalized(images)
