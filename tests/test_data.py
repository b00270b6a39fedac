"""The images as a data set, as tensors and in batches."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from blitz import data
from blitz.learning import evaluation


@pytest.fixture(scope="module")
def made() -> data.Images:
    return data.load("train", count=2000)


class TestLoad:
    def test_transform_applies_to_the_image_of_an_item(self) -> None:
        images = data.load("train", count=3, transform=lambda image: image.size)

        assert images[2] == ((32, 32), images.labels[2])

    def test_images_can_be_sent_to_another_process(self, made: data.Images, images: Path) -> None:
        for source in (None, images):
            loaded = data.load("train", source, count=20, transform=data.transform())
            copy = pickle.loads(pickle.dumps(loaded))
            assert torch.equal(copy[3][0], loaded[3][0])
            assert (copy.labels, copy.origin) == (loaded.labels, loaded.origin)

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
            evaluation.evaluate(net, data.loader(images, size, shuffle=False))
            for size in (1, 3, 4, 10, 100)
        ]

        assert [accuracy.correct for accuracy in found] == [sum(right)] * 5
        assert [accuracy.total for accuracy in found] == [10] * 5
        assert len({accuracy.class_correct for accuracy in found}) == 1
