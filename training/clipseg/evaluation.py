"""How well heat maps show where something is drawn, on pictures that were never seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.clipseg.prompts import ALL_MARKS
from training.clipseg.views import ink_places, stretched
from training.plates import Plate
from training.scenes.scene import Mask, Picture

_HEAT = 0.5
_COVERED = 0.25  # of a mark's ink must be hot
_SPECK = 12  # pixels: smaller hot spots are nobody's proposal

HeatMaps = Callable[[Picture], NDArray[np.float32]]
"""Heat maps (prompts, 352, 352), 0..1, of a picture (352, 352, 3) for every prompt."""


@dataclass(frozen=True)
class Marked:
    """A picture at 352 with where each of its marks is."""

    picture: Picture
    marks: tuple[tuple[int, NDArray[np.uint8]], ...]  # kind; (352, 352), 1 on ink and around


def marked(plate: Plate) -> Marked:
    """A plate as the evaluation takes it."""
    alone = [(m.kind, Plate(plate.picture, (m,), whole=True)) for m in plate.marks]
    marks = tuple((kind, ink_places(single, [kind])) for kind, single in alone)
    return Marked(stretched(plate.picture), marks)


def figures(pictures: Sequence[Marked], heat_maps: HeatMaps) -> dict[str, float]:
    """Recall of marks, false spots per picture and IoU for "annotated"; IoU for single kinds."""
    marks = found = false = 0
    common = union = kind_common = kind_union = 0
    for picture in pictures:
        maps = heat_maps(picture.picture) > _HEAT
        hot = maps[0]
        everything = np.zeros(hot.shape, bool)
        for _, place in picture.marks:
            ink = place > 0
            everything |= ink
            marks += 1
            found += int((hot & ink).sum() >= _COVERED * ink.sum())
        false += _false_spots(hot, everything)
        common += int((hot & everything).sum())
        union += int((hot | everything).sum())
        for kind in sorted({kind for kind, _ in picture.marks}):
            places = [place > 0 for other, place in picture.marks if other == kind]
            truth = np.logical_or.reduce(places)
            alone = maps[len(ALL_MARKS) + kind]
            kind_common += int((alone & truth).sum())
            kind_union += int((alone | truth).sum())
    return {
        "recall": found / max(1, marks),
        "false_per_picture": false / max(1, len(pictures)),
        "iou": common / max(1, union),
        "iou_by_kind": kind_common / max(1, kind_union),
    }


def _false_spots(hot: Mask, ink: Mask) -> int:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hot.astype(np.uint8))
    touched = set(np.unique(labels[ink]).tolist())
    areas = stats[:, cv2.CC_STAT_AREA]
    return sum(1 for i in range(1, count) if i not in touched and areas[i] >= _SPECK)
