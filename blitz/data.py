"""Chapter 4's images: the official CIFAR-10, a folder of images, or images made on the spot.

Tutorial: "Load and normalize CIFAR10".
"""

import os
import warnings
from collections.abc import Callable, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from blitz import made_images

CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The ten classes, by the tutorial's names; a label is a place in this order."""

FOLDERS = ("airplane", "automobile", *CLASSES[2:])
"""The ten classes by CIFAR-10's own names, in the same order."""

SPLITS = ("train", "test")
MADE = {"train": 8000, "test": 2000}
"""How many images are made on the spot where nothing else is said."""

BATCHES, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")

Source = str | os.PathLike[str] | None


class DataError(RuntimeError):
    """Images that cannot be had; the message names the input, the fault and the remedy."""


class Images(Dataset):
    """Images of 32 x 32 pixels with their labels; item i is (image, label), as torchvision's are.

    Args:
        items: The images, N x 32 x 32 x 3 bytes, or the files that hold one each. A file is read
            when its item is asked for.
        labels: The class of each, as a place in :data:`CLASSES`.
        origin: Where the images come from, in a sentence without a full stop.
        transform: Applied to the PIL image of an item; without it, the item is the PIL image.
    """

    classes = CLASSES

    def __init__(
        self,
        items: np.ndarray | Sequence[str],
        labels: Sequence[int],
        origin: str,
        transform: Callable[[Image.Image], Any] | None = None,
    ) -> None:
        self.items = items
        self.labels = [int(label) for label in labels]
        self.origin = origin
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = self.image(index), self.labels[index]
        return (image if self.transform is None else self.transform(image)), label

    def image(self, index: int) -> Image.Image:
        """Image ``index`` as it is, RGB, without the transform.

        Raises:
            DataError: its file holds no image of 32 x 32 pixels in RGB.
        """
        item = self.items[index]
        return Image.fromarray(item) if isinstance(item, np.ndarray) else _read(item)

    def pixels(self) -> np.ndarray:
        """All images, N x 32 x 32 x 3 bytes.

        Raises:
            DataError: a file holds no image of 32 x 32 pixels in RGB.
        """
        if isinstance(self.items, np.ndarray):
            return self.items
        return np.stack([np.asarray(_read(file)) for file in self.items])


