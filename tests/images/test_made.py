"""Images made on the spot: what a seed gives, and what tells their classes apart."""

from hashlib import sha256

import numpy as np
import pytest

from blitz import data
from tests.small_images import pixels_of

PARTS = (("train", 0), ("test", 0), ("train", 1), ("test", 1))


@pytest.fixture(scope="module")
def made() -> data.Images:
    return data.load("train", count=2000)


def test_there_are_8000_and_2000_unless_asked_otherwise() -> None:
    assert len(data.load("train")) == 8000
    assert len(data.load("test")) == 2000
    assert len(data.load("test", count=3)) == 3
    assert len(data.load("test", count=1)) == 1


def test_classes_are_as_many_of_each_and_in_random_order(made: data.Images) -> None:
    assert [made.labels.count(label) for label in range(10)] == [200] * 10
    assert made.labels[:200] != sorted(made.labels[:200])
    assert set(made.labels[:100]) == set(range(10))


def test_same_seed_gives_the_same_images_on_every_machine() -> None:
    images = data.load("train", count=100, seed=0)

    digest = sha256(b"".join(pixels_of(images)) + bytes(images.labels)).hexdigest()
    assert digest == "e1517b3045f7c27902358072ac06253686fdd9f78135747db645dc6a32e67fb1"


def test_splits_and_seeds_have_no_image_in_common() -> None:
    sets = [pixels_of(data.load(split, count=500, seed=seed)) for split, seed in PARTS]

    assert len(set().union(*sets)) == 500 * len(PARTS)


def test_mean_colour_is_the_same_in_every_class(made: data.Images) -> None:
    pixels, labels = made.pixels.astype(float), np.array(made.labels)
    means = [pixels[labels == label].mean((1, 2)) for label in range(10)]

    spread = np.std(np.concatenate(means), 0) / np.sqrt(200)
    assert np.all(np.abs([mean.mean(0) - 127.5 for mean in means]) < 5 * spread)


def test_no_pixel_tells_the_class(made: data.Images) -> None:
    labels, light = np.array(made.labels), made.pixels.mean(-1) > 127.5

    share = np.array([light[labels == label].mean(0) for label in range(10)])
    assert np.all(np.abs(share - 0.5) < 6 * np.sqrt(0.25 / 200))


def test_picture_has_two_colours(made: data.Images) -> None:
    for image, _ in (made[i] for i in range(20)):
        assert len(image.getcolors()) == 2


@pytest.mark.parametrize(("label", "step"), [(0, (0, 1)), (1, (1, 1)), (2, (1, 0)), (3, (1, -1))])
def test_strokes_of_a_class_lie_in_its_direction(
    made: data.Images, label: int, step: tuple[int, ...]
) -> None:
    """Neighbours in the direction of the strokes agree most often, for short and for long."""
    for kind in (label, label + 5):
        patterns = made.pixels[np.array(made.labels) == kind].mean(-1) > 127.5
        agree = {
            (dy, dx): np.mean(patterns == np.roll(patterns, (-dy, -dx), (1, 2)))
            for dy, dx in ((0, 1), (1, 1), (1, 0), (1, -1))
        }
        assert max(agree, key=agree.get) == step


def test_origin_says_so(made: data.Images) -> None:
    assert made.origin == "made on the spot, no file, no network, seed 0"
    assert data.describe(None) == "made on the spot, no file, no network"
