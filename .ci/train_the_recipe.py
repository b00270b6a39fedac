"""Train the tutorial's recipe on the real images in a folder; fail below 45 % on the test images.

Two epochs, batches of 4, learning rate 0.001, momentum 0.9: 25,000 steps.
"""

import sys
import time

import torch

from blitz import classifier, data

LEAST = 45.0


def main(folder: str) -> int:
    torch.set_num_threads(1)  # batches of 4 are too small to share out
    torch.manual_seed(0)
    train, test = (data.normalized(data.load(split, folder)) for split in data.SPLITS)
    print(f"{len(train):,} training images, {len(test):,} test images", flush=True)
    started = time.perf_counter()
    net = classifier.Net()
    batches = data.loader(train, shuffle=True, seed=0)
    classifier.train(net, batches, on_report=lambda report: print(report, flush=True))
    accuracy = classifier.evaluate(net, data.loader(test, 100, shuffle=False))
    print(
        f"{time.perf_counter() - started:.0f} s", accuracy.line(), *accuracy.class_lines(), sep="\n"
    )
    if accuracy.percent < LEAST:
        print(f"less than the {LEAST:.0f} % that this recipe must reach", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
