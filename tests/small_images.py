"""A folder of a few small images, as train/<class>/ and test/<class>/."""

from pathlib import Path

import numpy as np
from PIL import Image

from blitz import data
from blitz.images.cifar10 import FOLDERS

TRAIN, TEST = 39, 12


def make(folder: Path, seed: int = 0) -> Path:
    """39 images to train on and 12 to test with, of noise whose colours depend on the class."""
    random = np.random.default_rng(seed)
    for split, count in (("train", TRAIN), ("test", TEST)):
        for number in range(count):
            label = number % len(FOLDERS)
            path = folder / split / FOLDERS[label] / f"{number:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 100, (32, 32, 3)) + 15 * np.array([label, 9 - label, 5])
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


def pixels_of(images: data.Images) -> list[bytes]:
    return [image.tobytes() for image, _ in images]
