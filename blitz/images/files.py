"""Images in files: the official CIFAR-10, or a folder for each class.

Nothing is fetched, written, converted or guessed: a file that is missing, damaged or of another
kind is an error that names it.
"""

import os
import warnings
from hashlib import md5
from pathlib import Path

import numpy as np
from PIL import Image

from blitz.base.errors import BlitzError

SIDE = 32
SPLITS = ("train", "test")

CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The ten classes, by the tutorial's names; a label is a place in this order."""

FOLDERS = ("airplane", "automobile", *CLASSES[2:])
"""The ten classes by CIFAR-10's own names, in the same order."""

BATCHES, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")


class DataError(BlitzError, RuntimeError):
    """Images that cannot be had; the message names the input, the fault and the remedy."""


def is_official(folder: Path) -> bool:
    """Whether ``folder`` holds the official files, or else class folders.

    Raises:
        DataError: it holds neither.
    """
    if not folder.is_dir():
        fault = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {fault}. {_EXPECTED}")
    if (folder / BATCHES).is_dir():
        return True
    if any((folder / split).is_dir() for split in SPLITS):
        return False
    if (folder / ARCHIVE).is_file():
        raise DataError(_archive_fault(folder / ARCHIVE))
    there = sorted(path.name for path in folder.iterdir())
    holds = ", ".join(there[:5]) + (", …" if len(there) > 5 else "") if there else "nothing"
    raise DataError(f"{folder} holds no images that are known here; it holds {holds}. {_EXPECTED}")


_EXPECTED = (
    f"Give the folder that contains {BATCHES}/ (the official CIFAR-10 for Python, unpacked), or "
    "one with train/<class>/ and test/<class>/. `python -m blitz download` fetches the official "
    "files."
)


def name(folder: Path) -> str:
    """What lies in ``folder``, in words."""
    if is_official(folder):
        return f"the official CIFAR-10 in {folder}, digests verified"
    return f"the class folders in {folder}"


def listed(folder: Path, split: str) -> tuple[list[str], np.ndarray]:
    """The files of a split, by class and name, and the label of each.

    torchvision's ImageFolder would leave out files of unknown suffix in silence, and turn grey or
    transparent images into RGB: here a file that does not fit is an error.
    """
    files, labels = [], []
    for label, path in enumerate(class_folders(folder, split)):
        names = _visible(path)
        files += [os.path.join(path, name) for name in names]
        labels += [label] * len(names)
    return files, np.array(labels)


def class_folders(folder: Path, split: str) -> list[Path]:
    """The folders of the ten classes, in the order of the labels.

    Raises:
        DataError: the split or a class is missing, a class is unknown or without a file.
    """
    top = folder / split
    if not top.is_dir():
        raise DataError(f"{top} does not exist. {folder} needs train/<class>/ and test/<class>/.")
    found = {name for name in _visible(top) if (top / name).is_dir()}
    missing, unknown = sorted(set(FOLDERS) - found), sorted(found - set(FOLDERS))
    if missing or unknown:
        faults = (["missing: " + ", ".join(missing)] if missing else []) + (
            ["unknown: " + ", ".join(unknown)] if unknown else []
        )
        raise DataError(
            f"the folders in {top} are not the ten classes of CIFAR-10; {'; '.join(faults)}. "
            f"Name them {', '.join(FOLDERS)}, and move others away."
        )
    empty = [name for name in FOLDERS if not _visible(top / name)]
    if empty:
        raise DataError(f"there are no images in {top / empty[0]}. Put at least one there.")
    return [top / name for name in FOLDERS]


def _visible(folder: Path) -> list[str]:
    """The names in ``folder``, sorted, without those that file managers leave behind."""
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def read(file: str) -> Image.Image:
    """The image in ``file``: 32 x 32 pixels, RGB.

    Raises:
        DataError: it holds no such image. Nothing is converted, scaled or cut to fit.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.size == (SIDE, SIDE) and image.mode == "RGB":
                image.load()
                return image
            fault = f"holds {image.width} x {image.height} pixels in mode {image.mode}"
    except Exception as error:  # Pillow's decoders raise whatever they trip over
        raise DataError(
            f"{file} cannot be read as an image ({type(error).__name__}: {error}). Replace it by "
            f"an image ({', '.join(FORMATS)}), or move it away."
        ) from error
    raise DataError(
        f"{file} {fault}; {SIDE} x {SIDE} in RGB are needed. Convert it, with Pillow for "
        f"example: image.convert('RGB').resize(({SIDE}, {SIDE}))."
    )


def official(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The official images, N x 32 x 32 x 3 bytes, and labels, in their own order.

    Raises:
        DataError: a file is missing or damaged. Then none was unpickled.
    """
    from torchvision.datasets import CIFAR10

    check_digests(folder)
    with warnings.catch_warnings():
        # NumPy 2.4.0 to 2.4.4 warn of every array pickled as long ago as these.
        warnings.filterwarnings(
            "ignore", r"dtype\(\): align", category=np.exceptions.VisibleDeprecationWarning
        )
        found = CIFAR10(str(folder), train=split == "train", download=False)
    return found.data, np.array(found.targets)


def check_digests(folder: Path) -> None:
    """Compare the official files with the digests that torchvision knows.

    Raises:
        DataError: a file is missing or damaged.
    """
    from torchvision.datasets import CIFAR10

    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    expected = dict([*CIFAR10.train_list, *CIFAR10.test_list, meta])
    missing = [name for name in expected if not (folder / BATCHES / name).is_file()]
    if missing:
        raise DataError(
            f"{folder / BATCHES} lacks {', '.join(missing)}: the archive was not unpacked to its "
            f"end. Unpack {ARCHIVE} again: tar -xzf {ARCHIVE} -C {folder}, or let "
            f"`python -m blitz download --out {folder}` put it right."
        )
    for name, right in expected.items():
        found = digest(folder / BATCHES / name)
        if found != right:
            raise DataError(
                f"{folder / BATCHES / name} is damaged: its MD5 is {found}, and {right} is "
                f"expected. It was not opened. Unpack {ARCHIVE} again, or let "
                f"`python -m blitz download --out {folder}` put it right."
            )


def _archive_fault(archive: Path) -> str:
    from torchvision.datasets import CIFAR10

    found = digest(archive)
    if found != CIFAR10.tgz_md5:
        return (
            f"{archive} is damaged or not there to its end: its MD5 is {found}, and "
            f"{CIFAR10.tgz_md5} is expected. `python -m blitz download --out "
            f"{archive.parent}` goes on from there, or fetches it anew."
        )
    return f"{archive} is not unpacked. Unpack it: tar -xzf {archive} -C {archive.parent}"


def digest(path: Path) -> str:
    """The MD5 digest of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        found = md5(usedforsecurity=False)
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
