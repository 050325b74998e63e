"""Bundles of tiny checkpoints beside upstream's user-level calls, whole and with faults put in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from export import clipseg, sam2  # noqa: E402
from export.errors import ExportError  # noqa: E402
from export.fidelity import (  # noqa: E402
    NamedPicture,
    ask_clipseg,
    ask_sam2,
    heat_agreement,
    mark_agreement,
    mask_agreement,
    read_pictures,
)
from export.fidelity.limits import judge, off_against  # noqa: E402
from export.fidelity.pixels import clipseg_findings  # noqa: E402
from export.fidelity.prompts import decoder_prompts, prompts_for  # noqa: E402
from export.fidelity.records import (  # noqa: E402
    PICTURE,
    TENSOR,
    FidelityReport,
    Finding,
    overlap,
    summarise,
    values,
    view,
)
from export.fidelity.sam2 import OurSam2, sam2_findings  # noqa: E402
from export.fidelity.upstream import UpstreamClipseg, UpstreamSam2  # noqa: E402
from export.graph import Graph, PixelInput  # noqa: E402
from export.to_onnx import to_onnx  # noqa: E402
from markcut.contracts import CLIPSEG, SAM2_DECODER, SAM2_ENCODER  # noqa: E402
from markcut.looks import Detection  # noqa: E402
from markcut.runners import Runner, open_runner  # noqa: E402

Arrays = dict[str, NDArray[Any]]

LOGITS, PREDICTED, _ = (tensor.name for tensor in SAM2_DECODER.outputs)
HEAT = CLIPSEG.outputs[0].name
PADDED = "padded against alone"


class Faulty:
    """A runner whose answers somebody spoiled."""

    def __init__(self, runner: Runner, spoil: Callable[[Arrays], Arrays]) -> None:
        self.runner, self.spoil, self.spec, self.info = runner, spoil, runner.spec, runner.info

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        return self.spoil(self.runner.infer(feeds))

    def close(self) -> None:
        self.runner.close()


def runner_of(graph: Graph) -> tuple[bytes, Runner]:
    onnx = to_onnx(graph).data
    return onnx, open_runner(graph.spec, onnx, runtime="onnxruntime", threads=1)


@pytest.fixture(scope="module")
def photo(pictures: list[NDArray[np.uint8]]) -> NamedPicture:
    return NamedPicture("marked", pictures[0][::3, ::2])


@pytest.fixture(scope="module")
def sam(sam2_file: Path) -> Any:
    return sam2.load(str(sam2_file))


@pytest.fixture(scope="module")
def graphs(sam: Any) -> dict[str, tuple[bytes, Runner]]:
    return {graph.spec.name: runner_of(graph) for graph in sam.graphs(sam.model)}


@pytest.fixture(scope="module")
def encoder(graphs: dict[str, tuple[bytes, Runner]]) -> Runner:
    return graphs[SAM2_ENCODER.name][1]


@pytest.fixture(scope="module")
def decoder(graphs: dict[str, tuple[bytes, Runner]]) -> Runner:
    return graphs[SAM2_DECODER.name][1]


def in_another_order(said: Arrays) -> Arrays:
    return {**said, LOGITS: said[LOGITS][:, [1, 0, 2, 3]]}


def with_a_nan(said: Arrays) -> Arrays:
    predicted = said[PREDICTED].copy()
    predicted[0, 2] = np.nan
    return {**said, PREDICTED: predicted}


@pytest.fixture(scope="module")
def beside(
    sam: Any, encoder: Runner, decoder: Runner, photo: NamedPicture
) -> dict[str, list[Finding]]:
    """What is found beside upstream, of the graphs as they are and of two faulty ones."""
    ours = {
        "right": OurSam2(encoder, decoder),
        "swapped": OurSam2(encoder, Faulty(decoder, in_another_order)),
        "nan": OurSam2(encoder, Faulty(decoder, with_a_nan)),
    }
    both = [photo, NamedPicture("other", np.ascontiguousarray(photo.picture[:60, :80]))]
    found: dict[str, list[Finding]] = {name: [] for name in ours}
    for name, one in sam2_findings(ours, UpstreamSam2(sam.model), both, thorough=True):
        found[name].append(one)
    return found


def off(findings: list[Finding]) -> list[str]:
    return [one.sentence for one in judge(summarise(findings), arithmetic={})]


def exact(findings: list[Finding]) -> list[Finding]:
    return [one for one in findings if one.level == "tensor" and one.kind != PADDED]


def test_sam2_of_another_image_size_is_what_its_predictor_says(
    beside: dict[str, list[Finding]],
) -> None:
    findings = exact(beside["right"])
    assert off(findings) == []
    seen = {found.kind for found in findings}
    assert {"one point", "several points", "box", "box and points", "box and mask"} <= seen
    assert {"objects by points", "objects by boxes"} <= seen


def test_pictures_in_one_batch_are_what_set_image_batch_says(
    beside: dict[str, list[Finding]],
) -> None:
    batch = [found for found in beside["right"] if found.kind == "batch of pictures"]
    assert {found.picture for found in batch} == {"marked 300x134", "other 80x60"}
    assert off(batch) == []


def test_the_gate_of_an_export_compares_one_tensor_and_every_picture(
    sam: Any, encoder: Runner, decoder: Runner, photo: NamedPicture
) -> None:
    both = [photo, NamedPicture("other", np.ascontiguousarray(photo.picture[:60, :80]))]
    ours = {"right": OurSam2(encoder, decoder)}
    found = [f for _, f in sam2_findings(ours, UpstreamSam2(sam.model), both, thorough=False)]
    assert {f.picture for f in found if f.level == TENSOR} == {both[0].label}
    assert {f.picture for f in found if f.level == PICTURE} == {one.label for one in both}


def test_masks_in_another_order_are_found_and_named(beside: dict[str, list[Finding]]) -> None:
    names = {sentence.split(" ")[0] for sentence in off(exact(beside["swapped"]))}
    assert "sam2_decoder.low_res_masks" in names
    assert names <= {f"sam2_decoder.{name}" for name in ("low_res_masks", "masks", "answer")}


def test_a_nan_is_worse_than_any_difference(beside: dict[str, list[Finding]]) -> None:
    first, *_ = off(beside["nan"])
    assert first.startswith("sam2_decoder.iou_predictions (")
    assert first.endswith("values are no numbers")


def test_clipseg_says_what_its_processor_and_model_say_of_texts(
    clipseg_folder: Path, photo: NamedPicture
) -> None:
    loaded, conds = clipseg.load(str(clipseg_folder), prompts=("a mark", "ink"))
    reference = UpstreamClipseg(str(clipseg_folder))
    settings: dict[str, Any] = {"heat_threshold": 0.5}
    _, runner = runner_of(loaded.graphs(loaded.model)[0])
    found = list(clipseg_findings(runner, reference, conds, ("a mark", "ink"), [photo], **settings))
    assert off([one for one in found if one.level == "tensor"]) == []
    # a graph of the same weights with another normalisation
    wrong = clipseg.graph(loaded.model, PixelInput((0.5,) * 3, (0.5,) * 3), conds)
    _, runner = runner_of(wrong)
    found = list(clipseg_findings(runner, reference, conds, ("a mark", "ink"), [photo], **settings))
    sentences = off(found)
    assert any(sentence.startswith("clipseg.heatmap (marked") for sentence in sentences)


@pytest.mark.parametrize("name", [SAM2_DECODER.name, SAM2_ENCODER.name])
def test_another_implementation_agrees_on_the_same_graph(
    name: str, graphs: dict[str, tuple[bytes, Runner]], encoder: Runner, photo: NamedPicture
) -> None:
    """onnx's own evaluator, written in numpy by others, as a second opinion on ONNX Runtime."""
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    data, runner = graphs[name]
    ours = OurSam2(encoder, graphs[SAM2_DECODER.name][1])
    square = np.ascontiguousarray(np.resize(photo.picture, (ours.side, ours.side, 3)))
    feeds: Arrays = {SAM2_ENCODER.inputs[0].name: square[None]}
    if name == SAM2_DECODER.name:
        size = (ours.side, ours.side)
        prompts = decoder_prompts(prompts_for(*size)[2:5], ours.side, height=size[0], width=size[1])
        names = [tensor.name for tensor in SAM2_DECODER.inputs]
        feeds = dict(zip(names, [*ours.features(square).values(), *prompts], strict=True))
    said = reference.ReferenceEvaluator(onnx.load_from_string(data)).run(None, feeds)
    for (output, got), wanted in zip(runner.infer(feeds).items(), said, strict=True):
        assert values(name, "tensor", output, got, wanted, picture="").values is not None
        assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max(), output


