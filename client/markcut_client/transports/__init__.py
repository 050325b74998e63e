"""Ways to reach an engine: ``open_transport`` chooses one, ``Transport.infer`` is the seam."""

from __future__ import annotations

from markcut_client.errors import TransportError
from markcut_client.transports.base import Parameter, Transport
from markcut_client.transports.embedded import EmbeddedTransport

__all__ = ["EmbeddedTransport", "Parameter", "Transport", "open_transport"]


def open_transport(url: str) -> Transport:
    """The transport that ``url`` means: ``embedded:DIR`` loads the bundle in DIR, in this process.

    Raises :class:`TransportError` for another address and for whatever keeps the transport from
    working: no engine installed, no such bundle, a bundle that was altered.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "embedded":
        return EmbeddedTransport(rest)
    if scheme in ("grpc", "http"):
        raise TransportError(
            f"{url}: {scheme} is not in this version; use embedded:DIR with a bundle's folder"
        )
    raise TransportError(f"{url!r} is no address; expected embedded:DIR with a bundle's folder")
