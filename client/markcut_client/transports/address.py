"""Addresses of servers, and how to connect to one."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from markcut_client.errors import ParameterError, TransportError

SharedMemory = Literal["auto", "on", "off"]

_PORTS = {"grpc": 8001, "grpcs": 443, "http": 8000, "https": 443}
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_HEADER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_RESERVED = ("grpc-", "content-", "host", "te", "user-agent", "inference-header-content-length")


@dataclass(frozen=True)
class Address:
    """Where a server is; ``prefix`` is the path under which an HTTP gateway keeps it."""

    url: str
    scheme: str
    host: str
    port: int
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> Address:
        """``grpc://HOST[:8001]``, ``http://HOST[:8000]``, ``grpcs://`` and ``https://`` (443).

        Raises :class:`TransportError` for anything else.
        """
        if any(character.isspace() or not character.isprintable() for character in url):
            raise TransportError(f"{url!r} is no address; leave the white space out")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise TransportError(f"{url!r} is no address ({error})") from None
        example = "expected one such as grpc://localhost:8001 or https://host/prefix"
        if parts.scheme not in _PORTS or not parts.hostname:
            raise TransportError(f"{url!r} is no address of a server; {example}")
        if parts.username is not None or parts.password is not None:
            shown = f"{parts.scheme}://...@{parts.hostname}"
            raise TransportError(
                f"{shown}: addresses hold no credentials; pass them as headers, for example "
                '{"authorization": "Bearer ..."}'
            )
        prefix = parts.path.rstrip("/")
        if parts.query or parts.fragment or (prefix and parts.scheme.startswith("grpc")):
            raise TransportError(f"{url!r} says more than an address does; {example}")
        return cls(
            url, parts.scheme, parts.hostname,
            _PORTS[parts.scheme] if port is None else port, prefix,
        )  # fmt: skip

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS protects what is sent."""
        return self.scheme in ("grpcs", "https")

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this host, as far as its address tells."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def target(self) -> str:
        """``host:port``, with the brackets that IPv6 needs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.target}{self.prefix}"


@dataclass(frozen=True)
class ServerOptions:
    """How to talk to a server; every option has the default that most servers need.

    ``headers`` go with every request, such as ``{"authorization": "Bearer ..."}``; they may hold
    secrets, so an unencrypted address that is not this host refuses them unless
    ``headers_in_plain`` is set. ``root_certificates`` is a PEM file that vouches for the server,
    by default the system's do (gRPC's own for grpcs). ``shared_memory`` is how pictures reach a
    server on this host: ``"auto"`` uses shared memory for big ones where the server accepts it,
    ``"on"`` raises where it does not, ``"off"`` sends bytes.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    headers_in_plain: bool = False
    root_certificates: str | os.PathLike[str] | None = None
    shared_memory: SharedMemory = "auto"

    def checked(self, address: Address) -> ServerOptions:
        """The same, header names in lower case; raises :class:`ParameterError`."""
        if self.shared_memory not in get_args(SharedMemory):
            raise ParameterError(
                f"shared_memory: got {self.shared_memory!r}, expected 'auto', 'on' or 'off'"
            )
        if self.shared_memory == "on" and not address.is_loopback:
            raise ParameterError(
                f"shared_memory: got 'on' for {address}, expected a server on this host; "
                "'auto' uses it where it can"
            )
        if self.root_certificates is not None and not address.is_encrypted:
            raise ParameterError(
                f"root_certificates: {address} is not encrypted; use grpcs:// or https://"
            )
        headers = _checked_headers(self.headers)
        if headers and not (address.is_encrypted or address.is_loopback or self.headers_in_plain):
            raise ParameterError(
                f"headers: {address} is not encrypted, so everybody on the way could read them; "
                "use grpcs:// or https://, or allow it with headers_in_plain"
            )
        return ServerOptions(
            headers, self.headers_in_plain, self.root_certificates, self.shared_memory
        )

    def read_root_certificates(self) -> bytes | None:
        """The PEM file's certificates and nothing else in it; None where none was named."""
        if self.root_certificates is None:
            return None
        if not isinstance(self.root_certificates, str | os.PathLike):
            raise ParameterError(
                f"root_certificates: got {type(self.root_certificates).__name__}, expected the "
                "path of a PEM file"
            )
        path = Path(self.root_certificates)
        try:
            pem = path.read_bytes()
        except OSError as error:
            raise ParameterError(
                f"root_certificates: {path} cannot be read ({error.strerror})"
            ) from None
        # what stands between the certificates are comments, in whatever encoding
        certificates = b"\n".join(_CERTIFICATE.findall(pem))
        if not certificates:
            raise ParameterError(f"root_certificates: {path} holds no certificate in PEM form")
        import ssl

        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
                cadata=certificates.decode("ascii")
            )
        except (ssl.SSLError, UnicodeDecodeError):
            raise ParameterError(f"root_certificates: {path} holds a damaged certificate") from None
        return certificates


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise ParameterError(
            f"headers: got {type(headers).__name__}, expected names and values such as "
            '{"authorization": "Bearer ..."}'
        )
    checked: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower() if isinstance(name, str) else ""
        if not _HEADER_NAME.fullmatch(lower) or lower.endswith("-bin"):
            raise ParameterError(f"headers: {name!r} is no name of a header")
        if lower.startswith(_RESERVED):
            raise ParameterError(f"headers: {name!r} belongs to the transport")
        # a value may be secret: no message repeats it
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ParameterError(f"headers: {name!r} needs a value of printable ASCII characters")
        checked[lower] = value
    return checked
