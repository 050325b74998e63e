from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import (
    growth,
    growth_tables,
    latency_limits,
    latency_plots,
    latency_summary,
    latency_tables,
    outside,
)
from benchmarks.chain import Reply
from benchmarks.equality import mean_box_iou, mean_iou, paired_iou
from benchmarks.errors import BenchmarkError
from benchmarks.growth import Together, knee
from benchmarks.laboratory import _others
from benchmarks.networks import boxes, hot
from benchmarks.pipelines import offered
from benchmarks.remote import _family
from benchmarks.roofline import count_operations
from benchmarks.scenarios import read_summary
from benchmarks.seats import peak_memory
from benchmarks.single_networks import Networks, Opening, Running, some_feeds
from benchmarks.upstream_networks import _detection
from markcut import rle
from markcut.bundle import load_bundle, write_bundle
from markcut.contracts import MODELS, STAGES
from markcut.looks import Detection
from serving.errors import ServingError
from tests.markcut.conftest import make_bundle

ROOT = Path(__file__).parents[2]
SIZE = (30, 40)


def strip(x0: int, x1: int) -> bytes:
    patch = np.ones((10, x1 - x0), np.bool_)
    return rle.encode(patch, (x0, 0), height=SIZE[0], width=SIZE[1])


EMPTY = rle.encode(np.zeros((0, 0), np.bool_), (0, 0), height=SIZE[0], width=SIZE[1])


def test_masks_are_paired_whatever_their_order() -> None:
    first, second = strip(0, 10), strip(20, 40)
    assert mean_iou([first, second], [second, first], size=SIZE) == 1.0
    assert mean_iou([first], [first, second], size=SIZE) == 0.5
    assert mean_iou([], [], size=SIZE) == 1.0
    assert mean_iou([], [first], size=SIZE) == 0.0
    assert paired_iou([first, second], [second, first], size=SIZE) == 0.0
    assert paired_iou([first, EMPTY], [strip(0, 5), EMPTY], size=SIZE) == 0.75
    assert paired_iou([], [], size=SIZE) == 1.0


def test_boxes_are_compared_whatever_fills_them() -> None:
    frame = np.ones((10, 10), np.bool_)
    frame[1:-1, 1:-1] = False
    ring = rle.encode(frame, (0, 0), height=SIZE[0], width=SIZE[1])
    assert mean_box_iou([ring], [strip(0, 10)], size=SIZE) == 1.0
    assert mean_box_iou([ring, strip(20, 30)], [strip(20, 40)], size=SIZE) == 0.25
    assert mean_box_iou([], [], size=SIZE) == 1.0


def test_the_knee() -> None:
    assert knee([1, 2, 4, 8], [10, 18, 19, 19]) == 2
    assert knee([1, 2, 4], [10, 9, 20]) == 1
    assert knee([1, 2], [10, 20]) is None
    assert knee([1], [10]) is None


class Quick:
    """An engine that answers at once."""

    def __init__(self) -> None:
        self.asked = 0

    def answer(self, picture: bytes) -> Reply:
        self.asked += 1
        if picture == b"bad":
            raise ValueError("no picture")
        return Reply(1, {})

    def segment(self, picture: bytes, points: object) -> tuple[bytes, ...]:
        return ()


def test_clients_ask_at_once() -> None:
    engine = Quick()
    figures = Together((b"x", b"y"), clients=3, seconds=0.02)(engine)
    assert figures["requests"] == engine.asked >= 3
    assert figures["p50_ms"] <= figures["p99_ms"]
    with pytest.raises(ValueError, match="no picture"):
        Together((b"bad",), clients=2, seconds=0.02)(engine)


# in a process of its own, as contenders are: the generator may crash while a process ends
_SCENARIO = """
import json, os, sys
from benchmarks.scenarios import Scenario
from tests.benchmarks.test_laboratory import Quick
engine = Quick()
figures = Scenario(sys.argv[1], (b"x", b"y"), seconds=0.05, rate=200.0)(engine)
print(json.dumps([engine.asked, figures]), flush=True)
os._exit(0)
"""


def _in_a_process(code: str, *arguments: str) -> Any:
    """What ``code`` prints last, as JSON."""
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("src", "client", "."))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["SingleStream", "MultiStream", "Server", "Offline"])
def test_the_load_generator_runs_a_scenario(name: str) -> None:
    if importlib.util.find_spec("mlperf_loadgen") is None:
        pytest.skip("mlcommons-loadgen is not installed: make setup")
    asked, figures = _in_a_process(_SCENARIO, name)
    assert asked > 0
    if name == "Offline":
        assert figures["per_second"] > 0
    else:
        assert figures["p50_ms"] <= figures["p99_ms"]
        assert figures["mean_ms"] > 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells")
