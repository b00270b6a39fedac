"""Files of tensors, which are not trusted: checksums first, then tensors and plain values only."""

import os
import pickle
import zipfile
from io import BytesIO
from typing import Any

import torch


class UnreadableFile(Exception):
    """A file that holds no tensors that could be read; the message is the fault alone."""


def dump(content: object) -> bytes:
    """``content`` (tensors, numbers, texts, in dicts and lists) as the bytes of such a file."""
    file = BytesIO()
    torch.save(content, file)
    return file.getvalue()


def read(path: str | os.PathLike[str], device: torch.device, what: str) -> Any:
    """What :func:`dump` was given, read from ``path`` on ``device``; no code in the file runs.

    Args:
        path: The file.
        device: Where its tensors go.
        what: What the file should be, for the error: ``"a checkpoint"``.

    Raises:
        UnreadableFile: there is no such file, it is damaged or foreign, or holds more than tensors
            and plain values.
    """
    try:
        with open(path, "rb") as file:
            # torch does not compare the checksums that it writes; zipfile does.
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"the checksum of {damaged} does not fit")
            file.seek(0)
            return torch.load(file, map_location=device, weights_only=True)
    except OSError as error:
        raise UnreadableFile(f"cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise UnreadableFile(
            "holds something else than tensors, which could only be read by running code from the "
            "file; nothing of it was run"
        ) from error
    except Exception as error:  # whatever the readers make of damaged or foreign bytes
        raise UnreadableFile(f"not {what}, or a damaged one: {error}") from error
