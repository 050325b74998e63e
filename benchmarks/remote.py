"""The chain on the local Triton, as a client of its own process sees it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.contenders import Array, Engine, WireEngine
from benchmarks.errors import BenchmarkError

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"

Way = Literal["grpc", "http", "shared memory"]
WAYS: tuple[Way, ...] = ("grpc", "http", "shared memory")

_WAIT_S = 900.0  # the first start installs the server
_STOP_S = 60.0
_READY = re.compile(r"ready after ([\d.]+) s")


@dataclass(frozen=True)
class Remote:
    """A client of the Triton on this machine; ``way`` is how pictures get there."""

    way: Way
    grpc_port: int
    http_port: int
    backend: str
    processes: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"triton {self.way} ({self.backend})"

    @contextmanager
    def open(self) -> Iterator[Engine]:
        from markcut_client.transports import Request, ServerOptions, open_transport

        address = (
            f"http://{HOST}:{self.http_port}"
            if self.way == "http"
            else f"grpc://{HOST}:{self.grpc_port}"
        )
        memory: Literal["on", "off"] = "on" if self.way == "shared memory" else "off"
        transport = open_transport(address, ServerOptions(shared_memory=memory))

        def ask(model: str, inputs: Mapping[str, Array]) -> Mapping[str, Any]:
            return transport.infer(Request(model, inputs, {}, timeout=600))

        try:
            yield WireEngine(ask, (1, 1))
        finally:
            transport.close()


@dataclass(frozen=True)
class LocalServer:
    """A Triton that runs; ``ready_s`` as itself says, ``command_s`` since the command began."""

    http_port: int
    grpc_port: int
    metrics_port: int
    backend: str
    ready_s: float
    command_s: float
    pid: int

    def clients(self) -> list[Remote]:
        """One contender for every way to reach it."""
        family = tuple(_family(self.pid))
        return [Remote(way, self.grpc_port, self.http_port, self.backend, family) for way in WAYS]


@contextmanager
def local_server(bundle: Path, *, runtime: str, threads: int | None) -> Iterator[LocalServer]:
    """``python -m serving`` on ports of its own; BenchmarkError where it cannot be had."""
    http, grpc, metrics = _free_ports()
    with tempfile.TemporaryDirectory(prefix="markcut-bench-") as state:
        said = Path(state) / "said.txt"
        with said.open("wb") as out:
            began = time.perf_counter()
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "serving", "--bundle", str(bundle.resolve()),
                    "--state", state, "--runtime", runtime, "--threads", str(threads or 0),
                    "--http-port", str(http), "--grpc-port", str(grpc),
                    "--metrics-port", str(metrics), "--probe-seconds", "3600",
                ],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        try:
            ready_s = _wait(process, said)
            yield LocalServer(
                http, grpc, metrics, f"{runtime} fp32", ready_s,
                round(time.perf_counter() - began, 2), process.pid,
            )  # fmt: skip
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], said: Path) -> float:
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        text = said.read_text(errors="replace")
        ready = _READY.search(text)
        if ready:
            return float(ready.group(1))
        if process.poll() is not None:
            lines = text.strip().splitlines() or ["it said nothing"]
            raise BenchmarkError(f"the local Triton ended: {lines[-1][:400]}")
        time.sleep(0.05)
    raise BenchmarkError(f"the local Triton was not ready after {_WAIT_S:.0f} s")


def _family(pid: int) -> Iterator[int]:
    """The process and everything that it started."""
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for thread in threads:
        try:
            children = (thread / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))


def _free_ports() -> tuple[int, int, int]:
    held = [socket.socket() for _ in range(3)]
    try:
        for one in held:
            one.bind((HOST, 0))
        http, grpc, metrics = (int(one.getsockname()[1]) for one in held)
        return http, grpc, metrics
    finally:
        for one in held:
            one.close()
