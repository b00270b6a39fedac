"""One file over HTTP to the disk, by way of a slow host and a bad connection.

``urllib.request`` carries it. ``torch.hub.download_url_to_file``, which torchvision downloads with,
starts again from zero after a fault, waits for ever where a host falls silent, and finds out at
the end that it was sent another file.
"""

import http.client
import os
import re
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from blitz.base.progress import duration
from blitz.images.files import DataError, digest

BLOCK = 1 << 16
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers of a server that may be another one the next time."""


class DownloadError(DataError):
    """A download that failed on the way.

    The message names the file, the fault, the bytes received and expected, the digest and what to
    do.
    """

    exit_code = 1


@dataclass(frozen=True)
class Wanted:
    """The file to be had: its length and digest decide what is taken for it.

    Attributes:
        url: Where it is asked for.
        size: Its length, bytes.
        md5: Its MD5 digest, in hexadecimal digits.
    """

    url: str
    size: int
    md5: str


@dataclass(frozen=True)
class Patience:
    """How long to put up with a bad connection; times in seconds.

    Attributes:
        tries: Failures in a row, without a new byte between them, at which to give up.
        first_wait: Pause after the first failure; it doubles with each one after.
        longest_wait: The longest pause.
        stall: Silence of the host that counts as a failure.
        time_limit: For all of it.
    """

    tries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    stall: float = 30.0
    time_limit: float = 7200.0

    def pause(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        return min(self.first_wait * 2.0 ** (failures - 1), self.longest_wait)


@dataclass(frozen=True)
class Progress:
    """How far a download is; as text, a line that says so.

    Attributes:
        name: The file.
        received: Bytes of it that are here.
        size: Bytes that it has.
        rate: Bytes per second of late; 0 where nothing came yet.
        note: What is being waited for, where nothing is being received.
    """

    name: str
    received: int
    size: int
    rate: float = 0.0
    note: str = ""

    @property
    def seconds_left(self) -> float | None:
        """Until the end at the present rate; None where there is no rate."""
        return (self.size - self.received) / self.rate if self.rate > 0 else None

    def __str__(self) -> str:
        done = f"{self.received / 1e6:.1f} of {self.size / 1e6:.1f} MB"
        line = f"{self.name}: {done} ({100 * self.received // self.size} %)"
        if self.note:
            return f"{line}, {self.note}"
        if self.seconds_left is None:
            return line
        return f"{line}, {self.rate / 1e3:.0f} kB/s, {duration(self.seconds_left)} left"


Report = Callable[[Progress], object]
Result = TypeVar("Result")


def download(
    wanted: Wanted,
    file: Path,
    *,
    patience: Patience | None = None,
    deadline: float | None = None,
    progress: Report | None = None,
) -> None:
    """Fetch ``wanted`` to ``file``, which appears whole and with the right digest, or not at all.

    What comes is kept beside it, in ``FILE.part``, and the next try, or the next call, asks for
    the rest of it alone. Where a server sends all of it again, what is here is compared and
    passed over. Bytes that turn out wrong are thrown away, and fetched once more if they had come
    in pieces. Proxies are those that the environment names, but none for a server on this machine.

    Args:
        wanted: What to fetch.
        file: Where it goes; its folder exists.
        patience: How long to put up with a bad connection.
        deadline: When to give up, on the clock of ``time.monotonic``; None for the time limit of
            ``patience`` from now on.
        progress: Told of it, no more than about twice a second, and of every wait.

    Raises:
        DownloadError: it failed. What came is kept, unless it is wrong.
    """
    patience = patience or Patience()
    end = time.monotonic() + patience.time_limit if deadline is None else deadline
    _Download(wanted, file, patience, end, progress or (lambda progress: None)).run()


class _Failure(Exception):
    """A try that failed; ``passing`` where another one may go better."""

    def __init__(self, fault: str, *, passing: bool = True, wait: float = 0.0) -> None:
        super().__init__(fault)
        self.passing = passing
        self.wait = wait


class _Download:
    """The state of a download."""

    def __init__(
        self, wanted: Wanted, file: Path, patience: Patience, deadline: float, progress: Report
    ) -> None:
        self.wanted = wanted
        self.file = file
        self.part = file.with_name(file.name + ".part")
        self.patience = patience
        self.deadline = deadline
        self.progress = progress
        self.opener = _opener(wanted.url)
        self.ask_for_the_rest = True
        self.in_one_piece = False  # unless an answer brings all of it

    def run(self) -> None:
        self._fill()
        found = digest(self.part)
        if found != self.wanted.md5 and not self.in_one_piece:
            self._tell(note="the pieces do not fit together: from the start again")
            self._drop()
            self._fill()
            found = digest(self.part)
        if found != self.wanted.md5:
            received = self._received()
            self._drop()
            raise self._error(
                f"its MD5 is {found}: this is another file, or a spoiled one; it was not kept",
                _ELSEWHERE,
                received,
            )
        self._on_disk(lambda: os.replace(self.part, self.file))

    def _fill(self) -> None:
        """Receive all bytes that are not there yet."""
        failures = 0
        while (before := self._received()) < self.wanted.size:
            if self._time_left() <= 0:
                raise self._out_of_time()
            try:
                self._receive(before)
            except _Failure as failure:
                failures = 1 if self._received() > before else failures + 1
                if not failure.passing or failures >= self.patience.tries:
                    raise self._given_up(failure, failures) from failure
                self._pause(failure, failures)

    def _receive(self, have: int) -> None:
        """One request, and what comes of it."""
        headers = {"User-Agent": "blitz", "Accept-Encoding": "identity"}
        if have and self.ask_for_the_rest:
            headers["Range"] = f"bytes={have}-"
        request = Request(self.wanted.url, headers=headers)
        timeout = max(0.001, min(self.patience.stall, self._time_left()))
        with self._network():
            response = self.opener.open(request, timeout=timeout)
        with response:
            self._start(response, have)
            self._write(response, have)

    @contextmanager
    def _network(self) -> Iterator[None]:
        """Whatever goes wrong with the connection inside comes out as a :class:`_Failure`."""
        try:
            yield
        except HTTPError as error:
            with error:
                raise self._refused(error) from error
        except URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise _bad_certificate(error.reason) from error
            raise _Failure(f"no connection ({error.reason})") from error
        except TimeoutError as error:
            raise _Failure("the server fell silent") from error
        except (OSError, http.client.HTTPException) as error:
            raise _Failure(f"the connection broke ({type(error).__name__}: {error})") from error

    def _start(self, response: http.client.HTTPResponse, have: int) -> None:
        """See to it that the next byte of the answer is the one behind the ``have`` first ones."""
        if response.status == 206:
            said = response.headers.get("Content-Range", "")
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", said.strip())
            if found is None or int(found[1]) != have:
                self.ask_for_the_rest = False
                raise _Failure(f"the server answered another range ({said or 'none named'})")
            length = None if found[2] == "*" else int(found[2])
        elif response.status == 200:
            length = response.length  # None where the server does not say
        else:
            raise _Failure(f"the server answered {response.status} {response.reason}")
        if length not in (None, self.wanted.size):
            raise _Failure(
                f"the server offers {length:,} bytes, which is another file", passing=False
            )
        if response.status == 200 and have:
            self._pass_over(response, have, trusted=length is not None)

    def _pass_over(self, response: http.client.HTTPResponse, have: int, *, trusted: bool) -> None:
        """Compare what the server sends again with the part.

        Where they differ, the part is given up only for a server that offers the right length;
        what has none may be a page that asks to sign in.
        """
        self._tell(note="the server sends all of it again; passing over what is here")
        with self._on_disk(lambda: open(self.part, "rb")) as part:
            while have:
                block = self._next(response, have)
                if part.read(len(block)) != block:
                    if trusted:
                        self._drop()
                    raise _Failure("the server sends other bytes than came before", passing=trusted)
                have -= len(block)

    def _next(self, response: http.client.HTTPResponse, most: int) -> bytes:
        """The next bytes of the answer, one or more."""
        if self._time_left() <= 0:
            raise self._out_of_time()
        with self._network():
            block = response.read1(min(BLOCK, most))
        if not block:
            raise _Failure("the connection ended early")
        return block

    def _refused(self, error: HTTPError) -> _Failure:
        """What to make of an answer that is an error."""
        if error.code == 416 and self.ask_for_the_rest:
            self.ask_for_the_rest = False
            return _Failure("the server has no such range")
        after = error.headers.get("Retry-After", "")
        reason = str(error.reason).partition("\n")[0].rstrip(".")
        return _Failure(
            f"the server answered {error.code} {reason}",
            passing=error.code in PASSING,
            wait=min(float(after), self.patience.longest_wait) if after.isdecimal() else 0.0,
        )

    def _write(self, response: http.client.HTTPResponse, start: int) -> None:
        """Append what comes to the part, which has ``start`` bytes."""
        size, received = self.wanted.size, start
        meter = _Meter(start)
        self.in_one_piece = start == 0
        # Unbuffered: what came is in the file, also where this process is killed.
        with self._on_disk(lambda: open(self.part, "ab", buffering=0)) as part:
            while received < size:
                block = self._next(response, size - received)
                self._on_disk(partial(_write_all, part, block))
                received += len(block)
                if meter.add(received) or received == size:
                    self._tell(rate=meter.rate)
            self._on_disk(lambda: os.fsync(part.fileno()))

    def _pause(self, failure: _Failure, failures: int) -> None:
        wait = max(self.patience.pause(failures), failure.wait)
        if wait >= self._time_left():
            raise self._out_of_time(f"; the last fault: {failure}") from failure
        self._tell(note=f"{failure}; next try in {wait:.3g} seconds")
        time.sleep(wait)

    def _tell(self, rate: float = 0.0, note: str = "") -> None:
        name, size = self.file.name, self.wanted.size
        self.progress(Progress(name, self._received(), size, rate, note))

    def _received(self) -> int:
        try:
            return self.part.stat().st_size
        except FileNotFoundError:
            return 0

    def _time_left(self) -> float:
        return self.deadline - time.monotonic()

    def _drop(self) -> None:
        self._on_disk(lambda: self.part.unlink(missing_ok=True))

    def _on_disk(self, action: Callable[[], Result]) -> Result:
        """``action()``, told apart from faults of the network, which are OSErrors too."""
        try:
            return action()
        except OSError as error:
            raise self._error(
                f"cannot be written in {self.file.parent}: {error.strerror or error}",
                "Choose a folder that you may write to, on a disk with room. What came before "
                f"is kept in {self.part}.",
            ) from error

    def _given_up(self, failure: _Failure, failures: int) -> DownloadError:
        if not failure.passing:
            return self._error(str(failure), _ELSEWHERE)
        times = f", {failures} times in a row" if failures > 1 else ""
        return self._error(f"{failure}{times}", self._go_on())

    def _out_of_time(self, more: str = "") -> DownloadError:
        return self._error(f"the time limit is over{more}", f"Allow more time. {self._go_on()}")

    def _go_on(self) -> str:
        kept = (
            f"What came is kept in {self.part}: the next call goes on from there. "
            if self._received()
            else ""
        )
        return (
            f"{kept}Check the connection and try again, or name another server with mirror=URL "
            "(--mirror URL)."
        )

    def _error(self, fault: str, remedy: str, received: int | None = None) -> DownloadError:
        received = self._received() if received is None else received
        return DownloadError(
            f"{self.file.name}: {fault}. {received:,} of {self.wanted.size:,} bytes received from "
            f"{self.wanted.url}, MD5 {self.wanted.md5} expected. {remedy}"
        )


_ELSEWHERE = (
    "Name another server with mirror=URL (--mirror URL); the address of a folder ends in /."
)


class _Meter:
    """The rate over the last half minute, looked at twice a second."""

    WINDOW, EVERY = 30.0, 0.5

    def __init__(self, received: int) -> None:
        self.seen = deque([(time.monotonic(), received)])

    def add(self, received: int) -> bool:
        """Take in that so many bytes are here; whether it is time for another look."""
        now = time.monotonic()
        if now - self.seen[-1][0] < self.EVERY:
            return False
        self.seen.append((now, received))
        while now - self.seen[0][0] > self.WINDOW and len(self.seen) > 2:
            self.seen.popleft()
        return True

    @property
    def rate(self) -> float:
        """Bytes per second between the oldest and the newest look."""
        (start, first), (end, last) = self.seen[0], self.seen[-1]
        return (last - first) / (end - start) if end > start else 0.0


def _write_all(file: FileIO, block: bytes) -> None:
    rest = memoryview(block)
    while rest:  # a disk that is nearly full takes a part of it
        rest = rest[file.write(rest) :]


def _opener(url: str) -> OpenerDirector:
    """Through the proxies of the environment, which cannot reach a server on this machine."""
    host = urlsplit(url).hostname or ""
    here = host in ("localhost", "::1") or host.startswith("127.")
    return build_opener(*([ProxyHandler({})] if here else []))


def _bad_certificate(error: ssl.SSLCertVerificationError) -> _Failure:
    return _Failure(
        f"the server's certificate is not trusted ({error}). Bring this machine's "
        "clock and certificates up to date; SSL_CERT_FILE names a file of them",
        passing=False,
    )
