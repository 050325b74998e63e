"""Graphs in other precisions: how they are typed, what is kept in fp32, and who finds it out."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.errors import ExportError
from export.fidelity import fidelity_pictures
from export.precision import command as precision
from export.precision import convert as precision_convert
from export.precision.calibration import ranges
from export.precision.candidates import Conversion
from export.precision.convert import convert_bundle
from export.precision.int8 import quantisable, quantised
from export.precision.judge import Verdict
from export.precision.search import search
from export.precision.typed import plain, simulated, typed
from markcut.bundle import load_bundle
from markcut.contracts import ModelSpec, Tensor
from markcut.machine import describe_machine
from markcut.runners import open_runner

SPEC = ModelSpec("tiny", (Tensor("x", "FP32", ("B", 64)),), (Tensor("y", "FP32", ("B", 64)),))
DEMO = Path(__file__).parents[3] / "artifacts" / "demo"
RNG = np.random.default_rng(0)
SUMS_INT8 = {"avx_vnni", "avx512_vnni", "amx_int8", "asimd"}
"""Processor features with which sums of int8 products are exact; older x86 adds pairs in 16 bit."""


def model_of(nodes: list[Any], weights: dict[str, Any]) -> Any:
    """x (B, 64) -> y (B, 64)."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 64]) for name in ("x", "y")
    ]
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items()]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def two_layers(first: float = 1.0) -> Any:
    """Two products with something of everything between: a cast weight, a norm, a move."""
    shape = (64, 64)
    return model_of(
        [
            helper.make_node("Cast", ["w1.half"], ["w1"], "stored", to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["x", "w1"], ["a"], "first"),
            helper.make_node("Reshape", ["a", "shape"], ["b"], "move"),
            helper.make_node("Reshape", ["b", "back"], ["c"], "moved back"),
            helper.make_node("LayerNormalization", ["c", "scale", "shift"], ["d"], "norm"),
            helper.make_node("Sigmoid", ["d"], ["e"], "gate"),
            helper.make_node("MatMul", ["e", "w2"], ["y"], "second"),
        ],
        {
            "w1.half": (first * RNG.normal(size=shape) / 8).astype(np.float16),
            "w2": (RNG.normal(size=shape) / 8).astype(np.float32),
            "shape": np.array([-1, 8, 8]), "back": np.array([-1, 64]),
            "scale": np.ones(64, np.float32), "shift": np.zeros(64, np.float32),
        },
    )  # fmt: skip


def norm_by_hand() -> Any:
    """SAM2's LayerNorm2d between two products: squares of large values leave fp16's range."""
    return model_of(
        [
            helper.make_node("MatMul", ["x", "w1"], ["a"], "first"),
            helper.make_node("ReduceMean", ["a"], ["mean"], "mean", axes=[1]),
            helper.make_node("Sub", ["a", "mean"], ["off"], "off"),
            helper.make_node("Pow", ["off", "two"], ["square"], "square"),
            helper.make_node("ReduceMean", ["square"], ["variance"], "variance", axes=[1]),
            helper.make_node("Sqrt", ["variance"], ["deviation"], "deviation"),
            helper.make_node("Div", ["off", "deviation"], ["normed"], "normed"),
            helper.make_node("MatMul", ["normed", "w2"], ["y"], "second"),
        ],
        {
            "w1": (100 * RNG.normal(size=(64, 64))).astype(np.float32),
            "w2": (RNG.normal(size=(64, 64)) / 8).astype(np.float32),
            "two": np.float32(2),
        },
    )


def answer(model: Any, *, runtime: str = "onnxruntime", x: Any = None) -> Any:
    data = model if isinstance(model, bytes) else model.SerializeToString()
    runner = open_runner(SPEC, data, runtime=runtime, threads=1)
    try:
        return runner.infer({"x": sample() if x is None else x})["y"]
    finally:
        runner.close()


def sample() -> Any:
    return np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)


