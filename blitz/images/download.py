"""The official CIFAR-10 from its slow server, or from a mirror: 170 MB, by choice only.

Tutorial: ``download=True`` in "Load and normalize CIFAR10".
"""

import math
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from blitz.base import locks
from blitz.images import transfer
from blitz.images.files import ARCHIVE, BATCHES, DataError, digest
from blitz.images.transfer import DownloadError, Patience, Progress, Wanted

__all__ = ["DownloadError", "Progress", "fetch"]


@dataclass(frozen=True)
class Archive:
    """A tar archive of files in one folder.

    Attributes:
        name: Its file name.
        url: Where it is published.
        size: Its length, bytes.
        md5: Its MD5 digest.
        folder: The folder that its files lie in.
        files: The files to take from it, with the MD5 digest of each.
        unpacked: Room that these need, bytes.
    """

    name: str
    url: str
    size: int
    md5: str
    folder: str
    files: Mapping[str, str]
    unpacked: int


CIFAR10 = Archive(
    name=ARCHIVE,
    url=f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",
    size=170_498_071,
    md5="c58f30108f718f92721af3b95e74349a",
    folder=BATCHES,
    files={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
    unpacked=190_000_000,
)
"""Length and digests are those that the publisher and torchvision give."""

Report = Callable[[Progress], object]

WAITING_TOLD = 30.0
"""Seconds from one line on another process's download to the next."""


def fetch(
    root: str | Path,
    *,
    mirror: str | None = None,
    progress: Report | None = None,
    time_limit: float = Patience.time_limit,
    tries: int = Patience.tries,
) -> Path:
    """The folder ``root`` with the official CIFAR-10 in it, downloaded unless it is there.

    The server gave 55 to 85 kB/s in 2026: 33 to 52 minutes. What was received is kept, and the
    next call goes on from there. Where several processes call this at once, one downloads and the
    others wait for it. The archive stays beside the images, so that they can be unpacked again. A
    file counts only when its digest is right; none is opened here.

    Args:
        root: Where to put it; made where it is not there. It can then be given as ``--data``, and
            as ``source`` to :func:`blitz.data.load`.
        mirror: Another address of the archive; one that ends in ``/`` is that of its folder.
        progress: Called with a :class:`Progress` about twice a second, and before every wait;
            ``print`` shows a line for each.
        time_limit: Seconds to spend, waiting for another process included. It is looked at
            whenever bytes come, and at least every half minute.
        tries: Failures in a row, without a new byte between them, at which to give up.

    Returns:
        ``root``.

    Raises:
        DownloadError: it failed on the way; the message says what was received and what to do.
        DataError: ``root`` or ``mirror`` cannot be used.
        ValueError: ``time_limit`` or ``tries`` is not positive.

    Tutorial: ``download=True`` in "Load and normalize CIFAR10".
    """
    if not (time_limit > 0 and tries >= 1):
        raise ValueError(f"time_limit={time_limit}, tries={tries}: give more than 0 for both.")
    url = CIFAR10.url if mirror is None else _address(mirror, CIFAR10.name)
    patience = Patience(tries=tries, time_limit=time_limit)
    return fetch_archive(Path(root), CIFAR10, url, patience, progress)


def fetch_archive(
    root: Path,
    archive: Archive,
    url: str,
    patience: Patience,
    progress: Report | None = None,
) -> Path:
    """:func:`fetch` for any archive, from ``url``.

    Raises:
        DownloadError: it failed on the way.
        DataError: ``root`` cannot be used.
    """
    if _is_there(root, archive):
        return root
    deadline = time.monotonic() + patience.time_limit
    tell = progress or (lambda progress: None)
    _prepare(root, archive)
    with _locked(root, archive, deadline, tell):
        if not _is_there(root, archive):  # unless the process that was waited for brought it
            _download(root, archive, url, patience, deadline, tell)
            tell(_standing(root, archive, "unpacking"))
            with _on_disk(root, archive, DownloadError):
                _unpack(root, archive)
    return root


@contextmanager
def _locked(root: Path, archive: Archive, deadline: float, tell: Report) -> Iterator[None]:
    """Inside, this process alone puts the archive into ``root``."""
    told = -math.inf

    def tell_now_and_then() -> None:
        nonlocal told
        if time.monotonic() - told >= WAITING_TOLD:
            told = time.monotonic()
            tell(_standing(root, archive, "another process downloads it; waiting"))

    lock = locks.held(root / f".{archive.name}.lock", deadline=deadline, on_wait=tell_now_and_then)
    with ExitStack() as stack:
        try:
            with _on_disk(root, archive):
                stack.enter_context(lock)
        except TimeoutError as error:
            here = _standing(root, archive)
            raise DownloadError(
                f"{archive.name}: the time limit is over, and another process is still "
                f"downloading it. {here.received:,} of {here.size:,} bytes received, MD5 "
                f"{archive.md5} expected. Allow more time, or end the other process: the next "
                "call goes on from where it was."
            ) from error
        yield


@contextmanager
def _on_disk(root: Path, archive: Archive, kind: type[DataError] = DataError) -> Iterator[None]:
    """Faults of the disk, but for the end of the time, come out as errors that say what to do."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        raise kind(
            f"{root}: {archive.name} cannot be kept there: {error.strerror or error}. Choose a "
            "folder that you may write to, on a local disk with room."
        ) from error


def _address(mirror: str, name: str) -> str:
    """The address of the file ``name`` at ``mirror``."""
    parts = urlsplit(mirror)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DataError(
            f"mirror {mirror!r} is no address of a server. Give one that starts with http:// or "
            "https://; the file that is there must be the original, byte for byte."
        )
    if parts.path.endswith("/") or not parts.path:
        return parts._replace(path=(parts.path or "/") + name).geturl()
    return mirror


def _is_there(root: Path, archive: Archive) -> bool:
    """Whether all files are unpacked in ``root`` and right."""
    files = {root / archive.folder / name: right for name, right in archive.files.items()}
    return all(map(Path.is_file, files)) and all(
        digest(file) == right for file, right in files.items()
    )


def _standing(root: Path, archive: Archive, note: str = "") -> Progress:
    """How much of the archive is in ``root``."""
    files = (root / archive.name, root / f"{archive.name}.part")
    there = [file.stat().st_size for file in files if file.is_file()]
    return Progress(archive.name, max(there, default=0), archive.size, note=note)


def _prepare(root: Path, archive: Archive) -> None:
    """Make the folder, and see to it that there is room, before an hour is spent."""
    if root.exists() and not root.is_dir():
        raise DataError(f"{root} is a file. Give a folder for {archive.name}, or a new name.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
    except OSError as error:
        raise DataError(
            f"{root}: the folder for {archive.name} cannot be made: {error.strerror or error}. "
            "Choose one that you may write to."
        ) from error
    needed = archive.size - _standing(root, archive).received + archive.unpacked
    if free < needed:
        raise DataError(
            f"{root}: {archive.name} needs {needed:,} bytes more there, unpacked, and {free:,} are "
            "free. Make room, or choose a folder on another disk."
        )


def _download(
    root: Path, archive: Archive, url: str, patience: Patience, deadline: float, tell: Report
) -> None:
    file = root / archive.name
    part = root / f"{archive.name}.part"
    if file.is_file():
        if digest(file) == archive.md5:
            return
        if file.stat().st_size < archive.size and not part.exists():
            file.rename(part)  # an earlier download, by other means, that was broken off
    wanted = Wanted(url, archive.size, archive.md5)
    transfer.download(wanted, file, patience=patience, deadline=deadline, progress=tell)


def _unpack(root: Path, archive: Archive) -> None:
    """Take the files out of the archive, check them, and give them their names in one step."""
    beside = root / f"{archive.folder}.part"
    if beside.exists():  # left by a process that was killed
        shutil.rmtree(beside)
    try:
        _extract(root / archive.name, beside, archive)
        target = root / archive.folder
        if target.is_dir():  # damaged, or with a file missing
            for name in archive.files:
                (beside / archive.folder / name).replace(target / name)
        else:
            (beside / archive.folder).rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _extract(file: Path, to: Path, archive: Archive) -> None:
    """The files of ``archive``, and no others, from ``file`` to the folder ``to``; all checked."""
    try:
        with tarfile.open(file) as tar:
            members = [tar.getmember(f"{archive.folder}/{name}") for name in archive.files]
            tar.extractall(to, members, filter="data")
    except (tarfile.TarError, KeyError, EOFError) as error:
        raise DownloadError(
            f"{file} does not hold what it is known to hold: {error}. Delete it and fetch it anew."
        ) from error
    for name, right in archive.files.items():
        path = to / archive.folder / name
        if path.is_symlink() or not path.is_file() or digest(path) != right:
            raise DownloadError(
                f"{file}: its {name} is not the file with MD5 {right} that is known. Delete the "
                "archive and fetch it anew."
            )
