"""Files that appear whole or not at all: written beside, flushed to the disk, then renamed."""

import os
import re
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

_PART = re.compile(r"\.[0-9a-f]{32}\.part")


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Put ``content`` into the file ``path``; what was there before is replaced in one step.

    Whoever reads ``path`` meanwhile, or after the process or the machine went down, finds the
    former file or the new one, and never a part of one.

    Raises:
        OSError: it cannot be written there. The former file is as it was, and nothing is left
            beside it.
    """
    path = Path(path)
    beside = path.with_name(f".{uuid4().hex}.part")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        with suppress(OSError):
            os.unlink(beside)
    _flush_names(path.parent)


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove what writers that were killed left in ``folder``; nobody may be writing there."""
    for name in os.listdir(folder):
        if _PART.fullmatch(name):
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))


def _flush_names(folder: Path) -> None:
    """Have the names in ``folder`` outlive a power cut, where the system can do so."""
    with suppress(OSError):  # Windows does not open folders, and has no need to
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