def relative(got: Any, wanted: Any) -> float:
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize(("kind", "far"), [("fp16", 2e-3), ("bf16", 2e-2)])
def test_a_typed_graph_is_16_bit_inside_and_fp32_outside(kind: str, far: float) -> None:
    original = two_layers()
    graph = typed(plain(original, kind), kind)
    onnx.checker.check_model(graph.model, full_check=True)
    assert graph.low == ("first", "norm", "gate", "second")
    assert not graph.forced
    casts = [node for node in graph.model.graph.node if node.op_type == "Cast"]
    assert [(c.input[0], c.attribute[0].i == TensorProto.FLOAT) for c in casts] == [
        ("x", False), (f"y.{kind}", True),
    ]  # fmt: skip
    types = {i.data_type for i in graph.model.graph.initializer if i.name.endswith(kind)}
    assert types == {TensorProto.FLOAT16 if kind == "fp16" else TensorProto.BFLOAT16}
    assert 0 < relative(answer(simulated(graph.model)), answer(original)) < far


def test_the_simulation_is_what_the_standard_says() -> None:
    """ONNX's own reference evaluator computes the typed graph in numpy's real 16 bit."""
    original = two_layers()
    graph = typed(plain(original), "fp16")
    reference = ReferenceEvaluator(graph.model).run(None, {"x": sample()})[0]
    got, exact = answer(simulated(graph.model)), answer(original)
    assert relative(got, reference) < 2e-3
    assert relative(got, exact) > 1e-5  # it does round


def test_what_is_kept_stays_in_fp32_with_casts_around_it() -> None:
    graph = typed(plain(two_layers()), "fp16", keep={"norm", "gate"})
    onnx.checker.check_model(graph.model, full_check=True)
    assert graph.low == ("first", "second")
    inputs = {node.name: list(node.input) for node in graph.model.graph.node}
    assert inputs["norm"] == ["c.fp32.cast", "scale", "shift"]
    assert inputs["second"] == ["e.fp16.cast", "w2.fp16"]


def test_weights_that_do_not_fit_and_missing_operations_are_kept_by_force() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "product"),
        helper.make_node("TopK", ["a", "all"], ["y", "order"], "sorted"),
    ]
    weights = {"w": np.full((64, 64), 1e6, np.float32), "all": np.array([64])}
    model = model_of(nodes, weights)
    assert typed(plain(model), "fp16").forced == {"product": "its weights do not fit fp16"}
    wide = plain(model, "bf16")
    assert wide.opset_import[0].version == 22
    assert typed(wide, "bf16").forced == {"sorted": "there is no TopK in bf16"}


def test_overflow_that_runtimes_hide_is_found_and_kept_in_fp32() -> None:
    original = norm_by_hand()
    conversion = Conversion(original.SerializeToString(), "fp16")
    wanted = answer(original)
    whole = conversion.build(())
    assert not answer(whole.judged).any()  # divided by infinity
    assert relative(answer(whole.data), wanted) < 1e-2  # here it computes in fp32 after all

    def damage(keep: Collection[str]) -> float:
        with np.errstate(all="ignore"):
            return relative(answer(conversion.build(keep).judged), wanted) / 1e-2

    found = search(conversion.nodes, damage)
    assert found.whole > 1
    assert found.keep is not None
    assert "square" in found.keep or "variance" in found.keep
    assert not {"first", "second"} & set(found.keep)
    fixed = conversion.build(found.keep)
    for runtime in ("onnxruntime", "openvino"):
        assert relative(answer(fixed.data, runtime=runtime), wanted) < 1e-2
    assert relative(answer(fixed.judged), wanted) < 1e-2


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "reference"])
def test_int8_products_answer_nearly_alike(runtime: str) -> None:
    if runtime != "reference" and not SUMS_INT8.intersection(describe_machine().cpu_flags):
        pytest.skip("this processor's sums of int8 products saturate: no VNNI, no AMX")
    original = plain(two_layers())
    inputs = quantisable(original)
    assert inputs == {"first": "x", "second": "e"}
    peaks = ranges(original, list(inputs.values()), [{"x": sample()}], threads=1)
    assert peaks["x"] == np.abs(sample()).max()
    graph = quantised(original, peaks)
    onnx.checker.check_model(graph, full_check=True)
    if runtime == "reference":
        graph.opset_import[0].version = 19  # the reference knows no older quantisation
        (got,) = ReferenceEvaluator(graph).run(None, {"x": sample()})
    else:
        got = answer(graph, runtime=runtime)
    assert 0 < relative(got, answer(original)) < 0.05


