"""The training by itself, on images that are all black."""

import math
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
import pytest
import torch

from blitz import data
from blitz.learning import running_loss
from blitz.learning.running_loss import Report
from blitz.parallel.processes import Processes
from blitz.training import loop
from blitz.training.loop import Training
from blitz.training.settings import Settings


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[data.Images]:
    """39 images, ten batches of 4; reports after every 4 batches, chunks of 3."""
    monkeypatch.setattr(loop, "CHUNK_IMAGES", 12)
    monkeypatch.setattr(running_loss, "REPORT_EVERY", 4)
    with torch.random.fork_rng(devices=[]):
        yield data.Images(np.zeros((39, 32, 32, 3), np.uint8), 39 * [3], "ours")


class Noted(Processes):
    """One process that notes what it is told, and whose losses are all ``loss``."""

    launch = "the third"

    def __init__(self, loss: float = 1.0) -> None:
        self.loss = loss

    def mean(self, numbers: Sequence[float]) -> list[float]:
        return [self.loss for _ in numbers]


def test_digest_is_of_labels_and_pixels() -> None:
    pixels = np.arange(2 * 32 * 32 * 3).astype(np.uint8).reshape(2, 32, 32, 3)
    labels = b"\x07" + 7 * b"\0" + b"\x01" + 7 * b"\0"

    known = blake2b(labels + pixels.tobytes(), digest_size=16).hexdigest()

    assert loop.digest(data.Images(pixels, [7, 1], "")) == known
    apart = np.repeat(pixels, 2, axis=0)[::2]
    assert loop.digest(data.Images(apart, [7, 1], "")) == known


def test_goes_by_its_settings(few: data.Images) -> None:
    settings = Settings(epochs=65, lr=0.5, momentum=0.25, exact=True, seed=5)

    made = Training(settings, few)

    assert (made.feed.name, made.images, made.seconds) == ("resident", 65 * 39, 0.0)
    assert made.images_digest == loop.digest(few)
    assert made.losses.every == 4
    assert made.curve.every == 6  # about a hundred points of 650 batches
    assert made.feed.seed == 5
    (group,) = made.checkpoint().optimizer["param_groups"]
    assert (group["lr"], group["momentum"], group["fused"]) == (0.5, 0.25, False)


def test_first_weights_are_the_seeds(few: data.Images) -> None:
    first = []
    for seed in (1, 1, 2):
        torch.rand(1)
        first.append(Training(Settings(seed=seed), few).net.fc3.bias.tolist())

    assert first[0] == first[1] != first[2]


def test_goes_to_the_end_and_tells(few: data.Images) -> None:
    processes = Noted()
    made = Training(Settings(), few, processes)
    made.seconds, made.curve.every = 1000.0, 4

    reports = [report for due in made.chunks() for report in due]

    assert reports == [
        Report(epoch, batches, 1.0, rest)
        for epoch in (1, 2)
        for batches, rest in [(4, False), (8, False), (10, True)]
    ]
    assert made.losses.reports == made.curve.reports == reports
    assert 1000 < made.seconds < 1100
    assert made.checkpoint().launch == "the third"


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_loss_that_is_no_number_is_told_with_its_place(few: data.Images, loss: float) -> None:
    made = Training(Settings(lr=0.25), few, Noted(loss))
    made.losses.epoch, made.losses.batches = 2, 4

    with pytest.raises(loop.Diverged) as diverged:
        list(made.chunks())

    assert str(diverged.value) == (
        f"the loss of batch 5 of epoch 2 is {loss}: the steps are too large. Start anew with "
        "a learning rate below 0.25."
    )


def test_time_of_a_chunk_is_in_the_checkpoint_behind_it(few: data.Images) -> None:
    made = Training(Settings(), few)

    next(made.chunks())

    assert made.checkpoint().seconds > 0
