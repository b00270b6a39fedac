"""Folders of images, a folder for each class: train/<class>/ and test/<class>/.

Files are taken by torchvision's ImageFolder rules and converted as :mod:`blitz.images.photos` does.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from blitz.images import photos
from blitz.images.cifar10 import ARCHIVE, BATCHES, FOLDERS, SPLITS, DataError


def is_official(folder: Path) -> bool:
    """Tell the official CIFAR-10 from class folders; raise DataError if ``folder`` is neither."""
    if not folder.is_dir():
        fault = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {fault}. {_EXPECTED}")
    if (folder / BATCHES).is_dir():
        return True
    if any((folder / split).is_dir() for split in SPLITS):
        return False
    if (folder / ARCHIVE).is_file():
        raise DataError(
            f"{folder / ARCHIVE} is not unpacked. `python -m blitz download --out {folder}` checks "
            "and unpacks it, and goes on with it where it is incomplete."
        )
    there = sorted(path.name for path in folder.iterdir())
    holds = ", ".join(there[:5]) + (", …" if len(there) > 5 else "") if there else "nothing"
    raise DataError(f"{folder} holds neither; it holds {holds}. {_EXPECTED}")


_EXPECTED = (
    f"Give the folder that contains {BATCHES}/ (the official CIFAR-10 for Python, unpacked), or "
    "one with train/<class>/ and test/<class>/. `python -m blitz download` fetches the official "
    "files."
)


def name(folder: Path) -> str:
    """Return in words what ``folder`` holds, unchecked."""
    if is_official(folder):
        return f"the official CIFAR-10 in {folder}, digests verified"
    return f"the class folders in {folder}"


def listed(folder: Path, split: str) -> tuple[list[str], np.ndarray, int]:
    """Return the image files of a split, the class of each, and how many other files there are.

    Raises DataError for a split or class that is missing, unknown or without an image file.
    """
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import IMG_EXTENSIONS

    suffixes = (*IMG_EXTENSIONS, ".gif")
    ignored = 0

    def is_image(path: str) -> bool:
        nonlocal ignored
        file = os.path.basename(path).lower()
        # "._cat.png" is what macOS leaves beside cat.png
        fits = file.endswith(suffixes) and not file.startswith(".")
        ignored += not fits
        return fits

    top = folder / split
    if not top.is_dir():
        raise DataError(f"{top} does not exist. {folder} needs train/<class>/ and test/<class>/.")
    # Not .ipynb_checkpoints and the like, which programs leave among the classes.
    there = {path.name for path in top.iterdir() if path.is_dir() and path.name[0] != "."}
    if unknown := sorted(there - set(FOLDERS)):
        raise DataError(
            f"{top} holds folders that are none of CIFAR-10's classes: {', '.join(unknown)}. Name "
            f"them {', '.join(FOLDERS)}, and move others away."
        )
    try:
        samples = ImageFolder.make_dataset(
            str(top), {name: label for label, name in enumerate(FOLDERS)}, is_valid_file=is_image
        )
    except FileNotFoundError as error:
        # torchvision's sentence names all of them: "Found no valid file for the classes cat, dog. "
        raise DataError(
            f"{top}: {str(error).strip()} Put at least one image there: {', '.join(suffixes)}."
        ) from error
    return [file for file, _ in samples], np.array([n for _, n in samples]), ignored


def read(files: Sequence[str]) -> tuple[np.ndarray, int]:
    """Return the images in ``files``, N x 32 x 32 x 3 bytes, and how many were converted.

    Raises DataError with the names of all that cannot be read.
    """
    found, faults = [], []
    for file in files:
        try:
            found.append(photos.read(file))
        except photos.PhotoError as error:
            faults.append(f"\n  {error}")
    if faults:
        raise DataError(
            f"{len(faults):,} of {len(files):,} files cannot be read as images. Replace them, or "
            f"move them away:{''.join(sorted(faults))}"
        )
    pixels = np.stack([np.asarray(photo.image) for photo in found])
    return pixels, sum(photo.converted for photo in found)
