"""Downloading, from a server on this machine that does all that a bad one does."""

import errno
import io
import multiprocessing
import os
import shutil
import signal
import socket
import ssl
import stat
import struct
import tarfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler

import pytest

from blitz.__main__ import main
from blitz.base import locks
from blitz.images import download, transfer
from blitz.images.download import Archive, fetch_archive
from blitz.images.files import DataError
from blitz.images.transfer import DownloadError, Patience, Progress
from tests import forked
from tests.clocks import give_clock

FILES = {"data_batch_1": os.urandom(150_000), "batches.meta": b"names"}
NOW = 1000.0
"""What a clock shows that stands still until it is put forward."""

QUICK = Patience(tries=3, first_wait=0.01, longest_wait=0.1, stall=0.3, time_limit=20)


def tarred(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = 0 if isinstance(content, tarfile.TarInfo) else len(content)
            tar.addfile(info, None if info is content else io.BytesIO(content))
    return file.getvalue()


def link(name: str, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    return info


BODY = tarred({f"cifar/{name}": content for name, content in FILES.items()})
HALF = len(BODY) // 2


def archive_of(body: bytes, files: dict[str, bytes] = FILES) -> Archive:
    return Archive(
        name="cifar.tar.gz",
        url="http://127.0.0.1:9/cifar.tar.gz",
        size=len(body),
        md5=md5(body).hexdigest(),
        folder="cifar",
        files={name: md5(content).hexdigest() for name, content in files.items()},
        unpacked=200_000,
    )


ARCHIVE = archive_of(BODY)
Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def whole(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """The body, or the rest of it that is asked for."""
    start = asked_from(handler)
    head(handler, len(body), start)
    handler.wfile.write(body[start:])


def head(handler: BaseHTTPRequestHandler, size: int, start: int = 0) -> None:
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Length", str(size - start))
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    handler.end_headers()


def asked_from(handler: BaseHTTPRequestHandler) -> int:
    return int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))


def whole_whatever_is_asked(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    head(handler, len(body))
    handler.wfile.write(body)


def without_a_length(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(body)


def without_a_length_truncated(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    without_a_length(handler, body[:-10])


def truncated(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """The length of all, and half of what was asked for."""
    start = asked_from(handler)
    head(handler, len(body), start)
    handler.wfile.write(body[start : (start + len(body)) // 2])


def broken_off(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    truncated(handler, body)
    time.sleep(0.05)  # a reset overtakes what was not read yet
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def falling_silent(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    truncated(handler, body)
    time.sleep(1)


def slow(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    start = asked_from(handler)
    head(handler, len(body), start)
    for place in range(start, len(body), 5000):
        handler.wfile.write(body[place : place + 5000])
        time.sleep(0.02)


def other_range(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes 7-{len(body) - 1}/{len(body)}")
    handler.end_headers()
    handler.wfile.write(body[7:])


def wrong_bytes(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    whole(handler, body[:-1] + bytes([body[-1] ^ 1]))


def other_file(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    whole(handler, b"<html>Sign in to this network</html>")


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


class Server:
    """Answers requests by ``answers``, one after another; the last one for all that follow."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [whole]
        self.body = BODY
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers.get("Range")))
                answer = outer.answers[min(len(outer.asked), len(outer.answers)) - 1]
                with suppress(OSError):  # the other side hung up
                    answer(self, outer.body)

            def log_message(self, *words: Any) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.handle_error = lambda *request: None
        self.httpd.block_on_close = False
        self.url = f"http://127.0.0.1:{self.httpd.server_port}/cifar.tar.gz"
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def ranges(self) -> list[str | None]:
        return [asked for _, asked in self.asked]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.httpd.shutdown()
    server.httpd.server_close()


@pytest.fixture
def get(server: Server, tmp_path: Path) -> Callable[..., Any]:
    """Fetch the small archive to ``tmp_path / "data"`` from the server."""

    def get(archive: Archive = ARCHIVE, patience: Patience = QUICK, progress: Any = None) -> Path:
        return fetch_archive(tmp_path / "data", archive, server.url, patience, progress)

    return get


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def is_complete(root: Path) -> bool:
    """All is there, and nothing is left lying about."""
    there = {name: (root / "cifar" / name).read_bytes() for name in FILES}
    names = sorted(path.name for path in root.iterdir())
    return there == FILES and names == [".cifar.tar.gz.lock", "cifar", "cifar.tar.gz"]


class TestFetch:
    def test_brings_the_files_and_keeps_the_archive(
        self, get: Callable[..., Any], root: Path
    ) -> None:
        assert get() == root
        assert is_complete(root)
        assert (root / "cifar.tar.gz").read_bytes() == BODY

    def test_asks_for_nothing_that_is_there(self, get: Callable[..., Any], server: Server) -> None:
        get()
        get()

        assert server.ranges == [None]

    def test_unpacks_an_archive_that_is_there(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        (root / "cifar.tar.gz").write_bytes(BODY)

        assert is_complete(get())
        assert server.asked == []

    @pytest.mark.parametrize("harm", [Path.unlink, lambda file: file.write_bytes(b"x")])
    def test_puts_a_damaged_file_right_from_the_archive(
        self, get: Callable[..., Any], server: Server, root: Path, harm: Any
    ) -> None:
        get()
        (root / "cifar" / "mine.txt").write_text("left alone")
        harm(root / "cifar" / "data_batch_1")

        assert is_complete(get())
        assert len(server.asked) == 1
        assert (root / "cifar" / "mine.txt").exists()

    def test_tells_how_far_it_is(self, get: Callable[..., Any]) -> None:
        told = []
        get(progress=told.append)

        assert told[-2].received == told[-2].size == len(BODY)
        assert told[-1] == Progress("cifar.tar.gz", len(BODY), len(BODY), note="unpacking")
        assert str(told[-2]).startswith("cifar.tar.gz: 0.2 of 0.2 MB (100 %)")

    def test_makes_the_folders_that_are_not_there(self, server: Server, tmp_path: Path) -> None:
        folder = tmp_path / "a" / "b"

        assert is_complete(fetch_archive(folder, ARCHIVE, server.url, QUICK))

    def test_keeps_a_damaged_archive_until_there_is_a_better_one(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        (root / "cifar.tar.gz").write_bytes(BODY[:-1] + bytes([BODY[-1] ^ 1]))
        server.answers = [status(404)]

        with pytest.raises(DownloadError, match="answered 404"):
            get()

        assert (root / "cifar.tar.gz").stat().st_size == len(BODY)
        server.answers = [whole]
        assert is_complete(get())

    def test_time_spent_waiting_counts(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        now, ends = [NOW], []
        give_clock(monkeypatch, download, monotonic=lambda: now[0])

        @contextmanager
        def held(file: Path, **options: Any) -> Iterator[None]:
            now[0] += 15
            ends.append(options["deadline"])
            yield

        def transferred(*arguments: Any, **options: Any) -> None:
            ends.append(options["deadline"])
            raise DownloadError("no more is looked at")

        monkeypatch.setattr(locks, "held", held)
        monkeypatch.setattr(transfer, "download", transferred)

        with pytest.raises(DownloadError, match="no more"):
            fetch_archive(root, ARCHIVE, "http://a/b", QUICK)
        assert ends == [NOW + QUICK.time_limit] * 2

    def test_does_without_a_length(self, get: Callable[..., Any], server: Server) -> None:
        server.answers = [without_a_length]

        assert is_complete(get())

    def test_proxies_do_not_stand_before_this_machine(
        self, get: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)

        assert is_complete(get())


class TestRest:
    """What came is kept, and only the rest is asked for."""

    @pytest.mark.parametrize("fault", [truncated, broken_off])
    def test_is_asked_for_after_a_fault(
        self, get: Callable[..., Any], server: Server, fault: Any
    ) -> None:
        server.answers = [fault, whole]

        assert is_complete(get())
        assert server.ranges == [None, f"bytes={HALF}-"]

    def test_is_asked_for_where_the_server_falls_silent(
        self, get: Callable[..., Any], server: Server
    ) -> None:
        server.answers = [falling_silent, whole]
        told = []

        assert is_complete(get(progress=told.append))
        assert server.ranges == [None, f"bytes={HALF}-"]
        assert any("fell silent; next try in 0.01 s" in progress.note for progress in told)

    def test_is_asked_for_by_the_next_call(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        server.answers = [truncated, status(503)]
        with pytest.raises(DownloadError, match=r"503 .* 3 times in a row\. .*goes on from there"):
            get(patience=replace(QUICK, tries=3))
        assert (root / "cifar.tar.gz.part").read_bytes() == BODY[:HALF]

        server.answers = [whole]
        assert is_complete(get())
        assert server.ranges[-1] == f"bytes={HALF}-"

    def test_starts_from_what_another_program_left(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        (root / "cifar.tar.gz").write_bytes(BODY[:1000])

        assert is_complete(get())
        assert server.ranges == ["bytes=1000-"]

    def test_starts_from_the_part_where_there_is_one(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        (root / "cifar.tar.gz").write_bytes(BODY[:1000])
        (root / "cifar.tar.gz.part").write_bytes(BODY[:HALF])

        assert is_complete(get())
        assert server.ranges == [f"bytes={HALF}-"]

    def test_of_a_whole_file_is_nothing(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        (root / "cifar.tar.gz.part").write_bytes(BODY)

        assert is_complete(get())
        assert server.asked == []

    @pytest.mark.parametrize(
        ("answers", "ranges"),
        [
            ([whole_whatever_is_asked], ["bytes=9-"]),
            ([other_range, whole], ["bytes=9-", None]),
            ([status(206), whole], ["bytes=9-", None]),
            ([status(416), whole], ["bytes=9-", None]),
        ],
        ids=["ignored", "another range", "no range named", "refused"],
    )
    def test_that_the_server_does_not_give_is_fetched_with_all(
        self, get: Callable[..., Any], server: Server, root: Path, answers: Any, ranges: Any
    ) -> None:
        (root / "cifar.tar.gz.part").write_bytes(BODY[:9])
        server.answers = answers
        told = []

        assert is_complete(get(progress=told.append))
        assert server.ranges == ranges
        assert not any("do not fit" in progress.note for progress in told)

    def test_does_not_shrink_where_the_server_starts_anew(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        (root / "cifar.tar.gz.part").write_bytes(BODY[:-9])
        server.answers = [without_a_length_truncated]

        with pytest.raises(DownloadError, match="connection ended early, 3 times in a row"):
            get()
        assert (root / "cifar.tar.gz.part").read_bytes() == BODY[:-9]

    def test_is_not_lost_to_a_page_that_asks_to_sign_in(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        (root / "cifar.tar.gz.part").write_bytes(BODY[:HALF])
        server.answers = [without_a_length]
        server.body = b"<html>Sign in to this network</html>"

        with pytest.raises(DownloadError, match="sends other bytes than came before"):
            get()
        assert (root / "cifar.tar.gz.part").read_bytes() == BODY[:HALF]

    def test_is_given_up_for_a_server_that_offers_the_right_length(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        (root / "cifar.tar.gz.part").write_bytes(b"x" * HALF)
        server.answers = [whole_whatever_is_asked]

        assert is_complete(get())
        assert server.ranges == [f"bytes={HALF}-", None]

    @pytest.mark.parametrize("part", [b"x" * 9, b"x" * len(BODY)], ids=["begun", "full"])
    def test_that_does_not_fit_is_thrown_away(
        self, get: Callable[..., Any], server: Server, root: Path, part: Any
    ) -> None:
        (root / "cifar.tar.gz.part").write_bytes(part)

        assert is_complete(get())
        assert server.ranges[-1] is None

    def test_is_not_looked_for_behind_a_part_that_is_too_long(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        (root / "cifar.tar.gz.part").write_bytes(BODY + b"x")

        assert is_complete(get())
        assert server.ranges == [None]

    def test_is_asked_for_after_the_process_was_killed(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        """SIGKILL in the midst of it: the lock is free, and not a byte is fetched twice."""
        server.answers = [slow, whole]
        with warnings.catch_warnings():  # the child touches none of this process's threads
            warnings.simplefilter("ignore", DeprecationWarning)
            child = multiprocessing.get_context("fork").Process(target=get)
            child.start()
        part = root / "cifar.tar.gz.part"
        wait_for(lambda: part.exists() and part.stat().st_size > 5000)

        os.kill(child.pid, signal.SIGKILL)
        child.join()

        received = part.stat().st_size
        assert is_complete(get())
        assert server.ranges == [None, f"bytes={received}-"]


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class TestFaults:
    def refused(self, get: Callable[..., Any], words: str, **options: Any) -> None:
        """With the file, the bytes received and expected, the digest and a remedy."""
        always = rf"{len(BODY):,} bytes received from http://127.*MD5 {ARCHIVE.md5} expected\. \w"
        with pytest.raises(DownloadError, match=rf"cifar\.tar\.gz: .*{words}.* of {always}"):
            get(**options)

    @pytest.mark.parametrize("code", [401, 403, 404, 410, 501])
    def test_answer_that_stays_is_not_asked_for_again(
        self, get: Callable[..., Any], server: Server, root: Path, code: int
    ) -> None:
        server.answers = [status(code)]

        self.refused(get, rf"answered {code} .*\. 0")
        assert len(server.asked) == 1
        assert not (root / "cifar.tar.gz").exists()

    def test_passing_answers_are_waited_out_ever_longer(
        self, get: Callable[..., Any], server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits = []
        give_clock(monkeypatch, transfer, sleep=waits.append)
        server.answers = [status(503)] * 3 + [status(429, Retry_After="2"), whole]

        patience = Patience(tries=5, first_wait=0.5, longest_wait=1.5, time_limit=60)
        assert is_complete(get(patience=patience))
        assert waits == [0.5, 1.0, 1.5, 1.5]

    def test_retry_after_is_heeded(
        self, get: Callable[..., Any], server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits = []
        give_clock(monkeypatch, transfer, sleep=waits.append)
        server.answers = [status(503, Retry_After="7"), whole]

        get(patience=Patience())
        assert waits == [7.0]

    def test_failures_in_a_row_end_it(self, get: Callable[..., Any], server: Server) -> None:
        server.answers = [status(503)]

        self.refused(get, "answered 503 Service Unavailable, 3 times in a row. 0")
        assert len(server.asked) == 3

    def test_failures_that_brought_something_do_not_count(
        self, get: Callable[..., Any], server: Server
    ) -> None:
        server.answers = [truncated] * 6 + [whole]

        assert is_complete(get(patience=replace(QUICK, tries=2)))

    def test_server_that_begins_anew_each_time_does_not_go_on_for_ever(
        self, get: Callable[..., Any], server: Server
    ) -> None:
        server.answers = [
            lambda handler, body: (head(handler, len(body)), handler.wfile.write(b"x"))
        ]

        self.refused(get, "connection ended early, 3 times in a row. 1")

    def test_no_server(self, get: Callable[..., Any], server: Server) -> None:
        server.httpd.shutdown()
        server.httpd.server_close()

        self.refused(get, "no connection .*refused.*, 3 times in a row")

    def test_wrong_bytes_are_not_kept(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        server.answers = [wrong_bytes]
        found = md5(BODY[:-1] + bytes([BODY[-1] ^ 1])).hexdigest()

        self.refused(get, f"its MD5 is {found}: .* not kept. {len(BODY):,}")
        assert len(server.asked) == 1
        assert [path.name for path in root.iterdir()] == [".cifar.tar.gz.lock"]

    def test_wrong_bytes_in_pieces_are_fetched_once_more(
        self, get: Callable[..., Any], server: Server
    ) -> None:
        server.answers = [truncated, wrong_bytes]
        told: list[Progress] = []

        self.refused(get, "its MD5 is", progress=told.append)
        assert server.ranges == [None, f"bytes={HALF}-", None]
        notes = [progress.note for progress in told]
        assert "the pieces do not fit together: from the start again" in notes

    def test_file_of_another_length_is_refused_before_it_comes(
        self, get: Callable[..., Any], server: Server
    ) -> None:
        server.answers = [other_file]

        self.refused(get, "offers 36 bytes, which is another file. 0")
        assert len(server.asked) == 1

    def test_certificate_that_is_not_trusted(
        self, get: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Opener:
            def open(self, *request: Any, timeout: Any) -> None:
                raise URLError(ssl.SSLCertVerificationError("self-signed certificate"))

        monkeypatch.setattr(transfer, "_opener", lambda url: Opener())

        self.refused(get, r"not trusted \(.*self-signed.* SSL_CERT_FILE names a file of them\. 0")

    def test_redirection_is_followed_with_the_range(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        (root / "cifar.tar.gz.part").write_bytes(BODY[:9])
        server.answers = [status(302, Location="/elsewhere"), whole]

        assert is_complete(get())
        assert server.asked == [("/cifar.tar.gz", "bytes=9-"), ("/elsewhere", "bytes=9-")]

    def test_redirection_in_a_circle(self, get: Callable[..., Any], server: Server) -> None:
        server.answers = [status(302, Location="/cifar.tar.gz")]

        self.refused(get, "answered 302 .*loop. 0")

    def test_time_limit(self, get: Callable[..., Any], server: Server, root: Path) -> None:
        server.answers = [slow]

        self.refused(get, "time limit is over", patience=replace(QUICK, time_limit=0.2))
        assert 0 < (root / "cifar.tar.gz.part").stat().st_size < len(BODY)

    def test_time_limit_that_a_pause_would_pass_is_over(
        self, get: Callable[..., Any], server: Server
    ) -> None:
        server.answers = [status(503)]
        start = time.monotonic()

        patience = Patience(first_wait=30, time_limit=20)
        self.refused(get, "time limit is over; the last fault: .*503", patience=patience)
        assert time.monotonic() - start < 10

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_disk_that_is_full(self, get: Callable[..., Any], root: Path) -> None:
        (root / "cifar.tar.gz.part").symlink_to("/dev/full")

        self.refused(get, f"cannot be written in {root}: {os.strerror(errno.ENOSPC)}. 0")

    @pytest.mark.parametrize("part", [0, HALF], ids=["nothing", "half"])
    def test_disk_needs_room_for_the_rest_and_the_files(
        self,
        get: Callable[..., Any],
        server: Server,
        root: Path,
        monkeypatch: pytest.MonkeyPatch,
        part: int,
    ) -> None:
        if part:
            (root / "cifar.tar.gz.part").write_bytes(BODY[:part])
        needed = len(BODY) - part + ARCHIVE.unpacked
        disk = shutil.disk_usage(".")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: disk._replace(free=needed - 1))

        with pytest.raises(DataError) as caught:
            get()
        assert str(caught.value) == (
            f"{root}: cifar.tar.gz needs {needed:,} bytes more there, unpacked, and {needed - 1:,} "
            "are free. Make room, or choose a folder on another disk."
        )
        assert server.asked == []

        monkeypatch.setattr(shutil, "disk_usage", lambda path: disk._replace(free=needed))
        assert is_complete(get())

    def test_file_in_the_place_of_the_folder(self, get: Callable[..., Any], tmp_path: Path) -> None:
        (tmp_path / "data").write_text("mine")

        with pytest.raises(DataError, match=r"data is a file\. Give a folder"):
            get()
        assert (tmp_path / "data").read_text() == "mine"

    def test_folder_that_cannot_be_made(self, tmp_path: Path, server: Server) -> None:
        (tmp_path / "file").write_text("")

        with pytest.raises(DataError, match=r"cannot be made: Not a directory\. Choose"):
            fetch_archive(tmp_path / "file" / "data", ARCHIVE, server.url, QUICK)

    def test_folder_without_locks(
        self, get: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*arguments: Any) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(locks.fcntl, "flock", refuse)

        with pytest.raises(DataError, match=r"cannot be kept there: No locks available\. .* local"):
            get()


class TestArchive:
    """An archive with the right digest that holds what it is not known to hold."""

    @pytest.mark.parametrize(
        ("members", "words"),
        [
            ({"cifar/data_batch_1": b"x"}, "batches.meta"),
            ({"cifar/data_batch_1": b"x", "cifar/batches.meta": b"names"}, "its data_batch_1 is"),
            (
                {
                    "link": link("cifar/data_batch_1", "../../outside"),
                    "cifar/batches.meta": b"names",
                },
                "data_batch_1",
            ),
        ],
        ids=["file missing", "wrong file", "link to the outside"],
    )
    def test_is_not_put_in_place(
        self, get: Callable[..., Any], server: Server, tmp_path: Path, members: Any, words: str
    ) -> None:
        (tmp_path / "outside").write_bytes(FILES["data_batch_1"])
        server.body = tarred(members)

        with pytest.raises(DownloadError, match=rf"cifar\.tar\.gz.*{words}.*fetch it anew"):
            get(archive_of(server.body))
        assert not (tmp_path / "data" / "cifar").exists()
        assert not (tmp_path / "data" / "cifar.part").exists()

    def test_takes_a_link_for_no_file(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        """Though it leads to a file of the archive that is right."""
        both = {"first": b"names", "batches.meta": b"names"}
        members = {"link": link("cifar/first", "batches.meta"), "cifar/batches.meta": b"names"}
        server.body = tarred(members)

        with pytest.raises(DownloadError, match="its first is not the file with MD5"):
            get(archive_of(server.body, both))
        assert not (root / "cifar").exists()

    def test_makes_files_that_only_their_owner_may_write(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as tar:
            for name, content in FILES.items():
                info = tarfile.TarInfo(f"cifar/{name}")
                info.size, info.mode = len(content), 0o4666
                tar.addfile(info, io.BytesIO(content))
        server.body = file.getvalue()

        get(archive_of(server.body))

        assert {stat.S_IMODE((root / "cifar" / name).stat().st_mode) for name in FILES} == {0o644}

    def test_leaves_everything_else_packed(
        self, get: Callable[..., Any], server: Server, tmp_path: Path
    ) -> None:
        inside = {f"cifar/{name}": content for name, content in FILES.items()}
        server.body = tarred(inside | {"../evil": b"x", "cifar/evil": b"x", "/evil": b"x"})

        assert is_complete(get(archive_of(server.body)))
        assert not (tmp_path / "evil").exists()
        assert not (tmp_path / "data" / "cifar" / "evil").exists()

    def test_no_archive(self, get: Callable[..., Any], server: Server) -> None:
        server.body = b"no archive"

        with pytest.raises(DownloadError, match="does not hold what it is known to hold"):
            get(archive_of(server.body))

    def test_that_finds_no_room_is_kept_and_leaves_nothing_else(
        self, get: Callable[..., Any], root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*arguments: Any, **options: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(tarfile.TarFile, "extractall", full)

        words = f"^{root}: cifar.tar.gz cannot be kept there: No space left on device. Choose"
        with pytest.raises(DownloadError, match=words):
            get()
        assert sorted(path.name for path in root.iterdir()) == [".cifar.tar.gz.lock", ARCHIVE.name]

    def test_left_half_unpacked_by_a_process_that_was_killed(
        self, get: Callable[..., Any], root: Path
    ) -> None:
        (root / "cifar.part").mkdir()
        (root / "cifar.part" / "cifar").write_text("in the way")

        assert is_complete(get())


class TestOneAtATime:
    def test_one_downloads_and_the_others_wait(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        server.answers = [slow]
        told = []
        threads = [threading.Thread(target=lambda: get(progress=told.append)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(server.asked) == 1
        assert is_complete(root)
        notes = [progress.note for progress in told if progress.note]
        assert sorted(notes) == [*["another process downloads it; waiting"] * 2, "unpacking"]

    def test_waiting_tells_how_far_the_other_process_is(
        self, get: Callable[..., Any], root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(download, "WAITING_TOLD", 0.1)
        monkeypatch.setattr(locks, "POLL", 0.1)
        (root / "cifar.tar.gz.part").write_bytes(BODY[:HALF])
        told = []

        with locks.held(root / ".cifar.tar.gz.lock"), pytest.raises(DownloadError):
            get(patience=replace(QUICK, time_limit=0.5), progress=told.append)
        assert 2 <= len(told) <= 6
        assert {(progress.received, progress.note) for progress in told} == {
            (HALF, "another process downloads it; waiting")
        }

    def test_time_limit_holds_while_waiting(
        self, get: Callable[..., Any], server: Server, root: Path
    ) -> None:
        with (
            locks.held(root / ".cifar.tar.gz.lock"),
            pytest.raises(DownloadError, match=r"another process is still downloading .* expected"),
        ):
            get(patience=replace(QUICK, time_limit=0.1))
        assert server.asked == []

    def test_lock_does_not_live_on_in_a_forked_child(self, tmp_path: Path) -> None:
        with locks.held(tmp_path / "lock"), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of other threads
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(9,))
            child.start()

        with locks.held(tmp_path / "lock", deadline=time.monotonic() + 5):
            assert child.is_alive()
        child.kill()
        child.join()

    def test_forked_child_that_goes_on_gives_back_no_lock(self, tmp_path: Path) -> None:
        with ExitStack() as stack:
            stack.enter_context(locks.held(tmp_path / "lock"))

            def leave() -> int:
                stack.close()
                return 0

            left = forked.call(leave)

        assert left == forked.Done(0, "")

    def test_waiting_for_a_lock_is_told_before_every_pause(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        came: list[str] = []
        give_clock(monkeypatch, locks, lambda: float(len(came)), lambda _: came.append("pause"))

        waiting = locks.held(tmp_path / "lock", deadline=4, on_wait=lambda: came.append("told"))
        with locks.held(tmp_path / "lock"), pytest.raises(TimeoutError), waiting:
            pass

        assert came == ["told", "pause"] * 2

    def test_lock_is_not_waited_for_past_its_deadline(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pauses: list[float] = []
        give_clock(monkeypatch, locks, sleep=pauses.append)

        with (
            locks.held(tmp_path / "lock"),
            pytest.raises(TimeoutError),
            locks.held(tmp_path / "lock", deadline=0),
        ):
            pass

        assert pauses == []

    def test_lock_on_windows_is_of_the_first_byte(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def locking(handle: int, mode: int, count: int) -> None:
            asked.append((handle, mode, count))
            if handle == 8:
                raise PermissionError(13, "Permission denied")

        windows = SimpleNamespace(LK_NBLCK=2, locking=locking)
        monkeypatch.setattr(locks, "msvcrt", windows, raising=False)
        monkeypatch.setattr(locks, "sys", SimpleNamespace(platform="win32"))

        assert [locks._try(7), locks._try(8)] == [True, False]
        assert asked == [(7, 2, 1), (8, 2, 1)]

    def test_lock_is_free_after_an_error(self, get: Callable[..., Any], server: Server) -> None:
        server.answers = [status(404), whole]
        with pytest.raises(DownloadError):
            get()

        assert is_complete(get())


class TestProgress:
    def test_line_has_rate_and_time_left(self) -> None:
        line = str(Progress("a.gz", 17_000_000, 170_498_071, rate=60_000))

        assert line == "a.gz: 17.0 of 170.5 MB (9 %), 60 kB/s, 42:38 min left"

    @pytest.mark.parametrize(
        ("rate", "left"), [(1e9, "0 s"), (100_000, "28:25 min"), (10_000, "4:44:10 h")]
    )
    def test_time_left_is_readable(self, rate: float, left: str) -> None:
        assert str(Progress("a", 0, 170_498_071, rate)).endswith(f", {left} left")

    def test_line_without_a_rate_promises_nothing(self) -> None:
        assert str(Progress("a", 0, 2_000_000)) == "a: 0.0 of 2.0 MB (0 %)"
        assert str(Progress("a", 0, 2_000_000, note="waiting")).endswith("(0 %), waiting")

    def test_line_is_in_millions_and_thousands_of_bytes(self) -> None:
        line = str(Progress("a", 5 * 10**11, 10**12, rate=1e9))

        assert line == "a: 500000.0 of 1000000.0 MB (50 %), 1000000 kB/s, 8:20 min left"

    def test_rate_is_that_of_the_last_half_minute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        give_clock(monkeypatch, transfer, monotonic=lambda: now[0])
        meter = transfer._Meter(1000)
        looks = []
        for second in range(1, 200):
            now[0] = second / 4
            looks.append(meter.add(1000 + second * (10 if second < 60 else 100)))

        assert looks[:4] == [False, True, False, True]
        assert meter.rate == pytest.approx(400, rel=0.02)

    def test_time_left_is_that_of_the_rest(self) -> None:
        assert Progress("a", 600, 1000, rate=0.5).seconds_left == 800
        assert Progress("a", 600, 1000).seconds_left is None

    def test_rate_goes_back_half_a_minute_and_two_looks(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [100.0]
        give_clock(monkeypatch, transfer, monotonic=lambda: now[0])
        meter, rates = transfer._Meter(0), []
        for after, received in [(0.0, 5), (0.5, 100), (30.0, 600), (70.0, 1000), (70.5, 1002)]:
            now[0] = 100.0 + after
            meter.add(received)
            rates.append(meter.rate)

        assert rates == [0.0, 200.0, 20.0, 10.0, 4.0]


class TestTransfer:
    """One file from one server, without the archive around it."""

    @pytest.fixture
    def wanted(self, server: Server) -> transfer.Wanted:
        return transfer.Wanted(server.url, len(BODY), ARCHIVE.md5)

    def test_options_may_be_left_out(self, wanted: transfer.Wanted, tmp_path: Path) -> None:
        transfer.download(wanted, tmp_path / "file")

        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        assert (tmp_path / "file").read_bytes() == BODY

    def test_deadline_goes_before_the_time_limit(
        self, wanted: transfer.Wanted, tmp_path: Path, server: Server
    ) -> None:
        with pytest.raises(DownloadError, match="time limit is over"):
            transfer.download(wanted, tmp_path / "file", deadline=time.monotonic())
        assert server.asked == []

    @pytest.mark.parametrize(
        ("patience", "least", "most"),
        [
            (replace(QUICK, tries=1, stall=3.0, time_limit=100), 3.0, 3.0),
            (replace(QUICK, tries=1, stall=3.0, time_limit=2), 1.0, 2.0),
        ],
        ids=["stall", "limit"],
    )
    def test_what_is_asked(
        self,
        wanted: transfer.Wanted,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        patience: Patience,
        least: float,
        most: float,
    ) -> None:
        asked: list[Any] = []

        class Opener:
            def open(self, request: Any, timeout: float) -> None:
                asked.extend((request, timeout))
                raise URLError("not today")

        monkeypatch.setattr(transfer, "_opener", lambda url: Opener() if url else None)

        with pytest.raises(DownloadError, match=r"no connection \(not today\)\. 0 of"):
            transfer.download(wanted, tmp_path / "file", patience=patience)
        request, timeout = asked
        assert request.full_url == wanted.url
        assert request.headers == {"User-agent": "blitz", "Accept-encoding": "identity"}
        assert least <= timeout <= most

    def test_what_came_is_on_the_disk_before_it_gets_its_name(
        self, wanted: transfer.Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        sync = os.fsync
        part = tmp_path / "file.part"

        def fsync(handle: int) -> None:
            seen.append((os.fstat(handle).st_ino == part.stat().st_ino, part.stat().st_size))
            sync(handle)

        monkeypatch.setattr(os, "fsync", fsync)
        transfer.download(wanted, tmp_path / "file")

        assert seen == [(True, len(BODY))]

    def test_other_answers_are_no_answers(
        self, wanted: transfer.Wanted, tmp_path: Path, server: Server
    ) -> None:
        server.answers = [status(204)]

        with pytest.raises(DownloadError, match="answered 204 No Content, 3 times in a row"):
            transfer.download(wanted, tmp_path / "file", patience=QUICK)

    @pytest.mark.parametrize(
        ("total", "taken"),
        [("*", True), (str(len(BODY)), True), ("99", False)],
        ids=["unknown", "known", "other"],  # the length is another in each process
    )
    def test_range_may_be_of_an_unknown_whole(
        self,
        wanted: transfer.Wanted,
        tmp_path: Path,
        server: Server,
        total: str,
        taken: bool,
    ) -> None:
        (tmp_path / "file.part").write_bytes(BODY[:9])

        def rest(handler: BaseHTTPRequestHandler, body: bytes) -> None:
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes 9-{len(body) - 1}/{total}")
            handler.end_headers()
            handler.wfile.write(body[9:])

        server.answers = [rest]

        with nullcontext() if taken else pytest.raises(DownloadError, match="99 bytes"):
            transfer.download(wanted, tmp_path / "file", patience=QUICK)

        assert (tmp_path / "file").exists() == taken
        assert server.ranges == ["bytes=9-"]

    def test_retry_after_that_is_no_number_is_passed_over(
        self,
        wanted: transfer.Wanted,
        tmp_path: Path,
        server: Server,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        waits: list[float] = []
        give_clock(monkeypatch, transfer, sleep=waits.append)
        server.answers = [status(503, Retry_After="tomorrow"), status(503), whole]

        transfer.download(wanted, tmp_path / "file", patience=QUICK)

        assert waits == [0.01, 0.02]

    def test_notes_say_what_is_waited_for(
        self, wanted: transfer.Wanted, tmp_path: Path, server: Server
    ) -> None:
        (tmp_path / "file.part").write_bytes(BODY[:9])
        server.answers = [status(503), whole_whatever_is_asked]
        told: list[Progress] = []

        transfer.download(wanted, tmp_path / "file", patience=QUICK, progress=told.append)

        assert {(each.name, each.size) for each in told} == {("file", len(BODY))}
        assert [(each.received, each.note) for each in told] == [
            (9, "the server answered 503 Service Unavailable; next try in 0.01 seconds"),
            (9, "the server sends all of it again; passing over what is here"),
            (len(BODY), ""),
        ]
        assert [each.rate for each in told[:2]] == [0.0, 0.0]

    @pytest.mark.parametrize(
        ("host", "proxied"),
        [
            *(("localhost", False), ("127.8.9.1:80", False), ("[::1]:80", False)),
            *(("1.127.0.1", True), ("localhost.example.org", True), ("", True)),
        ],
    )
    def test_proxies_stand_before_other_machines(
        self, monkeypatch: pytest.MonkeyPatch, host: str, proxied: bool
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

        handlers = transfer._opener(f"http://{host}/file").handlers

        assert any(isinstance(each, ProxyHandler) for each in handlers) == proxied

    def test_disk_that_takes_a_part_gets_the_rest_too(self) -> None:
        class Small:
            def __init__(self) -> None:
                self.taken = b""

            def write(self, block: memoryview) -> int:
                self.taken += bytes(block[:3])
                return min(3, len(block))

        disk: Any = Small()
        transfer._write_all(disk, b"all of it")

        assert disk.taken == b"all of it"


ELSEWHERE = "Name another server with mirror=URL (--mirror URL); the address of a folder ends in /."
AGAIN = "Check the connection and try again, or name another server with mirror=URL (--mirror URL)."


def closed(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(503, "We moved to UNIX.")
    handler.end_headers()


def page_to_sign_in(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    without_a_length(handler, b"<html>Sign in to this network</html>")


class TestMessages:
    """The whole text: file, fault, bytes, address, digest, and what to do next."""

    @pytest.mark.parametrize(
        ("answer", "tries", "part", "fault", "received", "remedy"),
        [
            (status(404), 3, 0, "the server answered 404 Not Found", 0, ELSEWHERE),
            (status(503), 1, 0, "the server answered 503 Service Unavailable", 0, AGAIN),
            (
                *(status(503), 2, 0),
                *("the server answered 503 Service Unavailable, 2 times in a row", 0, AGAIN),
            ),
            (closed, 1, 0, "the server answered 503 We moved to UNIX", 0, AGAIN),
            (status(206), 1, 9, "the server answered another range (none named)", 9, AGAIN),
            (
                *(other_range, 1, 9),
                f"the server answered another range (bytes 7-{len(BODY) - 1}/{len(BODY)})",
                *(9, AGAIN),
            ),
            (status(416), 1, 9, "the server has no such range", 9, AGAIN),
            (page_to_sign_in, 3, 9, "the server sends other bytes than came before", 9, ELSEWHERE),
            (truncated, 1, 0, "the connection ended early", HALF, AGAIN),
            (
                *(other_file, 3, 0),
                *("the server offers 36 bytes, which is another file", 0, ELSEWHERE),
            ),
            (
                *(wrong_bytes, 3, 0),
                f"its MD5 is {md5(BODY[:-1] + bytes([BODY[-1] ^ 1])).hexdigest()}: this is "
                "another file, or a spoiled one; it was not kept",
                *(len(BODY), ELSEWHERE),
            ),
        ],
        ids=[
            *("not found", "once", "twice", "own words", "no range named", "another range"),
            *("no such range", "page to sign in", "broken off", "another length", "wrong bytes"),
        ],
    )
    def test_says_what_came_and_what_to_do(
        self,
        server: Server,
        tmp_path: Path,
        answer: Answer,
        tries: int,
        part: int,
        fault: str,
        received: int,
        remedy: str,
    ) -> None:
        file, rest = tmp_path / "file", tmp_path / "file.part"
        if part:
            rest.write_bytes(BODY[:part])
        server.answers = [answer]
        wanted = transfer.Wanted(server.url, len(BODY), ARCHIVE.md5)

        with pytest.raises(DownloadError) as caught:
            transfer.download(wanted, file, patience=replace(QUICK, tries=tries))

        if received and remedy == AGAIN:
            remedy = f"What came is kept in {rest}: the next call goes on from there. {AGAIN}"
        assert str(caught.value) == (
            f"file: {fault}. {received:,} of {len(BODY):,} bytes received from {server.url}, MD5 "
            f"{ARCHIVE.md5} expected. {remedy}"
        )
        assert len(server.asked) == (1 if remedy == ELSEWHERE else tries)

    @pytest.mark.parametrize("part", [0, 9])
    def test_of_the_time_limit_asks_for_more(self, tmp_path: Path, part: int) -> None:
        file, rest = tmp_path / "file", tmp_path / "file.part"
        if part:
            rest.write_bytes(b"x" * part)
        kept = f"What came is kept in {rest}: the next call goes on from there. " if part else ""

        with pytest.raises(DownloadError) as caught:
            transfer.download(transfer.Wanted("http://a/b", 1234, "00"), file, deadline=0.0)

        assert str(caught.value) == (
            f"file: the time limit is over. {part} of 1,234 bytes received from http://a/b, MD5 00 "
            f"expected. Allow more time. {kept}{AGAIN}"
        )

    def test_of_the_disk_asks_for_another_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file.part").mkdir()
        wanted = transfer.Wanted("http://a/b", 10**9, "00")

        with pytest.raises(DownloadError) as caught:
            transfer._Download(wanted, tmp_path / "file", QUICK, NOW, print)._drop()

        assert f"file: cannot be written in {tmp_path}: " in str(caught.value)
        assert str(caught.value).endswith(
            " MD5 00 expected. Choose a folder that you may write to, on a disk with room. What "
            f"came before is kept in {tmp_path / 'file.part'}."
        )


class Blocks:
    """An answer whose blocks come one by one, each after ``before_each``."""

    status, reason, length = 200, "OK", None

    def __init__(self, *blocks: bytes, before_each: Callable[[], object] = lambda: None) -> None:
        self.blocks = list(blocks)
        self.before_each = before_each
        self.at_most: list[int] = []

    def __enter__(self) -> "Blocks":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def open(self, request: Any, timeout: float) -> "Blocks":
        return self

    def read1(self, at_most: int) -> bytes:
        self.at_most.append(at_most)
        self.before_each()
        return self.blocks.pop(0)


class TestBlocks:
    """How the bytes of an answer reach the disk."""

    @pytest.fixture
    def part(self, tmp_path: Path) -> Path:
        return tmp_path / "file.part"

    @pytest.fixture
    def fetch(
        self, part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., None]:
        def fetch(answer: Blocks, deadline: float | None = None, size: int = 6) -> None:
            monkeypatch.setattr(transfer, "_opener", lambda url: answer)
            wanted = transfer.Wanted("http://a/b", size, md5(b"abcdef").hexdigest())
            patience = replace(QUICK, tries=1)
            transfer.download(wanted, tmp_path / "file", patience=patience, deadline=deadline)

        return fetch

    def test_each_is_in_the_file_before_the_next_is_asked_for(
        self, fetch: Callable[..., None], part: Path
    ) -> None:
        there: list[bytes] = []
        answer = Blocks(b"ab", b"c", b"def", before_each=lambda: there.append(part.read_bytes()))

        fetch(answer)

        assert there == [b"", b"ab", b"abc"]
        assert part.with_name("file").read_bytes() == b"abcdef"

    def test_no_more_is_asked_for_than_the_file_has(self, fetch: Callable[..., None]) -> None:
        answer = Blocks(b"ab", b"c", b"def")

        fetch(answer)

        assert answer.at_most == [6, 4, 3]

    def test_no_more_than_64_kib_are_asked_for_at_once(self, fetch: Callable[..., None]) -> None:
        answer = Blocks(b"ab", b"")

        with pytest.raises(DownloadError, match="connection ended early"):
            fetch(answer, size=100_000)

        assert answer.at_most == [65536, 65536]

    def test_part_that_another_process_took_away_is_no_fault_of_the_disk(
        self, fetch: Callable[..., None], part: Path
    ) -> None:
        part.write_bytes(b"other")
        answer = Blocks(b"abcde", before_each=part.unlink)
        answer.length = 6

        with pytest.raises(DownloadError, match=r"sends other bytes than came before\. 0 of 6"):
            fetch(answer)

    @pytest.mark.parametrize(
        ("end", "fails", "done"),
        [
            (0.0, False, []),
            (5.0, False, ["asked"]),
            (2.0, True, ["asked"]),
            (2.5, True, ["asked", "waited 2"]),
        ],
        ids=["the start", "the first block", "the pause", "the next try"],
    )
    def test_time_limit_that_is_just_reached_is_over(
        self,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        end: float,
        fails: bool,
        done: list[str],
    ) -> None:
        """An answer takes 5 seconds, a fault none; a pause is half a second too long."""
        now = [NOW]
        did: list[str] = []

        def wait(seconds: float) -> None:
            now[0] += seconds + 0.5
            did.append(f"waited {seconds:g}")

        class Slow(Blocks):
            def open(self, request: Any, timeout: float) -> Blocks:
                did.append("asked")
                if fails:
                    raise URLError("not today")
                now[0] += 5
                return self

            def read1(self, at_most: int) -> bytes:
                did.append("read")
                return super().read1(at_most)

        give_clock(monkeypatch, transfer, monotonic=lambda: now[0], sleep=wait)
        monkeypatch.setattr(transfer, "_opener", lambda url: Slow(b"abcdef"))
        wanted = transfer.Wanted("http://a/b", 6, md5(b"abcdef").hexdigest())
        patience = replace(QUICK, first_wait=2.0, longest_wait=2.0)

        with pytest.raises(DownloadError, match="time limit is over"):
            transfer.download(wanted, tmp_path / "file", patience=patience, deadline=NOW + end)
        assert did == done


class TestFetchOfCifar10:
    def test_digests_are_those_that_torchvision_knows(self) -> None:
        from torchvision.datasets import CIFAR10

        known = dict([*CIFAR10.train_list, *CIFAR10.test_list])
        known[CIFAR10.meta["filename"]] = CIFAR10.meta["md5"]
        assert dict(download.CIFAR10.files) == known
        assert download.CIFAR10.md5 == CIFAR10.tgz_md5
        assert download.CIFAR10.url == CIFAR10.url
        assert download.CIFAR10.name == CIFAR10.filename
        assert download.CIFAR10.folder == CIFAR10.base_folder

    @pytest.mark.parametrize(
        ("mirror", "asked"),
        [
            ("", "/cifar-10-python.tar.gz"),
            ("/", "/cifar-10-python.tar.gz"),
            ("/a/b/", "/a/b/cifar-10-python.tar.gz"),
            ("/a/c10.tgz?download=1", "/a/c10.tgz?download=1"),
        ],
    )
    def test_mirror_is_the_file_or_its_folder(
        self, server: Server, tmp_path: Path, mirror: str, asked: str
    ) -> None:
        server.answers = [status(404)]
        address = server.url.removesuffix("/cifar.tar.gz") + mirror

        with pytest.raises(DownloadError, match="0 of 170,498,071 bytes received"):
            download.fetch(tmp_path / "data", mirror=address)
        assert server.asked == [(asked, None)]

    @pytest.mark.parametrize("mirror", ["ftp://host/x", "host/x", "file:///x", "https://", ""])
    def test_mirror_that_is_no_server_is_refused(self, tmp_path: Path, mirror: str) -> None:
        with pytest.raises(DataError, match=r"is no address of a server\. Give one that starts"):
            download.fetch(tmp_path / "data", mirror=mirror)
        assert not (tmp_path / "data").exists()

    @pytest.mark.parametrize(
        ("options", "url", "patience"),
        [
            ({}, download.CIFAR10.url, Patience()),
            (
                {"mirror": "https://host/a/", "time_limit": 0.5, "tries": 1},
                "https://host/a/cifar-10-python.tar.gz",
                Patience(time_limit=0.5, tries=1),
            ),
        ],
        ids=["nothing", "everything"],
    )
    def test_what_is_asked_for_is_what_is_done(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        options: dict[str, Any],
        url: str,
        patience: Patience,
    ) -> None:
        asked: list[Any] = []

        def fetch_it(*arguments: Any) -> Path:
            asked.extend(arguments)
            return tmp_path

        monkeypatch.setattr(download, "fetch_archive", fetch_it)

        assert download.fetch(str(tmp_path), progress=print, **options) == tmp_path
        assert asked == [tmp_path, download.CIFAR10, url, patience, print]

    @pytest.mark.parametrize("wrong", [{"time_limit": 0}, {"tries": 0}])
    def test_limits_are_positive(self, tmp_path: Path, wrong: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="give more than 0 for both"):
            download.fetch(tmp_path, **wrong)


class TestCommand:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
        monkeypatch.setattr(download, "CIFAR10", replace(ARCHIVE, url=server.url))

    def test_downloads_and_says_where_it_is(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "new"

        assert main(["download", "--out", str(folder)]) == 0

        out, err = capsys.readouterr()
        assert out == (f"The official CIFAR-10 is in {folder}: use it with --data {folder}\n")
        assert "\r" not in err
        assert err.endswith("(100 %), unpacking\n")
        assert is_complete(folder)

    def test_failure_on_the_way_ends_with_1(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], server: Server
    ) -> None:
        server.answers = [status(404)]

        assert main(["download", "--out", str(tmp_path), "--mirror", server.url]) == 1
        assert capsys.readouterr().err.startswith("error: cifar.tar.gz: the server answered 404")

    def test_training_downloads_first(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        server: Server,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        server.answers = [status(404)]

        assert main(["train", "--download", "--mirror", server.url, "--out", "runs"]) == 1
        assert capsys.readouterr().err.startswith("error: cifar.tar.gz: the server answered 404")

    def test_mirror_that_cannot_be_used_ends_with_2(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["download", "--out", str(tmp_path), "--mirror", "x"]) == 2
        assert capsys.readouterr().err.startswith("error: mirror 'x' is no address")

    @pytest.mark.parametrize(
        "option", [["--tries", "0"], ["--time-limit", "0"], ["--time-limit", "soon"]]
    )
    def test_argument_that_cannot_be_used_ends_with_2(
        self, option: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit, match="2"):
            main(["download", *option])
        assert option[0] in capsys.readouterr().err

    def test_interruption_says_how_to_go_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupt(*arguments: Any, **options: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(download, "fetch", interrupt)

        assert main(["download", "--out", str(tmp_path)]) == 130
        assert "the same command goes on from there" in capsys.readouterr().err

    def test_options_are_handed_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []

        def fetch_it(folder: str, **options: Any) -> Path:
            asked.append((folder, {**options, "progress": callable(options["progress"])}))
            return Path(folder)

        monkeypatch.setattr(download, "fetch", fetch_it)
        monkeypatch.chdir(tmp_path)

        limits = ("--time-limit", "0.5", "--tries", "1")
        assert main(["download"]) == 0
        assert main(["download", *limits, "--mirror", "x", "--out", "b"]) == 0

        defaults = {"mirror": None, "progress": True, "time_limit": 7200.0, "tries": 5}
        given = {"mirror": "x", "progress": True, "time_limit": 30.0, "tries": 1}
        assert asked == [("data", defaults), ("b", given)]

    def test_help_explains_the_options(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("COLUMNS", "1000")

        with pytest.raises(SystemExit, match="0"):
            main(["download", "--help"])

        shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        place = shown.index("options:")
        assert shown[0] == (
            "usage: python -m blitz download [-h] [--out DIR] [--mirror URL] "
            "[--time-limit MINUTES] [--tries N]"
        )
        assert shown[place + 2 : place + 6] == [
            "--out DIR where to put it (default: data)",
            "--mirror URL another address of cifar-10-python.tar.gz, or of the folder it lies in, "
            "with / at its end; the digest must be the original's",
            "--time-limit MINUTES give up after so long; what came is kept (default: 120)",
            "--tries N failures in a row at which to give up; the pauses between them double "
            "(default: 5)",
        ]

    @pytest.mark.parametrize(
        ("terminal", "lines"),
        [
            (
                True,
                [
                    *("\r\x1b[Ka: 0.0 of 4.0 MB (0 %)", "\r\x1b[Ka: 1.0 of 4.0 MB (25 %)"),
                    "\r\x1b[Ka: 2.0 of 4.0 MB (50 %)",
                    "\r\x1b[Ka: 2.0 of 4.0 MB (50 %), waiting\n",
                    *("\r\x1b[Ka: 3.0 of 4.0 MB (75 %)", "\r\x1b[Ka: 4.0 of 4.0 MB (100 %)\n"),
                ],
            ),
            (
                False,
                [
                    *("a: 0.0 of 4.0 MB (0 %)\n", "", "a: 2.0 of 4.0 MB (50 %)\n"),
                    *("a: 2.0 of 4.0 MB (50 %), waiting\n", "", "a: 4.0 of 4.0 MB (100 %)\n"),
                ],
            ),
        ],
        ids=["terminal", "file"],
    )
    def test_progress_is_one_line_on_a_terminal_and_few_in_a_file(
        self, monkeypatch: pytest.MonkeyPatch, terminal: bool, lines: list[str]
    ) -> None:
        """Each stands there at once; in a file, half a minute after the last one."""
        from blitz.commands import download as command

        class Stream(io.StringIO):
            there = ""

            def isatty(self) -> bool:
                return terminal

            def flush(self) -> None:
                self.there = self.getvalue()

        now, stream = [NOW], Stream()
        give_clock(monkeypatch, command, monotonic=lambda: now[0])
        show = command.shown(stream)
        seen: list[str] = []
        for after, millions, note in [
            *((0.0, 0, ""), (29.9, 1, ""), (30.0, 2, ""), (31.0, 2, "waiting")),
            *((60.9, 3, ""), (60.9, 4, "")),
        ]:
            now[0], before = NOW + after, stream.there
            show(Progress("a", millions * 10**6, 4 * 10**6, note=note))
            seen.append(stream.there.removeprefix(before))

        assert seen == lines

    def test_defaults_are_those_of_fetch(self) -> None:
        from blitz.__main__ import parser

        args = parser().parse_args(["download"])
        assert (60 * args.time_limit, args.tries) == (Patience.time_limit, Patience.tries)
