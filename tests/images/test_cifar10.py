"""CIFAR-10's own files: read as they are, and not opened unless their digests are right."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blitz import data
from blitz.images.cifar10 import BATCHES
from tests.conftest import MakesFolder
from tests.images import official as made


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made.trust(monkeypatch, made.contents())
    return made.write(tmp_path)


def replace(official: Path, monkeypatch: pytest.MonkeyPatch, **batches: Any) -> None:
    """Put other batches in the place of some, with the digests that torchvision knows."""
    for name, batch in batches.items():
        (official / BATCHES / name).write_bytes(pickle.dumps(batch, 2))
    files = (official / BATCHES).iterdir()
    made.trust(monkeypatch, {file.name: file.read_bytes() for file in files})


class TestOfficial:
    def test_images_and_labels_are_those_of_the_files_in_their_order(self, official: Path) -> None:
        train, test = data.load("train", official), data.load("test", official)

        assert train.labels == [label for number in range(5) for label in (number, 9, 8, 7)]
        assert test.labels == [5, 9, 8, 7]
        values = pickle.loads((official / BATCHES / "test_batch").read_bytes())
        planes = values["data"][2].reshape(3, 32, 32)
        assert np.array_equal(np.asarray(test[2][0]), planes.transpose(1, 2, 0))
        assert (train[0][0].size, train[0][0].mode) == ((32, 32), "RGB")

    def test_count_takes_as_many_of_each_class(
        self, official: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        values = np.arange(20, dtype=np.uint8)[:, None].repeat(3072, 1)
        replace(official, monkeypatch, test_batch={"data": values, "labels": [*range(10)] * 2})

        taken = [data.load("test", official, count=10, seed=seed) for seed in (0, 0, 1)]

        first, same, other = (images.pixels[:, 0, 0, 0].tolist() for images in taken)
        assert [value % 10 for value in first] == taken[0].labels
        assert sorted(taken[0].labels) == [*range(10)]
        assert first == same != other

    def test_origin_says_so(self, official: Path) -> None:
        name = f"the official CIFAR-10 in {official}, digests verified"
        assert data.describe(official) == name
        assert data.load("test", official).origin == f"4 of 4 test images of {name}"


class OldArray:
    """Unpickled, it warns as NumPy 2.4.0 to 2.4.4 do for CIFAR-10's own files, and is an array."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _old_array, ()


def _old_array() -> np.ndarray:
    words = "dtype(): align should be passed as Python or NumPy boolean but got `align=0`."
    warnings.warn(words, np.exceptions.VisibleDeprecationWarning, stacklevel=2)
    return np.zeros((1, 3072), np.uint8)


class TestWarnings:
    def test_of_the_files_age_is_ignored(
        self, official: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace(official, monkeypatch, test_batch={"data": OldArray(), "labels": [3]})

        assert data.load("test", official).labels == [3]


class TestUnusable:
    def refused(self, folder: Path, words: str) -> None:
        for split in ("train", "test"):
            with pytest.raises(data.DataError, match=words):
                data.load(split, folder)
        with pytest.raises(data.DataError, match=words):
            data.describe(folder)

    def test_missing_and_damaged_files_are_named(self, official: Path) -> None:
        (official / BATCHES / "data_batch_3").write_bytes(b"x")
        (official / BATCHES / "batches.meta").unlink()

        both = "missing or damaged, and not opened: data_batch_3, batches.meta"
        self.refused(official, rf"batches-py: {both}\. Unpack .* again: tar -xzf")

    @pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
    def test_file_that_would_run_code_is_not_opened(self, official: Path, name: str) -> None:
        trace = official / "trace"
        bomb = pickle.dumps({"data": MakesFolder(trace), "labels": [], "label_names": []}, 2)
        (official / BATCHES / name).write_bytes(bomb)

        self.refused(official, f"not opened: {name}")
        assert not trace.exists()

        pickle.loads(bomb)  # the control: this is what opening it does
        assert trace.exists()
