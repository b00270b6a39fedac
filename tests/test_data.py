"""The images: made on the spot, from a folder of classes, from CIFAR-10's own files."""

import os
import pickle
import re
import shutil
import warnings
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from blitz import classifier, data
from blitz.images import files as image_files
from blitz.images import made as made_images
from blitz.learning import evaluation

FOLDERS = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def pixels_of(images: data.Images) -> list[bytes]:
    return [image.tobytes() for image, _ in images]


@pytest.fixture(scope="module")
def made() -> data.Images:
    return data.load("train", count=2000)


class TestMadeOnTheSpot:
    def test_strokes_lie_fall_stand_and_rise(self) -> None:
        lying, falling, upright, rising = made_images._strokes(3)

        assert lying == ((0, 0), (0, 1), (0, 2))
        assert falling == ((0, 0), (1, 1), (2, 2))
        assert upright == ((0, 0), (1, 0), (2, 0))
        assert rising == ((2, 0), (1, 1), (0, 2))
        assert made_images._block(2) == ((0, 0), (0, 1), (1, 0), (1, 1))

    def test_item_is_a_pil_image_and_a_class_number(self, made: data.Images) -> None:
        image, label = made[0]

        assert isinstance(image, Image.Image)
        assert (image.size, image.mode) == ((32, 32), "RGB")
        assert type(label) is int

    def test_there_are_8000_and_2000_unless_asked_otherwise(self) -> None:
        assert len(data.load("train")) == 8000
        assert len(data.load("test")) == 2000
        assert len(data.load("test", count=3)) == 3
        assert len(data.load("test", count=1)) == 1

    def test_classes_are_as_many_of_each_and_in_random_order(self, made: data.Images) -> None:
        assert made.classes == data.CLASSES
        assert [made.labels.count(label) for label in range(10)] == [200] * 10
        assert made.labels[:200] != sorted(made.labels[:200])
        assert set(made.labels[:100]) == set(range(10))

    def test_rest_of_the_division_goes_to_the_first_classes(self) -> None:
        assert sorted(data.load("train", count=13).labels) == [0, 0, 1, 1, 2, 2, *range(3, 10)]

    def test_same_seed_gives_the_same_images_on_every_machine(self) -> None:
        images = data.load("train", count=100, seed=0)

        digest = sha256(b"".join(pixels_of(images)) + bytes(images.labels)).hexdigest()
        assert digest == "e1517b3045f7c27902358072ac06253686fdd9f78135747db645dc6a32e67fb1"

    def test_splits_and_seeds_have_no_image_in_common(self) -> None:
        sets = [pixels_of(data.load(split, count=500, seed=seed)) for split, seed in PARTS]

        assert len(set().union(*sets)) == 500 * len(PARTS)

    def test_mean_colour_is_the_same_in_every_class(self, made: data.Images) -> None:
        pixels, labels = made.pixels().astype(float), np.array(made.labels)
        means = [pixels[labels == label].mean((1, 2)) for label in range(10)]

        spread = np.std(np.concatenate(means), 0) / np.sqrt(200)
        assert np.all(np.abs([mean.mean(0) - 127.5 for mean in means]) < 5 * spread)

    def test_no_pixel_tells_the_class(self, made: data.Images) -> None:
        labels, light = np.array(made.labels), made.pixels().mean(-1) > 127.5

        share = np.array([light[labels == label].mean(0) for label in range(10)])
        assert np.all(np.abs(share - 0.5) < 6 * np.sqrt(0.25 / 200))

    def test_picture_has_two_colours(self, made: data.Images) -> None:
        for image, _ in (made[i] for i in range(20)):
            assert len(image.getcolors()) == 2

    @pytest.mark.parametrize(
        ("label", "step"), [(0, (0, 1)), (1, (1, 1)), (2, (1, 0)), (3, (1, -1))]
    )
    def test_strokes_of_a_class_lie_in_its_direction(
        self, made: data.Images, label: int, step: tuple[int, ...]
    ) -> None:
        """Neighbours in the direction of the strokes agree most often, for short and for long."""
        for kind in (label, label + 5):
            patterns = made.pixels()[np.array(made.labels) == kind].mean(-1) > 127.5
            agree = {
                (dy, dx): np.mean(patterns == np.roll(patterns, (-dy, -dx), (1, 2)))
                for dy, dx in ((0, 1), (1, 1), (1, 0), (1, -1))
            }
            assert max(agree, key=agree.get) == step

    def test_kinds_are_ten(self) -> None:
        assert len(set(made_images.KINDS)) == len(data.CLASSES) == 10

    def test_origin_says_so(self, made: data.Images) -> None:
        assert made.origin == "made on the spot, no file, no network, seed 0"
        assert data.describe(None) == "made on the spot, no file, no network"


