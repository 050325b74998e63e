"""One real server for all tests here, on ports of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from markcut.bundle import write_bundle
from markcut.pipeline import Pipeline
from serving.environment import prepare
from serving.errors import ServingError
from serving.server import Ports
from tests.markcut.conftest import make_bundle

pytest.importorskip("onnxruntime")
pytest.importorskip("tritonclient.grpc")

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "artifacts" / "demo"
WAIT_S = 180


def free_ports() -> Ports:
    held = [socket.socket() for _ in range(3)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    numbers = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return Ports(*numbers)


@dataclass
class Serving:
    """``python -m serving`` as a process of its own."""

    process: subprocess.Popen[str]
    ports: Ports
    said: Path

    @classmethod
    def start(cls, bundle: Path, state: Path) -> Serving:
        ports = free_ports()
        state.mkdir(parents=True, exist_ok=True)
        said = state / "said.txt"
        with open(said, "w") as out:
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "serving", "--bundle", str(bundle), "--state", str(state),
                    "--runtime", "onnxruntime", "--threads", "1",
                    "--http-port", str(ports.http), "--grpc-port", str(ports.grpc),
                    "--metrics-port", str(ports.metrics),
                ],
                cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        serving = cls(process, ports, said)
        serving.wait_for_ready(1)
        return serving

    def wait_for_ready(self, times: int) -> None:
        """Until it has said ``times`` times that it is ready."""
        end = time.monotonic() + WAIT_S
        while self.text().count("ready after") < times:
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            time.sleep(0.1)

    def text(self) -> str:
        return self.said.read_text()

    def processes(self) -> list[int]:
        """Triton's process and those of its Python models."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, *_ = stat.read_text().rpartition(") ")[2].split()[:3]
                command = (stat.parent / "cmdline").read_bytes()
            except OSError:
                continue
            if state not in "ZX" and f"markcut_{self.ports.http}_".encode() in command:
                found.append(int(stat.parent.name))
        return sorted(found)

    def segments(self) -> list[Path]:
        return list(Path("/dev/shm").glob(f"markcut_{self.ports.http}_*"))

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's bundle, or a tiny one of the same form where there is none."""
    if (DEMO / "manifest.json").exists():
        return DEMO
    folder: Path = tmp_path_factory.mktemp("bundle") / "tiny"
    write_bundle(folder, *make_bundle())
    return folder


@pytest.fixture(scope="session")
def environment() -> None:
    try:
        prepare()
    except ServingError as error:
        pytest.skip(f"no local Triton: {error}")


@pytest.fixture(scope="session")
def server(
    bundle: Path, environment: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    serving = Serving.start(bundle, tmp_path_factory.mktemp("serving"))
    yield serving
    serving.stop()


@pytest.fixture(scope="session")
def pipeline(bundle: Path) -> Iterator[Pipeline]:
    with Pipeline.open(bundle, runtime="onnxruntime", threads=1) as opened:
        yield opened
