"""Worker processes: started by every method, from scripts with a guard and without."""

import multiprocessing
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blitz import data
from blitz.images import workers
from blitz.images.cifar10 import DataError

ROOT = Path(__file__).parents[2]


class TestScript:
    @pytest.mark.parametrize("method", workers.METHODS)
    @pytest.mark.parametrize(
        "guard", ['if __name__ == "__main__":', "if True:"], ids=["guard", "none"]
    )
    def test_needs_a_guard_unless_it_forks(self, tmp_path: Path, method: str, guard: str) -> None:
        work = f"workers.check('{method}'); print('worked')"
        script = tmp_path / "script.py"
        script.write_text(f"from blitz.images import workers\n{guard} {work}\n")
        done = subprocess.run(
            [sys.executable, script],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=150,
        )

        if method == "fork" or guard != "if True:":
            assert (done.returncode, done.stdout, done.stderr) == (0, "worked\n", "")
        else:
            assert (done.returncode, done.stdout) == (1, "")
            last = done.stderr.strip().splitlines()[-1]
            assert "worker processes cannot be started" in last
            assert 'Put what your script does under `if __name__ == "__main__":`' in last
            assert "workers=0" in last

    def test_worker_that_dies_is_told_with_its_exit_code(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process = SimpleNamespace(start=lambda: None, join=lambda: None, exitcode=3)
        context = SimpleNamespace(Process=lambda target: process)
        monkeypatch.setattr(multiprocessing, "get_context", {"spawn": context}.__getitem__)

        with pytest.raises(DataError, match="by spawn: the first one ended with exit code 3 as"):
            workers.check.__wrapped__("spawn")


@pytest.fixture(scope="module")
def images() -> data.Images:
    return data.load("test", count=10, transform=data.transform())


def labels_of(loader: Any) -> list[list[int]]:
    with warnings.catch_warnings():
        # Python 3.12 warns of a fork beside other threads; torch of more workers than cores and,
        # from 2.15 on, of a data set that cannot be sent.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        return [labels.tolist() for _, labels in loader]


class TestLoader:
    # One worker is enough where each imports torch for seconds.
    @pytest.mark.parametrize(("method", "count"), [("fork", 2), ("forkserver", 1), ("spawn", 1)])
    def test_gives_the_same_batches_however_workers_start(
        self, images: data.Images, method: str, count: int
    ) -> None:
        alone = data.loader(images, shuffle=True, seed=3)
        shared = data.loader(images, shuffle=True, seed=3, workers=count, start_method=method)

        assert labels_of(shared) == labels_of(alone)
        assert [len(labels) for labels in labels_of(alone)] == [4, 4, 2]

    def test_tries_a_process_before_it_starts_workers(
        self, images: data.Images, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(method: str) -> None:
            raise DataError(f"no {method}")

        monkeypatch.setattr(workers, "check", refuse)

        assert len(labels_of(data.loader(images, shuffle=False))) == 3
        with pytest.raises(DataError, match="no spawn"):
            iter(data.loader(images, shuffle=False, workers=1, start_method="spawn"))
        with pytest.raises(DataError, match=f"no {multiprocessing.get_start_method()}"):
            iter(data.loader(images, shuffle=False, workers=1))
