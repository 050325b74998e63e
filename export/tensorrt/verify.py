"""Does an engine answer as ONNX Runtime does? On real pictures, before anybody may load it.

The reference is the bundle's own graph with all 16-bit types widened, so that an engine of less
precision is held against fp32. Beside the largest differences of every output it is asked what a
user would see: the masks' overlap, and whether the same marks are found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.tensorrt.agreement import Agreement, Arrays, agreement, matched, overlap, worst
from export.tensorrt.graph import lifted
from markcut.bundle import Bundle
from markcut.chain import preprocess, unmarked_view
from markcut.clock import Clock
from markcut.contracts import CLIPSEG, SAM2_DECODER, SAM2_ENCODER, YOLO11_SEG, ModelSpec
from markcut.runners import Runner, open_runner
from markcut.runners.base import Array

LIMITS: Mapping[str, Mapping[str, float]] = {
    "fp32": {"mask_iou": 0.999, "cosine": 0.99999, "max_rel": 2e-3},
    "fp16": {"mask_iou": 0.995, "cosine": 0.999, "max_rel": 0.1},
    "bf16": {"mask_iou": 0.99, "cosine": 0.99, "max_rel": 0.3},
    "int8": {"mask_iou": 0.98, "cosine": 0.97, "max_rel": 1.0},
}
"""What an engine must reach: the masks' mean overlap and every output's cosine at least, and every
output's largest difference at most, as a share of the reference's largest magnitude."""

_HEAT = 0.5  # where a heat map or an ink mask counts as inside; logits count from 0


@dataclass(frozen=True)
class Proof:
    """What an engine's verification found, by output; ``faults`` is empty when it may be used."""

    runtime: str
    feeds: int
    limits: Mapping[str, float]
    outputs: Mapping[str, Agreement]
    faults: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        outputs = {name: _rounded(found) for name, found in self.outputs.items()}
        return {
            "reference": self.runtime, "feeds": self.feeds, "limits": dict(self.limits),
            "outputs": outputs,
        }  # fmt: skip


