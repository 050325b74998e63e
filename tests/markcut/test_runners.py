from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from markcut import runners
from markcut.contracts import MODELS, ModelSpec, Tensor
from markcut.errors import InvalidInput, RunnerError, RuntimeUnavailable
from markcut.runners import RUNTIMES, check_feeds, choose_runtime, infer_resident, open_runner
from tests.markcut.conftest import SIZES, onnx_model, stand_in

# y = float(x) + w over pictures; best = the index of the greatest
TINY = ModelSpec(
    "tiny",
    inputs=(Tensor("x", "UINT8", ("B", 3)), Tensor("w", "FP32", ("B", 3))),
    outputs=(Tensor("y", "FP32", ("B", 3)), Tensor("best", "INT32", ("B",))),
)
TINY_ONNX = onnx_model(
    [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["f", "w"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["a"], axis=1, keepdims=0),
        helper.make_node("Cast", ["a"], ["best"], to=TensorProto.INT32),
    ],
    TINY.inputs,
    TINY.outputs,
)


def feeds(batch: int = 2) -> dict[str, Any]:
    x = np.arange(batch * 3, dtype=np.uint8).reshape(batch, 3)
    return {"x": x, "w": np.full((batch, 3), 0.5, np.float32)}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_runner_runs_any_batch(runtime: str, batch: int) -> None:
    with closing(open_runner(TINY, TINY_ONNX, runtime=runtime, threads=1)) as runner:
        outputs = runner.infer(feeds(batch))
    assert list(outputs) == ["y", "best"]
    assert outputs["y"].dtype == np.float32
    assert outputs["best"].dtype == np.int32
    assert np.array_equal(outputs["y"], feeds(batch)["x"] + np.float32(0.5))
    assert outputs["best"].tolist() == [2] * batch
    assert all(values.flags.c_contiguous for values in outputs.values())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_outputs_outlive_the_next_call_and_the_runner(runtime: str) -> None:
    runner = open_runner(TINY, TINY_ONNX, runtime=runtime, threads=1)
    first = runner.infer(feeds())
    kept = first["y"].copy()
    changed = feeds()
    changed["w"] = changed["w"] * 100
    runner.infer(changed)
    runner.close()
    del runner
    assert np.array_equal(first["y"], kept)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_lean_runner_answers_the_same(runtime: str) -> None:
    with closing(open_runner(TINY, TINY_ONNX, runtime=runtime, threads=1, lean=True)) as runner:
        for batch in (1, 5, 2):
            assert np.array_equal(runner.infer(feeds(batch))["y"], feeds(batch)["x"] + 0.5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_feeds_are_left_alone(runtime: str) -> None:
    given = feeds()
    given["x"] = np.asfortranarray(given["x"])
    given["x"].flags.writeable = False
    with closing(open_runner(TINY, TINY_ONNX, runtime=runtime, threads=1)) as runner:
        outputs = runner.infer(given)
    assert np.array_equal(outputs["y"], feeds()["x"] + np.float32(0.5))
    assert np.array_equal(given["x"], feeds()["x"])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_several_threads_may_ask_at_once(runtime: str) -> None:
    runner = open_runner(TINY, TINY_ONNX, runtime=runtime, threads=1)
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(50):
            given = feeds()
            given["w"][:] = number
            if not np.array_equal(runner.infer(given)["y"], given["x"] + np.float32(number)):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runner.close()
    assert not wrong


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_one_model_leaves_on_the_device_feeds_another(runtime: str) -> None:
    with (
        closing(open_runner(TINY, TINY_ONNX, runtime="onnxruntime", threads=1)) as first,
        closing(open_runner(TINY, TINY_ONNX, runtime=runtime, threads=1)) as second,
    ):
        plain, resident = first.infer(feeds()), infer_resident(first, feeds())
        changed = infer_resident(first, {**feeds(), "w": feeds()["w"] * 100})
        assert (resident["y"].shape, resident["y"].dtype) == ((2, 3), np.float32)
        for name, values in plain.items():
            assert np.asarray(resident[name]).tobytes() == values.tobytes(), name
        given = {"x": feeds()["x"], "w": resident["y"]}
        wanted = second.infer({**given, "w": plain["y"]})
        for outputs in (second.infer(given), infer_resident(second, given)):
            for name, values in wanted.items():
                assert np.asarray(outputs[name]).tobytes() == values.tobytes(), name
        with pytest.raises(RunnerError, match=r"tiny\.w: got int32 \(2,\), expected float32"):
            second.infer({**given, "w": changed["best"]})
    with pytest.raises(RunnerError, match="tiny: the runner is closed"):
        infer_resident(first, feeds())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_fixed_symbols_bind_the_feeds(runtime: str) -> None:
    options: dict[str, Any] = {"runtime": runtime, "threads": 1, "fixed": {"B": 2}}
    with closing(open_runner(TINY, TINY_ONNX, **options)) as runner:
        assert runner.spec.inputs[0].dims == (2, 3)
        assert runner.infer(feeds(2))["y"].shape == (2, 3)
        with pytest.raises(RunnerError, match=r"tiny\.x: got uint8 \(1, 3\).*axis 0 must be 2"):
            runner.infer(feeds(1))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_info_is_what_runs(runtime: str) -> None:
    with closing(open_runner(TINY, TINY_ONNX, runtime=runtime, threads=1)) as runner:
        assert runner.info.runtime == runtime
        assert runner.info.version[0].isdigit()
        assert "CPU" in runner.info.device
        assert runner.info.precision == "fp32"
        assert runner.info.threads == 1


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("model", MODELS)
def test_the_contracts_open_in_every_runtime(runtime: str, model: str) -> None:
    spec = MODELS[model].resolve(SIZES)
    given = {
        t.name: np.zeros([d if isinstance(d, int) else 2 for d in t.dims], t.numpy_dtype)
        for t in spec.inputs
    }
    with closing(open_runner(spec, stand_in(spec), runtime=runtime, threads=1)) as runner:
        outputs = runner.infer(given)
    for tensor in spec.outputs:
        assert outputs[tensor.name].dtype == tensor.numpy_dtype
        assert outputs[tensor.name].shape[1:] == tensor.dims[1:]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_closed_runner_says_so(runtime: str) -> None:
    runner = open_runner(TINY, TINY_ONNX, runtime=runtime, threads=1)
    runner.close()
    runner.close()
    with pytest.raises(RunnerError, match="tiny: the runner is closed"):
        runner.infer(feeds())


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("data", [b"", b"no model", TINY_ONNX[:100]])
def test_bytes_that_are_no_model(runtime: str, data: bytes) -> None:
    with pytest.raises(RunnerError, match=r"^tiny: "):
        open_runner(TINY, data, runtime=runtime, threads=1)


SPEC_FAULTS = {
    "other name": (
        ModelSpec("tiny", (TINY.inputs[0], Tensor("v", "FP32", ("B", 3))), TINY.outputs),
        "the graph has the inputs x, w, expected x, v",
    ),
    "other dtype": (
        ModelSpec("tiny", (Tensor("x", "INT32", ("B", 3)), TINY.inputs[1]), TINY.outputs),
        r"tiny.x: the graph's input is uint8 \(.*, 3\), expected int32 \(B, 3\)",
    ),
    "other size": (
        ModelSpec("tiny", (Tensor("x", "UINT8", ("B", 4)), TINY.inputs[1]), TINY.outputs),
        r"expected uint8 \(B, 4\)",
    ),
    "more to be dynamic": (
        ModelSpec("tiny", (Tensor("x", "UINT8", ("B", "N")), TINY.inputs[1]), TINY.outputs),
        r"expected uint8 \(B, N\)",
    ),
    "other rank": (
        ModelSpec("tiny", TINY.inputs, (Tensor("y", "FP32", ("B",)), TINY.outputs[1])),
        r"tiny.y: the graph's output is float32",
    ),
    "an output too many": (
        ModelSpec("tiny", TINY.inputs, TINY.outputs[:1]),
        "the graph has the outputs y, best, expected y",
    ),
}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", SPEC_FAULTS)
def test_a_graph_that_does_not_fit_its_contract(runtime: str, name: str) -> None:
    spec, message = SPEC_FAULTS[name]
    with pytest.raises(RunnerError, match=message):
        open_runner(spec, TINY_ONNX, runtime=runtime, threads=1)


FEED_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"w": None}, r"tiny.w: missing, expected float32 \(B, 3\); feed all of x, w"),
    "unknown": ({"z": np.zeros(1)}, "tiny.z: unknown input, expected x, w"),
    "list": ({"x": [[1, 2, 3]]}, "tiny.x: got list, expected a numpy array uint8"),
    "dtype": (
        {"w": np.zeros((2, 3))},
        r"tiny.w: got float64 \(2, 3\), expected .*; convert it with .astype\('float32'\)",
    ),
    "rank": ({"x": np.zeros(3, np.uint8)}, r"tiny.x: got uint8 \(3,\).*give it 2 axes"),
    "size": ({"x": np.zeros((2, 4), np.uint8)}, r"tiny.x: got uint8 \(2, 4\).*axis 1 must be 3"),
    "empty": ({"x": np.zeros((0, 3), np.uint8)}, "axis 0 is empty: skip the model"),
    "symbol": ({"w": np.zeros((3, 3), np.float32)}, "tiny.w: .*axis 0 must be 2, the B of x"),
}


