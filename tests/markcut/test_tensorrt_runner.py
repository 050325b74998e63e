from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from markcut.contracts import ModelSpec, Tensor
from markcut.errors import BundleError, InvalidInput, RunnerError, RuntimeUnavailable
from markcut.runners import open_runner, tensorrt_cuda
from markcut.runners.tensorrt_package import import_tensorrt, logger_of, what_it_said
from markcut.runners.tensorrt_sidecar import Sidecar, read_engine
from tests.markcut.conftest import onnx_model
from tests.markcut.fake_cuda import FakeDriver
from tests.markcut.fake_tensorrt import AGES, FakeTensorRT, install

# y = float(x) + w over pictures; best = the index of the greatest
TINY = ModelSpec(
    "tiny",
    inputs=(Tensor("x", "UINT8", ("B", 3)), Tensor("w", "FP32", ("B", 3))),
    outputs=(Tensor("y", "FP32", ("B", 3)), Tensor("best", "INT32", ("B",))),
)
ONNX = onnx_model(
    [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["f", "w"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["a"], axis=1, keepdims=0),
        helper.make_node("Cast", ["a"], ["best"], to=TensorProto.INT32),
    ],
    TINY.inputs,
    TINY.outputs,
)
LARGEST = 4


def feeds(batch: int = 2, shift: float = 0.5) -> dict[str, Any]:
    x = np.arange(batch * 3, dtype=np.uint8).reshape(batch, 3)
    return {"x": x, "w": np.full((batch, 3), shift, np.float32)}


def built(fake: FakeTensorRT) -> bytes:
    """An engine with a profile for one row and one for up to LARGEST, as the real API makes it."""
    trt = fake.module
    builder = trt.Builder(trt.Logger() if hasattr(trt, "Logger") else None)
    kinds = trt.NetworkDefinitionCreationFlag
    explicit = fake.number < (10, 0)
    network = builder.create_network(1 << int(kinds.EXPLICIT_BATCH) if explicit else 0)
    assert trt.OnnxParser(network, None).parse(ONNX)
    config = builder.create_builder_config()
    for most in (LARGEST, 1):
        profile = builder.create_optimization_profile()
        for tensor in TINY.inputs:
            profile.set_shape(tensor.name, (1, 3), (most, 3), (most, 3))
        config.add_optimization_profile(profile)
    return bytes(builder.build_serialized_network(network, config))


def place(folder: Path, fake: FakeTensorRT, **changes: Any) -> Path:
    """The engine and its sidecar in ``folder``; ``changes`` are the sidecar's."""
    plan = built(fake)
    sidecar = Sidecar(
        model="tiny", tensorrt=fake.version, gpu=fake.driver.name, sm=fake.driver.sm,
        onnx_sha256=hashlib.sha256(ONNX).hexdigest(),
        engine_sha256=hashlib.sha256(plan).hexdigest(), engine_bytes=len(plan), precision="fp32",
        flags=(), profiles=(), precisions={"fp32": 4}, verification={},
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "tiny.plan").write_bytes(plan)
    sidecar = dataclasses.replace(sidecar, **changes)
    (folder / "tiny.plan.json").write_text(sidecar.to_json())
    return folder


@pytest.fixture(params=AGES)
def fake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorRT]:
    world = install(monkeypatch, request.param)
    yield world
    assert world.driver.held == 0, "something was not given back"