def test_int8_is_symmetric_by_channel_and_the_same_every_time() -> None:
    original = plain(two_layers())
    peaks = {"x": 4.0, "e": 1.0}
    graph = quantised(original, peaks, keep={"second"})
    assert graph.SerializeToString(deterministic=True) == quantised(
        original, peaks, keep={"second"}
    ).SerializeToString(deterministic=True)
    stored = {i.name: numpy_helper.to_array(i) for i in graph.graph.initializer}
    assert stored["x.int8.scale"] == np.float32(4 / 127)
    assert stored["w1.int8.1"].dtype == np.int8
    assert stored["w1.int8.1.scale"].shape == (64,)
    assert all(not values.any() for name, values in stored.items() if name.endswith(".zero"))
    assert stored["w2"].dtype == np.float32


def test_runners_say_what_really_computes() -> None:
    model = plain(two_layers())
    int8 = quantised(model, {"x": 4.0, "e": 1.0}).SerializeToString()
    half = typed(model, "fp16").model.SerializeToString()
    for data, runtime, computed in (
        (model.SerializeToString(), "onnxruntime", {"fp32"}),
        (half, "onnxruntime", {"fp32", "fp16"}),  # fp16 where its provider has it
        (half, "openvino", {"fp32", "fp16"}),
        (int8, "onnxruntime", {"int8"}),
        (int8, "openvino", {"int8"}),
    ):
        runner = open_runner(SPEC, data, runtime=runtime, threads=1)
        assert runner.info.precision in computed, (runtime, computed)
        runner.close()


@pytest.mark.parametrize("culprits", [(), ("n3",), ("n7", "n30"), ("n0", "n1", "n2", "n39")])
def test_the_search_finds_who_is_to_blame(culprits: tuple[str, ...]) -> None:
    nodes = [f"n{i}" for i in range(40)]
    keeps: list[Collection[str]] = []

    def damage(keep: Collection[str]) -> float:
        keeps.append(keep)
        low = [node for node in nodes if node not in keep]
        return math.nan if set(culprits) & set(low) else 0.01 * len(low)

    found = search(nodes, damage)
    assert found.keep == culprits
    assert found.tries == len(keeps) <= 48
    assert found.whole == (math.inf if culprits else 0.4)


def test_a_graph_that_breaks_at_its_end_keeps_its_end() -> None:
    nodes = [f"n{i}" for i in range(40)]
    found = search(nodes, lambda keep: 50.0 if not set(nodes[31:]) <= set(keep) else 0.5)
    assert found.keep == tuple(nodes[30:])
    assert found.tries == 2


@pytest.mark.parametrize("most", [1, 20])
def test_the_search_gives_up_in_time(most: int) -> None:
    tries: list[str] = []
    found = search([f"n{i}" for i in range(100)], lambda keep: 9.0, most=most, step=tries.append)
    assert found.keep is None
    assert len(tries) == found.tries <= most + 1


def test_a_bundle_is_converted_judged_and_says_so(tmp_path: Path) -> None:
    bundle = load_bundle(DEMO)
    said: list[tuple[str, str]] = []
    pictures = fidelity_pictures(large=False)[:2]
    found = convert_bundle(
        bundle, {"sam2_decoder": "fp16"}, judging=pictures, calibrating=(), threads=1,
        say=lambda model, text: said.append((model, text)),
    )  # fmt: skip
    entry = found.manifest.models["sam2_decoder"]
    assert (entry.arithmetic, entry.precision, entry.kept_fp32) == ("fp16", "fp16", ())
    assert found.onnx["sam2_encoder"] == bundle.onnx["sam2_encoder"]
    ((model, text),) = said
    assert model == "sam2_decoder"
    assert text.startswith("fp16 in all")
    report = found.manifest.verification["sam2_decoder"]
    assert report["precision"]["said"] == text
    assert set(report["precision"]["masks"]) == {
        "rounded after every operation", "onnxruntime", "openvino",
    }  # fmt: skip
    precision.write(found, tmp_path / "out", name="half")
    again = load_bundle(tmp_path / "out")
    assert again.manifest.models["sam2_decoder"] == entry
    with pytest.raises(ExportError, match="sam2_decoder computes in fp16, expected fp32"):
        convert_bundle(again, {"sam2_decoder": "int8"}, judging=pictures, calibrating=())


