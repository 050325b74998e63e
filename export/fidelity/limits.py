"""How far an output may be from upstream's: every tolerance, with its reason.

A limit on values is relative: the largest difference as a share of the output's largest
magnitude. A limit on masks is an IoU, of the mean and of every single case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.fidelity.records import ANSWER, TENSOR, UPSCALING, VIEW, Off, Summary
from markcut.contracts import CLIPSEG, SAM2_DECODER, SAM2_ENCODER, YOLO11_SEG


@dataclass(frozen=True)
class Limit:
    """The most relative difference of values, the least mean and single IoU of masks."""

    max_rel: float
    mean_iou: float
    min_iou: float


TENSORS: Mapping[str, Limit] = {
    # The same sums in another order: measured 2e-6 with either runtime, on features and logits,
    # so 1e-4 is room for other machines and none for a wrong constant. A mask changes only where
    # a logit is zero to that precision.
    "fp32": Limit(1e-4, 0.9999, 0.999),
    # Whether another precision is good enough is decided beside the fp32 bundle (MASKS_AGAINST);
    # here it must only be the same network, kind of prompt by kind of prompt on few pictures.
    "fp16": Limit(0.2, 0.98, 0.0),
    "bf16": Limit(0.5, 0.96, 0.0),
    "int8": Limit(1.0, 0.93, 0.0),
}
"""From one tensor, by the precision of the arithmetic."""

HALF_STORAGE = Limit(0.02, 0.98, 0.9)
"""From one tensor, fp32 arithmetic with weights rounded to 16 bit for storage, where the checkpoint
has more: half a part in a thousand of every weight."""

VIEWS: Mapping[str, float] = {
    # Areas against an antialiased filter: measured up to 1.2 of 255 levels on average. Channels
    # in another order or a shift by half a pixel are more on any photo.
    CLIPSEG.name: 0.01,
    SAM2_ENCODER.name: 0.01,
    # Areas against plain bilinear, which skips pixels, on purpose: thin strokes must survive.
    YOLO11_SEG.name: 0.05,
}
"""Our resized picture beside upstream's: the mean difference as a share of white."""

UPSCALED = Limit(np.inf, 0.999, 0.99)
"""The same logits brought to the picture's size by both: bilinear twice, in another order of sums.
In a thumbnail one pixel is a part in a hundred of a small mask."""

MASKS_AGAINST: Mapping[str, float] = {"fp32": 0.9999, "fp16": 0.995, "bf16": 0.99, "int8": 0.98}
"""Mean IoU of masks beside the fp32 bundle's, all prompts and pictures together."""

HEAT_AGAINST: Mapping[str, float] = {"fp32": 1e-4, "fp16": 0.02, "bf16": 0.1, "int8": 0.2}
"""Heat beside another bundle's, in probability: a place is hot from a half on."""


def judge(
    summaries: Iterable[Summary],
    *,
    arithmetic: Mapping[str, str],
    rounded: Iterable[str] = (),
) -> list[Off]:
    """What is out of tolerance, the worst first.

    ``arithmetic`` names the precision of every model, ``rounded`` the models whose weights were
    rounded to 16 bit for storage and compute in fp32.
    """
    rounded = set(rounded)
    found: list[Off] = []
    for summary in summaries:
        if summary.level != TENSOR and summary.output not in (VIEW, UPSCALING):
            continue  # depends on how much the network minds the filter: told, not judged
        limit = limit_of(summary, arithmetic=arithmetic, rounded=rounded)
        if summary.output == ANSWER and limit is not TENSORS["fp32"]:
            continue  # which mask answers hangs on thresholds that the least difference may cross
        found += _beyond(summary, limit)
    return sorted(found, key=lambda off: -off.excess)


def limit_of(summary: Summary, *, arithmetic: Mapping[str, str], rounded: Collection[str]) -> Limit:
    """The limit that applies to one output.

    What happens before and after the networks does not depend on them, so it is judged by itself.
    The decoder is fed by the bundle's own encoder, so what it says is as good as the worse of the
    two; the chain's masks are the decoder's.
    """
    if summary.output == UPSCALING:
        return UPSCALED
    if summary.output == VIEW:
        return Limit(VIEWS[summary.model], 0, 0)
    models = [summary.model]
    if summary.model not in (CLIPSEG.name, YOLO11_SEG.name, SAM2_ENCODER.name):
        models = [SAM2_ENCODER.name, SAM2_DECODER.name]
    precisions = [arithmetic.get(model, "fp32") for model in models]
    precision = max(precisions, key=list(TENSORS).index)
    plain = precision == "fp32" and not set(models).isdisjoint(rounded)
    return HALF_STORAGE if plain else TENSORS[precision]


def _beyond(summary: Summary, limit: Limit) -> Iterable[Off]:
    """What of ``summary`` is beyond ``limit``, in sentences."""
    if summary.nonfinite:
        yield Off(
            summary.name, np.inf, f"{summary.name}: {summary.nonfinite} values are no numbers"
        )
        return
    if summary.max_rel is not None and not summary.max_rel <= limit.max_rel:
        yield Off(
            summary.name,
            summary.max_rel / limit.max_rel,
            f"{summary.name}: off by {summary.max_rel:.2g} of the largest value, "
            f"expected at most {limit.max_rel:.2g}",
        )
    for what, iou, least in (
        ("mean", summary.mean_iou, limit.mean_iou),
        ("least", summary.min_iou, limit.min_iou),
    ):
        if iou is not None and not iou >= least:
            yield Off(
                summary.name,
                (1 - iou) / (1 - least),
                f"{summary.name}: {what} IoU {iou:.4f}, expected at least {least:g}",
            )


def off_against(
    agreed: Mapping[str, Mapping[str, Any]], *, arithmetic: Mapping[str, str]
) -> list[str]:
    """What is too far from a reference bundle, in sentences.

    ``agreed`` holds the fields of ``MaskAgreement``, ``HeatAgreement`` and ``MarkAgreement`` under
    ``masks``, ``heat`` and ``marks``.
    """
    precisions = [arithmetic.get(name, "fp32") for name in (SAM2_ENCODER.name, SAM2_DECODER.name)]
    least = MASKS_AGAINST[max(precisions, key=list(TENSORS).index)]
    masks, heat, marks = agreed["masks"], agreed["heat"], agreed["marks"]
    found = []
    if not masks["mean_iou"] >= least:
        found.append(
            f"masks: mean IoU {masks['mean_iou']:.4f}, expected at least {least:g}; worst: "
            f"{masks['worst']} with {masks['min_iou']:.4f}"
        )
    limit = HEAT_AGAINST[arithmetic.get(CLIPSEG.name, "fp32")]
    if not heat["max_abs"] <= limit:
        found.append(
            f"heat: off by {heat['max_abs']:.2g}, expected at most {limit:g}; worst: "
            f"{heat['worst']}"
        )
    if marks["missed"] or marks["added"]:
        found.append(
            f"marks: {marks['missed']} of {marks['matched'] + marks['missed']} missed and "
            f"{marks['added']} added, expected the same ones"
        )
    return found