PARTS = (("train", 0), ("test", 0), ("train", 1), ("test", 1))


class TestLoad:
    def test_transform_applies_to_the_image_of_an_item(self) -> None:
        images = data.load("train", count=3, transform=lambda image: image.size)

        assert images[2] == ((32, 32), images.labels[2])

    def test_images_can_be_sent_to_another_process(self, made: data.Images, folder: Path) -> None:
        for images in (
            data.load("train", count=20, transform=data.transform()),
            data.load("train", folder, transform=data.transform()),
        ):
            copy = pickle.loads(pickle.dumps(images))
            assert torch.equal(copy[3][0], images[3][0])
            assert (copy.labels, copy.origin) == (images.labels, images.origin)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"split": "val"}, "split 'val': .* Ask for 'train' or 'test'"),
            ({"split": "train", "count": 0}, "count 0: .* Ask for 1 image or more"),
            ({"split": "train", "seed": -1}, "seed -1: .* Give 0 or more"),
        ],
    )
    def test_what_is_out_of_range_is_refused(
        self, arguments: dict[str, Any] | dict[str, str], words: str
    ) -> None:
        with pytest.raises(ValueError, match=words):
            data.load(**arguments)


class TestNormalized:
    def test_is_the_tutorials_transform_to_the_last_bit(self) -> None:
        every_value = np.arange(3072, dtype=np.uint32).astype(np.uint8).reshape(1, 32, 32, 3)
        pixels = np.concatenate([every_value, data.load("train", count=9).pixels()])
        images = data.Images(pixels, [7, *range(9)], "here")

        values, labels = data.normalized(images).tensors

        transformed = torch.stack([data.transform()(image) for image, _ in images])
        assert torch.equal(values, transformed)
        assert (values.dtype, values.is_contiguous()) == (torch.float32, True)
        assert (labels.dtype, labels.tolist()) == (torch.int64, [7, *range(9)])

    def test_ranges_from_minus_one_to_one(self) -> None:
        black_and_white = np.array([0, 255], np.uint8).repeat(3072).reshape(2, 32, 32, 3)

        values, _ = data.normalized(data.Images(black_and_white, [0, 1], "here")).tensors

        assert torch.equal(
            values, torch.tensor([-1.0, 1.0])[:, None, None, None].expand(values.shape)
        )

    def test_leaves_the_images_alone(self) -> None:
        images = data.load("train", count=5, transform=data.transform())
        before = images.pixels().copy()

        data.normalized(images).tensors[0].zero_()

        assert np.array_equal(images.pixels(), before)


