"""Measures what is said of the images made on the spot, and draws them.

    python docs/tune_made_images.py            # all of it: half an hour on one core
    python docs/tune_made_images.py --nets 2 --images 1

The tutorial's net is trained by the tutorial's recipe (batches of 4, SGD with rate 0.001 and
momentum 0.9) on some seeds of the images and of the net, and tested after some numbers of steps.
Beside it stand what must stay behind: a softmax classifier on the pixels, the nearest neighbours
and the mean colour. The table is printed, in per cent; the picture, four images of each class, is
written beside this file.
"""

import argparse
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
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(asked.images):
        made = data.load("train", count=8000, seed=seed)
        print(made.origin, flush=True)
        if seed == 0:
            picture(made).save(Path(__file__).with_name("made_images.png"), optimize=True)
        train = data.normalized(made)
        test = data.normalized(data.load("test", count=2000, seed=seed))
        print(f"  {softmax(train, test):5.1f}  softmax on the pixels", flush=True)
        for what, accuracy in neighbours(train, test).items():
            print(f"  {accuracy:5.1f}  nearest neighbours by {what}", flush=True)
        reached = np.array([learn(train, test, seed) for seed in range(asked.nets)])
        for steps, found in zip(STEPS, reached.T, strict=True):
            least, mean, most = found.min(), found.mean(), found.max()
            print(f"  {mean:5.1f}  net after {steps} steps ({least:.1f} to {most:.1f})", flush=True)


def learn(train: TensorDataset, test: TensorDataset, seed: int) -> list[float]:
    """Return the accuracy of the tutorial's net after each number of steps."""
    torch.manual_seed(seed)
    net = classifier.Net()
    step = TrainingStep(net)
    images, labels = train.tensors
    epochs = max(STEPS) * BATCH // len(labels) + 1
    order = torch.cat([torch.randperm(len(labels)) for _ in range(epochs)])
    found = []
    for done, batch in enumerate(order.split(BATCH)[: max(STEPS)], start=1):
        step(images[batch], labels[batch])
        if done in STEPS:
            found.append(accuracy(net, test))
    return found


@torch.no_grad()
def accuracy(net: torch.nn.Module, test: TensorDataset) -> float:
    images, labels = test.tensors
    return 100 * (net(images).argmax(1) == labels).float().mean().item()


def softmax(train: TensorDataset, test: TensorDataset) -> float:
    """Return the best that a linear classifier on the pixels reaches, in any of 15 epochs of AdamW.

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


def neighbours(train: TensorDataset, test: TensorDataset) -> dict[str, float]:
    """Return the better of 1 and 15 nearest training images, by what they are compared by."""
    (known, labels), (asked, right) = train.tensors, test.tensors
    found = {}
    for what, features in (
        ("pixel", lambda x: x.flatten(1)),
        ("pixel, mean colour taken off", lambda x: (x - x.mean((2, 3), keepdim=True)).flatten(1)),
        ("mean colour", lambda x: torch.cat([x.mean((2, 3)), x.std((2, 3))], 1)),
    ):
        nearest = torch.cdist(features(asked), features(known)).topk(15, largest=False).indices
        votes = [F.one_hot(labels[nearest[:, :count]], 10).sum(1).argmax(1) for count in (1, 15)]
        found[what] = max(100 * (vote == right).float().mean().item() for vote in votes)
    return found


def picture(images: data.Images, rows: int = 4) -> Image.Image:
    """Return the first images of each class, a column a class, twice as large, in 16 colours."""
    labels, pixels = np.array(images.labels), images.pixels
    places = np.stack([np.flatnonzero(labels == label)[:rows] for label in range(10)], axis=1)
    tiles = np.pad(pixels[places], ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    height, width = 34 * rows, 34 * 10
    grid = Image.fromarray(tiles.transpose(0, 2, 1, 3, 4).reshape(height, width, 3))
    large = grid.resize((2 * width, 2 * height), Image.Resampling.NEAREST)
    return large.quantize(16, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