@pytest.fixture
def newest(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    return install(monkeypatch, "11.4")


def opened(folder: Path, **options: Any) -> Any:
    return open_runner(TINY, ONNX, runtime="tensorrt", engines=folder, **options)


def test_a_runner_runs_any_batch_in_every_age(fake: FakeTensorRT, tmp_path: Path) -> None:
    runner = opened(place(tmp_path, fake))
    assert runner.info.runtime == "tensorrt"
    assert runner.info.version == fake.version
    assert runner.info.device == "Orin"
    for batch in (1, 2, LARGEST, 11):  # the last one in parts
        given = feeds(batch)
        outputs = runner.infer(given)
        assert list(outputs) == ["y", "best"]
        assert np.array_equal(outputs["y"], given["x"] + np.float32(0.5))
        assert outputs["y"].dtype == np.float32
        assert outputs["best"].tolist() == [2] * batch
        assert outputs["best"].dtype == np.int32
    runner.close()
    runner.close()
    with pytest.raises(RunnerError, match="tiny: the runner is closed"):
        runner.infer(feeds())


def test_shapes_that_come_again_run_as_a_recorded_graph(
    newest: FakeTensorRT, tmp_path: Path
) -> None:
    runner = opened(place(tmp_path, newest))
    for shift in (1.0, 2.0, 3.0, 4.0):
        for batch in (1, 3):
            given = feeds(batch, shift)
            assert np.array_equal(runner.infer(given)["y"], given["x"] + np.float32(shift))
    assert newest.driver.launches == 4  # two of four times each
    runner.close()
    assert newest.driver.held == 0


def test_an_engine_that_cannot_be_recorded_runs_without(
    newest: FakeTensorRT, tmp_path: Path
) -> None:
    newest.driver.refuse_capture = True
    runner = opened(place(tmp_path, newest))
    for shift in (1.0, 2.0, 3.0):
        given = feeds(2, shift)
        assert np.array_equal(runner.infer(given)["y"], given["x"] + np.float32(shift))
    assert newest.driver.launches == 0
    runner.close()


def test_outputs_outlive_the_next_call_and_the_runner(newest: FakeTensorRT, tmp_path: Path) -> None:
    runner = opened(place(tmp_path, newest))
    first = runner.infer(feeds())
    kept = first["y"].copy()
    runner.infer(feeds(shift=100))
    runner.close()
    assert np.array_equal(first["y"], kept)


def test_several_threads_may_ask_at_once(newest: FakeTensorRT, tmp_path: Path) -> None:
    runner = opened(place(tmp_path, newest))
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(20):
            given = feeds(shift=float(number))
            if not np.array_equal(runner.infer(given)["y"], given["x"] + np.float32(number)):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runner.close()
    assert not wrong


def test_the_tightest_profile_that_holds_the_feeds_is_opened(
    newest: FakeTensorRT, tmp_path: Path
) -> None:
    runner = opened(place(tmp_path, newest), fixed={"B": 1})
    runner.infer(feeds(1))
    assert [len(held) for held in newest.driver.memory.values()].count(3) == 2  # x here and there
    runner.close()


def test_sizes_that_no_profile_holds(newest: FakeTensorRT, tmp_path: Path) -> None:
    rows = dataclasses.replace(TINY, outputs=(Tensor("y", "FP32", (1, 3)),))
    # rows that do not lead the outputs cannot be split
    runner = opened(place(tmp_path, newest))
    runner._spec = rows
    with pytest.raises(
        RunnerError, match=r"tiny\.x: got \(9, 3\), but the engine was built for \(1, 3\) to \(4, 3"
    ):
        runner.infer(feeds(9))
    runner.close()


def test_an_altered_engine_is_refused_before_it_is_deserialised(
    newest: FakeTensorRT, tmp_path: Path
) -> None:
    place(tmp_path, newest)
    plan = bytearray((tmp_path / "tiny.plan").read_bytes())
    for change in (slice(40, 41), slice(len(plan) - 1, len(plan))):
        altered = bytearray(plan)
        altered[change] = bytes([altered[change][0] ^ 1])
        (tmp_path / "tiny.plan").write_bytes(altered)
        with pytest.raises(BundleError, match="was altered or is not whole"):
            opened(tmp_path)
    (tmp_path / "tiny.plan").write_bytes(plan[:-1])
    with pytest.raises(BundleError, match="was altered or is not whole"):
        opened(tmp_path)
    assert newest.loaded == 0


MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "version": ({"tensorrt": "10.3.0"}, r"built by TensorRT 10\.3\.0, and here is 11\.4"),
    "sm": ({"sm": "8.9"}, r"built for Orin \(SM 8\.9\), and here is Orin \(SM 8\.7\)"),
    "gpu": ({"gpu": "NVIDIA L4"}, "built for NVIDIA L4"),
    "graph": ({"onnx_sha256": "0" * 64}, "built from another tiny than this bundle's"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_an_engine_of_another_machine_or_graph_says_what_to_do(
    newest: FakeTensorRT, tmp_path: Path, name: str
) -> None:
    changes, message = MISFITS[name]
    place(tmp_path / "engines", newest, **changes)
    with pytest.raises(RuntimeUnavailable, match=message) as caught:
        opened(tmp_path / "engines")
    assert str(caught.value).endswith(
        f"build it on this machine: python -m export engines {tmp_path}"
    )
    assert newest.loaded == 0


@pytest.mark.parametrize(
    ("flag", "changes", "fits"),
    [
        ("version-compatible", {"tensorrt": "11.0.0.114"}, True),
        ("version-compatible", {"tensorrt": "11.9.0.1"}, False),  # newer than here
        ("version-compatible", {"tensorrt": "10.16.0.72"}, False),
        ("hardware-compatible", {"gpu": "NVIDIA L4", "sm": "8.9"}, True),
        ("hardware-compatible", {"tensorrt": "11.0.0.114"}, False),
    ],
)
def test_compatible_engines_fit_what_they_were_made_for(
    newest: FakeTensorRT, tmp_path: Path, flag: str, changes: dict[str, str], fits: bool
) -> None:
    place(tmp_path, newest, flags=(flag,), **changes)
    _, sidecar = read_engine(tmp_path, "tiny", hashlib.sha256(ONNX).hexdigest())
    misfit = sidecar.misfit(tensorrt=newest.version, gpu="Orin", sm="8.7")
    assert bool(misfit) is not fits


def test_the_sidecar_must_be_one(newest: FakeTensorRT, tmp_path: Path) -> None:
    place(tmp_path, newest)
    path = tmp_path / "tiny.plan.json"
    sound = json.loads(path.read_text())
    assert "\n" not in path.read_text().splitlines()[1]
    for broken in (
        "", "[]", "{", "[" * 100_000, json.dumps({**sound, "format": 2}),
        json.dumps({**sound, "more": 1}), json.dumps({**sound, "engine_sha256": 5}),
        json.dumps({**sound, "model": "other"}), json.dumps({**sound, "profiles": [{"x": [[1]]}]}),
        json.dumps({**sound, "engine_bytes": None}),
    ):  # fmt: skip
        path.write_text(broken)
        with pytest.raises(BundleError, match="is no sidecar of a tiny engine; build it"):
            opened(tmp_path)
    path.unlink()
    with pytest.raises(RuntimeUnavailable, match="there is no finished TensorRT engine"):
        opened(tmp_path)
    assert newest.loaded == 0


def test_links_are_not_followed(newest: FakeTensorRT, tmp_path: Path) -> None:
    place(tmp_path / "there", newest)
    (tmp_path / "here").mkdir()
    for name in ("tiny.plan", "tiny.plan.json"):
        (tmp_path / "here" / name).symlink_to(tmp_path / "there" / name)
    with pytest.raises(BundleError, match="cannot be read"):
        opened(tmp_path / "here")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"device": "cpu"}, RuntimeUnavailable, "device: got 'cpu', but TensorRT runs on 'cuda'"),
        ({"precision": "fp16"}, RuntimeUnavailable, "the engine in .* was built in fp32.* fp16$"),
        ({"threads": 0}, InvalidInput, "threads: got 0"),
    ],
)
def test_what_cannot_be_had_is_refused(
    newest: FakeTensorRT, tmp_path: Path, options: dict[str, Any], kind: type, message: str
) -> None:
    place(tmp_path, newest)
    with pytest.raises(kind, match=message):
        opened(tmp_path, **options)


