"""Do two bundles say the same? Masks, heat and marks of both on the same pictures.

For judging a graph of another precision against the fp32 one. Every comparison has two halves, so
that the reference is asked once however many candidates there are::

    wanted = ask_sam2(reference["sam2_encoder"], reference["sam2_decoder"], pictures)
    got = ask_sam2(candidate, reference["sam2_decoder"], pictures)
    mask_agreement(wanted, got)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.boxes import paired
from export.fidelity.pictures import NamedPicture
from export.fidelity.prompts import Prompt, decoder_prompts, prompts_for
from markcut import prompted
from markcut.bundle import Bundle
from markcut.contracts import (
    CLIPSEG,
    CLIPSEG_SIDE,
    KINDS,
    MODELS,
    SAM2_DECODER,
    SAM2_ENCODER,
    YOLO11_SEG,
    YOLO_SIDE,
)
from markcut.geometry import letterbox, stretch
from markcut.looks import Detection, detections
from markcut.mask_shape import to_picture
from markcut.runners import Runner, open_runner

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

_SAME = 0.5  # IoU of two boxes from which they can be one mark
_INK = 0.5  # probability from which a cell is ink


@contextmanager
def open_models(
    bundle: Bundle,
    *,
    runtime: str = "onnxruntime",
    threads: int | None = None,
    lean: bool = False,
) -> Iterator[dict[str, Runner]]:
    """A runner for every model that ``bundle`` holds the bytes of, one picture at a time.

    ``lean`` as in :func:`~markcut.runners.open_runner`.
    """
    with ExitStack() as stack:
        runners: dict[str, Runner] = {}
        for name in MODELS:
            if name in bundle.onnx:
                runner = open_runner(
                    bundle.spec(name), bundle.onnx[name], runtime=runtime, threads=threads,
                    fixed={"B": 1} if name != SAM2_DECODER.name else None, lean=lean,
                )  # fmt: skip
                stack.callback(runner.close)
                runners[name] = runner
        yield runners


@dataclass(frozen=True)
class Sam2Answer:
    """What SAM2 said to all prompts on one picture: arrays as in ``contracts.SAM2_DECODER``."""

    picture: str
    size: tuple[int, int]  # height, width
    kinds: tuple[str, ...]
    labels: NDArray[Any]
    has_earlier: NDArray[Any]
    logits: Floats  # (N, 4, S/4, S/4)
    predicted: Floats  # (N, 4)

    def chosen(self) -> NDArray[np.intp]:
        """The mask (N,) that answers each prompt, by the rule of ``PROMPTED_OBJECT``."""
        return prompted.choose(self.labels, self.has_earlier, self.logits, self.predicted)

    def mask(self, row: int, index: int) -> Mask:
        """One mask at the picture's size."""
        return full_mask(self.logits[row, index], self.size)


@dataclass(frozen=True)
class MaskAgreement:
    """IoU of masks at the pictures' sizes, one case per prompt and picture.

    A case compares the mask that answers the reference's prompt with the candidate's of the same
    number. ``every_mean_iou`` is that of all four masks; ``same_choice`` the share of prompts for
    which both would have chosen the same number. ``worst`` names the case of ``min_iou``.
    """

    mean_iou: float
    min_iou: float
    cases: int
    worst: str
    every_mean_iou: float
    same_choice: float


@dataclass(frozen=True)
class HeatAgreement:
    """Differences of heat maps, 0..1; ``min_hot_iou`` is that of the places above the threshold."""

    max_abs: float
    mean_abs: float
    cosine: float
    min_hot_iou: float
    cases: int
    worst: str


@dataclass(frozen=True)
class MarkAgreement:
    """Marks found by both, by the reference alone and by the candidate alone.

    ``mean_ink_iou`` and ``min_ink_iou`` compare the ink of marks found by both, in cells of the
    network's mask; ``max_score`` is the largest difference of their scores; ``same_kind`` the
    share whose kind is the same. All are perfect where nothing was found.
    """

    matched: int
    missed: int
    added: int
    mean_ink_iou: float
    min_ink_iou: float
    max_score: float
    same_kind: float
    worst: str