def test_a_model_whose_masks_do_not_pass_stays_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_convert, "LIMITS", {"bf16": 0.999999})
    bundle = load_bundle(DEMO)
    said: list[str] = []
    found = convert_bundle(
        bundle, {"sam2_decoder": "bf16"}, judging=fidelity_pictures(large=False)[:1],
        calibrating=(), threads=1, tries=1, say=lambda model, text: said.append(text),
    )  # fmt: skip
    assert found.onnx == bundle.onnx
    assert found.manifest.models == bundle.manifest.models
    assert said[0].startswith("stays fp32: in bf16 the mask IoU")
    assert json.dumps(found.manifest.verification["sam2_decoder"]["precision"])


def test_what_passes_on_few_pictures_and_not_on_all_stays_fp32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: list[bool] = []

    def verdict(*_: object, first: int | None = None) -> Verdict:
        judged.append(first is not None)
        return Verdict(1.0 if first else 0.5, 0.4, 9, "somewhere")

    monkeypatch.setattr(precision_convert, "_judged", verdict)
    bundle = load_bundle(DEMO)
    found = convert_bundle(bundle, {"sam2_decoder": "fp16"}, judging=(), calibrating=(), threads=1)
    assert judged == [True, False, False, False] * 2  # searched, judged; stricter, and again
    assert found.onnx == bundle.onnx
    said = found.manifest.verification["sam2_decoder"]["precision"]["said"]
    assert said.startswith("stays fp32")
    assert "0.5000 on all pictures" in said


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, {"fp32"}),
        (["int8"], {"int8"}),
        (["fp16", "sam2_decoder=fp32"], {"fp16", "fp32"}),
    ],
)
def test_precisions_by_model(given: list[str] | None, wanted: set[str]) -> None:
    asked = precision.parse_precisions(given)
    assert set(asked.values()) == wanted
    assert asked["sam2_decoder"] == (given[-1].rpartition("=")[2] if given else "fp32")


@pytest.mark.parametrize("given", ["int4", "sam3=fp16", "sam2_encoder=", "=fp16=", "fp16=int8"])
def test_an_unknown_precision_or_model_is_refused(given: str) -> None:
    with pytest.raises(ExportError, match="--precision: got"):
        precision.parse_precisions([given])


def test_a_model_with_nothing_to_convert_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = model_of([helper.make_node("Identity", ["x"], ["y"], "same")], {})
    bundle = load_bundle(DEMO)
    bundle = dataclasses.replace(
        bundle, onnx={**bundle.onnx, "clipseg": bytes(empty.SerializeToString())}
    )
    monkeypatch.setattr(precision_convert, "Judge", lambda *_, **__: contextlib.nullcontext())
    with pytest.raises(ExportError, match="clipseg has nothing to compute in fp16"):
        convert_bundle(bundle, {"clipseg": "fp16"}, judging=(), calibrating=())


def test_a_folder_that_cannot_be_written_to_is_found_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from export.__main__ import main

    (tmp_path / "notes.txt").write_text("")
    words = ["precision", str(tmp_path / "none"), "--precision", "fp16", "--out"]
    for out, sentence in (
        (tmp_path, "holds 'notes.txt', which is no part of a bundle"),
        (tmp_path / "notes.txt", "got a file, expected a folder"),
        (tmp_path / "notes.txt" / "below", "cannot be written (Not a directory)"),
    ):
        assert main([*words, str(out)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("export precision: --out: ")
        assert sentence in said
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