class TestLoader:
    def test_images_without_a_transform_are_refused(self, made: data.Images) -> None:
        with pytest.raises(ValueError, match=r"no transform.*transform=data\.transform\(\)"):
            data.loader(made, shuffle=False)

    def test_batches_of_images(self) -> None:
        images = data.load("test", count=6, transform=data.transform())

        batches = list(data.loader(images, shuffle=False))

        assert [tuple(inputs.shape) for inputs, _ in batches] == [(4, 3, 32, 32), (2, 3, 32, 32)]
        assert torch.cat([labels for _, labels in batches]).tolist() == images.labels
        assert torch.equal(batches[1][0][1], images[5][0])

    def test_seed_leaves_torchs_generator_alone(self) -> None:
        images = data.normalized(data.load("test", count=6))
        before = torch.get_rng_state()

        orders = [
            [labels.tolist() for _, labels in data.loader(images, 1, shuffle=True, seed=5)]
            for _ in range(2)
        ]

        assert orders[0] == orders[1]
        assert torch.equal(torch.get_rng_state(), before)

    def test_start_method_is_for_workers_only(self) -> None:
        images = data.normalized(data.load("test", count=6))

        loader = data.loader(images, shuffle=False, start_method="spawn")

        assert [len(labels) for _, labels in loader] == [4, 2]

    @pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"workers": -1}])
    def test_what_is_out_of_range_is_refused(self, wrong: dict[str, int]) -> None:
        images = data.normalized(data.load("test", count=6))

        with pytest.raises(ValueError, match=r"batch_size|num_workers"):
            data.loader(images, shuffle=True, **wrong)


class TestShortLastBatch:
    """Ten images in batches of four: the last batch has two."""

    @pytest.fixture
    def images(self) -> TensorDataset:
        return data.normalized(data.load("test", count=10))

    @pytest.fixture
    def net(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10))

    def test_counts_in_the_accuracy_as_two(
        self, net: torch.nn.Module, images: TensorDataset
    ) -> None:
        inputs, labels = images.tensors
        right = (net(inputs).argmax(1) == labels).tolist()

        found = [
            evaluation.evaluate(net, data.loader(images, size, shuffle=False)) for size in SIZES
        ]

        assert [accuracy.correct for accuracy in found] == [sum(right)] * len(SIZES)
        assert [accuracy.total for accuracy in found] == [10] * len(SIZES)
        assert len({accuracy.class_correct for accuracy in found}) == 1

    def test_counts_in_the_report_as_one_batch_of_those_it_covers(
        self, net: torch.nn.Module, images: TensorDataset
    ) -> None:
        """A report is the mean of its batches' losses, and each of these the mean of its images."""
        inputs, labels = images.tensors
        losses = torch.nn.functional.cross_entropy(net(inputs), labels, reduction="none").tolist()
        batches = data.loader(images, 4, shuffle=False)

        by_two = classifier.train(net, batches, epochs=1, lr=0.0, report_every=2)
        by_hundreds = classifier.train(net, batches, epochs=1, lr=0.0, report_every=100)

        means = [sum(losses[:4]) / 4, sum(losses[4:8]) / 4, sum(losses[8:]) / 2]
        assert [report.loss for report in by_two] == pytest.approx([sum(means[:2]) / 2, means[2]])
        assert [report.loss for report in by_hundreds] == pytest.approx([sum(means) / 3])


SIZES = (1, 3, 4, 10, 100)


