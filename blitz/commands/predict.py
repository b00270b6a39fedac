"""Name what is in image files: the three likeliest classes, with their probabilities.

Any file that Pillow opens will do (except EPS, which runs a program); it is turned to RGB, and
squeezed or stretched to the 32 x 32 pixels that the net takes. Softmax makes probabilities of the
net's scores. They say how sure the net is, not how right: it knows its ten classes, and nothing
else.
"""

import argparse
import sys

TOP = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``python -m blitz predict``."""
    add = parser.add_argument
    add("--model", required=True, metavar="FILE", help="the weights: model.pt of a training")
    add("--device", default="cpu", help="cpu, cuda, cuda:1, … (default: %(default)s)")
    add("images", nargs="+", metavar="IMAGE", help="an image file")


def run(args: argparse.Namespace) -> int:
    """Print a line for each image; return 0, or 2 if a file is not an image."""
    import torch

    from blitz import data, devices
    from blitz.images import photos
    from blitz.training import weights

    device = devices.resolve(args.device)
    net = weights.load(args.model, device)
    to_tensor = data.transform()
    code = 0
    for path in args.images:
        try:
            image = to_tensor(photos.read(path).image)
        except photos.PhotoError as error:
            print(f"error: {error}. Give an image file, such as a JPEG or PNG.", file=sys.stderr)
            code = 2
            continue
        with torch.no_grad():
            (scores,) = net(image.unsqueeze(0).to(device))
        # On the cpu: backends differ in which of two equal probabilities comes first.
        values, labels = torch.softmax(scores, 0).cpu().topk(TOP)
        likeliest = (
            f"{data.CLASSES[label]} {value:.1%}"
            for value, label in zip(values.tolist(), labels.tolist(), strict=True)
        )
        print(f"{path}: {', '.join(likeliest)}", flush=True)
    return code
