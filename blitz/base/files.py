"""Files that appear whole or not at all, and files of tensors, which are not trusted."""

import os
import pickle
import re
import zipfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

from blitz.base.errors import BlitzError, first_line

_BEFORE_1_6 = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How torch.save's files began before torch 1.6: a pickled number of 10 bytes. No checksums."""

_PART = re.compile(r"\.[0-9a-f]{32}\.part")


class WriteError(BlitzError, OSError):
    """A file that cannot be written; the message names it, the fault and the remedy."""

    def __init__(self, path: str | os.PathLike[str], what: str, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(
            f"{path}: {what} cannot be written there: {reason}. An earlier one is as it was. "
            "Choose a file in an existing folder that you may write to, on a disk with room."
        )
        self.strerror = reason


def write(path: str | os.PathLike[str], content: bytes, what: str = "the file") -> None:
    """Write ``content`` to ``path``, replacing what was there in one step.

    Readers see the old file or the new one, never part of one, even after a power cut.

    Args:
        path: The file, in a folder that exists.
        content: All of it.
        what: What it is, for the error: ``"the checkpoint"``.

    Raises:
        WriteError: it cannot be written. The old file is as it was, and nothing is left beside it.
    """
    path = Path(path)
    # In the same folder: os.replace is one step only within a file system.
    beside = path.with_name(f".{uuid4().hex}.part")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            # Else ext4 may write the new name before the content: an empty file after a power cut.
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise WriteError(path, what, error) from error
    finally:
        with suppress(OSError):
            os.unlink(beside)
    _flush_names(path.parent)


def _flush_names(folder: Path) -> None:
    """Flush the names in ``folder`` to the disk."""
    with suppress(OSError):  # Windows does not open folders, and journals their names itself
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove what killed writers left in ``folder``; nothing may be writing there."""
    for name in os.listdir(folder):
        if _PART.fullmatch(name):
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))


def dump(content: object) -> bytes:
    """Return ``content`` (tensors, numbers and texts in dicts and lists) as torch saves it."""
    import torch

    file = BytesIO()
    torch.save(content, file)
    return file.getvalue()


def read_tensors(path: str | os.PathLike[str], what: str, remedy: str) -> Any:
    """Return what :func:`dump` was given, with its tensors on the cpu.

    The file is not trusted: checksums are compared first, and no code in it runs. (Files from
    before torch 1.6 have no checksums.)

    Args:
        path: The file.
        what: What the file should be, for the error: ``"a checkpoint"``.
        remedy: What to do where it is not, for the same.

    Raises:
        BlitzError: there is no such file, it is damaged or foreign, or holds more than tensors and
            plain values.
    """
    import torch

    try:
        with open(path, "rb") as file:
            if file.read(len(_BEFORE_1_6)) != _BEFORE_1_6:
                # torch.load does not compare the checksums that torch.save writes; zipfile does.
                with zipfile.ZipFile(file) as archive:
                    damaged = archive.testzip()
                    parts = {name.partition("/")[2] for name in archive.namelist()}
                if damaged is not None:
                    raise zipfile.BadZipFile(f"the checksum of {damaged} does not fit")
                if "constants.pkl" in parts:
                    raise pickle.UnpicklingError  # TorchScript
                if "data.pkl" not in parts:
                    raise zipfile.BadZipFile("torch.save did not write it")
            file.seek(0)
            # weights_only is said, not left to the default of torch 2.6, which
            # TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD undoes.
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        fault = f"cannot be read: {error.strerror or error}"
    except pickle.UnpicklingError:
        fault = (
            "holds something else than tensors, which could only be read by running code from the "
            "file; nothing of it was run"
        )
    except Exception as error:  # zipfile and torch raise many types for damaged bytes
        fault = f"not {what}, or a damaged one: {first_line(error).rstrip('.')}"
    raise BlitzError(f"{path}: {fault}. {remedy}")
