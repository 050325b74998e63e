"""Where the command finds an engine: in this process or on a server, and how it gets there."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from markcut_client.bundles import DEMO, VARIABLE, require_bundle
from markcut_client.client import Client
from markcut_client.console import stderr_console
from markcut_client.errors import ParameterError, TransportError
from markcut_client.parameters import check_timeout
from markcut_client.picture_list import path_argument
from markcut_client.transports import EmbeddedTransport, ServerOptions, Transport, open_server
from markcut_client.transports.exchange import DEFAULT_TIMEOUT

_Container = argparse._ActionsContainer

_FLAGS = {
    "headers": "header",
    "headers_in_plain": "headers-in-plain",
    "points": "point",
    "point_coords": "point",
    "boxes": "box",
}
_FOR_SERVERS = ("timeout", "token_file", "header", "headers_in_plain", "root_certificates")


def add_bundle(group: _Container) -> None:
    """Add ``--bundle``."""
    group.add_argument(
        "--bundle",
        metavar="DIR",
        type=path_argument,
        help="folder of the bundle that this process runs; by default what "
        f"{VARIABLE} names, else {DEMO} if it is there",
    )


def add_server(group: _Container) -> None:
    """Add ``--server``."""
    group.add_argument(
        "--server",
        metavar="URL",
        help="address of a server that runs one: grpc://HOST[:8001], http://HOST[:8000], or "
        "encrypted grpcs:// and https:// (443). gRPC to another host heeds http_proxy and "
        "no_proxy, HTTP takes no proxy",
    )


def add_runtime_options(group: _Container) -> None:
    """Add what is for ``--bundle`` alone."""
    group.add_argument(
        "--runtime",
        choices=("auto", "onnxruntime", "openvino", "tensorrt"),
        help="for --bundle; by default auto, see `markcut doctor`",
    )
    group.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        help="for --bundle; by default the CPU, and with tensorrt the GPU. onnxruntime on cuda "
        "needs onnxruntime-gpu",
    )
    group.add_argument(
        "--precision",
        choices=("fp32", "fp16", "bf16"),
        help="of the arithmetic for --bundle; by default as its graphs are typed. On a processor "
        "with bfloat16, openvino takes half the time with bf16",
    )
    group.add_argument(
        "--threads", metavar="N", type=int, help="CPU threads for --bundle; by default all"
    )


def add_server_options(group: _Container) -> None:
    """Add what is for ``--server`` alone."""
    group.add_argument(
        "--timeout",
        metavar="S",
        type=float,
        help=f"seconds that a picture may take, tries included; by default {DEFAULT_TIMEOUT:g}",
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        type=path_argument,
        help="send the token in FILE with every request, as authorization: Bearer TOKEN",
    )
    group.add_argument(
        "--header",
        metavar="NAME:VALUE",
        action="append",
        help="send this with every request; can be repeated. Other users of this machine can see "
        "it: secrets belong into --token-file",
    )
    group.add_argument(
        "--headers-in-plain",
        action="store_true",
        help="send token and headers to another host without encryption, too",
    )
    group.add_argument(
        "--root-certificates",
        metavar="FILE",
        type=path_argument,
        help="PEM file that vouches for the server, instead of the system's",
    )


def check_engine_options(options: argparse.Namespace) -> None:
    """Raise :class:`ParameterError` for flags that do not go together."""
    if options.server is None:
        for name in _FOR_SERVERS:
            if getattr(options, name) not in (None, False):
                raise ParameterError(f"--{name.replace('_', '-')} is for --server URL")
    else:
        for name in ("runtime", "device", "precision", "threads"):
            if getattr(options, name, None) is not None:
                raise ParameterError(f"--{name} is for --bundle: the server has its own")
    threads = getattr(options, "threads", None)
    if threads is not None and threads < 1:
        raise ParameterError(f"--threads: got {threads}, expected 1 or more")
    check_timeout(options.timeout)


def open_client(options: argparse.Namespace) -> Client:
    """The client that the options mean; loads the models where they run in this process."""
    transport: Transport
    if options.server is not None:
        transport = open_server(options.server, server_options(options))
    else:
        with stderr_console().status("loading the models"):
            transport = EmbeddedTransport(
                options.bundle or require_bundle(),
                runtime=options.runtime or "auto",
                device=options.device,
                threads=options.threads,
                precision=options.precision,
            )
    return Client(transport, timeout=options.timeout)


def server_options(options: argparse.Namespace) -> ServerOptions:
    """What ``--token-file``, ``--header`` and their kin say; raises :class:`ParameterError`."""
    headers = dict(_header(text) for text in options.header or ())
    if options.token_file is not None:
        if "authorization" in headers:
            raise ParameterError("--token-file and --header authorization: expected one of them")
        headers["authorization"] = f"Bearer {_token(options.token_file)}"
    return ServerOptions(
        headers=headers,
        headers_in_plain=options.headers_in_plain,
        root_certificates=options.root_certificates,
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ParameterError("--header: expected NAME:VALUE")
    return name.strip().lower(), value.strip()


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not ASCII"
        raise ParameterError(f"--token-file {path}: cannot be read ({reason})") from None
    if not token or len(token.split()) != 1:
        raise ParameterError(f"--token-file {path}: expected one token and nothing else")
    return token


@contextlib.contextmanager
def naming_flags(*names: str) -> Iterator[None]:
    """Client and engine name the parameter, whoever types names the flag."""
    known = (*names, *_FOR_SERVERS, *_FLAGS)
    try:
        yield
    except (ParameterError, TransportError) as error:
        found = re.match(rf"({'|'.join(known)})(?=:)", str(error))
        if found is None:
            raise
        flag = "--" + _FLAGS.get(found[0], found[0].replace("_", "-"))
        raise type(error)(flag + str(error)[found.end() :]) from error
