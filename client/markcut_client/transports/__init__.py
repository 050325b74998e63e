"""Ways to reach an engine: ``open_transport`` chooses one, ``Transport.infer`` is the seam."""

from __future__ import annotations

from markcut_client.errors import ParameterError, TransportError
from markcut_client.transports.address import Address, ServerOptions
from markcut_client.transports.base import AsyncTransport, Parameter, Request, Transport
from markcut_client.transports.embedded import EmbeddedTransport
from markcut_client.transports.server import ServerTransport

__all__ = [
    "AsyncTransport",
    "EmbeddedTransport",
    "Parameter",
    "Request",
    "ServerOptions",
    "ServerTransport",
    "Transport",
    "open_async_transport",
    "open_server",
    "open_transport",
]


def open_transport(url: str, options: ServerOptions | None = None) -> Transport:
    """The transport that ``url`` means.

    ``embedded:DIR`` loads the bundle in DIR, in this process; ``grpc://HOST[:8001]`` and
    ``http://HOST[:8000]`` ask a server, ``grpcs://`` and ``https://`` (443) do it encrypted.
    ``options`` are for servers. gRPC to another host goes through the proxy that the variables
    https_proxy or http_proxy name, unless no_proxy names the host; HTTP takes no proxy.

    Raises :class:`TransportError` for another address and for whatever keeps the transport from
    working: no engine installed, no such bundle, a bundle that was altered. Whether a server
    answers turns out at the first request. Raises :class:`ParameterError` for wrong options.
    """
    if _is_embedded(url, options):
        return EmbeddedTransport(url.partition(":")[2])
    return open_server(url, options)


def open_server(url: str, options: ServerOptions | None = None) -> ServerTransport:
    """As :func:`open_transport`, for the addresses of servers alone."""
    address = Address.parse(url)
    if address.scheme.startswith("grpc"):
        from markcut_client.transports.grpc import GrpcTransport

        return GrpcTransport(address, options or ServerOptions())
    from markcut_client.transports.http import HttpTransport

    return HttpTransport(address, options or ServerOptions())


def open_async_transport(url: str, options: ServerOptions | None = None) -> AsyncTransport:
    """As :func:`open_transport`; gRPC waits in the running event loop, the others in threads."""
    from markcut_client.transports.threaded import ThreadedTransport

    if not _is_embedded(url, options):
        address = Address.parse(url)
        if address.scheme.startswith("grpc"):
            from markcut_client.transports.grpc import AsyncGrpcTransport

            return AsyncGrpcTransport(address, options or ServerOptions())
    return ThreadedTransport(open_transport(url, options))


def _is_embedded(url: str, options: ServerOptions | None) -> bool:
    scheme, _, rest = url.partition(":")
    if scheme.lower() == "embedded":
        if options not in (None, ServerOptions()):
            raise ParameterError(f"{url}: headers, certificates and the like are for servers")
        return True
    if "//" not in rest:
        raise TransportError(
            f"{url!r} is no address; expected embedded:DIR with a bundle's folder, or a server's "
            "such as grpc://localhost:8001"
        )
    return False