def ask_sam2(
    encoder: Runner, decoder: Runner, pictures: Sequence[NamedPicture], *, seed: int = 0
) -> list[Sam2Answer]:
    """SAM2's answers to :func:`export.fidelity.prompts.prompts_for` every picture."""
    return [
        ask_sam2_of(encoder, decoder, picture, prompts_for(*picture.picture.shape[:2], seed=seed))
        for picture in pictures
    ]


def ask_sam2_of(
    encoder: Runner, decoder: Runner, picture: NamedPicture, prompts: Sequence[Prompt]
) -> Sam2Answer:
    """SAM2's answer to ``prompts``, all in one batch, on one picture."""
    side = int(encoder.spec.inputs[0].dims[1])
    height, width = picture.picture.shape[:2]
    view = stretch(picture.picture, side)[0][None]
    features = encoder.infer({SAM2_ENCODER.inputs[0].name: view})
    asked = decoder_prompts(prompts, side, height=height, width=width)
    names = [tensor.name for tensor in SAM2_DECODER.inputs[len(features) :]]
    outputs = decoder.infer({**features, **dict(zip(names, asked, strict=True))})
    logits, predicted, _ = (outputs[tensor.name] for tensor in SAM2_DECODER.outputs)
    return Sam2Answer(
        picture=picture.label,
        size=(height, width),
        kinds=tuple(prompt.kind for prompt in prompts),
        labels=asked[1],
        has_earlier=asked[3],
        logits=logits,
        predicted=predicted,
    )


def mask_agreement(wanted: Sequence[Sam2Answer], got: Sequence[Sam2Answer]) -> MaskAgreement:
    """How well the masks of ``got`` are those of ``wanted``, asked alike."""
    ious: list[tuple[float, str]] = []
    every: list[float] = []
    same: list[bool] = []
    for one, other in zip(wanted, got, strict=True):
        chosen = one.chosen()
        same += (chosen == other.chosen()).tolist()
        for row, kind in enumerate(one.kinds):
            for index in range(one.logits.shape[1]):
                iou = mask_iou(one.mask(row, index), other.mask(row, index))
                every.append(iou)
                if index == chosen[row]:
                    ious.append((iou, f"{one.picture}, {kind}"))
    least, worst = min(ious)
    return MaskAgreement(
        mean_iou=float(np.mean([iou for iou, _ in ious])),
        min_iou=least,
        cases=len(ious),
        worst=worst,
        every_mean_iou=float(np.mean(every)),
        same_choice=float(np.mean(same)),
    )


def ask_clipseg(
    clipseg: Runner, conds: Floats, pictures: Sequence[NamedPicture]
) -> dict[str, Floats]:
    """CLIPSeg's heat maps (prompts, 352, 352) by picture; ``conds`` (prompts, D) is a bundle's."""
    view_name, cond_name = (tensor.name for tensor in CLIPSEG.inputs)
    heat = CLIPSEG.outputs[0].name
    found = {}
    for picture in pictures:
        view = stretch(picture.picture, CLIPSEG_SIDE)[0][None]
        maps = [clipseg.infer({view_name: view, cond_name: cond[None]})[heat][0] for cond in conds]
        found[picture.label] = np.stack(maps)
    return found


def heat_agreement(
    wanted: dict[str, Floats], got: dict[str, Floats], *, threshold: float = 0.5
) -> HeatAgreement:
    """How well the heat maps of ``got`` are those of ``wanted``; ``threshold`` is a bundle's."""
    far = {name: float(np.abs(heat - got[name]).max()) for name, heat in wanted.items()}
    hot = {name: mask_iou(heat > threshold, got[name] > threshold) for name, heat in wanted.items()}
    ours = np.concatenate([got[name].ravel() for name in wanted]).astype(np.float64)
    theirs = np.concatenate([heat.ravel() for heat in wanted.values()]).astype(np.float64)
    worst = max(far, key=lambda name: np.nan_to_num(far[name], nan=np.inf))
    return HeatAgreement(
        max_abs=far[worst],
        mean_abs=float(np.abs(ours - theirs).mean()),
        cosine=float(ours @ theirs / max(np.linalg.norm(ours) * np.linalg.norm(theirs), 1e-30)),
        min_hot_iou=min(hot.values()),
        cases=len(far),
        worst=worst,
    )