@pytest.mark.parametrize("name", FEED_FAULTS)
def test_feeds_that_do_not_fit(name: str) -> None:
    change, message = FEED_FAULTS[name]
    given = {k: v for k, v in {**feeds(), **change}.items() if v is not None}
    with pytest.raises(RunnerError, match=message):
        check_feeds(TINY, given)


def test_checked_feeds_are_contiguous_and_in_order() -> None:
    given = feeds()
    checked = check_feeds(TINY, {"w": given["w"], "x": np.asfortranarray(given["x"])})
    assert list(checked) == ["x", "w"]
    assert checked["x"].flags.c_contiguous


def test_bf16_is_used_only_when_asked() -> None:
    import openvino

    here = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    options = {"runtime": "openvino", "precision": "bf16"}
    if "BF16" in here:
        with closing(open_runner(TINY, TINY_ONNX, **options)) as runner:
            assert runner.info.precision == "bf16"
    else:
        with pytest.raises(RuntimeUnavailable, match="got 'bf16', but OpenVINO would use fp32"):
            open_runner(TINY, TINY_ONNX, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "onnxruntime", "precision": "bf16"}, "ONNX Runtime runs a graph as it is"),
        ({"runtime": "openvino", "precision": "int4"}, "precision: got 'int4', expected one of"),
        ({"runtime": "onnxruntime", "device": "tpu"}, "device: got 'tpu', expected one that"),
        ({"runtime": "openvino", "device": "tpu"}, "device: got 'tpu', expected one that"),
    ],
)
def test_what_cannot_be_had_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeUnavailable, match=message):
        open_runner(TINY, TINY_ONNX, **options)