def test_masks_of_two_bundles_agree_as_far_as_they_are_the_same(
    encoder: Runner, decoder: Runner, photo: NamedPicture
) -> None:
    wanted = ask_sam2(encoder, decoder, [photo])
    same = mask_agreement(wanted, ask_sam2(encoder, decoder, [photo]))
    assert (same.mean_iou, same.min_iou, same.same_choice) == (1.0, 1.0, 1.0)
    assert same.cases == len(prompts_for(*photo.picture.shape[:2]))
    empty = Faulty(decoder, lambda said: {**said, LOGITS: np.full_like(said[LOGITS], np.nan)})
    worse = mask_agreement(wanted, ask_sam2(encoder, empty, [photo]))
    assert worse.mean_iou < 0.5
    assert worse.worst.startswith("marked 300x134, ")


def test_heat_that_is_no_number_is_beyond_every_limit(
    clipseg_folder: Path, photo: NamedPicture
) -> None:
    loaded, conds = clipseg.load(str(clipseg_folder), prompts=("a mark",))
    _, runner = runner_of(loaded.graphs(loaded.model)[0])
    wanted = ask_clipseg(runner, conds, [photo])
    assert heat_agreement(wanted, wanted).max_abs == 0
    spoiled = {name: heat.copy() for name, heat in wanted.items()}
    spoiled[photo.label][0, 5, 5] = np.nan
    assert not heat_agreement(wanted, spoiled).max_abs <= 1.0


