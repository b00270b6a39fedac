"""Data that one of xdist's workers prepares and the others read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

from blitz import data


def images(folder: Path, name: str, load: Callable[[], data.Images]) -> data.Images:
    """The images that ``load`` gives: the first process that asks loads them, all others read.

    Args:
        folder: One that all processes of the run share, and no other run.
        name: What these images are called in it.
        load: Loads them.
    """
    file = folder / f"{name}.npz"
    with FileLock(folder / f"{name}.lock"):
        if not file.exists():
            loaded = load()
            beside = folder / f"{name}.part.npz"  # a process that dies here leaves no half file
            np.savez(beside, items=loaded.pixels(), labels=loaded.labels, origin=loaded.origin)
            beside.replace(file)
            return loaded
    with np.load(file, allow_pickle=False) as kept:
        return data.Images(kept["items"], kept["labels"], str(kept["origin"]))