def test_a_provider_that_falls_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda onnx, **options: session(onnx, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(RuntimeUnavailable, match="ONNX Runtime fell back to CPUExecutionProvider"):
        open_runner(TINY, TINY_ONNX, runtime="onnxruntime", device="cuda")


@pytest.mark.parametrize(
    ("options", "field"), [({"runtime": "tflite"}, "runtime"), ({"threads": 0}, "threads")]
)
def test_wrong_options_name_their_field(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_runner(TINY, TINY_ONNX, **options)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("machine", "installed", "device", "choice"),
    [
        ("x86_64", {"onnxruntime", "openvino"}, "cpu", "openvino"),
        ("x86_64", {"onnxruntime"}, "cpu", "onnxruntime"),
        ("aarch64", {"onnxruntime", "openvino"}, "cpu", "onnxruntime"),
        ("aarch64", {"openvino"}, "cpu", "openvino"),
        ("x86_64", {"onnxruntime", "openvino"}, "cuda", "onnxruntime"),
        ("x86_64", {"onnxruntime", "openvino"}, "gpu", "openvino"),
    ],
)
def test_auto_is_chosen_in_one_place(
    monkeypatch: pytest.MonkeyPatch, machine: str, installed: set[str], device: str, choice: str
) -> None:
    monkeypatch.setattr(runners.platform, "machine", lambda: machine)
    found = lambda name: object() if name in installed else None  # noqa: E731
    monkeypatch.setattr(runners.importlib.util, "find_spec", found)
    assert choose_runtime(device=device) == choice


def test_no_runtime_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailable, match="neither onnxruntime nor openvino is installed"):
        open_runner(TINY, TINY_ONNX)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, runtime: str) -> None:
    monkeypatch.setitem(sys.modules, runtime, None)
    with pytest.raises(RuntimeUnavailable, match=f"{runtime}.*cannot be imported.*pip install"):
        open_runner(TINY, TINY_ONNX, runtime=runtime)


def test_importing_the_package_loads_no_runtime() -> None:
    code = (
        "import sys, markcut; "
        "print([m for m in ('onnxruntime', 'openvino', 'torch', 'cv2') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert result.stdout.strip() == "[]"
