"""What the README shows of the server runs against one."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from tests.serving.conftest import DEMO, Serving
from tests.test_readme import SERVER, blocks, run

pytestmark = pytest.mark.skipif(
    not (DEMO / "manifest.json").exists(), reason="no artifacts/demo: train, then `make bundle`"
)


def on(server: Serving, text: str) -> str:
    for shown, port in ((8000, server.ports.http), (8001, server.ports.grpc)):
        text = text.replace(f"localhost:{shown}", f"localhost:{port}")
    return text


@pytest.mark.parametrize(
    "line", [x for block in blocks("sh") for x in block.splitlines() if SERVER in x]
)
def test_every_command_line_runs(server: Serving, line: str) -> None:
    done = run(shlex.split(on(server, line)))
    assert done.returncode == 0, done.stderr


def test_a_client_of_another_project_needs_no_package_of_ours(server: Serving) -> None:
    (snippet,) = (block for block in blocks("python") if SERVER in block)
    done: subprocess.CompletedProcess[str] = run([sys.executable, "-c", on(server, snippet)])
    assert done.returncode == 0, done.stderr
    assert "mark" in done.stdout or "circle" in done.stdout
