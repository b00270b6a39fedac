"""The official CIFAR-10 from its slow server or a mirror: 170 MB, by choice only.

torchvision's download checks the digest too, but starts from zero after a fault and waits for ever
where the server falls silent. Its server gave 55 to 85 kB/s in 2026, which is 33 to 52 minutes.

Tutorial: ``download=True`` in "Load and normalize CIFAR10".
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from ssl import SSLCertVerificationError, SSLError
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock

from blitz.base.errors import first_line
from blitz.images import cifar10
from blitz.images.cifar10 import ARCHIVE, DataError

SIZE = 170_498_071
"""Bytes of the archive."""

TRIES = 5
"""Failures in a row, without a new byte between them, at which to give up."""

STALL, FIRST_WAIT = 30.0, 1.0
"""Seconds of silence that count as a fault, and before a second try; each next wait is doubled."""

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
            with suppress(DataError):
                cifar10.check_digests(root)
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


def _download(url: str, archive: Path, progress: Progress) -> None:
    """Receive the archive, in as many tries as it takes, and check it."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import calculate_md5

    received = archive.stat().st_size if archive.exists() else 0
    failures = 0
    while (before := received) < SIZE:
        why, final = "the connection ended early", False
        try:
            for received in _receive(url, archive, before):
                progress(received, "")
        except (URLError, HTTPException, SSLError, ConnectionError, TimeoutError) as error:
            why = f"the connection failed ({first_line(error)})"
            final = isinstance(getattr(error, "reason", None), SSLCertVerificationError)
            if isinstance(error, HTTPError):
                error.close()
                final = error.code in (403, 404, 410)
        if received == SIZE:
            break
        # A slow line breaks off often: tries that brought something are no failures in a row.
        failures = 1 if received > before else failures + 1
        if final or failures >= TRIES:
            raise DownloadError(
                f"{ARCHIVE}: {why}. {received:,} of {SIZE:,} bytes were received from {url} "
                "and are kept: the same command goes on from there. Check the connection (behind "
                "a proxy SSL_CERT_FILE=FILE names certificates to trust), or name another server "
                "with --mirror URL."
            )
        # 1, 2, 4, 8 s: a restarting server gets time, and five tries take 15 s
        wait = FIRST_WAIT * 2 ** (failures - 1)
        progress(received, f"{why}; next try in {wait:.0f} s")
        time.sleep(wait)
    # MD5 finds damage, not malice; the mirror is the user's own choice.
    if (found := calculate_md5(archive)) != CIFAR10.tgz_md5:
        archive.unlink()
        raise DownloadError(
            f"{ARCHIVE} from {url}: its MD5 is {found}, and {CIFAR10.tgz_md5} is expected. It is "
            "another file or a damaged one, and was removed. Run the same command again, or name "
            "another server with --mirror URL."
        )


def _receive(url: str, archive: Path, received: int) -> Iterator[int]:
    """Append to ``archive`` what one request brings; yield the bytes received so far."""
    request = Request(url, headers={"Range": f"bytes={received}-", "User-Agent": "blitz"})
    with urlopen(request, timeout=STALL) as response:  # for each read, not for the whole of it
        if response.status != 206:  # the server ignores Range and sends all of it
            received = 0
        length = received + (response.length or 0)
        if length != SIZE:  # before anything is overwritten: it may be the page of a hotel's Wi-Fi
            raise DownloadError(
                f"{ARCHIVE}: {url} offers {length:,} bytes, so this is another file. Name another "
                "server with --mirror URL; what was received is kept."
            )
        with open(archive, "ab" if received else "wb") as file:
            while block := response.read1(1 << 16):  # read() would wait for all 64 KiB
                file.write(block)
                received += len(block)
                yield received
