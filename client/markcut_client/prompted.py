"""What an answer to prompts holds, as objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut_client import wire
from markcut_client.masks import Rle
from markcut_client.pictures import EncodedPicture, PixelSource
from markcut_client.results import (
    Answer,
    Segmented,
    frozen,
    pixel_source,
    read_rle,
    rounded,
    stage_ms,
)

__all__ = ["Prompted", "PromptedObject", "read_prompted"]


@dataclass(frozen=True, eq=False)
class PromptedObject(Segmented):
    """What the caller's points and box mean.

    ``score`` is the predicted IoU of the mask, 0..1. ``logits`` are what the mask was cut from, a
    read-only float32 array (h, w) that spans the whole picture at the engine's own size, above
    0 inside: pass the object as ``earlier`` to refine it with more points.
    """

    score: float
    logits: NDArray[np.float32] = field(repr=False)
    segmentation: Rle = field(repr=False)
    source: PixelSource = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """This object as in the result JSON; without the logits."""
        return {**self.outline_json(), "score": rounded(self.score)}


class Prompted(Answer[PromptedObject]):
    """The objects that were prompted for on one picture, in the prompts' order."""


def read_prompted(encoded: EncodedPicture, outputs: Mapping[str, wire.Array]) -> Prompted:
    """The objects in ``outputs``; :class:`AnswerError` where they break the contract."""
    wire.check_answer(outputs, wire.PROMPTED_OBJECT)
    source = pixel_source(encoded, outputs)
    objects = tuple(
        PromptedObject(float(score), frozen(logits), read_rle(mask, source), source)
        for score, logits, mask in zip(
            outputs[wire.OBJECT_SCORES.name],
            outputs[wire.MASK_LOGITS.name],
            outputs[wire.OBJECT_MASKS.name],
            strict=True,
        )
    )
    return Prompted(encoded.name, source.width, source.height, objects, stage_ms(outputs), source)
