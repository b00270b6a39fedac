"""The official CIFAR-10 from its slow server or a mirror: 170 MB, by choice only.

torchvision's download checks the digest too, but starts from zero after a fault and waits for ever
where the server falls silent. Its server gave 55 to 85 kB/s in 2026, which is 33 to 52 minutes.

Tutorial: ``download=True`` in "Load and normalize CIFAR10".
"""

import http.client
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock

from blitz.images import cifar10
from blitz.images.cifar10 import ARCHIVE, DataError

SIZE = 170_498_071
"""Bytes of the archive."""

TRIES = 5
"""Failures in a row, without a new byte between them, at which to give up."""

STALL, LONGEST_WAIT = 30.0, 60.0
"""Seconds of silence that count as a fault, and between two tries."""

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""HTTP status codes after which another try may succeed."""

Progress = Callable[[int, str], object]
"""Takes the bytes received so far and, where something is waited for, a note."""


class DownloadError(DataError):
    """A download that failed on the way."""

    exit_code = 1


def fetch(
    root: str | Path,
    *,
    mirror: str | None = None,
    progress: Progress = lambda received, note: None,
) -> Path:
    """Download the official CIFAR-10 into ``root`` unless it is there, and unpack it.

    What was received is kept, and the next call goes on from there. Of several processes one
    downloads and the others wait. A file counts only when its MD5 is right.

    Args:
        root: The folder, made where it does not exist; it is returned as a path.
        mirror: Another address of the archive; one that ends in ``/`` is that of its folder.
        progress: Called as bytes come, and before each wait.

    Raises DownloadError if it failed on the way, DataError for a bad ``root`` or ``mirror``.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity, extract_archive

    root = Path(root)
    url = CIFAR10.url if mirror is None else _address(mirror)
    archive = root / ARCHIVE
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{ARCHIVE}.lock"):
            if cifar10.is_complete(root):
                return root
            if not check_integrity(archive, CIFAR10.tgz_md5):
                _download(url, archive, progress)
            progress(SIZE, "unpacking")
            extract_archive(archive, root)
    except OSError as error:
        raise DataError(
            f"{root}: {ARCHIVE} cannot be kept there: {error.strerror or error}. Choose a folder "
            "that you may write to, on a disk with room."
        ) from error
    cifar10.check_digests(root)
    return root


def _address(mirror: str) -> str:
    """Return the address of the archive at ``mirror``."""
    parts = urlsplit(mirror)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DataError(
            f"mirror {mirror!r} is not the address of a server. Give one that starts with http:// "
            "or https://; its file must be the original, byte for byte."
        )
    if parts.path.endswith("/") or not parts.path:
        return parts._replace(path=f"{parts.path or '/'}{ARCHIVE}").geturl()
    return mirror


class _Fault(Exception):
    """A try that failed: why, and whether another one would fail too."""


def _download(url: str, archive: Path, progress: Progress) -> None:
    """Receive the archive, in as many tries as it takes, and check it."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import calculate_md5

    part = archive.with_name(f"{archive.name}.part")
    if archive.is_file() and archive.stat().st_size < SIZE and not part.exists():
        archive.rename(part)  # what another program left when it broke off
    failures = 0
    while (before := _received(part)) < SIZE:
        try:
            _receive(url, part, progress)
        except _Fault as fault:
            (why, final), received = fault.args, _received(part)
            # A slow line breaks off often: tries that brought something are no failures in a row.
            failures = 1 if received > before else failures + 1
            if final or failures >= TRIES:
                raise DownloadError(
                    f"{ARCHIVE}: {why}. {received:,} of {SIZE:,} bytes were received from {url} "
                    "and are kept: the same command goes on from there. Check the connection, or "
                    "name another server with --mirror URL."
                ) from fault
            # 1, 2, 4, 8 s: a restarting server gets time, and five tries take 15 s
            wait = min(2.0 ** (failures - 1), LONGEST_WAIT)
            progress(received, f"{why}; next try in {wait:.0f} s")
            time.sleep(wait)
    # MD5 finds damage, not malice; the mirror is the user's own choice.
    if (found := calculate_md5(part)) != CIFAR10.tgz_md5:
        part.unlink()
        raise DownloadError(
            f"{ARCHIVE} from {url}: its MD5 is {found}, and {CIFAR10.tgz_md5} is expected. It is "
            "another file or a damaged one, and was removed. Run the same command again, or name "
            "another server with --mirror URL."
        )
    # The name of a whole file, which no damaged one is to have.
    part.replace(archive)


def _receive(url: str, part: Path, progress: Progress) -> None:
    """Append to ``part`` what one request brings."""
    received = _received(part)
    request = Request(url, headers={"Range": f"bytes={received}-", "User-Agent": "blitz"})
    with _network():
        response = urlopen(request, timeout=STALL)  # for each read, not for the whole of it
    with response:
        if response.status != 206:  # the server ignores Range and sends all of it
            received = 0
        length = received + (response.length or 0)
        if length != SIZE:  # before anything is overwritten: it may be the page of a hotel's Wi-Fi
            raise _Fault(f"the server offers {length} bytes, so this is another file", True)
        with open(part, "ab" if received else "wb") as file:
            while received < SIZE:
                with _network():
                    block = response.read1(1 << 16)  # read() would wait for all 64 KiB
                if not block:
                    raise _Fault("the connection ended early", False)
                file.write(block)
                received += len(block)
                progress(received, "")


@contextmanager
def _network() -> Iterator[None]:
    """Turn faults of the connection into :class:`_Fault`, apart from those of the disk."""
    try:
        yield
    except HTTPError as error:
        error.close()
        words = f"the server answered {error.code} {error.reason}"
        raise _Fault(words, error.code not in PASSING) from error
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)  # URLError's
        final = isinstance(cause, ssl.SSLCertVerificationError)
        raise _Fault(f"the connection failed ({type(cause).__name__}: {cause})", final) from error


def _received(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
