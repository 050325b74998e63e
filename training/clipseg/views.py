"""Training pictures of the CLIPSeg: the picture stretched to its square, with where ink is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.contracts import CLIPSEG_SIDE, KINDS
from training.clipseg.prompts import ALL_MARKS
from training.colours import recoloured
from training.plates import Plate, Window, cut, erase
from training.scenes.scene import Picture

if TYPE_CHECKING:
    import torch

_LEAST_COVER = 0.02  # of a pixel: the thinnest ink of a 12-megapixel photo still counts
_LEAST_SIZE = 2.0  # pixels of a mark's longer side: less is erased, nobody could see it


@dataclass(frozen=True)
class HeatView:
    """A picture, the prompts to show it with, and where each prompt's ink is."""

    picture: Picture  # (side, side, 3)
    prompts: tuple[int, ...]  # into prompts.PROMPTS
    targets: NDArray[np.uint8]  # (prompts, side, side), 1 on ink and within a pixel of it


def ink_places(plate: Plate, kinds: Sequence[int], side: int = CLIPSEG_SIDE) -> NDArray[np.uint8]:
    """Where marks of ``kinds`` are when the plate is stretched to a square: ink, a pixel wider."""
    height, width = plate.picture.shape[:2]
    ink = np.zeros((height, width), np.float32)
    for mark in plate.marks:
        if mark.kind in kinds:
            x0, y0, x1, y1 = mark.box
            ink[y0:y1, x0:x1][mark.ink] = 1.0
    cover = cv2.resize(ink, (side, side), interpolation=cv2.INTER_AREA)
    places = (cover > _LEAST_COVER).astype(np.uint8)
    return np.asarray(cv2.dilate(places, np.ones((3, 3), np.uint8)), np.uint8)


def stretched(picture: Picture, side: int = CLIPSEG_SIDE, method: int = cv2.INTER_AREA) -> Picture:
    """The whole picture as a square."""
    return np.asarray(cv2.resize(picture, (side, side), interpolation=method), np.uint8)


def random_view(
    plates: Sequence[Plate], rng: np.random.Generator, *, side: int = CLIPSEG_SIDE
) -> HeatView:
    """The whole picture or a window of it, recoloured, with two prompts.

    One prompt means all marks, the other one kind: mostly one that is drawn there. A ``side``
    below 352 gives windows of what 352 shows, mostly around a mark: strokes keep their width.
    """
    plate = plates[0]
    part = side / CLIPSEG_SIDE
    if rng.random() < 0.4:
        part *= rng.uniform(0.45, 1.0)
    if part < 1.0:
        plate = cut(plate, _window(plate, part, rng))
    view = erase(plate, _kept(plate, side, rng))
    present = sorted({m.kind for m in view.marks})
    kind = int(rng.integers(len(KINDS)))
    if present and rng.random() < 0.75:
        kind = present[rng.integers(len(present))]
    wanted = (range(len(KINDS)), [kind])
    targets = np.stack([ink_places(view, kinds, side) for kinds in wanted])
    method = cv2.INTER_AREA if rng.random() < 0.5 else cv2.INTER_LINEAR
    picture = recoloured(stretched(view.picture, side, method), rng)
    if rng.random() < 0.3:
        picture, targets = picture[:, ::-1], targets[:, :, ::-1]
    prompts = (int(rng.integers(len(ALL_MARKS))), len(ALL_MARKS) + kind)
    return HeatView(picture, prompts, targets)


def _window(plate: Plate, part: float, rng: np.random.Generator) -> Window:
    """A window of ``part`` of the plate's sides, four in five of them around a mark's middle."""
    height, width = plate.picture.shape[:2]
    size = [max(24, round(s * min(1.0, part * rng.uniform(0.85, 1.2)))) for s in (width, height)]
    corner = [
        int(rng.integers(max(1, s - n + 1))) for s, n in zip((width, height), size, strict=True)
    ]
    if plate.marks and rng.random() < 0.8:
        mark = plate.marks[int(rng.integers(len(plate.marks)))]
        rows, columns = np.nonzero(mark.ink)
        spot = int(rng.integers(len(rows)))
        ink = (mark.box[0] + int(columns[spot]), mark.box[1] + int(rows[spot]))
        for axis, extent in enumerate((width, height)):
            begin = ink[axis] - rng.uniform(0.1, 0.9) * size[axis]
            corner[axis] = int(np.clip(begin, 0, max(0, extent - size[axis])))
    return (corner[0], corner[1], corner[0] + size[0], corner[1] + size[1])


def _kept(plate: Plate, side: int, rng: np.random.Generator) -> list[bool]:
    height, width = plate.picture.shape[:2]
    if rng.random() < 0.05:
        return [False] * len(plate.marks)
    scale = side / max(height, width)
    return [m.size * scale >= _LEAST_SIZE and rng.random() >= 0.05 for m in plate.marks]


def collate(views: Sequence[HeatView]) -> dict[str, torch.Tensor]:
    """``pixel_values`` uint8 (b, 3, s, s), ``prompts`` (b, p), ``targets`` uint8 (b, p, s, s)."""
    import torch

    pictures = np.stack([v.picture for v in views]).transpose(0, 3, 1, 2)
    return {
        "pixel_values": torch.from_numpy(np.ascontiguousarray(pictures)),
        "prompts": torch.tensor([v.prompts for v in views]),
        "targets": torch.from_numpy(np.stack([v.targets for v in views])),
    }
