"""The HTTP transport against servers that are none, or odd ones."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from markcut_client import (
    AnswerError,
    Client,
    ClientError,
    DeadlineError,
    Request,
    TransportError,
)
from markcut_client.transports import http, open_server

OK = b"HTTP/1.1 200 OK\r\n"
Serve = Callable[..., str]


def test_cancelling_while_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as open_ones:
        full = open_ones.enter_context(socket.socket())  # nobody accepts, and too many wait
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            waiting = open_ones.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        monkeypatch.setattr(http, "_CONNECT_S", 1.0)
        transport = open_server(f"http://127.0.0.1:{full.getsockname()[1]}")
        open_ones.callback(transport.close)
        request = Request("marked_object", {"image": np.ones(9, np.uint8)}, {}, 600)
        threading.Timer(0.3, transport.cancel, [request]).start()
        with pytest.raises(ClientError, match="cancelled"):
            transport.infer(request)


def read_request(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 16)
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    left = (int(found[1]) if found else 0) - len(body)
    while left > 0:
        left -= len(connection.recv(1 << 16))


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that answers every request with the same bytes; its address.

    ``finished`` grows with every reply that was sent to its end.
    """
    listeners: list[socket.socket] = []
    ended = threading.Event()

    def start(reply: bytes, *, pause: float = 0, finished: Any = None) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                read_request(connection)
                for at in range(0, len(reply), 1 if pause else len(reply) or 1):
                    connection.sendall(reply[at : at + 1] if pause else reply)
                    if pause and ended.wait(pause):
                        return
                if finished is not None:
                    finished.append(reply)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=answer, args=(connection,)).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    ended.set()
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n", TransportError,
         r"nobody answers \(that is not HTTP: 'SSH-2.0-OpenSSH_9"),
        (b"", TransportError, r"nobody answers \(Remote end closed connection without response\)"),
        (OK + b"Content-Length: 100\r\n\r\n{", TransportError,
         r"nobody answers \(IncompleteRead\(1 bytes read, 99 more expected\)\)"),
        (OK + b"Content-Length: 15\r\n\r\n<html>...</html>", AnswerError, "it is not JSON"),
        (b"HTTP/1.1 308 X\r\nLocation: https://h/v2\r\nContent-Length: 0\r\n\r\n", TransportError,
         r"does not serve this \(it redirects to https://h/v2\)"),
        (b"HTTP/1.1 304 X\r\n\r\n", TransportError, r"does not serve this \(HTTP status 304\)"),
    ],
)  # fmt: skip
def test_odd_replies(serve: Serve, photo: Any, reply: bytes, kind: Any, message: str) -> None:
    with Client(serve(reply), timeout=20) as client, pytest.raises(ClientError) as caught:
        client.extract(photo())
    assert type(caught.value) is kind
    assert re.search(message, str(caught.value))


@pytest.mark.parametrize(
    "reply", [OK + b"X: " + b"y" * 300, OK + b"Content-Length: 300\r\n\r\n" + b" " * 300]
)
def test_a_reply_that_drips_does_not_outlast_the_deadline(
    serve: Serve, photo: Any, reply: bytes
) -> None:
    finished: list[bytes] = []
    url = serve(reply, pause=0.1, finished=finished)
    with Client(url, timeout=0.5) as client, pytest.raises(DeadlineError):
        client.extract(photo())  # every byte on its own is soon enough, all take half a minute
    assert finished == []


def test_a_host_that_is_none(photo: Any) -> None:
    with Client("http://nobody.invalid") as client, pytest.raises(TransportError) as caught:
        client.extract(photo())
    assert "nobody answers (Failed to resolve 'nobody.invalid'" in str(caught.value)
    with pytest.raises(TransportError, match="is no address"):
        Client(f"http://{'ü' * 70}.invalid")
