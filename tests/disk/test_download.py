"""Downloads from a server in this process, which breaks off, lies or is not there."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from cifar100x.disk import download as module
from cifar100x.disk.download import download
from cifar100x.errors import UserError

CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves /good whole, /drops only 1 MB at a time, /html a web page, /wrong other bytes; anything else is 404."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}/cifar.tar.gz"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        requested = self.headers.get("Range")
        kind = self.path.split("/")[1]
        self.server.requests.append((kind, requested))
        content = {
            "good": CONTENT, "drops": CONTENT, "html": b"<!DOCTYPE html><p>moved", "wrong": CONTENT[::-1],
        }.get(kind)  # fmt: skip
        if content is None:
            self.send_error(404)
            return
        start = int(re.match(r"bytes=(\d+)-", requested)[1]) if requested else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if requested else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + 1_000_000 if kind == "drops" else None])

    def log_message(self, *_):
        pass


def test_a_mirror_that_drips_is_left(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_SECONDS", -1)
    with pytest.raises(UserError, match=r"it sent 0 bytes in .* hours"):
        download([server.address("good")], tmp_path, MD5)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_ATTEMPTS", 0)
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_download_once(server, tmp_path):
    path = download([server.address("good")], tmp_path, MD5)
    assert path.read_bytes() == CONTENT
    assert download([server.address("good")], tmp_path, MD5) == path
    assert len(server.requests) == 1


def test_a_connection_that_drops_is_resumed(server, tmp_path):
    assert download([server.address("drops")], tmp_path, MD5).read_bytes() == CONTENT
    starts = [int(requested[6:-1]) if requested else 0 for _, requested in server.requests]
    assert len(starts) >= 3
    assert starts == sorted(set(starts)), "every request goes on where the last one stopped"


def test_a_partial_file_of_an_earlier_process_is_continued(server, tmp_path):
    (tmp_path / "cifar.tar.gz.partial").write_bytes(CONTENT[:2_500_000])
    assert download([server.address("good")], tmp_path, MD5).read_bytes() == CONTENT
    assert server.requests == [("good", "bytes=2500000-")]


def test_a_wrong_file_in_its_place_is_replaced(server, tmp_path):
    (tmp_path / "cifar.tar.gz").write_bytes(b"x" * 1000)
    assert download([server.address("good")], tmp_path, MD5).read_bytes() == CONTENT


def test_a_wrong_partial_file_is_started_again(server, tmp_path):
    (tmp_path / "cifar.tar.gz.partial").write_bytes(b"x" * 1000)
    assert download([server.address("good")], tmp_path, MD5).read_bytes() == CONTENT


def test_the_next_mirror_is_asked(server, tmp_path):
    mirrors = [server.address(kind) for kind in ("absent", "html", "wrong", "good")]
    assert download(mirrors, tmp_path, MD5).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("kind", "reason"), [("absent", "404"), ("html", "is a web page"), ("wrong", "md5 is .* expected")]
)
def test_failure_says_why_and_leaves_no_archive(kind, reason, server, tmp_path):
    with pytest.raises(UserError, match=rf"could not download cifar\.tar\.gz .*{reason}.*data\.source"):
        download([server.address(kind)], tmp_path, MD5)
    assert [p.suffix for p in tmp_path.iterdir()] == [".lock"]


def test_nobody_there(server, tmp_path):
    server.server_close()
    with pytest.raises(UserError, match=r"cannot be reached.*data\.source"):
        download(["http://127.0.0.1:9/cifar.tar.gz"], tmp_path, MD5)
