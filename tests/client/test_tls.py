"""Encrypted transports against servers whose certificates a private authority signed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from markcut_client import Client, ParameterError, TransportError
from tests.client.fake_server import Engine, GrpcServer, HttpServer

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="no openssl to make a certificate"
)

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """Signs certificates; ``certificate`` is its own, which vouches for them."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self.certificate = folder / f"{name}.pem"
        openssl(
            "req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}",
            "-keyout", folder / f"{name}.key", "-out", self.certificate,
        )  # fmt: skip

    def sign(self, host: str) -> tuple[Path, Path]:
        """A key and a certificate for ``host``, ``DNS:...`` or ``IP:...``."""
        key, request, certificate, extension = (
            self._folder / f"leaf.{end}" for end in ("key", "csr", "pem", "ext")
        )
        extension.write_text(f"subjectAltName={host}\n")
        openssl("req", "-new", *_KEY, "-subj", "/CN=leaf", "-keyout", key, "-out", request)
        openssl(
            "x509", "-req", "-in", request, "-days", "2", "-extfile", extension,
            "-CA", self.certificate, "-CAkey", self._folder / f"{self._name}.key",
            "-CAcreateserial", "-out", certificate,
        )  # fmt: skip
        return key, certificate


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


Serve = Callable[[str], str]


@pytest.fixture(params=[GrpcServer, HttpServer])
def serve(request: pytest.FixtureRequest, engine: Engine, authority: Authority) -> Iterator[Serve]:
    """Starts a server of either protocol with a certificate for a host; its address."""
    servers: list[Any] = []

    def start(host: str) -> str:
        servers.append(request.param(engine, tls=authority.sign(host)))
        return str(servers[-1].url)

    yield start
    for server in servers:
        server.stop()


def test_a_private_authority(
    serve: Serve, engine: Engine, authority: Authority, photo: Any
) -> None:
    with Client(
        serve("DNS:localhost"),
        root_certificates=authority.certificate,
        headers={"Authorization": "Bearer abc.def"},
    ) as client:
        for _ in range(2):
            assert len(client.extract(photo())) == 1
        assert len(client.prompt(photo(), points=(1, 2))) == 1
    assert [seen["authorization"] for seen in engine.headers] == ["Bearer abc.def"] * 3


def test_an_address_in_numbers(serve: Serve, authority: Authority, photo: Any) -> None:
    url = serve("IP:127.0.0.1").replace("localhost", "127.0.0.1")
    with Client(url, root_certificates=authority.certificate) as client:
        assert len(client.extract(photo())) == 1


def test_nobody_vouches_for_it(serve: Serve, engine: Engine, photo: Any, tmp_path: Path) -> None:
    url = serve("DNS:localhost").replace("localhost", "127.0.0.1")  # one address, one reason
    for certificates in (None, Authority(tmp_path, "another").certificate):
        client = Client(url, root_certificates=certificates, headers={"x-token": "abc"})
        with client, pytest.raises(TransportError, match=r"its certificate is not trusted .*name"):
            client.extract(photo())
    assert engine.headers == []  # nothing was told to it


def test_a_certificate_of_another_host(
    serve: Serve, engine: Engine, authority: Authority, photo: Any
) -> None:
    url = serve("DNS:elsewhere.example").replace("localhost", "127.0.0.1")
    with (
        Client(url, root_certificates=authority.certificate) as client,
        pytest.raises(TransportError, match=r"not trusted .*the host as the certificate does"),
    ):
        client.extract(photo())
    assert engine.headers == []


def test_encrypted_and_not(engine: Engine, authority: Authority, photo: Any) -> None:
    for kind in (GrpcServer, HttpServer):
        for tls, scheme in ((None, "s"), (authority.sign("DNS:localhost"), "")):
            server = kind(engine, tls=tls)
            url = f"{'grpc' if kind is GrpcServer else 'http'}{scheme}://127.0.0.1:{server.port}"
            try:
                with Client(url) as client, pytest.raises(TransportError, match="nobody answers"):
                    client.extract(photo())
            finally:
                server.stop()


def test_files_of_several_certificates_and_comments(
    serve: Serve, authority: Authority, photo: Any, tmp_path: Path
) -> None:
    pem = tmp_path / "all.pem"
    another = Authority(tmp_path, "another").certificate.read_bytes()
    comment = "# Főtanúsítvány\n".encode()
    pem.write_bytes(comment + another + b"\n" + comment + authority.certificate.read_bytes())
    with Client(serve("DNS:localhost"), root_certificates=pem) as client:
        assert len(client.extract(photo())) == 1


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
def test_damaged_certificates(scheme: str, authority: Authority) -> None:
    text = authority.certificate.read_text().splitlines()
    for damaged in (text[:1] + text[2:], [*text[:1], "größer", *text[1:]]):
        authority.certificate.write_text("\n".join(damaged))
        with pytest.raises(ParameterError, match=r"root_certificates: .* a damaged certificate"):
            Client(f"{scheme}://localhost", root_certificates=authority.certificate)
