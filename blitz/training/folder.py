"""The folder that a training writes to: what lies in it, and that only one process does so."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from pathlib import Path

from blitz.base import files as atomic
from blitz.base import locks
from blitz.base.errors import BlitzError


class RunFolderError(BlitzError, RuntimeError):
    """A folder that a training cannot write to; the message says why and what to do."""


class Content(Enum):
    """What a folder holds of a training."""

    NOTHING = "nothing"
    UNFINISHED = "an unfinished training"
    FINISHED = "a finished training"
    OTHER = "other files"


class RunFolder:
    """The files of one training.

    Args:
        path: The folder, which need not exist.
    """

    PICTURES = ("samples.png", "predictions.png", "loss.png", "classes.png")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint.pt"
        self.model = self.path / "model.pt"
        self.result = self.path / "result.json"

    def content(self) -> Content:
        """What is there. A training's result comes last, and its checkpoint goes after that."""
        if self.result.exists():
            return Content.FINISHED
        if self.checkpoint.exists():
            return Content.UNFINISHED
        there = [name for name in ("model.pt", *self.PICTURES) if (self.path / name).exists()]
        return Content.OTHER if there else Content.NOTHING

    def write(self, name: str, content: bytes) -> None:
        """Put ``content`` into the file ``name``, whole or not at all.

        Raises:
            RunFolderError: it cannot be written.
        """
        try:
            atomic.write(self.path / name, content)
        except OSError as error:
            raise RunFolderError(
                f"{self.path / name} cannot be written: {error.strerror or error}. Make room, or "
                "choose a folder that you may write to."
            ) from error

    def drop_checkpoint(self) -> None:
        """Remove the checkpoint of a training that is finished."""
        with suppress(OSError):
            self.checkpoint.unlink()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and keep other trainings out of it meanwhile.

        The lock dies with this process. A folder that was made for it and stays empty is removed.

        Raises:
            RunFolderError: the folder cannot be made, or another training is writing there.
        """
        new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"{self.path} cannot be made: {error.strerror or error}. Choose another --out."
            ) from error
        try:
            with _locked(self.path):
                atomic.sweep(self.path)
                yield
        finally:
            if new:
                with suppress(OSError):  # it is not empty
                    self.path.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with ExitStack() as until_the_end:
        try:
            if sys.platform != "win32":  # where a second run into one folder is not noticed
                until_the_end.enter_context(locks.held(folder, deadline=0))
        except TimeoutError as error:
            raise RunFolderError(
                f"another training is writing to {folder}. Wait for it, or choose another --out."
            ) from error
        except PermissionError as error:
            raise RunFolderError(
                f"{folder} cannot be opened: {error.strerror or error}. Choose another --out."
            ) from error
        except OSError:
            pass  # a file system without locks: a second run is not noticed there either
        yield