def load(
    split: str,
    source: Source = None,
    *,
    count: int | None = None,
    seed: int = 0,
    transform: Callable[[Image.Image], Any] | None = None,
) -> Images:
    """The training or test images.

    Args:
        split: ``"train"`` or ``"test"``.
        source: None for images made on the spot (:mod:`blitz.made_images`), or a folder: the one
            that holds ``cifar-10-batches-py``, the official files, or one with
            ``train/<class>/`` and ``test/<class>/``, where each file is an image of 32 x 32
            pixels in RGB and the classes are CIFAR-10's own (:data:`FOLDERS`).
        count: How many to make; of a folder, how many to take, the same number of each class
            (or one more of the first classes) and no more than there are. None for all.
        seed: Chooses what is made or taken, and the order of it. Only the whole of the official
            images comes in an order of its own.
        transform: Applied to the PIL image of each item.

    Raises:
        DataError: the folder cannot be used; nothing of it was unpickled unless its digest fits.
        ValueError: ``split``, ``count`` or ``seed`` is out of range.

    Tutorial: ``torchvision.datasets.CIFAR10`` in "Load and normalize CIFAR10".
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: there is no such part. Ask for 'train' or 'test'.")
    if count is not None and count < 1:
        raise ValueError(f"count {count}: there is nothing to load. Ask for 1 image or more.")
    if seed < 0:
        raise ValueError(f"seed {seed}: seeds are not negative. Give 0 or more.")
    if source is None:
        pixels, labels = made_images.make(count or MADE[split], split, seed)
        return Images(pixels, labels, f"{describe(None)}, seed {seed}", transform)
    folder = Path(source)
    if _is_official(folder):
        items, labels = _official(folder, split)
        chosen = np.arange(len(labels)) if count is None else _choose(labels, count, seed)
        items = items[chosen]
    else:
        files, labels = _files(folder, split)
        chosen = _choose(labels, count, seed)
        items = [files[i] for i in chosen]
    origin = f"{len(chosen):,} of {len(labels):,} {split} images of {_name(folder)}"
    return Images(items, labels[chosen], origin, transform)


def describe(source: Source) -> str:
    """Where the images of ``source`` come from, for the head of a run.

    Checks the source without reading all images: of the official files the digests, of a
    folder the classes.

    Raises:
        DataError: the folder cannot be used.
    """
    if source is None:
        return "made on the spot, no file, no network"
    folder = Path(source)
    if _is_official(folder):
        _check_digests(folder)
    else:
        for split in SPLITS:
            _class_folders(folder, split)
    return _name(folder)


def transform() -> Callable[[Image.Image], torch.Tensor]:
    """The tutorial's transform, from a PIL image to a 3 x H x W float32 tensor in [-1, 1].

    Tutorial: "Load and normalize CIFAR10".
    """
    from torchvision import transforms

    half = (0.5, 0.5, 0.5)
    return transforms.Compose([transforms.ToTensor(), transforms.Normalize(half, half)])


def normalized(images: Images) -> TensorDataset:
    """All images at once, N x 3 x 32 x 32 float32 in [-1, 1], with their labels, N int64.

    Equal, to the last bit, to :func:`transform` of each image.

    Raises:
        DataError: a file holds no image of 32 x 32 pixels in RGB.
    """
    pixels = torch.from_numpy(images.pixels()).permute(0, 3, 1, 2).contiguous()
    scaled = pixels.float().div_(255).sub_(0.5).div_(0.5)
    return TensorDataset(scaled, torch.tensor(images.labels))


def loader(
    dataset: Dataset,
    batch_size: int = 4,
    *,
    shuffle: bool,
    workers: int = 0,
    seed: int | None = None,
) -> DataLoader:
    """Batches of ``dataset`` on the cpu, the last one smaller where the division leaves a rest.

    Args:
        dataset: Items that can be stacked, such as a tensor and a label.
        batch_size: Items in a batch.
        shuffle: Whether each pass takes the items in a new random order.
        workers: Processes that fetch the items; 0 to fetch them in this one.
        seed: Fixes the random orders; None to draw them from torch's default generator.

    Raises:
        ValueError: ``dataset`` gives PIL images, or ``batch_size`` or ``workers`` is out of range.

    Tutorial: ``trainloader`` and ``testloader`` in "Load and normalize CIFAR10".
    """
    if isinstance(dataset, Images) and dataset.transform is None:
        raise ValueError(
            "these images have no transform, and PIL images do not go into a batch. Load them "
            "with transform=data.transform(), or use data.normalized(images)."
        )
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return DataLoader(
        dataset, batch_size, shuffle=shuffle, num_workers=workers, generator=generator
    )


def _choose(labels: np.ndarray, count: int | None, seed: int) -> np.ndarray:
    """Places in ``labels`` in random order: all, or ``count`` balanced over the classes."""
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


def _is_official(folder: Path) -> bool:
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
    "one with train/<class>/ and test/<class>/."
)


def _name(folder: Path) -> str:
    if _is_official(folder):
        return f"the official CIFAR-10 in {folder}, digests verified"
    return f"the class folders in {folder}"


def _files(folder: Path, split: str) -> tuple[list[str], np.ndarray]:
    """The files of a split, by class and name, and the label of each.

    torchvision's ImageFolder would leave out files of unknown suffix in silence, and turn grey or
    transparent images into RGB: here a file that does not fit is an error.
    """
    files, labels = [], []
    for label, path in enumerate(_class_folders(folder, split)):
        names = _visible(path)
        files += [os.path.join(path, name) for name in names]
        labels += [label] * len(names)
    return files, np.array(labels)


def _class_folders(folder: Path, split: str) -> list[Path]:
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


def _read(file: str) -> Image.Image:
    """The image in ``file``: 32 x 32 pixels, RGB.

    Raises:
        DataError: it holds no such image. Nothing is converted, scaled or cut to fit.
    """
    side = made_images.SIDE
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.size == (side, side) and image.mode == "RGB":
                image.load()
                return image
            fault = f"holds {image.width} x {image.height} pixels in mode {image.mode}"
    except Exception as error:  # Pillow's decoders raise whatever they trip over
        raise DataError(
            f"{file} cannot be read as an image ({type(error).__name__}: {error}). Replace it by "
            f"an image ({', '.join(FORMATS)}), or move it away."
        ) from error
    raise DataError(
        f"{file} {fault}; {side} x {side} in RGB are needed. Convert it, with Pillow for "
        f"example: image.convert('RGB').resize(({side}, {side}))."
    )


def _official(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The official images, N x 32 x 32 x 3 bytes, and labels, in their own order.

    torchvision unpickles a file only after its digest, and those of all batches, were found right.
    """
    from torchvision.datasets import CIFAR10

    with warnings.catch_warnings():
        # NumPy 2.4.0 to 2.4.4 warn of every array pickled as long ago as these.
        warnings.filterwarnings(
            "ignore", r"dtype\(\): align", category=np.exceptions.VisibleDeprecationWarning
        )
        try:
            official = CIFAR10(str(folder), train=split == "train", download=False)
        except RuntimeError:
            _check_digests(folder)
            raise
    return official.data, np.array(official.targets)


def _check_digests(folder: Path) -> None:
    """Compare the official files with the digests that torchvision knows, without opening a pickle.

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
            f"end. Unpack {ARCHIVE} again: tar -xzf {ARCHIVE} -C {folder}"
        )
    for name, digest in expected.items():
        found = _digest(folder / BATCHES / name)
        if found != digest:
            raise DataError(
                f"{folder / BATCHES / name} is damaged: its MD5 is {found}, and {digest} is "
                f"expected. It was not opened. Unpack {ARCHIVE} again, or fetch it anew."
            )


def _archive_fault(archive: Path) -> str:
    from torchvision.datasets import CIFAR10

    found = _digest(archive)
    if found != CIFAR10.tgz_md5:
        return (
            f"{archive} is damaged or not there to its end: its MD5 is {found}, and "
            f"{CIFAR10.tgz_md5} is expected. Fetch it anew."
        )
    return f"{archive} is not unpacked. Unpack it: tar -xzf {archive} -C {archive.parent}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = md5(usedforsecurity=False)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
