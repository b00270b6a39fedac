"""CIFAR-10 in its own format with four images a file, which torchvision takes for the real one."""

import io
import pickle
import tarfile
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from blitz.images.cifar10 import BATCHES, FOLDERS

NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def contents() -> dict[str, bytes]:
    """The files' contents by name."""
    random = np.random.default_rng(0)
    files = {}
    for number, name in enumerate(NAMES):
        values = random.integers(0, 256, (4, 3072), dtype=np.uint8)
        files[name] = pickle.dumps({"data": values, "labels": [number, 9, 8, 7]}, 2)
    return {**files, "batches.meta": pickle.dumps({"label_names": list(FOLDERS)}, 2)}


def write(folder: Path) -> Path:
    """Put the files into ``folder``."""
    (folder / BATCHES).mkdir()
    for name, content in contents().items():
        (folder / BATCHES / name).write_bytes(content)
    return folder


def trust(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    """Let the digests that torchvision knows be those of ``files``."""
    digests = {name: md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, digests[name]] for name in NAMES[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [[name, digests[name]] for name in NAMES[5:]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": digests["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)


def archive() -> bytes:
    """The files as an archive like the official one."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in contents().items():
            info = tarfile.TarInfo(f"{BATCHES}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()