def shade(label: int, number: int) -> tuple[int, int, int]:
    return (20 * label, 10 * number, 255)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders with three training images and one test image a class, all of one colour."""
    for split, count in (("train", 3), ("test", 1)):
        for label, name in enumerate(FOLDERS):
            place = tmp_path / split / name
            place.mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (32, 32), shade(label, number))
                image.save(place / f"{number}.png")
    return tmp_path


class TestFolder:
    def test_images_and_labels_are_those_of_the_files(self, folder: Path) -> None:
        images = data.load("train", folder)

        expected = {(shade(label, number), label) for label in range(10) for number in range(3)}
        assert {(image.getpixel((31, 0)), label) for image, label in images} == expected
        assert len(images) == 30
        assert {(image.size, image.mode) for image, _ in images} == {((32, 32), "RGB")}

    def test_path_may_be_a_string(self, folder: Path) -> None:
        assert data.load("test", str(folder)).labels == data.load("test", folder).labels

    def test_classes_have_the_tutorials_names(self, folder: Path) -> None:
        assert data.load("train", folder).classes == data.CLASSES
        assert image_files.FOLDERS == FOLDERS

    def test_order_is_random_and_fixed_by_the_seed(self, folder: Path) -> None:
        labels = [data.load("train", folder, seed=seed).labels for seed in (0, 0, 1)]

        assert labels[0] == labels[1] != labels[2]
        assert labels[0] != sorted(labels[0])

    def test_order_does_not_depend_on_the_file_system(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names, listed = os.listdir, pixels_of(data.load("train", folder))
        monkeypatch.setattr(os, "listdir", lambda path: sorted(names(path), reverse=True))

        assert pixels_of(data.load("train", folder)) == listed

    def test_count_takes_as_many_of_each_class(self, folder: Path) -> None:
        images = data.load("train", folder, count=20)

        assert sorted(images.labels) == sorted([*range(10)] * 2)
        assert len(set(pixels_of(images))) == 20
        uneven = data.load("train", folder, count=13).labels
        assert sorted(uneven) == [0, 0, 1, 1, 2, 2, *range(3, 10)]
        assert pixels_of(images) == pixels_of(data.load("train", folder, count=20, seed=0))
        assert set(pixels_of(images)) != set(
            pixels_of(data.load("train", folder, count=20, seed=1))
        )

    def test_count_leaves_no_class_behind_where_one_is_small(self, folder: Path) -> None:
        (folder / "train" / "cat" / "0.png").unlink()

        assert sorted(data.load("train", folder, count=8000).labels) == sorted([*range(10)] * 2)
        assert len(data.load("train", folder)) == 29

    def test_files_that_are_not_taken_are_not_read(self, folder: Path) -> None:
        for file in (folder / "train").glob("*/*.png"):
            file.write_text("no image")

        assert len(data.load("train", folder, count=10)) == 10

    def test_jpeg_is_read_as_pillow_reads_it(self, folder: Path) -> None:
        values = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        (folder / "test" / "cat" / "0.png").unlink()
        Image.fromarray(values).save(folder / "test" / "cat" / "b.jpg")
        images = data.load("test", folder)

        image, _ = images[images.labels.index(3)]

        expected = np.asarray(Image.open(folder / "test" / "cat" / "b.jpg").convert("RGB"))
        assert np.array_equal(np.asarray(image), expected)
        assert abs(np.asarray(image).astype(int) - values).max() > 0

    def test_pixels_are_those_of_the_items(self, folder: Path) -> None:
        images = data.load("train", folder, count=10)

        stacked = np.stack([np.asarray(image) for image, _ in images])
        assert np.array_equal(images.pixels(), stacked)
        assert data.normalized(images).tensors[0].shape == (10, 3, 32, 32)

    def test_hidden_files_are_passed_over(self, folder: Path) -> None:
        (folder / "train" / ".DS_Store").write_text("")
        (folder / "train" / "cat" / ".DS_Store").write_text("")
        (folder / "train" / ".cache").mkdir()
        (folder / "train" / "README").write_text("")

        assert len(data.load("train", folder).pixels()) == 30

    def test_origin_says_how_many_and_from_where(self, folder: Path) -> None:
        images = data.load("train", folder, count=10)

        assert images.origin == f"10 of 30 train images of the class folders in {folder}"
        assert data.describe(folder) == f"the class folders in {folder}"

    def test_split_alone_is_enough_to_load_it(self, folder: Path) -> None:
        shutil.rmtree(folder / "test")

        assert len(data.load("train", folder)) == 30


class TestUnusableFolder:
    """Each is refused by the load and, where no image needs to be read, by describe."""

    def refused(self, folder: Path, words: str) -> None:
        for attempt in (lambda: data.load("train", folder), lambda: data.describe(folder)):
            with pytest.raises(data.DataError, match=words):
                attempt()

    def test_missing(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "none", r"none does not exist\. Give the folder that contains")

    def test_file(self, tmp_path: Path) -> None:
        (tmp_path / "cifar.zip").write_text("")
        self.refused(tmp_path / "cifar.zip", r"cifar\.zip is a file, not a folder\. Give")

    def test_empty(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "holds no images .* holds nothing. Give the folder")

    def test_folder_of_something_else(self, tmp_path: Path) -> None:
        for name in ("b", "a", "c", "d", "e"):
            (tmp_path / name).mkdir()
        self.refused(tmp_path, r"it holds a, b, c, d, e\. Give")
        (tmp_path / "f").mkdir()
        self.refused(tmp_path, "it holds a, b, c, d, e, ….* one with train/<class>/")

    def test_missing_split(self, folder: Path) -> None:
        shutil.rmtree(folder / "train")
        self.refused(folder, r"train does not exist.*needs train/<class>/ and test/<class>/")

    def test_missing_split_is_found_before_it_is_needed(self, folder: Path) -> None:
        shutil.rmtree(folder / "test")
        with pytest.raises(data.DataError, match="test does not exist"):
            data.describe(folder)

    def test_missing_and_unknown_classes(self, folder: Path) -> None:
        (folder / "train" / "cat").rename(folder / "train" / "Cat")
        (folder / "train" / "dog").rename(folder / "train" / "hound")
        self.refused(folder, "train are not .*; missing: cat, dog; unknown: Cat, hound. Name them")

    def test_unknown_class(self, folder: Path) -> None:
        (folder / "train" / "zebra").mkdir()
        self.refused(folder, "CIFAR-10; unknown: zebra. Name them .* move others away")

    def test_missing_class(self, folder: Path) -> None:
        shutil.rmtree(folder / "train" / "airplane")
        self.refused(folder, "CIFAR-10; missing: airplane. Name them airplane, automobile")

    def test_class_without_images(self, folder: Path) -> None:
        for file in (folder / "train" / "frog").iterdir():
            file.unlink()
        (folder / "train" / "frog" / ".DS_Store").write_text("")
        self.refused(folder, r"no images in .*frog\. Put at least one there")


class TestUnusableFile:
    """Each is refused by name when it is read, alone or with all others."""

    def refused(self, folder: Path, words: str) -> None:
        images = data.load("test", folder)
        with pytest.raises(data.DataError, match=words):
            images[images.labels.index(3)]
        with pytest.raises(data.DataError, match=words):
            data.normalized(images)
        assert images[images.labels.index(4)][0].getpixel((0, 0)) == shade(4, 0)

    def test_no_image(self, folder: Path) -> None:
        (folder / "test" / "cat" / "0.png").write_text("no image")
        self.refused(folder, r"cat.0\.png cannot be read as an image .*Replace it by an image")

    def test_file_cut_short(self, folder: Path) -> None:
        file = folder / "test" / "cat" / "0.png"
        values = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(values).save(file)
        file.write_bytes(file.read_bytes()[:1000])
        self.refused(folder, r"cat.0\.png cannot be read as an image")

    def test_folder_in_its_place(self, folder: Path) -> None:
        (folder / "test" / "cat" / "0.png").unlink()
        (folder / "test" / "cat" / "more").mkdir()
        self.refused(folder, r"cat.more cannot be read as an image")

    def test_file_that_is_gone(self, folder: Path) -> None:
        images = data.load("test", folder)
        (folder / "test" / "cat" / "0.png").unlink()
        with pytest.raises(data.DataError, match=r"0\.png cannot be read as an image"):
            images.pixels()

    @pytest.mark.parametrize("format_", ["GIF", "TIFF", "TGA"])
    def test_other_format(self, folder: Path, format_: str) -> None:
        Image.new("RGB", (32, 32)).save(folder / "test" / "cat" / "0.png", format=format_)
        self.refused(folder, r"cat.0\.png cannot be read as an image .*\(BMP, JPEG, PNG, PPM, WEBP")

    def test_format_that_runs_a_program(self, folder: Path) -> None:
        (folder / "test" / "cat" / "0.png").write_bytes(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n"
        )
        self.refused(folder, r"cat.0\.png cannot be read as an image")

    @pytest.mark.parametrize(
        ("mode", "size"), [("L", (32, 32)), ("RGBA", (32, 32)), ("P", (32, 32)), ("RGB", (64, 32))]
    )
    def test_other_mode_or_size(self, folder: Path, mode: str, size: tuple[int, ...]) -> None:
        Image.new(mode, size).save(folder / "test" / "cat" / "0.png")
        holds = f"holds {size[0]} x 32 pixels in mode {mode}; 32 x 32 in RGB are needed"
        self.refused(folder, rf"cat.0\.png {holds}.*convert\('RGB'\)")

    def test_huge_image(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
        Image.new("RGB", (64, 64)).save(folder / "test" / "cat" / "0.png")
        Image.new("RGB", (20, 20), shade(4, 0)).save(folder / "test" / "deer" / "0.png")
        images = data.load("test", folder)

        with pytest.raises(data.DataError, match="DecompressionBomb"):
            images[images.labels.index(3)]


BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def digest(path: Path) -> str:
    return md5(path.read_bytes()).hexdigest()


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10's files in their own format with four images each, and torchvision's digests set."""
    from torchvision.datasets import CIFAR10

    files = tmp_path / "cifar-10-batches-py"
    files.mkdir()
    random = np.random.default_rng(0)
    for number, name in enumerate(BATCHES):
        values = random.integers(0, 256, (4, 3072), dtype=np.uint8)
        labels = [number, 9, 8, 7]
        (files / name).write_bytes(pickle.dumps({"data": values, "labels": labels}, 2))
    (files / "batches.meta").write_bytes(pickle.dumps({"label_names": list(FOLDERS)}, 2))
    trust(tmp_path, monkeypatch)
    assert CIFAR10.base_folder == files.name
    return tmp_path


