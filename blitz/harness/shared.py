"""Data that one of xdist's workers prepares and the others read."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from blitz import data


def images(folder: Path, name: str, load: Callable[[], data.Images]) -> data.Images:
    """The images that ``load`` gives: the first process that asks loads them, all others read.

    Args:
        folder: One that all processes of the run share, and no other run.
        name: What these images are called in it.
        load: Loads them.
    """
    file = folder / f"{name}.npz"
    with _locked(folder / f"{name}.lock"):
        if not file.exists():
            loaded = load()
            beside = folder / f"{name}.part.npz"  # a process that dies here leaves no half file
            np.savez(beside, items=loaded.pixels(), labels=loaded.labels, origin=loaded.origin)
            beside.replace(file)
            return loaded
    with np.load(file, allow_pickle=False) as kept:
        return data.Images(kept["items"], kept["labels"], str(kept["origin"]))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes out; the system lets go of the lock of one that dies."""
    with path.open("w") as stream:
        try:
            import fcntl
        except ImportError:  # Windows: two workers may do the same work, and get the same
            yield
            return
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