def test_engines_must_be_named() -> None:
    with pytest.raises(InvalidInput, match="engines: got nothing"):
        open_runner(TINY, ONNX, runtime="tensorrt")


def test_no_gpu_and_no_driver_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = install(monkeypatch, "10.3")
    place(tmp_path, fake)
    fake.driver.devices = 0
    with pytest.raises(RuntimeUnavailable, match="there is no NVIDIA GPU here"):
        opened(tmp_path)

    def nothing() -> FakeDriver:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(tensorrt_cuda, "_load", nothing)
    with pytest.raises(RuntimeUnavailable, match=r"no NVIDIA driver here \(libcuda\.so\.1\)"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (None, r"cannot be imported .*docs/jetson\.md"),
        ("8.4.3", r"got TensorRT 8\.4\.3, expected 8\.5 to 11"),
        ("12.0.1", r"got TensorRT 12\.0\.1, expected 8\.5 to 11"),
        ("", "has no version and is no full package"),
    ],
)
def test_a_package_that_is_missing_or_of_another_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str | None, message: str
) -> None:
    module = None
    if version is not None:
        module = ModuleType("tensorrt")
        module.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    with pytest.raises(RuntimeUnavailable, match=message):
        opened(tmp_path)


def test_one_logger_outlives_all_that_report_to_it(newest: FakeTensorRT) -> None:
    package = import_tensorrt()
    logger = logger_of(package)
    assert what_it_said(logger) == "it gave no reason"
    logger.log(newest.module.ILogger.Severity.ERROR, "out\n of   memory")
    assert what_it_said(logger) == "out of memory"
    assert logger_of(package) is logger
    assert what_it_said(logger) == "it gave no reason"  # of what comes now


def test_a_thread_does_not_stay_in_a_context_that_was_let_go_of(newest: FakeTensorRT) -> None:
    tensorrt_cuda.Cuda().close()
    assert not newest.driver.stale
    assert newest.module.Builder(None)


def test_an_engine_with_another_interface(newest: FakeTensorRT, tmp_path: Path) -> None:
    other = dataclasses.replace(TINY, outputs=TINY.outputs[:1])
    with pytest.raises(RunnerError, match="the graph has the outputs y, best, expected y"):
        open_runner(other, ONNX, runtime="tensorrt", engines=place(tmp_path, newest))
    assert newest.driver.held == 0
