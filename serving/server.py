"""One tritonserver process: started, proved ready, watched, stopped without a trace.

Told to end, tritonserver 24.10 refuses the next step of what it has accepted. So the ensembles are
unloaded first: that turns new requests away and waits for those under way. The interface for it
is closed to everybody who does not hold this process's secret.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markcut.contracts import ENSEMBLES
from serving.environment import Environment
from serving.errors import ServingError
from serving.probe import ProbeError, probe

HOST = "127.0.0.1"
_STUB = "triton_python_backend_stub"
DRAIN_S = 30.0
"""How long accepted work may take when the server stops."""

_EXIT_S = 3
_INDEX = "/v2/repository/index"
_SECRET = "markcut-secret"
_FIRST_ANSWER_S = 30.0
_SHARED = Path("/dev/shm")
_DEATH_SIGNAL = 1  # of prctl


@dataclass(frozen=True)
class Ports:
    """Where the server listens, on loopback."""

    http: int
    grpc: int
    metrics: int


class TritonServer:
    """A server of the models in ``repository``, which writes to ``log``.

    Its processes end with ours, whatever ends us. Segments of shared memory carry a name of our
    own, so that those of a killed process can be told from other people's.
    """

    def __init__(
        self, environment: Environment, repository: Path, ports: Ports, *, log: Path
    ) -> None:
        self._environment = environment
        self._repository = repository
        self._ports = ports
        self._log = log
        self._prefix = f"{_prefix(ports.http)}{os.getpid()}_"
        self._secret = secrets.token_urlsafe(24)
        self._process: subprocess.Popen[bytes] | None = None
        self._stubs: set[int] = set()

    def start(self, *, timeout: float, stop: threading.Event) -> float | None:
        """Start and wait until a real inference succeeds; the seconds that took.

        None when ``stop`` is set before. Raises :class:`ServingError`: a port in use, a server
        that ends or never gets ready.
        """
        check_ports(self._ports)
        _forget_the_dead(self._ports.http)
        began = time.monotonic()
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env=self._environment.variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us alone: we stop it in good order
                preexec_fn=_end_with_parent,
            )
        fault = "it did not start listening"
        while time.monotonic() - began < timeout:
            if self._process.poll() is not None:
                self.stop()
                raise ServingError(f"tritonserver ended while starting: {self._complaint()}")
            try:
                if _listening(self._ports.http):
                    probe(HOST, self._ports.http, timeout=_FIRST_ANSWER_S)
                    self._stubs = set(self._alive())
                    return time.monotonic() - began
            except ProbeError as error:
                fault = str(error)
            if stop.wait(0.1):
                return None
        self.stop()
        raise ServingError(f"tritonserver was not ready after {timeout:.0f} s ({fault})")

    def fault(self) -> str | None:
        """What is wrong with the server's processes; None while all of them are there."""
        if self._process is None or self._process.poll() is not None:
            return "tritonserver ended by itself"
        lost = self._stubs - set(self._alive())
        return f"{len(lost)} of the steps' processes died" if lost else None

    def stop(self, *, drain: float = DRAIN_S) -> None:
        """End the server; what it accepted gets ``drain`` seconds to be answered."""
        process, self._process, self._stubs = self._process, None, set()
        if process is None:
            return
        if process.poll() is None:
            self._drain(drain)
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_EXIT_S + 1)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _wait_for_group(process.pid)
        for segment in _SHARED.glob(f"{self._prefix}*"):
            segment.unlink(missing_ok=True)

    def _drain(self, seconds: float) -> None:
        """Take no more requests, and wait for those that were taken."""
        end = time.monotonic() + seconds
        try:
            for name in ENSEMBLES:
                self._ask(f"/v2/repository/models/{name}/unload", end)
            while time.monotonic() < end:
                states = {model["name"]: model.get("state") for model in self._ask(_INDEX, end)}
                if all(states.get(name) in (None, "UNAVAILABLE") for name in ENSEMBLES):
                    return
                time.sleep(0.1)
        except (OSError, http.client.HTTPException, ValueError):
            return  # it does not answer any more: there is nothing to wait for

    def _ask(self, path: str, end: float) -> Any:
        timeout = max(end - time.monotonic(), 0.1)
        connection = http.client.HTTPConnection(HOST, self._ports.http, timeout=timeout)
        try:
            connection.request("POST", path, body=b"{}", headers={_SECRET: self._secret})
            return json.loads(connection.getresponse().read() or b"null")
        finally:
            connection.close()

    def _command(self) -> list[str]:
        return [
            str(self._environment.server),
            f"--model-repository={self._repository}",
            "--model-control-mode=explicit",  # to unload; closed to others, see below
            "--load-model=*",
            f"--http-restricted-api=model-repository:{_SECRET}={self._secret}",
            f"--grpc-restricted-protocol=model-repository:{_SECRET}={self._secret}",
            "--disable-auto-complete-config",  # every configuration is complete
            "--model-load-thread-count=8",
            f"--backend-directory={self._environment.backends}",
            f"--backend-config=python,shm-region-prefix-name={self._prefix}",
            f"--exit-timeout-secs={_EXIT_S}",
            f"--http-address={HOST}",
            f"--grpc-address={HOST}",
            f"--metrics-address={HOST}",
            f"--http-port={self._ports.http}",
            f"--grpc-port={self._ports.grpc}",
            f"--metrics-port={self._ports.metrics}",
            "--reuse-grpc-port=false",
            "--log-info=false",
        ]

    def _alive(self) -> Iterator[int]:
        """The steps' processes that run, zombies not counted."""
        if self._process is None:
            return
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # pid (name) state parent ...; the kernel cuts names at 15 characters
                text = path.read_text()
                name, _, rest = text.partition(" (")[2].rpartition(") ")
                state, parent = rest.split()[:2]
                ours = int(parent) == self._process.pid and _STUB.startswith(name)
                if ours and state not in "ZX":
                    yield int(path.parent.name)

    def _complaint(self) -> str:
        """The last thing that the log calls an error."""
        lines = self._log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("E") or "error" in line.lower()]
        return f"{(errors or lines or ['it said nothing'])[-1][:400]} (all of it: {self._log})"


def check_ports(ports: Ports) -> None:
    """Raise :class:`ServingError` for a port that cannot be listened on."""
    for option, port in (
        ("--http-port", ports.http),
        ("--grpc-port", ports.grpc),
        ("--metrics-port", ports.metrics),
    ):
        _check_free(option, port)


def _end_with_parent() -> None:
    # SIGTERM would have a busy 24.10 hang in its own cleaning up
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


def _prefix(http_port: int) -> str:
    return f"markcut_{http_port}_"


def _forget_the_dead(http_port: int) -> None:
    """Take away shared memory of servers at this port whose supervisor was killed."""
    prefix = _prefix(http_port)
    for segment in _SHARED.glob(f"{prefix}*"):
        number = segment.name.removeprefix(prefix).partition("_")[0]
        if number.isdecimal() and not Path("/proc", number).exists():
            segment.unlink(missing_ok=True)


def _check_free(option: str, port: int) -> None:
    with socket.socket() as probing:
        probing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probing.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ServingError(
                f"port {port} cannot be had ({reason}); free it or choose another: {option}"
            ) from None


def _listening(port: int) -> bool:
    with socket.socket() as trying:
        return trying.connect_ex((HOST, port)) == 0


def _wait_for_group(group: int) -> None:
    """Until no process of the group is left: a killed one needs a moment."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.05)
