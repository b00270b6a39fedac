"""Give a frozen ResNet-18 a new last layer for the ten classes, train that, and see what moves.

Autograd does not track the frozen parameters, so only fc.weight and fc.bias move. Buffers are not
parameters: in train mode each forward pass moves the statistics of every BatchNorm, frozen or not,
and with them what the network computes. --freeze-statistics keeps them as they are.
"""

import argparse
import os
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from blitz.commands import options

if TYPE_CHECKING:
    import torch
    from torch import nn

    from blitz.data import Images

WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m blitz finetune``."""
    add = parser.add_argument
    add(
        "--weights",
        default="none",
        metavar="default|none|FILE",
        help="what the frozen layers start from: torchvision's weights, downloaded (45 MB) unless "
        "they are there; random ones; or a file of a ResNet-18's state_dict (default: none)",
    )
    add(
        "--freeze-statistics",
        action="store_true",
        help="keep BatchNorm in evaluation mode, so that no buffer moves",
    )
    add(
        "--data",
        metavar="DIR",
        help="the images: the folder that holds cifar-10-batches-py/, or one with train/<class>/ "
        "and test/<class>/ (default: made on the spot)",
    )
    positive = options.whole(1)
    add("--steps", type=positive, default=100, metavar="N", help="(default: %(default)s)")
    add(
        "--batch-size",
        type=positive,
        default=16,
        metavar="N",
        help="images to a step (default: %(default)s)",
    )
    add("--lr", type=options.rate, default=0.01, metavar="RATE", help="(default: %(default)s)")
    add(
        "--momentum",
        type=options.momentum,
        default=0.9,
        metavar="M",
        help="(default: %(default)s)",
    )
    add("--device", help="cpu, cuda, cuda:1, … (default: the first accelerator, else the cpu)")
    add("--seed", type=options.whole(0), default=0, metavar="N", help="(default: %(default)s)")
    add("--out", metavar="FILE", help="write the state_dict there; a file that exists is refused")


def run(args: argparse.Namespace) -> int:
    """Fine-tune, print what moved, and test: 0, or 1 where the weights could not be written."""
    import torch

    from blitz import autograd, classifier, data, devices

    _refuse_to_overwrite(args.out)
    device = devices.pick() if args.device is None else devices.resolve(args.device)
    train, test = (data.load(split, args.data) for split in data.SPLITS)
    torch.manual_seed(args.seed)
    model = _model(args.weights, device)
    print(f"images: {train.origin} for training; {test.origin} for the test")
    print(f"device: {devices.describe(device)}; weights: {args.weights}", flush=True)
    parameters = autograd.snapshot(model.named_parameters())
    buffers = autograd.snapshot(model.named_buffers())
    _set_modes(model, args.freeze_statistics)
    _train(model, train, args)
    _tell("parameters", autograd.moved(parameters, model.named_parameters()), len(parameters))
    moved = autograd.moved(buffers, model.named_buffers())
    _tell("buffers", moved, len(buffers))
    if moved:
        print(
            "BatchNorm's statistics moved although its parameters are frozen: a forward pass in "
            "train mode updates them. --freeze-statistics keeps them."
        )
    accuracy = classifier.evaluate(model, data.loader(data.normalized(test), 100, shuffle=False))
    print(accuracy.line(), flush=True)
    return _keep(model, args.out)


def _refuse_to_overwrite(path: str | None) -> None:
    from blitz.classifier import WeightsError

    if path is not None and os.path.lexists(path):
        raise WeightsError(f"{path} exists; nothing was changed. Choose another --out.")


def _model(weights: str, device: "torch.device") -> "nn.Module":
    """A ResNet-18, frozen but for a new last layer."""
    from blitz import autograd
    from blitz.data import CLASSES

    model: nn.Module = autograd.resnet18(None if weights == "none" else weights, device)
    autograd.freeze(model)
    autograd.replace_head(model, len(CLASSES))
    return model


def _set_modes(model: "nn.Module", freeze_statistics: bool) -> None:
    from torch import nn

    model.train()
    for module in model.modules():
        if freeze_statistics and isinstance(module, nn.BatchNorm2d):
            module.eval()


def _train(model: "nn.Module", images: "Images", args: argparse.Namespace) -> None:
    """Train the last layer; prints the mean loss ten times, and the rest."""
    from blitz import classifier
    from blitz.progress import Bar

    step = classifier.TrainingStep(model, lr=args.lr, momentum=args.momentum)
    running = classifier.RunningLoss(-(-args.steps // 10))
    with Bar(args.steps, "batches") as bar:
        for batch in _batches(images, args):
            report = running.add(step(*batch).item())
            bar.update(running.batches)
            if report is not None:
                bar.line(str(report))
        rest = running.end_epoch()
        if rest is not None:
            bar.line(str(rest))


def _batches(
    images: "Images", args: argparse.Namespace
) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
    """As many batches as there are steps; after the last image comes another first one."""
    from blitz import data, feeds

    epoch, left = 0, args.steps
    dataset = data.normalized(images)
    while left:
        epoch += 1
        for places in feeds.order(len(images), args.seed, epoch).split(args.batch_size)[:left]:
            left -= 1
            yield dataset[places]


def _tell(kind: str, names: set[str], total: int) -> None:
    listed = ", ".join(sorted(names)) or "none"
    text = f"{kind} that moved ({len(names)} of {total}): {listed}"
    print(textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False))


def _keep(model: "nn.Module", path: str | None) -> int:
    from blitz import classifier

    if path is None:
        return 0
    try:
        classifier.save(model, path)
    except classifier.WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"the weights are in {path}")
    return 0
