"""What the health check makes of a server's answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from serving import probe as health
from serving import supervisor

ANSWER = b'{"outputs": [{"name": "picture_size", "data": [240, 320]}]}'


class Handler(BaseHTTPRequestHandler):
    answer: tuple[int, bytes]

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, text = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as opened:
        threading.Thread(target=opened.serve_forever, daemon=True).start()
        yield opened
        opened.shutdown()


@pytest.mark.parametrize(
    ("status", "text", "exit_status"),
    [
        (200, ANSWER, 0),
        (503, b'{"error":"in ensemble, Exceeds maximum queue size"}', 0),
        (500, b'{"error":"clipseg: Request timeout expired"}', 0),
        (429, b"", 0),
        (503, b'{"error":"marked_object has no available versions"}', 1),
        (400, b'{"error":"Request for unknown model: unavailable"}', 1),
        (500, b'{"error":"the stub of the queue died"}', 1),
        (200, b"{}", 1),
        (200, ANSWER.replace(b"240", b"241"), 1),
    ],
)
def test_exit_status(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, status: int, text: bytes,
    exit_status: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(Handler, "answer", (status, text), raising=False)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr("sys.argv", ["probe", url])
    assert health.main() == exit_status


def test_a_server_that_never_has_room_is_stuck(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "answer", (429, b""), raising=False)
    asking = supervisor._Asking(int(server.server_address[1]))
    asking._probe()
    assert asking.fault is None
    monkeypatch.setattr(supervisor, "_BUSY_S", 0.0)
    asking._probe()
    assert asking.fault == "no probe found room for 0 s"
