"""A training on disk. The file is not trusted: its checksums are compared, and no code runs."""

import os
from typing import Any

from blitz.base import files
from blitz.base.errors import BlitzError

FORMAT = 5

_REMEDY = "Start anew with another --out, or put the checkpoint back from a copy."


def save(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write the ``state`` of a training to ``path``, whole or not at all.

    Raises:
        WriteError: it cannot be written there; an earlier one is as it was.
    """
    files.write(path, files.dump({"format": FORMAT, **state}), "the checkpoint")


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the state that :func:`save` wrote to ``path``, its tensors on the cpu.

    Raises:
        BlitzError: there is none, it is damaged or of another format, or it would run code.
    """
    content = files.read_tensors(path, "a checkpoint", _REMEDY)
    if not isinstance(content, dict) or "format" not in content:
        raise BlitzError(f"{path}: is not a checkpoint. {_REMEDY}")
    if (number := content.pop("format")) != FORMAT:
        raise BlitzError(
            f"{path}: is in format {number!r}, and this version reads format {FORMAT}. Go on with "
            "the version of blitz that wrote it, or start anew with another --out."
        )
    return content
