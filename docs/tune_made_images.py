"""Measures what is said of the images made on the spot, and draws them.

    python docs/tune_made_images.py            # all of it: half an hour on one core
    python docs/tune_made_images.py --nets 2 --images 1

The tutorial's net is trained by the tutorial's recipe (batches of 4, SGD with rate 0.001 and
momentum 0.9) on some seeds of the images and of the net, and tested after some numbers of steps.
Beside it stand what must stay behind: a softmax classifier on the pixels, the nearest neighbours,
the mean colour, an untrained net, a net trained on shuffled labels and one trained at a rate of 0.
The table is printed; the picture, twelve images of each class, is written beside this file.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import TensorDataset

from blitz import classifier, data
from blitz.learning.step import TrainingStep

STEPS = (1000, 2000, 3000, 5000, 8000)
BATCH = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", type=int, default=10, help="seeds of the net (default: 10)")
    parser.add_argument("--images", type=int, default=3, help="seeds of the images (default: 3)")
    parser.add_argument("--data", help="measure the images in this folder instead")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(asked.images):
        started = time.perf_counter()
        train = data.load("train", asked.data, count=8000, seed=seed)
        test = data.load("test", asked.data, count=2000, seed=seed)
        print(f"{train.origin}\n  loaded in {time.perf_counter() - started:.2f} s", flush=True)
        if seed == 0 and asked.data is None:
            picture(train).save(Path(__file__).with_name("made_images.png"), optimize=True)
        measure(data.normalized(train), data.normalized(test), asked.nets)


Features = Callable[[torch.Tensor], torch.Tensor]

FEATURES: dict[str, Features] = {
    "nearest neighbours": lambda x: x.flatten(1),
    "nearest neighbours, mean colour taken off": lambda x: (
        x - x.mean((2, 3), keepdim=True)
    ).flatten(1),
    "mean colour": lambda x: torch.cat([x.mean((2, 3)), x.std((2, 3))], 1),
}


def measure(train: TensorDataset, test: TensorDataset, nets: int) -> None:
    """Print what each method reaches on ``test``, in per cent."""
    others = {"softmax on the pixels": softmax(train, test)}
    others |= {what: neighbours(features, train, test) for what, features in FEATURES.items()}
    for what, accuracy in others.items():
        print(f"  {accuracy:5.1f}  {what}", flush=True)
    print(f"  net    untrained  rate 0  shuffled  after {', '.join(map(str, STEPS))} steps")
    reached = []
    for seed in range(nets):
        controls = [
            learn(train, test, seed, (0,))[0],
            learn(train, test, seed, (100,), lr=0.0)[0],
            learn(shuffled(train, seed), test, seed, (2000,))[0],
        ]
        reached.append(learn(train, test, seed, STEPS))
        print(
            f"  {seed:<7}{controls[0]:9.1f}{controls[1]:8.1f}{controls[2]:10.1f}  "
            + "".join(f"{accuracy:7.1f}" for accuracy in reached[-1]),
            flush=True,
        )
    for what, of in (("least", np.min), ("mean", np.mean), ("most", np.max)):
        print(f"  {what:<36}" + "".join(f"{a:7.1f}" for a in of(reached, axis=0)), flush=True)


def learn(
    train: TensorDataset, test: TensorDataset, seed: int, steps: tuple[int, ...], lr: float = 0.001
) -> list[float]:
    """The accuracy of the tutorial's net after each number of ``steps``, in per cent."""
    torch.manual_seed(seed)
    net = classifier.Net()
    step = TrainingStep(net, lr=lr)
    images, labels = train.tensors
    epochs = max(steps) * BATCH // len(labels) + 1
    order = torch.cat([torch.randperm(len(labels)) for _ in range(epochs)])
    found = [accuracy(net, test)] if 0 in steps else []
    for done in range(1, max(steps) + 1):
        batch = order[(done - 1) * BATCH : done * BATCH]
        step(images[batch], labels[batch])
        if done in steps:
            found.append(accuracy(net, test))
    return found


@torch.no_grad()
def accuracy(net: torch.nn.Module, test: TensorDataset) -> float:
    images, labels = test.tensors
    predicted = torch.cat([net(some).argmax(1) for some in images.split(500)])
    return 100 * (predicted == labels).float().mean().item()


def shuffled(train: TensorDataset, seed: int) -> TensorDataset:
    images, labels = train.tensors
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return TensorDataset(images, labels[order])


def softmax(train: TensorDataset, test: TensorDataset) -> float:
    """The best that a linear classifier on the pixels reaches, in any of 15 epochs of AdamW.

    The best of several weight decays, chosen on the test images: in its favour.
    """
    images, labels = train.tensors
    best = 0.0
    for decay in (1e-3, 1e-1, 1.0):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10))
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=decay)
        for _ in range(15):
            for batch in torch.randperm(len(labels)).split(200):
                optimizer.zero_grad()
                F.cross_entropy(net(images[batch]), labels[batch]).backward()
                optimizer.step()
            best = max(best, accuracy(net, test))
    return best


def neighbours(features: Features, train: TensorDataset, test: TensorDataset) -> float:
    """The better of 1 and 15 nearest training images, by the distance of their ``features``."""
    (known, labels), (asked, right) = train.tensors, test.tensors
    nearest = torch.cdist(features(asked), features(known)).topk(15, largest=False).indices
    votes = [F.one_hot(labels[nearest[:, :count]], 10).sum(1).argmax(1) for count in (1, 15)]
    return max(100 * (vote == right).float().mean().item() for vote in votes)


def picture(images: data.Images, columns: int = 8) -> Image.Image:
    """The first images of each class, a row a class, twice as large and in 16 colours."""
    labels, pixels = np.array(images.labels), images.pixels()
    rows = [np.flatnonzero(labels == label)[:columns] for label in range(10)]
    tiles = np.pad(pixels[rows], ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    height, width = 34 * len(rows), 34 * columns
    grid = Image.fromarray(tiles.transpose(0, 2, 1, 3, 4).reshape(height, width, 3))
    large = grid.resize((2 * width, 2 * height), Image.Resampling.NEAREST)
    return large.quantize(16, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
