from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

_PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from markcut.runners.openvino_package import import_openvino

with ThreadPoolExecutor(4) as pool:
    first, *others = [f.result() for f in [pool.submit(import_openvino) for _ in range(4)]]
assert all(other is first for other in others)
assert first.Core().available_devices
loaded = [name for name in sys.modules if "telemetry" in name or name.startswith("openvino.tools.")]
assert not loaded, loaded
import openvino
assert openvino is first
try:
    openvino.nonsense
except AttributeError as error:
    assert "nonsense" in str(error)
else:
    raise AssertionError("an attribute that is none")
assert callable(openvino.convert_model)  # others in this process may want it
from openvino.tools.ovc import convert_model
assert convert_model is openvino.convert_model
"""


def test_the_converter_stays_away_until_somebody_asks() -> None:
    # in a process of its own: this one may hold the package already
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
