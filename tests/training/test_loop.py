"""The training by itself, on images that are all black."""

from hashlib import blake2b

import numpy as np
import pytest
import torch

from blitz import data
from blitz.classifier import Net
from blitz.training import loop
from blitz.training.loop import Training
from blitz.training.settings import Settings


@pytest.fixture
def few() -> data.Images:
    """39 images, ten batches of 4."""
    return data.Images(np.zeros((39, 32, 32, 3), np.uint8), 39 * [3], "ours")


def test_digest_is_of_labels_and_pixels() -> None:
    pixels = np.arange(2 * 32 * 32 * 3).astype(np.uint8).reshape(2, 32, 32, 3)
    labels = b"\x07" + 7 * b"\0" + b"\x01" + 7 * b"\0"

    known = blake2b(labels + pixels.tobytes(), digest_size=16).hexdigest()

    assert loop.digest(data.Images(pixels, [7, 1], "")) == known
    apart = np.repeat(pixels, 2, axis=0)[::2]
    assert loop.digest(data.Images(apart, [7, 1], "")) == known


def test_goes_by_its_settings(few: data.Images) -> None:
    settings = Settings(epochs=65, lr=0.5, momentum=0.25, exact=True, seed=5)

    made = Training(settings, few, few)

    assert (made.feed.name, made.images, made.seconds) == ("resident", 65 * 39, 0.0)
    assert made.images_digest == loop.digest(few)
    assert made.feed.seed == 5
    (group,) = made.state()["optimizer"]["param_groups"]
    assert (group["lr"], group["momentum"], group["fused"]) == (0.5, 0.25, False)
    torch.manual_seed(5)
    assert torch.equal(made.net.conv1.weight, Net().conv1.weight)


def test_time_goes_on(few: data.Images) -> None:
    made = Training(Settings(), few, few)
    made.seconds = 1000.0

    next(chunks := made.chunks())
    before = made.state()["seconds"]
    for _ in chunks:
        pass

    assert 1000 < before < made.seconds < 1100