class References:
    """The bundle's graphs in ONNX Runtime, opened one at a time when they are needed."""

    def __init__(self, bundle: Bundle, pictures: Sequence[bytes]) -> None:
        self._bundle = bundle
        self._pictures = pictures
        self._features: list[dict[str, Array]] = []

    def open(self, model: str) -> Runner:
        spec = self._bundle.spec(model)
        return open_runner(spec, lifted(self._bundle.onnx[model]), runtime="onnxruntime")

    def feeds(self, model: str, *, batch: int) -> list[dict[str, Array]]:
        """Real feeds of ``model``; where it takes several pictures, one of ``batch`` at the end."""
        if model == SAM2_DECODER.name:
            return [f for features in self._of_pictures() for f in self._prompted(features)]
        single = [feeds[model] for feeds in self._views()]
        if batch > 1:
            names = list(single[0])
            rows = [single[k % len(single)] for k in range(batch)]
            single.append({name: np.concatenate([row[name] for row in rows]) for name in names})
        return single

    def masks(self, features: Iterable[Arrays]) -> list[NDArray[np.bool_]]:
        """What is inside, for the decoder, of two points on each picture with these features."""
        runner = self.open(SAM2_DECODER.name)
        logits = SAM2_DECODER.outputs[0].name
        try:
            prompts = [self._at(f, [[[0.5, 0.5]], [[0.3, 0.6]]], [[1], [1]]) for f in features]
            return [runner.infer(feeds)[logits] > 0 for feeds in prompts]
        finally:
            runner.close()

    def _views(self) -> Iterator[dict[str, dict[str, Array]]]:
        """What the networks that look at a picture are fed, for every picture."""
        side = self._bundle.manifest.sizes["S"]
        cond = self._bundle.cond()[None]
        for picture in self._pictures:
            views = preprocess(np.frombuffer(picture, np.uint8), Clock())
            fed = {
                CLIPSEG: (views.clipseg, cond),
                YOLO11_SEG: (views.yolo11_seg,),
                SAM2_ENCODER: (unmarked_view(views.halves, [], side, Clock()),),
            }
            yield {spec.name: _named(spec, arrays) for spec, arrays in fed.items()}

    def _of_pictures(self) -> list[dict[str, Array]]:
        if not self._features:
            runner = self.open(SAM2_ENCODER.name)
            try:
                fed = [view[SAM2_ENCODER.name] for view in self._views()]
                self._features = [runner.infer(feeds) for feeds in fed]
            finally:
                runner.close()
        return self._features

    def _prompted(self, features: Arrays) -> Iterator[dict[str, Array]]:
        """One point; several objects with points, a box and padding; an earlier mask."""
        yield self._at(features, [[[0.5, 0.5]]], [[1]])
        coords = [
            [[0.5, 0.5], [0.2, 0.2], [0, 0]],
            [[0.25, 0.25], [0.75, 0.75], [0.5, 0.5]],
            [[0.3, 0.7], [0, 0], [0, 0]],
        ]
        several = self._at(features, coords, [[1, 0, -1], [2, 3, 1], [1, -1, -1]])
        yield several
        earlier = dict(several)
        mask, given = (t.name for t in SAM2_DECODER.inputs[-2:])
        y, x = np.mgrid[-1 : 1 : 1j * several[mask].shape[2], -1 : 1 : 1j * several[mask].shape[3]]
        earlier[mask] = several[mask] + (8 - 20 * np.hypot(x, y)).astype(np.float32)
        earlier[given] = np.ones_like(several[given])
        yield earlier

    def _at(self, features: Arrays, coords: Any, labels: Any) -> dict[str, Array]:
        spec = self._bundle.spec(SAM2_DECODER.name)
        side = self._bundle.manifest.sizes["S"]
        points = np.array(coords, np.float32) * side
        rows = len(points)
        prompts = (
            points,
            np.array(labels, np.int32),
            np.zeros((rows, 1, side // 4, side // 4), np.float32),
            np.zeros(rows, np.float32),
        )
        return _named(spec, (*(features[t.name] for t in SAM2_ENCODER.outputs), *prompts))


def verify(engine: Runner, references: References, *, precision: str, batch: int) -> Proof:
    """Run ``engine`` beside its reference on every feed; ``precision`` chooses the limits."""
    spec = engine.spec
    fed = references.feeds(spec.name, batch=batch)
    reference = references.open(spec.name)
    try:
        wanted: list[Arrays] = [reference.infer(feeds) for feeds in fed]
        runtime = f"{reference.info.runtime} {reference.info.version}"
    finally:
        reference.close()
    got: list[Arrays] = [engine.infer(feeds) for feeds in fed]
    # twice more: the second time a graph is recorded, the third time it runs
    for _ in range(2):
        got[-1] = engine.infer(fed[-1])
    outputs: dict[str, Agreement] = {}
    faults: list[str] = []
    if spec.name == YOLO11_SEG.name:
        pairs = [matched(g, w) for g, w in zip(got, wanted, strict=True)]
        faults += [
            f"{lost} of its detections are not the reference's" for *_, lost in pairs if lost
        ]
        got, wanted = [g for g, _, _ in pairs], [w for _, w, _ in pairs]
    for tensor in spec.outputs:
        name = tensor.name
        masks = _inside(spec, name)
        outputs[name] = worst(
            [agreement(g[name], w[name], masks) for g, w in zip(got, wanted, strict=True)]
        )
    if spec.name == SAM2_ENCODER.name:
        ours, theirs = (references.masks(map(_first, answers)) for answers in (got, wanted))
        iou = float(np.mean([overlap(g, w) for g, w in zip(ours, theirs, strict=True)]))
        last = spec.outputs[-1].name
        outputs[last] = replace(outputs[last], mask_iou=iou)
    limits = LIMITS[precision]
    faults += [fault for name, found in outputs.items() if (fault := _fault(name, found, limits))]
    return Proof(runtime, len(fed), limits, outputs, tuple(faults))


def _inside(spec: ModelSpec, name: str) -> float | None:
    """From which value on an output's pixels are inside; None for what holds no masks."""
    thresholds = {
        CLIPSEG.outputs[0].name: _HEAT,
        YOLO11_SEG.outputs[3].name: _HEAT,
        SAM2_DECODER.outputs[0].name: 0.0,
    }
    return thresholds.get(name) if spec.name != SAM2_ENCODER.name else None


def _fault(name: str, found: Agreement, limits: Mapping[str, float]) -> str:
    if not np.isfinite(found.max_abs):
        return f"{name} is not finite"
    if found.mask_iou is not None and not found.mask_iou >= limits["mask_iou"]:
        return f"{name}: mean mask IoU {found.mask_iou:.4f}, expected {limits['mask_iou']}"
    if not found.cosine >= limits["cosine"]:
        return f"{name}: cosine {found.cosine:.6f}, expected {limits['cosine']}"
    if not found.max_rel <= limits["max_rel"]:
        return f"{name}: off by {found.max_rel:.1e} of its largest value"
    return ""


def _first(features: Arrays) -> dict[str, Array]:
    return {name: array[:1] for name, array in features.items()}


def _named(spec: ModelSpec, arrays: Sequence[Array]) -> dict[str, Array]:
    names = [tensor.name for tensor in spec.inputs]
    return dict(zip(names, arrays, strict=True))


def _rounded(found: Agreement) -> dict[str, float]:
    values = {key: value for key, value in asdict(found).items() if value is not None}
    return {key: float(f"{value:.6g}") for key, value in values.items()}
