"""The official CIFAR-10 for Python, unpacked: its classes, its files and their digests."""

import warnings
from pathlib import Path

import numpy as np

from blitz.base.errors import BlitzError

SIDE = 32
SPLITS = ("train", "test")

CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The ten classes by the tutorial's names; a label is an index into this."""

FOLDERS = ("airplane", "automobile", *CLASSES[2:])
"""The ten classes by CIFAR-10's own names, in the same order, which is alphabetical."""

BATCHES, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"


class DataError(BlitzError, RuntimeError):
    """Images that cannot be used; the message names the input, the fault and the remedy."""


def load(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images of a split, N x 32 x 32 x 3 bytes, and their labels, in their own order.

    Raises DataError if a file is missing or damaged; nothing was unpickled then.
    """
    from torchvision.datasets import CIFAR10

    # torchvision compares digests too, but names neither the file nor a remedy.
    check_digests(folder)
    with warnings.catch_warnings():
        # NumPy 2.4.0 to 2.4.4 warn of every array pickled as long ago as these.
        warnings.filterwarnings(
            "ignore", r"dtype\(\): align", category=np.exceptions.VisibleDeprecationWarning
        )
        found = CIFAR10(str(folder), train=split == "train", download=False)
    return found.data, np.array(found.targets)


def check_digests(folder: Path) -> None:
    """Raise DataError unless the official files have the MD5 digests that torchvision knows."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    files = [*CIFAR10.train_list, *CIFAR10.test_list, meta]
    bad = [name for name, digest in files if not check_integrity(folder / BATCHES / name, digest)]
    if bad:
        raise DataError(
            f"{folder / BATCHES}: missing or damaged, and not opened: {', '.join(bad)}. Unpack "
            f"{ARCHIVE} again: tar -xzf {ARCHIVE} -C {folder}, or let `python -m blitz download "
            f"--out {folder}` repair it."
        )
