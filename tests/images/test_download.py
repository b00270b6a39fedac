"""Downloading, from a server on this machine that does all that a bad one does."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import SSLCertVerificationError
from typing import Any
from urllib.error import URLError

import pytest
from torchvision.datasets import CIFAR10

from blitz.images import download
from blitz.images.cifar10 import ARCHIVE, BATCHES, DataError
from blitz.images.download import DownloadError
from tests.images import official

FILES, BODY = official.contents(), official.archive()
HALF = len(BODY) // 2

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


def whole(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """The body, or the rest of it that is asked for."""
    start = asked_from(handler)
    head(handler, len(body), start)
    handler.wfile.write(body[start:])


def head(handler: BaseHTTPRequestHandler, size: int, start: int = 0) -> None:
    handler.send_response(206 if start else 200)
    handler.send_header("Content-Length", str(size - start))
    handler.end_headers()


def asked_from(handler: BaseHTTPRequestHandler) -> int:
    return int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))


def whole_whatever_is_asked(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    head(handler, len(body))
    handler.wfile.write(body)


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
    for place in range(start, len(body), 1000):
        handler.wfile.write(body[place : place + 1000])
        time.sleep(0.02)


def wrong_bytes(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    whole(handler, body[:-1] + bytes([body[-1] ^ 1]))


def page(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    whole_whatever_is_asked(handler, b"<html>Sign in to this network</html>")


def one_byte(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    head(handler, len(body))
    handler.wfile.write(body[:1])


def status(code: int) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


class Server:
    """Answers requests by ``answers``, one after another; the last one for all that follow."""

    def __init__(self, root: Path) -> None:
        self.root, self.archive = root, root / ARCHIVE
        self.answers: list[Answer] = [whole]
        self.asked: list[tuple[str, int]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, asked_from(self)))
                answer = outer.answers[min(len(outer.asked), len(outer.answers)) - 1]
                with suppress(OSError):  # the other side hung up
                    answer(self, BODY)

            def log_message(self, *words: Any) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.handle_error = lambda *request: None
        self.httpd.block_on_close = False
        self.url = f"http://127.0.0.1:{self.httpd.server_port}/{ARCHIVE}"
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()

    def fetch(self, **options: Any) -> Path:
        """Download from here into ``root``."""
        return download.fetch(self.root, **options)

    @property
    def starts(self) -> list[int]:
        """From which byte on each request asked."""
        return [start for _, start in self.asked]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data")
    server.root.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(CIFAR10, "url", server.url)  # no test reaches the real one
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(BODY).hexdigest())
    official.trust(monkeypatch, FILES)
    for name, value in {"SIZE": len(BODY), "TRIES": 3, "STALL": 0.3, "FIRST_WAIT": 0}.items():
        monkeypatch.setattr(download, name, value)
    yield server
    server.httpd.shutdown()
    server.httpd.server_close()


def is_complete(root: Path) -> bool:
    """Return whether all is there, and nothing else but the lock."""
    there = {file.name: file.read_bytes() for file in (root / BATCHES).iterdir()}
    names = {path.name for path in root.iterdir()}
    return there == FILES and names == {f".{ARCHIVE}.lock", BATCHES, ARCHIVE}


class TestFetch:
    def test_brings_the_files_and_keeps_the_archive(self, server: Server) -> None:
        assert download.fetch(str(server.root)) == server.root

        assert is_complete(server.root)
        assert server.archive.read_bytes() == BODY
        server.fetch()
        assert server.starts == [0]

    @pytest.mark.parametrize("harm", [Path.unlink, lambda file: file.write_bytes(b"x")])
    def test_repairs_a_damaged_file_from_the_archive(
        self, server: Server, harm: Callable[[Path], object]
    ) -> None:
        server.fetch()
        harm(server.root / BATCHES / "data_batch_1")

        assert is_complete(server.fetch())
        assert len(server.asked) == 1

    @pytest.mark.parametrize(
        ("mirror", "path"),
        [
            ("http://127.0.0.1:{port}", f"/{ARCHIVE}"),
            ("http://127.0.0.1:{port}/pub/", f"/pub/{ARCHIVE}"),
            ("http://127.0.0.1:{port}/pub/my.tgz?key=1", "/pub/my.tgz?key=1"),
        ],
    )
    def test_mirror_is_the_file_or_its_folder(self, server: Server, mirror: str, path: str) -> None:
        server.fetch(mirror=mirror.format(port=server.httpd.server_port))

        assert server.asked == [(path, 0)]


class TestResume:
    """What came is kept, and only the rest is asked for."""

    @pytest.mark.parametrize("fault", [truncated, broken_off, falling_silent])
    def test_after_a_fault(self, server: Server, fault: Answer) -> None:
        server.answers = [fault, whole]

        assert is_complete(server.fetch())
        assert server.starts == [0, HALF]

    def test_by_the_next_call(self, server: Server) -> None:
        server.answers = [truncated, status(503)]
        with pytest.raises(DownloadError) as failed:
            server.fetch()
        assert str(failed.value) == (
            f"{ARCHIVE}: the connection failed (HTTP Error 503: Service Unavailable). {HALF:,} of "
            f"{len(BODY):,} bytes were received from {server.url} and are kept: the same command "
            "goes on from there. Check the connection (behind a proxy SSL_CERT_FILE=FILE names "
            "certificates to trust), or name another server with --mirror URL."
        )
        assert server.archive.read_bytes() == BODY[:HALF]

        server.answers = [whole]
        assert is_complete(server.fetch())
        assert server.starts == [0, HALF, HALF, HALF]

    def test_where_the_server_sends_all_of_it_again(self, server: Server) -> None:
        server.archive.write_bytes(BODY[:9])
        server.answers = [whole_whatever_is_asked]

        assert is_complete(server.fetch())


FINAL = {
    "not found": ([status(404)], "HTTP Error 404: Not Found", 1),
    "page that asks to sign in": ([page], "this is another file", 1),
    "begins anew each time": ([one_byte], "the connection ended early", 3),
    "wrong bytes": ([wrong_bytes], "its MD5 is .* Run the same command again", 1),
}


class TestFaults:
    @pytest.mark.parametrize(("answers", "words", "requests"), FINAL.values(), ids=FINAL)
    def test_end_the_download_with_a_line(
        self, server: Server, answers: list[Answer], words: str, requests: int
    ) -> None:
        server.answers = answers

        with pytest.raises(DownloadError, match=words):
            server.fetch()

        assert len(server.asked) in (requests, requests + 1)
        assert not server.archive.exists() or server.archive.read_bytes() == BODY[:1]

    def test_page_does_not_overwrite_what_came(self, server: Server) -> None:
        server.archive.write_bytes(BODY[:HALF])
        server.answers = [page]

        with pytest.raises(DownloadError, match="this is another file"):
            server.fetch()

        assert server.archive.read_bytes() == BODY[:HALF]

    def test_server_that_is_not_there(self, server: Server) -> None:
        server.httpd.shutdown()
        server.httpd.server_close()

        with pytest.raises(DownloadError, match=r"the connection failed .*Check the connection"):
            server.fetch()

    def test_certificate_that_is_not_trusted_is_refused_at_once(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[object] = []

        def urlopen(request: object, timeout: float) -> None:
            asked.append(request)
            raise URLError(SSLCertVerificationError(1, "certificate verify failed"))

        monkeypatch.setattr(download, "urlopen", urlopen)

        with pytest.raises(DownloadError, match=r"verify failed.*SSL_CERT_FILE=FILE"):
            server.fetch()

        assert len(asked) == 1

    @pytest.mark.parametrize(
        ("place", "mirror", "words"),
        [
            ("file", None, "cannot be kept there: File exists"),
            *((".", url, "is not the address of a server") for url in ("", "a.tgz", "ftp://h/f")),
        ],
    )
    def test_place_or_mirror_that_is_none_is_refused(
        self, server: Server, tmp_path: Path, place: str, mirror: str | None, words: str
    ) -> None:
        (tmp_path / "file").touch()

        with pytest.raises(DataError, match=words):
            download.fetch(tmp_path / place, mirror=mirror)

    def test_passing_answers_are_waited_out_ever_longer(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits: list[float] = []
        monkeypatch.setattr(download, "TRIES", 4)
        monkeypatch.setattr(download, "FIRST_WAIT", 1)
        monkeypatch.setattr(download.time, "sleep", waits.append)
        server.answers = [status(429), status(500), status(503), whole]
        told: list[Any] = []

        assert is_complete(server.fetch(progress=lambda *said: told.append(said)))
        assert waits == [1, 2, 4]
        why = "the connection failed (HTTP Error 429: Too Many Requests)"
        assert told[0] == (0, f"{why}; next try in 1 s")

    def test_failures_that_brought_something_do_not_count(self, server: Server) -> None:
        server.answers = [*5 * [truncated], whole]

        assert is_complete(server.fetch())


def test_one_process_downloads_and_the_others_wait(server: Server) -> None:
    server.answers = [slow]
    told: list[tuple[int, str]] = []

    def fetch() -> None:
        server.fetch(progress=lambda *said: told.append(said))

    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert is_complete(server.root)
    assert server.starts == [0]
    assert (len(BODY), "unpacking") in told