def ask_yolo(
    yolo: Runner, pictures: Sequence[NamedPicture], *, threshold: float
) -> dict[str, list[Detection]]:
    """YOLO's answers to the whole of every picture, from a score of ``threshold`` on."""
    found = {}
    for picture in pictures:
        view, placement = letterbox(picture.picture, YOLO_SIDE)
        outputs = yolo.infer({YOLO11_SEG.inputs[0].name: view[None]})
        only = {name: array[0] for name, array in outputs.items()}
        found[picture.label] = detections(only, placement, threshold=threshold)
    return found


def mark_agreement(
    wanted: dict[str, list[Detection]], got: dict[str, list[Detection]]
) -> MarkAgreement:
    """How well the marks of ``got`` are those of ``wanted``."""
    inks: list[tuple[float, str]] = []
    scores, kinds = [0.0], []
    missed = added = 0
    for name, one in wanted.items():
        pairs = _pairs(one, got[name])
        missed, added = missed + len(one) - len(pairs), added + len(got[name]) - len(pairs)
        for mark, other in pairs:
            inks.append((_ink_iou(mark, other), f"{name}, {KINDS[mark.kind]}"))
            scores.append(abs(mark.score - other.score))
            kinds.append(mark.kind == other.kind)
    least, worst = min(inks, default=(1.0, ""))
    return MarkAgreement(
        matched=len(inks),
        missed=missed,
        added=added,
        mean_ink_iou=float(np.mean([iou for iou, _ in inks])) if inks else 1.0,
        min_ink_iou=least,
        max_score=max(scores),
        same_kind=float(np.mean(kinds)) if kinds else 1.0,
        worst=worst,
    )


def mask_iou(one: Mask, other: Mask) -> float:
    """Intersection over union; 1 where both are empty."""
    either = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / either if either else 1.0


def full_mask(logits: Floats, size: tuple[int, int]) -> Mask:
    """``logits`` (s, s) as a mask (height, width), by the pipeline's own upscaling."""
    height, width = size
    mask = np.zeros((height, width), np.bool_)
    patch, (x, y) = to_picture(logits, height=height, width=width)
    mask[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    return mask


def _pairs(one: list[Detection], other: list[Detection]) -> list[tuple[Detection, Detection]]:
    """Marks of both whose boxes agree, best scores first, each used once."""
    boxes = [np.reshape([mark.box for mark in marks], (-1, 4)) for marks in (one, other)]
    return [(one[row], other[match]) for row, match in paired(*boxes, least=_SAME)]


def _ink_iou(one: Detection, other: Detection) -> float:
    """IoU of two inks in cells, which lie on the same grid of the letterboxed input."""
    x0, y0, x1, y1 = one.region
    cell = np.array([(x1 - x0) / one.prob.shape[1], (y1 - y0) / one.prob.shape[0]])
    shift = np.rint((np.array(other.region[:2]) - (x0, y0)) / cell).astype(int)
    low = np.minimum(shift, 0)
    canvases = []
    for mark, at in ((one, -low), (other, shift - low)):
        rows, columns = mark.prob.shape
        size = np.abs(shift) + np.maximum(one.prob.shape[::-1], other.prob.shape[::-1])
        canvas = np.zeros(size[::-1], np.bool_)
        canvas[at[1] : at[1] + rows, at[0] : at[0] + columns] = mark.prob > _INK
        canvases.append(canvas)
    return mask_iou(canvases[0], canvases[1])
