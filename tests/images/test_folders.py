"""Folders of images: which files are taken, what they become, what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blitz import data
from blitz.__main__ import main
from blitz.images import photos
from blitz.images.cifar10 import FOLDERS
from tests import small_images
from tests.small_images import pixels_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """39 training images, four a class and three trucks, and 12 test images."""
    return small_images.make(tmp_path)


class TestFolder:
    def test_images_and_labels_are_those_of_the_files(self, folder: Path) -> None:
        files = (folder / "train").glob("*/*.png")
        expected = {(photos.read(f).image.tobytes(), FOLDERS.index(f.parent.name)) for f in files}

        images = data.load("train", folder)

        assert len(images) == len(expected) == 39
        assert {(image.tobytes(), label) for image, label in images} == expected

    def test_order_is_random_and_fixed_by_the_seed(self, folder: Path) -> None:
        labels = [data.load("train", folder, seed=seed).labels for seed in (0, 0, 1)]

        assert labels[0] == labels[1] != labels[2]
        assert labels[0] != sorted(labels[0])

    def test_count_takes_as_many_of_each_class(self, folder: Path) -> None:
        images = data.load("train", folder, count=20)

        assert sorted(images.labels) == sorted([*range(10)] * 2)
        taken = set(pixels_of(images))
        assert len(taken) == 20
        assert taken != set(pixels_of(data.load("train", folder, count=20, seed=1)))
        uneven = data.load("train", folder, count=13).labels
        assert sorted(uneven) == [0, 0, 1, 1, 2, 2, *range(3, 10)]
        for number in (3, 13):  # no class is to be left behind
            (folder / "train" / "cat" / f"{number:02d}.png").unlink()
        assert sorted(data.load("train", folder, count=8000).labels) == sorted([*range(10)] * 2)


class TestWild:
    """What users have: other files among the images, and images of other sizes and modes."""

    def test_other_files_are_ignored_and_counted(self, folder: Path) -> None:
        (folder / "train" / ".cache").mkdir()
        (folder / "train" / "README").write_text("beside the classes")
        for name in (".DS_Store", "._0.png", "Thumbs.db", "labels.csv"):
            (folder / "train" / "cat" / name).write_text("")

        images = data.load("train", folder)

        assert len(images.pixels) == 39
        assert images.origin.endswith(f"class folders in {folder}, other files ignored: 4")

    def test_images_in_subfolders_and_with_capital_suffixes_are_taken(self, folder: Path) -> None:
        (folder / "train" / "cat" / "more").mkdir()
        Image.new("RGB", (32, 32)).save(folder / "train" / "cat" / "more" / "A.JPG", "JPEG")

        assert data.load("train", folder).labels.count(3) == 5

    @pytest.mark.parametrize(
        ("file", "mode", "size"),
        [
            ("a.gif", "P", (32, 32)),
            ("a.jpg", "CMYK", (32, 32)),
            ("a.webp", "RGB", (64, 32)),
        ],
    )
    def test_images_of_any_size_and_mode_are_converted_and_counted(
        self, folder: Path, file: str, mode: str, size: tuple[int, int]
    ) -> None:
        for other in (folder / "test" / "cat").iterdir():
            other.unlink()
        Image.new(mode, size).save(folder / "test" / "cat" / file)

        images = data.load("test", folder)

        assert images.origin.endswith(", 1 images converted to 32 x 32 pixels in RGB")
        image, _ = images[images.labels.index(3)]
        assert (image.size, image.mode) == ((32, 32), "RGB")
        assert np.array_equal(images.pixels[images.labels.index(3)], np.asarray(image))

    def test_missing_split_matters_where_it_is_asked_for(self, folder: Path) -> None:
        shutil.rmtree(folder / "test")

        assert len(data.load("train", folder)) == 39
        with pytest.raises(data.DataError, match="test does not exist"):
            data.describe(folder)

    def test_files_beyond_the_count_are_not_read(self, folder: Path) -> None:
        for file in (folder / "train").glob("*/*.png"):
            file.write_text("no image")

        for count in (10, None):
            files = count or 39
            with pytest.raises(data.DataError, match=f"{files} of {files} files") as refused:
                data.load("train", folder, count=count)
            assert str(refused.value).count("\n") == files

    def test_all_unreadable_files_of_both_splits_are_named_at_once(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "train" / "cat" / "03.png").write_text("no image")
        (folder / "test" / "dog" / "05.png").write_text("")
        deer = folder / "test" / "deer" / "04.png"
        deer.write_bytes(deer.read_bytes()[:1000])

        assert main(["train", "--data", str(folder), "--out", str(folder / "out")]) == 2

        words = "cannot be read as an image: "
        first, text, second, broken, nothing = capsys.readouterr().err.splitlines()
        assert first.startswith("error: 1 of 39 files cannot be read as images. Replace them, or")
        assert second.startswith("2 of 12 files cannot be read as images. Replace them, or move")
        assert broken.startswith(f"  {deer} {words}")
        assert nothing.endswith(f"test/dog/05.png {words}it is empty")
        assert text.endswith(f"train/cat/03.png {words}its format is not known")


def empty(folder: Path) -> None:
    for file in (folder / "train" / "frog").iterdir():
        file.unlink()
    (folder / "train" / "frog" / "notes.txt").write_text("")


def rename(folder: Path) -> None:
    (folder / "train" / "cat").rename(folder / "train" / "Cat")
    (folder / "train" / "dog").rename(folder / "train" / "hound")


def remove(*parts: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder.joinpath(*parts))


def fill(*names: str) -> Callable[[Path], None]:
    """Have the folder hold empty files of these names, and nothing else."""

    def harm(folder: Path) -> None:
        remove("train")(folder)
        remove("test")(folder)
        for name in names:
            (folder / name).touch()

    return harm


def replace_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


UNUSABLE = {
    "split": (remove("train"), r"train does not exist.*needs train/<class>/ and test/<class>/"),
    "renamed": (rename, r"train holds .*: Cat, hound\. Name them airplane, .* move others away"),
    "missing class": (remove("train", "cat"), r"train: Found no valid file for the classes cat"),
    "empty": (empty, r"train: .* frog.* Put at least one image there: .jpg, "),
    "file": (replace_by_a_file, r"is a file, not a folder\. Give the folder"),
    "missing": (remove(), r"does not exist\. Give the folder that contains cifar-10-batches-py/"),
    "nothing": (fill(), r"holds nothing\. Give the folder"),
    "others": (fill(*"abcdef"), r"it holds a, b, c, d, e, …\. .* one with train/<class>/"),
    "archive": (
        fill("cifar-10-python.tar.gz"),
        r"tar\.gz is not unpacked\. `python -m blitz download --out",
    ),
}


@pytest.mark.parametrize(("harm", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_folder_is_named(folder: Path, harm: Callable[[Path], None], words: str) -> None:
    harm(folder)

    with pytest.raises(data.DataError, match=words):
        data.load("train", folder)
    with pytest.raises(data.DataError, match=words):
        data.describe(folder)
