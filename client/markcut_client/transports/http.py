"""A server by HTTP, the KServe v2 REST protocol."""

from __future__ import annotations

import time
from typing import Any

from markcut_client.errors import TransportError
from markcut_client.transports import http_codec
from markcut_client.transports.address import Address, ServerOptions
from markcut_client.transports.messages import MAX_ANSWER, Failure, Reply, Send
from markcut_client.transports.server import ServerTransport

_CONNECTIONS = 64  # kept open; more are made when more threads ask at once
_CHUNK = 1 << 20


class HttpTransport(ServerTransport):
    """Asks the server at ``address``; nothing is sent before the first request.

    The protocol knows no cancelling: a request that nobody waits for runs on in the server.
    """

    def __init__(self, address: Address, options: ServerOptions) -> None:
        import urllib3

        super().__init__(address, options)
        options = options.checked(address)
        self._urllib3 = urllib3
        self._headers = dict(options.headers)
        self._pool = self._open(options)

    def _open(self, options: ServerOptions) -> Any:
        pem = options.read_root_certificates()
        common: dict[str, Any] = {"maxsize": _CONNECTIONS, "retries": False}
        if not self.address.is_encrypted:
            return self._urllib3.HTTPConnectionPool(self.address.host, self.address.port, **common)
        import ssl

        try:
            context = ssl.create_default_context(
                cadata=None if pem is None else pem.decode("ascii")
            )
        except (ssl.SSLError, UnicodeDecodeError):
            raise TransportError(
                f"root_certificates: {options.root_certificates} holds no usable certificate"
            ) from None
        return self._urllib3.HTTPSConnectionPool(
            self.address.host, self.address.port, ssl_context=context, **common
        )

    def _send(self, step: Send) -> Reply:
        end = time.monotonic() + step.timeout
        asked = http_codec.encode(step.message)
        headers = dict(self._headers)
        headers["Content-Type"] = "application/json"
        if asked.header_length is not None:
            headers["Content-Type"] = "application/octet-stream"
            headers[http_codec.HEADER_LENGTH] = str(asked.header_length)
        errors = self._urllib3.exceptions
        try:
            response = self._pool.urlopen(
                asked.method,
                self.address.prefix + asked.path,
                body=b"".join(asked.body) if asked.body else None,
                headers=headers,
                timeout=self._urllib3.Timeout(total=max(step.timeout, 1e-3)),
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            body = _read(response, end)
        except errors.NewConnectionError as error:  # urllib3 counts it among the timeouts
            return Failure("UNAVAILABLE", _reason(error))
        except errors.TimeoutError:
            return Failure("DEADLINE_EXCEEDED", "")
        except errors.SSLError as error:
            return Failure("UNAVAILABLE", f"TLS: {error}")
        except (errors.HTTPError, OSError) as error:
            return Failure("UNAVAILABLE", _reason(error))
        if isinstance(body, Failure):
            return body
        return http_codec.decode(step.message, response.status, response.headers, body)

    def _disconnect(self) -> None:
        self._pool.close()


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
    """urllib3 wraps what the system said into representations of objects."""
    text = str(error)
    for mark in ("Failed to establish a new connection: ", "object at 0x"):
        before, found, after = text.partition(mark)
        if found:
            text = after if mark.startswith("Failed") else after.partition(": ")[2] or before
    return text or type(error).__name__
