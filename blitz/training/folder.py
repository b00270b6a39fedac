"""The folder that a training writes to: what it holds, and that one training writes there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from filelock import FileLock, Timeout

from blitz.base import files
from blitz.base.errors import BlitzError


class Content(Enum):
    """How far the training in a folder has come."""

    NOTHING = "nothing"
    UNFINISHED = "an unfinished training"
    FINISHED = "a finished training"
    OTHER = "other files"


class RunFolder:
    """The files of one training; the folder need not exist."""

    PICTURES = ("samples.png", "predictions.png", "loss.png", "classes.png")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint.pt"
        self.model = self.path / "model.pt"
        self.result = self.path / "result.json"

    def content(self) -> Content:
        """Return what is there: result.json is written last, and then the checkpoint goes."""
        if self.result.exists():
            return Content.FINISHED
        if self.checkpoint.exists():
            return Content.UNFINISHED
        there = [name for name in ("model.pt", *self.PICTURES) if (self.path / name).exists()]
        return Content.OTHER if there else Content.NOTHING

    def drop_checkpoint(self) -> None:
        """Remove the checkpoint of a finished training."""
        with suppress(OSError):  # none there, or a folder that became read-only: no harm
            self.checkpoint.unlink()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, and keep other trainings out of it inside.

        A folder that was made for it and stays empty is removed.

        Raises:
            BlitzError: the folder cannot be made, or another training is writing there.
        """
        new = not self.path.exists()
        # Of a file in the folder: filelock does not lock folders, which Windows cannot either.
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        # filelock's Timeout is an OSError: it has to come first.
        except Timeout as error:
            raise BlitzError(
                f"another training is writing to {self.path}. Wait for it, or choose another --out."
            ) from error
        except OSError as error:
            raise BlitzError(
                f"{self.path} cannot be made or written to: {error.strerror or error}. Choose "
                "another --out."
            ) from error
        except NotImplementedError:  # filelock's word for a file system without locks
            pass
        try:
            files.sweep(self.path)
            yield
        finally:
            with suppress(OSError):
                if new and os.listdir(self.path) == [".lock"]:
                    (self.path / ".lock").unlink()
                    self.path.rmdir()
            lock.release()