def a_mark(x: float, *, score: float = 0.9, kind: int = 1) -> Detection:
    prob = np.zeros((6, 6), np.float32)
    prob[1:5, 1:5] = 1
    box = np.array([x + 4, 4, x + 20, 20], np.float32)
    return Detection(kind, score, box, prob, (x, 0.0, x + 24, 24.0), (0, 0, 100, 100))


def test_marks_are_paired_by_their_boxes() -> None:
    wanted = {"p": [a_mark(0), a_mark(40), a_mark(70)]}
    got = {"p": [a_mark(44, score=0.7, kind=2), a_mark(0)]}
    found = mark_agreement(wanted, got)
    assert (found.matched, found.missed, found.added) == (2, 1, 0)
    assert found.min_ink_iou == pytest.approx(12 / 20)  # one cell further right
    assert found.max_score == pytest.approx(0.2)
    assert found.same_kind == 0.5
    nothing = mark_agreement({"p": []}, {"p": []})
    assert (nothing.matched, nothing.mean_ink_iou, nothing.same_kind) == (0, 1.0, 1.0)


def test_the_worst_comes_first_and_is_named() -> None:
    ours, theirs = np.ones(3, np.float32), np.full(3, 1.001, np.float32)
    findings = [
        values("clipseg", "tensor", HEAT, ours, theirs, picture="a"),
        overlap("sam2_decoder", "tensor", "masks", 0.5, picture="b", kind="box"),
        overlap("sam2_decoder", "tensor", "masks", 1.0, picture="c", kind="box"),
    ]
    names = [one.name for one in judge(summarise(findings), arithmetic={})]
    assert names[0].startswith("sam2_decoder.masks (box, b)")
    assert names[-1] == "clipseg.heatmap (a)"
    half = judge(summarise(findings[:1]), arithmetic={"clipseg": "fp16"})
    assert half == []
    report = FidelityReport("any", findings, judge(summarise(findings), arithmetic={}))
    assert report.as_json()["off"][0].startswith("sam2_decoder.masks (box, b): ")


def test_what_depends_on_how_much_a_network_minds_decides_nothing() -> None:
    findings = [
        overlap("sam2_decoder", "picture", "yardstick", 0.1, picture="a"),
        overlap("sam2_decoder", "picture", "masks", 0.1, picture="a"),
        overlap("yolo11_seg", "picture", "marks found", 0.1, picture="a", kind="rect"),
    ]
    assert judge(summarise(findings), arithmetic={}) == []


def test_a_picture_whose_channels_were_swapped_is_found_whatever_the_network(
    photo: NamedPicture,
) -> None:
    swapped = view("clipseg", photo.picture[..., ::-1], photo.picture, picture=photo.label)
    (found,) = judge(summarise([swapped]), arithmetic={"clipseg": "int8"})
    assert found.name == "clipseg.view (marked 300x134)"


def test_a_bundle_too_far_from_its_reference_is_told_why() -> None:
    agreed: dict[str, dict[str, Any]] = {
        "masks": {"mean_iou": 0.99, "min_iou": 0.5, "worst": "cat, box"},
        "heat": {"max_abs": float("nan"), "worst": "cat"},
        "marks": {"matched": 3, "missed": 1, "added": 0},
    }
    masks, heat, marks = off_against(agreed, arithmetic={"sam2_encoder": "fp16"})
    assert masks.startswith("masks: mean IoU 0.9900, expected at least 0.995; worst: cat, box")
    assert heat.startswith("heat: off by nan")
    assert marks.startswith("marks: 1 of 4 missed")
    assert len(off_against(agreed, arithmetic={"sam2_encoder": "bf16"})) == 2


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"holds no \.jpg"):
        read_pictures(tmp_path)
    with pytest.raises(ExportError, match="is not a folder"):
        read_pictures(tmp_path / "none")
