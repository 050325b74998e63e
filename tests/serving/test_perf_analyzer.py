"""NVIDIA's own program, which knows nothing of us, measures the local server."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import outside
from serving import perf_analyzer
from serving.environment import FOLDER
from serving.errors import ServingError
from tests.serving.conftest import ROOT, Serving


def test_perf_analyzer_drives_the_server(server: Serving) -> None:
    frame = (ROOT / "examples" / "outfit.jpg").read_bytes()
    # it gives up on a window in which nothing is answered: these are long for slow machines' sake
    found = outside.measure(server.ports.grpc, [frame], clients=(1,), seconds=6)
    assert found["refused"] == {}
    (point,) = found["points"]
    assert point["clients"] == 1
    assert point["per_second"] > 0
    assert 0 < point["p50_ms"] <= point["p99_ms"]


def test_what_it_needs_is_named_where_the_server_lacks_it(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="holds no libb64"):
        perf_analyzer._link_b64(tmp_path, tmp_path / "libb64.so.0d")


def test_it_lies_in_the_servers_environment(server: Serving) -> None:
    program = perf_analyzer.prepare_perf_analyzer()
    assert program.path.is_relative_to(FOLDER)
    assert program.path.stat().st_mode & 0o111