def trust(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the digests that torchvision knows be those of the files that lie there."""
    from torchvision.datasets import CIFAR10

    files = folder / "cifar-10-batches-py"
    digests = [[name, digest(files / name)] for name in BATCHES]
    monkeypatch.setattr(CIFAR10, "train_list", digests[:5])
    monkeypatch.setattr(CIFAR10, "test_list", digests[5:])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": digest(files / "batches.meta")}
    monkeypatch.setattr(CIFAR10, "meta", meta)


class Trace:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class OldArray:
    """Unpickled, a warning as NumPy 2.4.0 to 2.4.4 give it for CIFAR-10's own files, and data."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _old_array, ()


def _old_array() -> np.ndarray:
    words = "dtype(): align should be passed as Python or NumPy boolean but got `align=0`."
    warnings.warn(words, np.exceptions.VisibleDeprecationWarning, stacklevel=2)
    return np.zeros((1, 3072), np.uint8)


class TestOfficial:
    def test_images_and_labels_are_those_of_the_files_in_their_order(self, official: Path) -> None:
        train, test = data.load("train", official), data.load("test", official)

        assert train.labels == [label for number in range(5) for label in (number, 9, 8, 7)]
        assert test.labels == [5, 9, 8, 7]
        values = pickle.loads((official / "cifar-10-batches-py" / "test_batch").read_bytes())
        planes = values["data"][2].reshape(3, 32, 32)
        assert np.array_equal(np.asarray(test[2][0]), planes.transpose(1, 2, 0))
        assert (train[0][0].size, train[0][0].mode) == ((32, 32), "RGB")
        assert train.classes == data.CLASSES

    def test_count_takes_as_many_of_each_class(
        self, official: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in BATCHES:
            batch = {"data": np.zeros((20, 3072), np.uint8), "labels": [*range(10)] * 2}
            (official / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(batch, 2))
        trust(official, monkeypatch)

        labels = [data.load("train", official, count=30, seed=seed).labels for seed in (0, 0, 1)]

        assert sorted(labels[0]) == sorted([*range(10)] * 3)
        assert labels[0] == labels[1] != labels[2]

    def test_origin_says_so(self, official: Path) -> None:
        name = f"the official CIFAR-10 in {official}, digests verified"
        assert data.describe(official) == name
        assert data.load("test", official).origin == f"4 of 4 test images of {name}"

    def test_normalized(self, official: Path) -> None:
        images = data.load("test", official)

        values, labels = data.normalized(images).tensors

        assert torch.equal(values, torch.stack([data.transform()(image) for image, _ in images]))
        assert labels.tolist() == [5, 9, 8, 7]

    def test_warning_about_the_age_of_the_files_is_passed_over(
        self, official: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch = pickle.dumps({"data": OldArray(), "labels": [3]}, 2)
        (official / "cifar-10-batches-py" / "test_batch").write_bytes(batch)
        trust(official, monkeypatch)

        assert data.load("test", official).labels == [3]

    @pytest.mark.parametrize(
        ("words", "category"),
        [("the end is near", np.exceptions.VisibleDeprecationWarning), ("dtype(): align", Warning)],
    )
    def test_other_warnings_are_shown(
        self,
        official: Path,
        monkeypatch: pytest.MonkeyPatch,
        words: str,
        category: type[Warning],
    ) -> None:
        from torchvision.datasets import CIFAR10

        read = CIFAR10.__init__

        def warn(self: Any, *arguments: Any, **options: Any) -> None:
            warnings.warn(words, category, stacklevel=2)
            read(self, *arguments, **options)

        monkeypatch.setattr(CIFAR10, "__init__", warn)

        with pytest.warns(category, match=re.escape(words)):
            data.load("test", official)

    def test_digests_that_count_are_those_of_the_published_files(self) -> None:
        from torchvision.datasets import CIFAR10

        assert CIFAR10.tgz_md5 == "c58f30108f718f92721af3b95e74349a"
        assert dict(CIFAR10.test_list) == {"test_batch": "40351d587109b95175f43aff81a1287e"}
        assert [name for name, _ in CIFAR10.train_list] == BATCHES[:5]


class TestUnusableOfficial:
    def refused(self, folder: Path, words: str) -> None:
        attempts = (
            lambda: data.load("train", folder),
            lambda: data.load("test", folder),
            lambda: data.describe(folder),
        )
        for attempt in attempts:
            with pytest.raises(data.DataError, match=words):
                attempt()

    @pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
    def test_missing_file(self, official: Path, name: str) -> None:
        (official / "cifar-10-batches-py" / name).unlink()
        self.refused(official, rf"batches-py lacks {name}: .* Unpack .* again: tar -xzf")

    def test_empty_folder(self, official: Path) -> None:
        for file in (official / "cifar-10-batches-py").iterdir():
            file.unlink()
        self.refused(official, "lacks data_batch_1, data_batch_2, .*, test_batch, batches.meta")

    @pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
    def test_damaged_file(self, official: Path, name: str) -> None:
        file = official / "cifar-10-batches-py" / name
        expected = digest(file)
        file.write_bytes(file.read_bytes()[:-1])
        self.refused(
            official,
            rf"{name} is damaged: its MD5 is {digest(file)}, and {expected} is expected.*Unpack",
        )

    @pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
    def test_file_that_would_run_code_is_not_opened(
        self, official: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trace = official / "trace"
        bomb = pickle.dumps({"data": Trace(trace), "labels": [], "label_names": []}, 2)
        (official / "cifar-10-batches-py" / name).write_bytes(bomb)

        self.refused(official, f"{name} is damaged")
        assert not trace.exists()

        pickle.loads(bomb)  # the control: this is what opening it does
        assert trace.exists()

    def test_archive_that_is_not_unpacked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from torchvision.datasets import CIFAR10

        archive = tmp_path / "cifar-10-python.tar.gz"
        archive.write_bytes(b"archive")
        monkeypatch.setattr(CIFAR10, "tgz_md5", digest(archive))
        self.refused(tmp_path, r"tar\.gz is not unpacked\. Unpack it: tar -xzf .* -C ")

    def test_archive_that_is_not_there_to_its_end(self, tmp_path: Path) -> None:
        (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"arch")
        self.refused(
            tmp_path, r"tar\.gz is damaged .* c58f30108f718f92721af3b95e74349a is expected"
        )
