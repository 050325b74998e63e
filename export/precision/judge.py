"""How much of the fp32 graphs' masks is left when one of them is exchanged for another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

import numpy as np

from export.around import Remembering
from export.fidelity import (
    NamedPicture,
    ask_clipseg,
    ask_sam2,
    ask_yolo,
    mark_agreement,
    mask_agreement,
    open_models,
)
from export.fidelity.agreement import mask_iou
from export.precision.calibration import feeds_of
from markcut.bundle import Bundle
from markcut.contracts import CLIPSEG, SAM2_DECODER, SAM2_ENCODER, YOLO11_SEG
from markcut.runners import Array, Runner, open_runner

Feeds = Mapping[str, Array]

_COMPARED_ON = 3  # pictures
_NEAR = 0.05  # a mark whose score is this near the threshold may come or go


@dataclass(frozen=True)
class Verdict:
    """IoU of a candidate's masks with those of the fp32 graphs.

    Of SAM2 objects' masks, of CLIPSeg the places above the heat threshold, of YOLO the marks' ink,
    where a mark that only one of both finds counts as 0.
    """

    mean_iou: float
    min_iou: float
    cases: int
    worst: str

    def as_json(self) -> dict[str, Any]:
        """What the manifest keeps."""
        rounded = {"mean_iou": round(self.mean_iou, 5), "min_iou": round(self.min_iou, 5)}
        return {**asdict(self), **rounded}


class Judge:
    """Asks the fp32 graphs of ``bundle`` once, and then any candidate for one of them.

    An encoder that is exchanged for good (:meth:`settle`) is what decoders are judged with, so
    that both together keep the limit.
    """

    def __init__(
        self, bundle: Bundle, pictures: Sequence[NamedPicture], *, threads: int | None = None
    ) -> None:
        self._bundle, self._pictures, self._threads = bundle, list(pictures), threads
        self._stack = ExitStack()
        self._wanted: dict[tuple[str, int], Any] = {}
        self.reference = self._stack.enter_context(open_models(bundle, threads=threads))
        self._plain: Runner = Remembering(self.reference[SAM2_ENCODER.name])
        self._settled = self._plain

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def open(self, model: str, onnx: bytes, *, runtime: str = "onnxruntime") -> Runner:
        """A runner for a candidate of ``model``; raises RunnerError where it cannot run."""
        fixed = {"B": 1} if model != SAM2_DECODER.name else None
        return open_runner(
            self._bundle.spec(model), onnx, runtime=runtime, threads=self._threads, fixed=fixed
        )

    def verdict(self, model: str, candidate: Runner, *, first: int | None = None) -> Verdict:
        """How well ``candidate`` answers in the place of the fp32 graph of ``model``.

        On all pictures, or on the ``first`` few.
        """
        pictures = self._pictures[:first]
        key = (model, len(pictures))
        if key not in self._wanted:
            self._wanted[key] = self._ask(model, self.reference[model], pictures, self._plain)
        wanted = self._wanted[key]
        got = self._ask(model, candidate, pictures, self._settled)
        if model == CLIPSEG.name:
            return self._heat(wanted, got)
        if model == YOLO11_SEG.name:
            return self._marks(wanted, got)
        found = mask_agreement(wanted, got)
        return Verdict(found.mean_iou, found.min_iou, found.cases, found.worst)

    def differences(self, model: str, candidate: Runner) -> dict[str, dict[str, float]]:
        """How far the outputs of ``candidate`` are from the fp32 graph's, on the first pictures.

        ``max_rel`` is the largest difference over the largest magnitude. YOLO's marks may come in
        another order, so that its outputs are compared by :meth:`verdict` alone.
        """
        if model == YOLO11_SEG.name:
            return {}
        pictures = self._pictures[:_COMPARED_ON]
        feeds = feeds_of(model, self.reference, self._bundle, pictures)
        found: dict[str, dict[str, float]] = {}
        for feed in feeds:
            got, wanted = candidate.infer(feed), self.reference[model].infer(feed)
            for name, exact in wanted.items():
                one = _difference(got[name], exact)
                worst = found.setdefault(name, one)
                worst["max_rel"] = max(worst["max_rel"], one["max_rel"])
                worst["cosine"] = min(worst["cosine"], one["cosine"])
        return found

    def settle(self, encoder: Runner) -> None:
        """Judge decoders behind ``encoder`` from now on, which this judge closes at the end."""
        self._settled = Remembering(encoder)
        self._stack.callback(encoder.close)

    def _ask(
        self, model: str, runner: Runner, pictures: Sequence[NamedPicture], encoder: Runner
    ) -> Any:
        if model == CLIPSEG.name:
            return ask_clipseg(runner, self._bundle.conds, pictures)
        if model == YOLO11_SEG.name:
            return ask_yolo(runner, pictures, threshold=self._threshold - _NEAR)
        if model == SAM2_ENCODER.name:
            return ask_sam2(runner, self.reference[SAM2_DECODER.name], pictures)
        return ask_sam2(encoder, runner, pictures)

    @property
    def _threshold(self) -> float:
        return self._bundle.manifest.defaults["mark_threshold"]

    def _heat(self, wanted: Mapping[str, Array], got: Mapping[str, Array]) -> Verdict:
        hot = self._bundle.manifest.defaults["heat_threshold"]
        ious = [(mask_iou(heat > hot, got[name] > hot), name) for name, heat in wanted.items()]
        finite = all(np.isfinite(heat).all() for heat in got.values())
        return _verdict(ious if finite else [(0.0, "values that are no numbers")])

    def _marks(self, wanted: Mapping[str, list[Any]], got: Mapping[str, list[Any]]) -> Verdict:
        """Marks of either above the threshold need one of the other's, a little below it."""
        ious: list[tuple[float, str]] = []
        for ours, theirs in ((wanted, got), (got, wanted)):
            sure = {
                n: [m for m in marks if m.score >= self._threshold] for n, marks in ours.items()
            }
            found = mark_agreement(sure, dict(theirs))
            ious += [(0.0, "a mark that one of both does not find")] * found.missed
            if found.matched:  # the worst one, and the others by their mean
                others = found.matched - 1
                total = found.mean_ink_iou * found.matched - found.min_ink_iou
                ious.append((found.min_ink_iou, found.worst))
                ious += [(total / max(others, 1), "another mark")] * others
        return _verdict(ious or [(1.0, "no marks")])


def _difference(got: Array, exact: Array) -> dict[str, float]:
    ours, theirs = got.astype(np.float64).ravel(), exact.astype(np.float64).ravel()
    size = max(float(np.linalg.norm(ours) * np.linalg.norm(theirs)), 1e-30)
    largest = max(float(np.abs(theirs).max()), 1e-30)
    return {
        "max_rel": float(f"{np.abs(ours - theirs).max() / largest:.3g}"),
        "cosine": round(float(ours @ theirs) / size, 6),
    }


def _verdict(ious: Sequence[tuple[float, str]]) -> Verdict:
    least, worst = min(ious)
    return Verdict(float(np.mean([iou for iou, _ in ious])), least, len(ious), worst)
