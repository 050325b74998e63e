"""The command as a process of its own: its streams, signals and imports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import markcut_client

ENGINE = """
import io
import numpy as np
from PIL import Image

class Pipeline:
    @classmethod
    def open(cls, folder, *, runtime, device, threads, precision):
        return cls()

    def infer(self, inputs, parameters):
        width, height = Image.open(io.BytesIO(inputs["image"].tobytes())).size
        none = np.empty(0, object)
        return {
            "mark_kinds": np.empty(0, np.int32), "mark_scores": np.empty(0, np.float32),
            "mark_boxes": np.empty((0, 4), np.float32), "mark_masks": none,
            "point_coords": np.empty((0, 1, 2), np.float32),
            "point_labels": np.empty((0, 1), np.int32), "object_masks": none,
            "object_scores": np.empty(0, np.float32), "object_reasons": none,
            "picture_size": np.array([height, width], np.int32),
            "stage_ms": np.zeros(12, np.float32),
        }

    def close(self):
        pass
"""


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts the command as a process that finds a small engine and this client."""
    engine = tmp_path / "engine/markcut"
    engine.mkdir(parents=True)
    (engine / "__init__.py").touch()
    (engine / "errors.py").write_text(
        "class MarkcutError(Exception): pass\nclass InvalidInput(MarkcutError): pass\n"
    )
    (engine / "pipeline.py").write_text(ENGINE)
    client = Path(markcut_client.__file__).parents[1]
    code = "import sys; from markcut_client.command import main; sys.exit(main())"

    def start(
        *arguments: str, engine: bool = True, shell: str = "", **variables: str
    ) -> subprocess.Popen[str]:
        paths = [str(client)] + [str(tmp_path / "engine")] * engine
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **variables}
        redirected = ("sh", "-c", f'"$@" {shell}', "sh") if shell else ()
        return subprocess.Popen(
            [*redirected, sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.mark.skipif(os.name != "posix" or not os.path.exists("/dev/full"), reason="no /dev/full")
def test_standard_output_that_is_full_or_closed(process: Any, photo: Any) -> None:
    photo("a.png")
    for redirection, status, message in (
        (">/dev/full", 1, "markcut: standard output: No space left on device\n"),
        (">&-", 0, ""),
    ):
        child = process("extract", "a.png", "--bundle", "x", "--json", shell=redirection)
        _, err = child.communicate(timeout=60)
        assert child.returncode == status, err
        assert message in err
        assert "internal error" not in err
        assert "Traceback" not in err


def test_as_a_process(process: Any, photo: Any) -> None:
    photo("ü.png")
    for variables in ({}, {"PYTHONIOENCODING": "ascii"}):
        child = process("extract", "ü.png", "--bundle", "x", **variables)
        out, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        assert "no mark" in out


def test_reader_that_goes_away(process: Any, photo: Any) -> None:
    photo("a.png")
    child = process("extract", *["a.png"], "--bundle", "x", "--json")
    child.stdout.close()
    with child.stderr:
        err = child.stderr.read()
    assert child.wait(timeout=60) == 141
    assert "Traceback" not in err
    assert "Error" not in err


def test_client_loads_without_the_engine() -> None:
    """A new interpreter imports the whole client and neither engine nor inference runtime."""
    code = (
        "import sys, markcut_client.command as _;"
        "print([m for m in ('markcut', 'cv2', 'onnxruntime', 'openvino', 'torch', 'rich', 'grpc',"
        " 'tritonclient', 'google.protobuf', 'urllib3', 'asyncio')"
        " if m in sys.modules])"
    )
    client = Path(markcut_client.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(client)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "[]"
