"""A server by HTTP, the KServe v2 REST protocol."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from markcut_client.errors import TransportError
from markcut_client.transports import http_codec
from markcut_client.transports.address import Address, ServerOptions
from markcut_client.transports.base import Request
from markcut_client.transports.messages import MAX_ANSWER, Failure, Infer, Reply, Send
from markcut_client.transports.server import ServerTransport

_CONNECTIONS = 64  # kept open; more are made when more threads ask at once
_ABOUT_OBJECTS = re.compile(  # how urllib3 begins what the system said
    r"(?:<[^>]*>|\w*Connection\([^)]*\)): (?:Failed to establish a new connection: )?"
    r"|\s*\(_ssl\.c:\d+\)"
)
_CHUNK = 1 << 20
_CONNECT_S = 10.0  # as gRPC; whoever does not accept by then is not there


class HttpTransport(ServerTransport):
    """Asks the server at ``address``; nothing is sent before the first request.

    The protocol knows no cancelling: a cancelled request loses its connection, and the server,
    which need not notice, may finish it for nobody.
    """

    def __init__(self, address: Address, options: ServerOptions) -> None:
        import urllib3

        super().__init__(address, options)
        options = options.checked(address)
        self._urllib3 = urllib3
        self._lock = threading.Lock()
        self._connections: dict[int, Any] = {}  # by the request that is under way on it
        self._asking = threading.local()
        self._headers = dict(options.headers)
        self._pool = self._open(options)

    def _open(self, options: ServerOptions) -> Any:
        arguments: dict[str, Any] = {"maxsize": _CONNECTIONS, "retries": False}
        kind: Any = self._urllib3.HTTPConnectionPool
        if self.address.is_encrypted:
            import ssl

            pem = options.read_root_certificates()
            arguments["ssl_context"] = ssl.create_default_context(
                cadata=None if pem is None else pem.decode("ascii")
            )
            kind = self._urllib3.HTTPSConnectionPool
        try:
            pool = kind(self.address.host, self.address.port, **arguments)
        except self._urllib3.exceptions.LocationParseError as error:
            raise TransportError(f"{self.address} is no address ({error})") from None
        pool.ConnectionCls = _punctual(kind.ConnectionCls, self._takes)
        return pool

    def _takes(self, connection: Any) -> None:
        """This thread's request goes over ``connection``."""
        with self._lock:
            self._connections[self._asking.key] = connection
        if self._asking.request in self._cancelled:
            raise self._urllib3.exceptions.ProtocolError("cancelled by this client")

    def cancel(self, request: Request) -> None:
        """As :meth:`Transport.cancel`."""
        super().cancel(request)
        with self._lock:
            sock = getattr(self._connections.get(id(request)), "sock", None)
            if sock is not None:
                with contextlib.suppress(OSError):  # it is over already
                    sock.shutdown(socket.SHUT_RDWR)

    def _send(self, step: Send) -> Reply:
        end = time.monotonic() + step.timeout
        asked = http_codec.encode(step.message)
        headers = dict(self._headers)
        headers["Content-Type"] = "application/json"
        if asked.header_length is not None:
            headers["Content-Type"] = "application/octet-stream"
            headers[http_codec.HEADER_LENGTH] = str(asked.header_length)
        errors = self._urllib3.exceptions
        message = step.message
        asking = message.request if isinstance(message, Infer) else None
        self._asking.request, self._asking.key = asking, id(asking or message)
        try:
            response = self._pool.urlopen(
                asked.method,
                self.address.prefix + asked.path,
                body=b"".join(asked.body) if asked.body else None,
                headers=headers,
                timeout=self._urllib3.Timeout(total=max(step.timeout, 1e-3), connect=_CONNECT_S),
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            body = _read(response, end)
        except errors.NewConnectionError as error:  # urllib3 counts it among the timeouts
            return Failure("UNAVAILABLE", _reason(error))
        except errors.ConnectTimeoutError:
            if time.monotonic() >= end:
                return Failure("DEADLINE_EXCEEDED", "")
            return Failure("UNAVAILABLE", f"no connection within {_CONNECT_S:g} s")
        except errors.TimeoutError:
            return Failure("DEADLINE_EXCEEDED", "")
        except errors.SSLError as error:
            return Failure("UNAVAILABLE", f"TLS: {_reason(error)}")
        except (errors.HTTPError, OSError) as error:
            return Failure("UNAVAILABLE", _reason(error))
        finally:
            with self._lock:
                self._connections.pop(self._asking.key, None)
        if isinstance(body, Failure):
            return body
        return http_codec.decode(step.message, response.status, response.headers, body)

    def _disconnect(self) -> None:
        self._pool.close()


def _punctual(base: Any, takes: Callable[[Any], None]) -> type:
    """The connections of a pool: ``takes`` is told which one a request goes over."""

    class PunctualConnection(base):  # type: ignore[misc]
        response_class = _PunctualResponse

        def request(self, *arguments: Any, **options: Any) -> None:
            takes(self)
            super().request(*arguments, **options)

        def connect(self) -> None:
            super().connect()
            takes(self)  # it may have been cancelled meanwhile

    return PunctualConnection


class _PunctualResponse(http.client.HTTPResponse):
    """A response that must be here, all of it, when the time that the socket has now is up."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_PunctualReader(sock, self.fp.detach()))


class _PunctualReader(io.RawIOBase):
    """Reads from ``sock``, whose own timeout would begin anew with every byte that comes."""

    def __init__(self, sock: socket.socket, raw: Any) -> None:
        super().__init__()
        timeout = sock.gettimeout()
        self._end = None if timeout is None else time.monotonic() + timeout
        self._sock = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._end is not None:
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


def _read(response: Any, end: float) -> bytes | Failure:
    """The body, within the time and the size that it may have; a connection is then free again."""
    chunks, size = [], 0
    for chunk in response.stream(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER:
            response.close()
            return Failure("RESOURCE_EXHAUSTED", "it is too large", broken=True)
        if time.monotonic() > end:
            response.close()
            return Failure("DEADLINE_EXCEEDED", "")
    response.release_conn()
    return b"".join(chunks)


def _reason(error: Exception) -> str:
    """What the system said, which urllib3 wraps into tuples and representations of objects."""
    cause = error.args[-1] if error.args else None
    if isinstance(cause, Exception):
        return _reason(cause)
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, OSError):
        return f"that is not HTTP: {error.args[0][:40]!r}"
    return _ABOUT_OBJECTS.sub("", str(error)) or type(error).__name__
