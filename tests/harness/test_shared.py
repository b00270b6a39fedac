"""Images that one process of a run prepares and the others read."""

from pathlib import Path

import numpy as np
import pytest

from blitz import data
from blitz.harness import shared

PIXELS = np.arange(2 * 32 * 32 * 3, dtype=np.uint8).reshape(2, 32, 32, 3)
MADE = data.Images(PIXELS, [3, 5], "made")


def never() -> data.Images:
    raise AssertionError("the images are loaded once more")


def test_first_process_keeps_what_it_loads_and_the_next_reads_it(tmp_path: Path) -> None:
    first = shared.images(tmp_path, "train", lambda: MADE)
    second = shared.images(tmp_path, "train", never)

    assert first is MADE
    assert np.array_equal(second.pixels(), PIXELS)
    assert (second.labels, second.origin) == ([3, 5], "made")
    assert type(second.origin) is str
    assert {path.name for path in tmp_path.iterdir()} == {"train.npz", "train.lock"}


def test_half_a_file_of_a_process_that_died_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def savez(file: Path, **arrays: object) -> None:
        file.write_bytes(b"PK")
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(np, "savez", savez)
        with pytest.raises(KeyboardInterrupt):
            shared.images(tmp_path, "train", lambda: MADE)

    assert shared.images(tmp_path, "train", lambda: MADE) is MADE
    assert shared.images(tmp_path, "train", never).labels == [3, 5]


def test_images_of_another_name_are_others(tmp_path: Path) -> None:
    other = data.Images(PIXELS[:1], [7], "others")

    shared.images(tmp_path, "train", lambda: MADE)
    shared.images(tmp_path, "test", lambda: other)

    assert shared.images(tmp_path, "test", never).labels == [7]
    assert shared.images(tmp_path, "train", never).labels == [3, 5]


def test_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    pickled = np.array([{"any": "object"}], dtype=object)
    np.savez(tmp_path / "train.npz", items=pickled, labels=[3], origin="made")

    with pytest.raises(ValueError, match="allow_pickle=False"):
        shared.images(tmp_path, "train", never)
