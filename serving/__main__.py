"""Serve a bundle with a real Triton Inference Server on this machine, for development.

The first start installs the server into .triton/. A server whose steps die or that stops
answering is started again. Ctrl-C or SIGTERM: what was accepted is answered, then it ends.

examples:
  python -m serving
  python -m serving --bundle bundles/mine --http-port 9000 --grpc-port 9001 --metrics-port 9002
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from export.errors import ExportError
from export.repository import write_repository
from export.triton_config import Flavour
from markcut.bundle import load_bundle
from markcut.contracts import CLIPSEG
from markcut.errors import MarkcutError
from markcut.manifest import PRECISIONS
from markcut.runners import RUNTIMES, open_runner
from serving.environment import ROOT, prepare
from serving.errors import ServingError
from serving.server import HOST, Ports, TritonServer, check_ports
from serving.supervisor import supervise

_STARTING_S = 120
_LONGEST_PROBE_S = 86400


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit status: 0 stopped, 1 the server failed, 2 wrong use."""
    options = _parser().parse_args(arguments)
    ports = Ports(http=options.http_port, grpc=options.grpc_port, metrics=options.metrics_port)
    state = options.state / str(ports.http)
    if len({ports.http, ports.grpc, ports.metrics}) < 3:
        got = f"{ports.http}, {ports.grpc} and {ports.metrics}"
        print(f"serving: --http-port, --grpc-port, --metrics-port: got {got}, expected three "
              "different ones", file=sys.stderr)  # fmt: skip
        return 2
    try:
        check_ports(ports)  # before a running server's repository and log are written anew
    except ServingError as error:
        print(f"serving: {error}", file=sys.stderr)
        return 1
    try:
        if options.threads < 0:
            raise ServingError(f"--threads: got {options.threads}, expected 0 or more")
        if options.precision != "auto":
            _check_precision(options)
        print("preparing the server's environment in .triton/ ...", file=sys.stderr, flush=True)
        environment = prepare()
        flavour = Flavour(
            "python",
            "cpu",
            runtime=options.runtime,
            threads=options.threads,
            precision=options.precision,
        )
        write_repository(options.bundle, flavour, state / "repository")
    except (ServingError, ExportError, MarkcutError) as error:
        print(f"serving: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    log = state / "triton.log"
    log.write_bytes(b"")
    server = TritonServer(environment, state / "repository", ports, log=log)

    def welcome(seconds: float) -> None:
        print(
            f"ready after {seconds:.1f} s\n"
            f"  grpc://{HOST}:{ports.grpc}   http://{HOST}:{ports.http}   "
            f"metrics http://{HOST}:{ports.metrics}/metrics\n"
            f"  try: markcut extract PICTURE --server grpc://{HOST}:{ports.grpc}\n"
            f"  log: {log}; Ctrl-C stops the server",
            flush=True,
        )

    try:
        supervise(server, started=welcome, starting_s=_STARTING_S, probe_s=options.probe_seconds,
                  port=ports.http)  # fmt: skip
    except ServingError as error:
        print(f"serving: {error}", file=sys.stderr)
        return 1
    print("stopped", flush=True)
    return 0


def _check_precision(options: argparse.Namespace) -> None:
    """Refuse what this machine cannot compute in here: inside the server only its log would say."""
    bundle = load_bundle(options.bundle, models=(CLIPSEG.name,))
    open_runner(
        bundle.spec(CLIPSEG.name),
        bundle.onnx[CLIPSEG.name],
        runtime=options.runtime,
        precision=options.precision,
    ).close()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(f"got {text!r:.40}, expected a port, 1 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST_PROBE_S:
        raise argparse.ArgumentTypeError(
            f"got {text!r:.40}, expected seconds, above 0 and at most {_LONGEST_PROBE_S}"
        )
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bundle", type=Path, default=ROOT / "artifacts" / "demo",
        help="a bundle's folder (default: artifacts/demo)",
    )  # fmt: skip
    parser.add_argument("--http-port", type=_port, default=8000, help="default: 8000")
    parser.add_argument("--grpc-port", type=_port, default=8001, help="default: 8001")
    parser.add_argument("--metrics-port", type=_port, default=8002, help="default: 8002")
    parser.add_argument(
        "--runtime", choices=("auto", *RUNTIMES), default="auto",
        help="what runs the networks (default: auto, as the embedded pipeline chooses)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=int, default=0,
        help="CPU threads of each network; default: the runtime's own choice",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("auto", *PRECISIONS[:3]), default="auto",
        help="of the networks' arithmetic (default: auto, as the bundle's graphs are typed)",
    )  # fmt: skip
    parser.add_argument(
        "--probe-seconds", type=_seconds, default=30,
        help="how often one real inference proves that the server answers (default: 30)",
    )  # fmt: skip
    parser.add_argument(
        "--state", type=Path, default=ROOT / "out" / "serving",
        help="folder for the rendered repository and the log (default: out/serving)",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
