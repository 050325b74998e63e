"""One real inference per runtime, device and precision, in a process of its own.

``python -m markcut.probe RUNTIME`` writes a JSON line before each attempt and one after it. A
runtime that crashes or hangs takes this process with it and nobody else's; its last line says
where. :mod:`markcut.doctor` reads the lines.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut.contracts import ModelSpec, Tensor
from markcut.errors import MarkcutError, RunnerError
from markcut.runners import RUNTIMES, TENSORRT, Runner, open_runner
from markcut.runners.base import one_line
from markcut.runners.onnxruntime_runner import PROVIDERS
from markcut.runners.openvino_package import import_openvino

SPEC = ModelSpec(
    "probe",
    inputs=(Tensor("x", "UINT8", ("B", 8)),),
    outputs=(Tensor("y", "FP32", ("B", 4)),),
)

# sigmoid(float(x) @ WEIGHT) as ONNX, opset 17; tests/markcut/test_doctor.py builds it again
ONNX = zlib.decompress(
    base64.b85decode(
        b"c-lqJJqp4=5QgEIxac|{#zoLlQd*@oHX(L`AlO+YB1*tNFru;A19*sBLv1{YClNo>xbO_aTMVq$!H1<Id@;Q"
        b"8)F?S-{kk~WzRLwW(h^<?pABEV>Lke~r;Rj)uZDB4HcQvreY!L%OLuwy##(FTa>VDcWg`0|IzS9l2*HOQxIp"
        b"lJ5WS!P3n9>Nzf<|_03$#L3kAI34K&0Z=z$L*Od*EDaNhp?s3{HYn7UL9N8)I`K+Vg_|EeM-<hH)&4KR%"
    )
)
WEIGHT = (np.arange(32, dtype=np.float32).reshape(8, 4) - 16) / 4096

_TOLERANCE = {"fp32": 1e-4, "fp16": 4e-3, "bf16": 2e-2}


@dataclass(frozen=True)
class Check:
    """What came of one attempt to run the probe model.

    ``status`` is ``ran`` (a result came and was right), ``failed``, ``absent`` (not installed)
    or ``not tried`` (Markcut has no use for it). ``problem`` says why it did not run, ``ms`` how
    long loading and one inference took.
    """

    runtime: str
    status: str
    device: str = ""
    precision: str = ""
    version: str = ""
    ms: float = 0.0
    problem: str = ""


def checks(runtime: str) -> Iterator[Check]:
    """Every attempt for ``runtime``, announced with the status ``started`` and then repeated."""
    try:
        attempts, version = list(_attempts(runtime)), _version(runtime)
    except ModuleNotFoundError as error:
        absent = error.name == runtime
        problem = f"{runtime} is not installed" if absent else one_line(error)
        yield Check(runtime, "absent" if absent else "failed", problem=problem)
        return
    except Exception as error:
        yield Check(runtime, "failed", problem=f"import: {one_line(error)}")
        return
    for device, precision, reason in attempts:
        check = Check(runtime, "not tried", device, precision, version, problem=reason)
        if not reason:
            yield dataclasses.replace(check, status="started")
            check = _attempt(check)
        yield check


def _attempts(runtime: str) -> Iterator[tuple[str, str, str]]:
    """(device, precision, why it is not tried, else empty)."""
    if runtime == "onnxruntime":
        import onnxruntime

        names = {provider: device for device, provider in PROVIDERS.items()}
        # the CPU first: should another provider crash, this one is already proved
        available = sorted(onnxruntime.get_available_providers(), key=lambda p: "CPU" not in p)
        for provider in available:
            if provider in names:
                yield names[provider], "fp32", ""
            else:
                yield provider, "", "Markcut does not use this provider"
    elif runtime == "openvino":
        for device in import_openvino().Core().available_devices:
            for precision in ("fp32", "bf16" if device == "CPU" else "fp16"):
                yield device.lower(), precision, ""
    else:
        import tensorrt  # noqa: F401

        yield "cuda", "fp32", ""


def _version(runtime: str) -> str:
    module: Any = sys.modules[runtime]
    return str(getattr(module, "__version__", "unknown")).partition("-")[0]


def _attempt(check: Check) -> Check:
    """``check`` with the outcome of a real inference, whose result must be right."""
    start = time.perf_counter()
    try:
        if check.runtime == "onnxruntime" and check.device != "cpu":
            _require_no_fallback(PROVIDERS[check.device])
        runner = _open(check)
        try:
            x = np.arange(24, dtype=np.uint8).reshape(3, 8) * 10
            _compare(runner.infer({"x": x})["y"], x, _TOLERANCE[check.precision])
        finally:
            runner.close()
    except MarkcutError as error:
        return dataclasses.replace(check, status="failed", problem=str(error))
    except Exception as error:
        problem = f"{type(error).__name__}: {one_line(error)}"
        return dataclasses.replace(check, status="failed", problem=problem)
    ms = round((time.perf_counter() - start) * 1000, 1)
    return dataclasses.replace(check, status="ran", ms=ms)


def _open(check: Check) -> Runner:
    if check.runtime == TENSORRT:
        from markcut.runners.tensorrt_probe import open_probe

        return open_probe(SPEC, ONNX, rows=4)
    return open_runner(
        SPEC,
        ONNX,
        runtime=check.runtime,
        device=check.device,
        threads=1 if check.device == "cpu" else None,
        precision=check.precision,
    )


def _require_no_fallback(provider: str) -> None:
    """ONNX Runtime may list a provider and then run every node on the CPU: not here."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(ONNX, sess_options=options, providers=[provider])


def _compare(y: NDArray[np.float32], x: NDArray[np.uint8], tolerance: float) -> None:
    wanted = 1 / (1 + np.exp(-(x.astype(np.float32) @ WEIGHT)))
    off = float(np.abs(y - wanted).max())
    if not off <= tolerance:
        raise RunnerError(f"probe: the result is off by {off:.2g}, expected at most {tolerance:g}")


def main(arguments: list[str]) -> int:
    """Write the checks of the runtime that ``arguments`` names, one JSON object per line."""
    if len(arguments) != 1 or arguments[0] not in (*RUNTIMES, TENSORRT):
        print(f"usage: python -m markcut.probe {'|'.join((*RUNTIMES, TENSORRT))}")
        return 2
    for check in checks(arguments[0]):
        print(json.dumps(dataclasses.asdict(check)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