def test_a_server_is_counted_with_all_that_it_started() -> None:
    child = subprocess.Popen(["sleep", "30"])
    try:
        assert {os.getpid(), child.pid} <= set(_family(os.getpid()))
        assert peak_memory(child.pid) > 0
    finally:
        child.kill()
        child.wait()
    assert peak_memory(child.pid) == 0


def test_the_summary_of_the_load_generator() -> None:
    text = (
        "Result is : VALID\n90.00 percentile latency (ns)   : 2500000\n"
        "Mean latency (ns)               : 2000000\nSamples per second: 4.25\n"
    )
    assert read_summary(text) == {"p90_ms": 2.5, "mean_ms": 2.0, "per_second": 4.25}
    with pytest.raises(BenchmarkError, match="no figures"):
        read_summary("nothing\n")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("bundle") / "tiny"
    write_bundle(folder, *make_bundle())
    return folder


def test_single_networks(bundle: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert ("onnxruntime", None) in offered(bundle)
    networks = Networks(bundle, "onnxruntime", 1)
    assert networks.name == "onnxruntime fp32"
    with networks.open() as opened:
        for name in MODELS:
            assert Opening(name)(opened) >= 0
        figures = Running("yolo11_seg", batch=2, calls=2, seconds=60)(opened)
        assert figures["median"] <= figures["p90"]


def test_feeds_fit_every_network(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    for name in MODELS:
        feeds = some_feeds(loaded.spec(name), {"B": 2, "N": 3, "P": 2})
        for tensor in loaded.spec(name).inputs:
            assert feeds[tensor.name].dtype == tensor.numpy_dtype


def test_operations_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ov = pytest.importorskip("openvino")
    import openvino.opset13 as ops

    from benchmarks import roofline

    given = ops.parameter([1, 3, 8, 8], np.float32)
    kernel = ops.constant(np.zeros((4, 3, 3, 3), np.float32))
    seen = ops.convolution(given, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    wide = ops.convolution_backprop_data(
        seen, ops.constant(np.zeros((4, 2, 2, 2), np.float32)), strides=[2, 2]
    )
    product = ops.matmul(wide, ops.constant(np.zeros((16, 5), np.float32)), False, False)
    model = ov.Model([product], [given])
    counted = [roofline._operations(op) for op in model.get_ordered_ops()]
    assert [count for count in counted if count] == [
        2 * 4 * 8 * 8 * 27, 2 * 4 * 8 * 8 * 2 * 2 * 2, 2 * 2 * 16 * 5 * 16,
    ]  # fmt: skip


def test_operations_of_a_bundle(bundle: Path) -> None:
    pytest.importorskip("openvino")
    with Networks(bundle, "openvino", 1).open() as opened:
        assert set(count_operations(opened)) == set(MODELS)


# in a process of its own: a graph made by OpenVINO's own operations and torch's training later in
# the same process end in a segmentation fault
_RATES = """
import json, os
from benchmarks import roofline
def missing(kind, threads):
    raise ImportError
roofline._SIDE, roofline._in_torch = 64, missing  # torch takes seconds to import
print(json.dumps(roofline.rates(1)), flush=True)
os._exit(0)
"""


def test_the_matrix_rate() -> None:
    pytest.importorskip("openvino")
    found = _in_a_process(_RATES)
    assert set(found) == {"fp32", "bf16"}
    assert list(found["fp32"]) == ["openvino"]
    assert all(rate > 0 for by in found.values() for rate in by.values())


def test_what_is_compared_of_networks() -> None:
    heat = np.zeros((20, 20), np.float32)
    heat[:1] = 1
    said = hot(heat, {"clipseg": 1.0})
    assert said.size == (20, 20)
    assert mean_iou(said.masks, hot(heat * 0.5, {}).masks, size=said.size) == 1.0
    one = Detection(
        1, 0.9, np.array([2, 3, 7.4, 9], np.float32), np.ones((2, 2), np.float32), (0, 0, 9, 9),
        (0, 0, 40, 30),
    )  # fmt: skip
    picture = np.zeros((30, 40, 3), np.uint8)
    assert len(boxes([one], picture, {}).masks) == 1


_REPORT = (
    "Concurrency,Inferences/Second,Client Send,p50 latency,p90 latency,p95 latency,p99 latency\n"
    "2,7.5,10,250000,260000,270000,280500\n"
)


def test_the_outside_opinion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    def cannot() -> None:
        raise ServingError("no such wheel here")

    monkeypatch.setattr(outside, "prepare_perf_analyzer", cannot)
    got = outside.measure(1, [b"x"], clients=(2,), seconds=1)
    assert got == {"points": [], "refused": {"perf_analyzer": "no such wheel here"}}
    program = tmp_path / "perf_analyzer"
    # the last argument is the report's file
    program.write_text(f"#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done\necho '{_REPORT}' > $1\n")
    program.chmod(0o755)
    got = outside.measure(1, [b"x", b"yy"], clients=(2,), seconds=1)
    assert got["points"] == [{"clients": 2, "per_second": 7.5, "p50_ms": 250.0, "p99_ms": 280.5}]
    program.write_text("#!/bin/sh\necho no server >&2\nexit 3\n")
    got = outside.measure(1, [b"x"], clients=(2,), seconds=1)
    assert got["refused"] == {"perf_analyzer, 2 at once": "no server"}


def parts() -> dict[str, Any]:
    """What a run of all parts writes, made up."""
    stages = {stage: {"median": 10.0, "p90": 12.0} for stage in (*STAGES, "call")}

    def found(call: float, marks: int) -> dict[str, Any]:
        times = {**stages, "call": {"median": call, "p90": call}}
        return {"marks": marks, "box_iou": 1.0, "mask_iou": 1.0, "equal": True, "samples": 2,
                "ms": times, "calls_ms": [call, call + 1], "peak_memory_mb": 512.0}  # fmt: skip

    contenders = {
        "upstream eager fp32": 400.0, "openvino fp32": 50.0, "openvino bf16": 40.0,
        "triton grpc (openvino fp32)": 55.0,
    }  # fmt: skip
    pictures = [
        {"picture": "1 MP, 1 mark", "contenders": {n: found(v, 1) for n, v in contenders.items()}},
        {"picture": "1 MP, 16 marks",
         "contenders": {n: found(v + 15, 16) for n, v in contenders.items()}},
    ]  # fmt: skip
    pictures[1]["contenders"]["openvino bf16"] = {  # type: ignore[index]
        "marks": 3, "box_iou": 0.2, "mask_iou": 0.3, "equal": False,
    }  # fmt: skip
    point = {"clients": 1, "per_second": 5.0, "p50_ms": 200.0, "p99_ms": 240.0, "requests": 9}
    encoder = {"sam2_encoder": {"median": 10.0, "p90": 11.0}}
    return {
        "chain": {"reference": "upstream eager fp32", "least_iou": 0.9, "refused": {"x": "why"},
                  "pictures": pictures},
        "networks": {"sam2": {"contenders": {
            "samexporter onnxruntime": {"iou": 1.0, "ms": {"sam2_encoder": {"median": 60.0,
                                                                             "p90": 61.0}}},
            "openvino bf16": {"iou": 1.0, "ms": encoder},
            "openvino fp32": {"iou": 0.1}}, "refused": {}, "picture": "p"}},
        "scenarios": {"seconds": 2.0, "picture": "p", "refused": {}, "contenders": {
            "openvino bf16": {"SingleStream": {"p90_ms": 41.0}, "Server": {"p99_ms": 50.0,
                                                                           "rate": 12.0}}}},
        "start": {"engines": {"openvino bf16": {"opened_s": 1.0, "first_ms": 50.0,
                                                "answered_s": 1.05, "peak_memory_mb": 300.0}},
                  "networks_ms": {"openvino bf16": dict.fromkeys(MODELS, 100.0)}, "refused": {}},
        "roofline": {"rates": {"bf16": {"openvino": 2.0}}, "refused": {}, "networks": {
            "openvino bf16": {"sam2_encoder": {"ms": 10.0, "gflop": 10.0, "tflops": 1.0,
                                               "fraction": 0.5}}}},
        "growth": {
            "concurrency": {"contenders": {"openvino bf16": {"points": [point], "knee": 1}},
                            "refused": {}},
            "batches": {"contenders": {"openvino bf16": {"clipseg": {
                "points": [{"batch": 1, "ms_per_picture": 3.0}], "knee": None}}}, "refused": {}},
            "outside": {"points": [point], "refused": {}},
        },
    }  # fmt: skip


def test_every_part_becomes_tables_and_plots() -> None:
    result = {
        "size": "small", "minutes": 1.0, "threads": 2, "load_average": [0.1, 2.0],
        "missing": {"triton": "no port"}, "triton_ready": {"ready_s": 9.0, "command_s": 11.0},
        "bundle": {"name": "tiny", "manifest_sha256": "0" * 64}, "packages": {},
        "machine": {"cpu": "abacus", "cores": 2, "python": "3.10"}, "parts": parts(),
    }  # fmt: skip
    found = {table.title: table for table in latency_tables.tables(result)}
    goals = {row[0]: row[1] for row in found["Goals"].rows}
    reached = {row[0]: row[-1] for row in found["Goals"].rows}
    assert goals["1 MP, 1 mark: upstream eager fp32 / openvino bf16"] == "10.00 x"
    assert goals["1 MP, 1 mark: triton grpc (openvino fp32) over embedded, p50"] == "+5.0 ms, +10 %"
    assert goals["1 MP, 1 mark: not a network, openvino bf16, ms"] == "60.0"
    assert goals["SAM2 encoder: samexporter / openvino bf16"] == "6.00 x"
    assert goals["start to ready of the local Triton, s"] == "9.0"
    assert reached["1 MP, 1 mark: upstream eager fp32 / openvino bf16"] == "yes"
    assert reached["1 MP, 1 mark: not a network, openvino bf16, ms"] == "no"
    limits = found["Goals"].remark.splitlines()
    assert len(limits) == 2 + list(reached.values()).count("no")
    assert any(
        line.endswith("bf16, ms: decode 10.0, preprocess 10.0, marks 10.0 ms") for line in limits
    )
    marks = {row[0]: row[-1] for row in found["Marks on a picture"].rows}
    assert marks["openvino fp32, 1 MP"] == "20 %"
    assert "not timed: differs" in str(found["JPEG bytes to masks"].rows)
    assert "x: why" in found["JPEG bytes to masks"].remark
    assert "no port" in latency_tables.note(result)
    assert set(latency_plots.plots(result)) == {
        "latency_spread.png", "latency_stages.png", "latency_growth.png"
    }  # fmt: skip
    assert growth_tables.marks_points(parts()["chain"], "nobody", "1 MP") == []
    assert latency_summary.ours({"openvino bf16": 1, "upstream eager": 2}) == ["openvino bf16"]
    assert growth.PICTURE_NETWORKS == ("clipseg", "yolo11_seg", "sam2_encoder")


def test_other_bundles_have_names_of_their_own() -> None:
    """A folder may be called as a precision of the main bundle is, or as another one is."""
    ways = _others([Path("a/fp16"), Path("b/mine"), Path("c/mine")], ["openvino"])
    labels = [way.label for way in ways]
    assert labels == ["bundle fp16", "bundle b/mine", "bundle c/mine"]


def test_limits_are_said_with_the_figures_of_the_run() -> None:
    def spent(call: float, **ms: float) -> dict[str, Any]:
        every = {**dict.fromkeys(STAGES, 0.0), **ms, "call": call}
        return {stage: {"median": value} for stage, value in every.items()}

    own = spent(50, decode=5, marks=15, sam2_encoder=30, total=50)
    roofline = {
        "rates": {"bf16": {"openvino": 2.0, "torch": 1.0}},
        "networks": {"openvino bf16": {"sam2_encoder": {"gflop": 20.0, "ms": 25.0,
                                                        "fraction": 0.4},
                                       "clipseg": {"gflop": 4.0, "ms": 4.0, "fraction": 0.5}}},
    }  # fmt: skip
    said = latency_limits.of_ratio("openvino bf16", own, 20.0, roofline)
    assert said == (
        "that would be 20 ms; of our 50 the networks take 30 and all else 20; the networks' 24 "
        "GFLOP at the full matrix rate: 12"
    )
    assert "GFLOP" not in latency_limits.of_ratio("openvino bf16", own, 20.0, {})
    more = spent(160, decode=5, marks=45, sam2_encoder=100, total=160)
    assert latency_limits.of_marks(1, own, 4, more).startswith(
        "4 instead of 1: sam2_encoder +70.0, marks +30.0, "
    )
    far = spent(64, decode=6, marks=15, sam2_encoder=32, total=60)
    assert latency_limits.of_server(far, own) == (
        "+4.0 ms on the way to the server and back, +2.0 in the networks' own times, "
        "+1.0 in the other stages, +7.0 between stages"
    )
    assert latency_limits.of_encoder("openvino bf16", 25.0, 12.5, roofline) == (
        "that would be 12.5 ms, ours takes 25.0: 0.80 of the matrix rate instead of 0.40"
    )
    assert latency_limits.of_rate(roofline["networks"]["openvino bf16"]).endswith(
        "the other networks reach: clipseg 0.50"
    )


def test_what_ultralytics_saw_in_a_window_is_placed_in_the_picture() -> None:
    mask = np.zeros((352, 640), np.float32)  # 1280 x 640 at half size, padded to a stride of 32
    mask[16 + 50 : 16 + 100, 200:300] = 1
    box = np.array([400, 100, 600, 200], np.float32)  # pixels of the window
    found = _detection(mask, box, 0.9, 1, (1000, 2000, 2280, 2640))
    np.testing.assert_array_equal(found.box, [1400, 2100, 1600, 2200])
    left, top, right, bottom = found.region
    assert (right - left) / found.prob.shape[1] == (bottom - top) / found.prob.shape[0] == 2
    rows, columns = np.nonzero(found.prob)
    assert (left + 2 * columns.min(), left + 2 * (columns.max() + 1)) == (1400, 1600)
    assert (top + 2 * rows.min(), top + 2 * (rows.max() + 1)) == (2100, 2200)
