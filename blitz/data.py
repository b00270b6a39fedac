"""Chapter 4's images: the official CIFAR-10, a folder of images, or images made on the spot.

Tutorial: "Load and normalize CIFAR10".
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from blitz.images import cifar10, folders, made
from blitz.images.cifar10 import CLASSES as CLASSES
from blitz.images.cifar10 import SPLITS as SPLITS
from blitz.images.cifar10 import DataError as DataError

MADE = {"train": 8000, "test": 2000}
"""How many images are made on the spot where nothing else is said."""

Source = str | os.PathLike[str] | None


class Images(Dataset[tuple[Any, int]]):
    """Images of 32 x 32 pixels with their labels; item i is (image, label), as torchvision's are.

    Args:
        pixels: The images, N x 32 x 32 x 3 bytes.
        labels: The class of each, as a place in :data:`CLASSES`.
        origin: Where the images come from, in a sentence without a full stop.
        transform: Applied to the PIL image of an item; without it, the item is the PIL image.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        labels: Sequence[int] | np.ndarray,
        origin: str,
        transform: Callable[[Image.Image], Any] | None = None,
    ) -> None:
        self.pixels = pixels
        # Python's own: NumPy 2 prints a label of its own as np.int64(3).
        self.labels = [int(label) for label in labels]
        self.origin = origin
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = Image.fromarray(self.pixels[index]), self.labels[index]
        return (image if self.transform is None else self.transform(image)), label


def load(split: str, source: Source = None, *, count: int | None = None, seed: int = 0) -> Images:
    """Load the training or test images.

    Args:
        split: ``"train"`` or ``"test"``.
        source: None for images made on the spot (:mod:`blitz.images.made`), or a folder: the one
            that holds ``cifar-10-batches-py``, or one with ``train/<class>/`` and
            ``test/<class>/``, where the classes are CIFAR-10's own and images are converted to
            32 x 32 in RGB.
        count: How many to make; of a folder, how many to take, the same number of each class
            (or one more of the first classes) and no more than there are. None for all.
        seed: Chooses what is made or taken, and the order of it. Only the whole of the official
            images comes in an order of its own.

    Raises:
        DataError: the folder cannot be used, or files in it, all of which are named; nothing was
            unpickled unless its digest fits.
        ValueError: there is no such ``split``, or ``seed`` is negative.

    Tutorial: ``torchvision.datasets.CIFAR10`` in "Load and normalize CIFAR10".
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: there is no such part. Ask for 'train' or 'test'.")
    if source is None:
        pixels, labels = made.make(MADE[split] if count is None else count, split, seed)
        return Images(pixels, labels, f"{describe(None)}, seed {seed}")
    folder = Path(source)
    notes = ""
    if folders.is_official(folder):
        pixels, labels = cifar10.load(folder, split)
        chosen = np.arange(len(labels)) if count is None else _choose(labels, count, seed)
        pixels = pixels[chosen]
    else:
        files, labels, ignored = folders.listed(folder, split)
        chosen = _choose(labels, count, seed)
        pixels, converted = folders.read([files[i] for i in chosen])
        notes += f", other files ignored: {ignored:,}" if ignored else ""
        notes += f", {converted:,} images converted to 32 x 32 pixels in RGB" if converted else ""
    origin = f"{len(chosen):,} of {len(labels):,} {split} images of {folders.name(folder)}{notes}"
    return Images(pixels, labels[chosen], origin)


def load_both(source: Source) -> list[Images]:
    """Load all training and test images; raise DataError with the faults of both."""
    found, faults = [], []
    for split in SPLITS:
        try:
            found.append(load(split, source))
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise DataError("\n".join(dict.fromkeys(faults)))
    return found


def describe(source: Source) -> str:
    """Say where the images of ``source`` come from, for the head of a run.

    Of the official files the digests are checked, of a folder the classes; raises DataError.
    """
    if source is None:
        return "made on the spot, no file, no network"
    folder = Path(source)
    if folders.is_official(folder):
        cifar10.check_digests(folder)
    else:
        for split in SPLITS:
            folders.listed(folder, split)
    return folders.name(folder)


def transform() -> Callable[[Image.Image], torch.Tensor]:
    """Return the tutorial's transform, from a PIL image to a 3 x H x W float32 tensor in [-1, 1].

    Tutorial: "Load and normalize CIFAR10".
    """
    from torchvision import transforms

    half = (0.5, 0.5, 0.5)
    steps = [transforms.ToTensor(), transforms.Normalize(half, half)]
    composed: Callable[[Image.Image], torch.Tensor] = transforms.Compose(steps)
    return composed


def normalized(images: Images) -> TensorDataset:
    """Return all images at once, N x 3 x 32 x 32 float32 in [-1, 1], with their labels, N int64.

    Equal, to the last bit, to :func:`transform` of each image.
    """
    # The order of ToTensor and Normalize: one fused multiply-add would round otherwise.
    pixels = torch.from_numpy(images.pixels).permute(0, 3, 1, 2).contiguous()
    scaled = pixels.float().div_(255).sub_(0.5).div_(0.5)
    return TensorDataset(scaled, torch.tensor(images.labels))


def _choose(labels: np.ndarray, count: int | None, seed: int) -> np.ndarray:
    """Return places in ``labels`` in random order: all, or ``count`` balanced over the classes."""
    # Drawn before the classes are balanced, so that an order depends on the seed alone.
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    if count is None:
        return order
    of_class = [order[labels[order] == label] for label in range(len(CLASSES))]
    fewest = min(len(places) for places in of_class)
    each, extra = divmod(count, len(CLASSES))
    shares = [min(each + (label < extra), fewest) for label in range(len(CLASSES))]
    taken = [places[:share] for places, share in zip(of_class, shares, strict=True)]
    return random.permutation(np.concatenate(taken))
