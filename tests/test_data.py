"""The images as a data set, as tensors and in batches."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from blitz import data


class TestLoad:
    def test_images_can_be_sent_to_another_process(self, images: Path) -> None:
        for source in (None, images):
            loaded = data.load("train", source, count=20)
            loaded.transform = data.transform()
            copy = pickle.loads(pickle.dumps(loaded))
            assert torch.equal(copy[3][0], loaded[3][0])
            assert (copy.labels, copy.origin) == (loaded.labels, loaded.origin)

    def test_unknown_split_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"split 'val': .* Ask for 'train' or 'test'"):
            data.load("val")


class TestNormalized:
    def test_is_the_tutorials_transform_to_the_last_bit(self) -> None:
        every_value = np.arange(3072, dtype=np.uint32).astype(np.uint8).reshape(1, 32, 32, 3)
        pixels = np.concatenate([every_value, data.load("train", count=9).pixels])
        images = data.Images(pixels, [7, *range(9)], "here")

        values, labels = data.normalized(images).tensors

        transformed = torch.stack([data.transform()(image) for image, _ in images])
        assert torch.equal(values, transformed)
        assert (values.dtype, values.is_contiguous()) == (torch.float32, True)
        assert (labels.dtype, labels.tolist()) == (torch.int64, [7, *range(9)])
