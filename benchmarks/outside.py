"""An outside opinion: NVIDIA's perf_analyzer drives the local Triton."""

from __future__ import annotations

import base64
import csv
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from markcut.contracts import MARKED_OBJECT
from serving.errors import ServingError
from serving.perf_analyzer import Program, prepare_perf_analyzer

PROGRAM = "perf_analyzer"
_IMAGE = MARKED_OBJECT.inputs[0].name
_PATIENCE_S = 600.0
_WINDOWS = 3  # it wants several that agree


def measure(
    grpc_port: int,
    frames: Sequence[bytes],
    *,
    clients: Sequence[int],
    seconds: float,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The part ``growth`` of the report, its ``outside``: throughput and latency by its clock."""
    try:
        program = _program()
    except ServingError as error:
        return {"points": [], "refused": {PROGRAM: str(error)}}
    longest = max(map(len, frames))
    # all of one length: decoders stop at a JPEG's end
    padded = [base64.b64encode(frame.ljust(longest, b"\0")).decode() for frame in frames]
    points: list[dict[str, float]] = []
    refused: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="markcut-perf-") as folder:
        data, report = Path(folder) / "data.json", Path(folder) / "report.csv"
        data.write_text(json.dumps({"data": [{_IMAGE: {"b64": one}} for one in padded]}))
        for count in clients:
            report.unlink(missing_ok=True)
            command = [
                str(program.path), "-m", MARKED_OBJECT.name,
                "-i", "grpc", "-u", f"127.0.0.1:{grpc_port}",
                "--input-data", str(data), "--shape", f"{_IMAGE}:{longest}",
                "--concurrency-range", str(count), "--percentile", "99",
                "--measurement-interval", str(round(seconds * 1000)),
                "--stability-percentage", "999", "--max-trials", str(_WINDOWS),
                "-f", str(report),
            ]  # fmt: skip
            try:
                points.append({"clients": count, **_run(command, report, program.variables)})
            except BenchmarkError as error:
                refused[f"{PROGRAM}, {count} at once"] = str(error)
            advance()
    return {"points": points, "refused": refused}


def _program() -> Program:
    """The one on the PATH, else the one that is installed beside the local server."""
    found = shutil.which(PROGRAM)
    return Program(Path(found), dict(os.environ)) if found else prepare_perf_analyzer()


def _run(command: Sequence[str], report: Path, variables: Mapping[str, str]) -> dict[str, float]:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S,
            env=dict(variables),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchmarkError(str(error)) from None
    if done.returncode or not report.exists():
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise BenchmarkError(said[-1][:300] if said else f"ended with {done.returncode}")
    return read_report(report.read_text())


def read_report(text: str) -> dict[str, float]:
    """Throughput and latencies from its CSV, which counts in microseconds."""
    rows = list(csv.DictReader(text.splitlines()))
    if not rows:
        raise BenchmarkError("it reported nothing")
    row = rows[0]
    return {
        "per_second": round(float(row["Inferences/Second"]), 3),
        "p50_ms": round(float(row["p50 latency"]) / 1000, 1),
        "p99_ms": round(float(row["p99 latency"]) / 1000, 1),
    }
