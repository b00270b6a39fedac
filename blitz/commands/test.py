"""Test a classifier that train kept: its accuracy in all and for each class.

The file is not trusted: its checksums are compared, and no code in it runs. Without --data the net
is tested on images made on the spot.
"""

import argparse

from blitz.commands import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m blitz test``."""
    add = parser.add_argument
    add("--model", required=True, metavar="FILE", help="the weights: model.pt of a training")
    add(
        "--data",
        metavar="DIR",
        help="the images: the folder that holds cifar-10-batches-py/, or one with train/<class>/ "
        "and test/<class>/; the test images are taken (default: made on the spot)",
    )
    add("--device", help="cpu, cuda, cuda:1, … (default: the first accelerator, else the cpu)")
    add(
        "--batch-size",
        type=options.whole(1),
        default=100,
        metavar="N",
        help="images at once; makes no difference to the result (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Test, and print the figures: 0."""
    from blitz import classifier, data, devices

    device = devices.pick() if args.device is None else args.device
    net = classifier.load(args.model, device, width=None)
    images = data.load("test", args.data)
    print(f"images: {images.origin}", flush=True)
    batches = data.loader(data.normalized(images), args.batch_size, shuffle=False)
    accuracy = classifier.evaluate(net, batches)
    print(accuracy.line(), *accuracy.class_lines(), sep="\n")
    return 0
