"""Ink at the picture's own resolution, from YOLO's coarse mask and the picture's colours.

The network says where ink is to a cell of 4 x 4 pixels of its input, which are up to 25 x 25 of a
large picture, while strokes are 2 to 40 pixels wide. So the colours decide inside of those cells.
Three clues are added up per pixel, as log-odds of being ink:

- how sure the network is;
- how much more frequent the pixel's colour is where the network sees ink than in a ring around;
- how far the pixel's colour has gone from the background nearby towards the ink's mean colour.

The colours are counted twice: first as the network weighs the pixels, then as the first result
does. Nothing here knows about kinds of pens; outlined, transparent or grainy ink only spreads
over more colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.coarse_mask import CoarseMask, coarse_mask, touched_pixels
from markcut.geometry import Picture, Window
from markcut.looks import Detection

Floats = NDArray[np.float32]

MAX_PIXELS = 100_000
"""Pixels in and around the coarse mask beyond which a reduced copy is worked on."""

_NEAR = 0.3  # probability (of a cell or one beside it) from which a pixel may be ink
_COARSE = 0.8  # probability from which ink is believed where colours do not tell
_GAP = 2  # cells around refined ink in which they do
_BACKGROUND = 30  # pixels that it takes to know the background's colours
_SAMPLE = 15_000  # pixels from which colours are learned
_BINS = 16  # per colour channel
_RATIO = (-6.0, 8.0)  # limits of a colour's log-odds
_ALPHA = (-0.3, 1.0)  # limits of the way from background to ink colour
_FLAT = 400.0  # squared difference of two colours that are as good as the same
_SPREAD = 1.5  # cells over which the background is averaged

# Weights of: logit of the probability, colour's log-odds, way to the ink's colour, logit of the
# probability two cells further inside; and the bias. Logistic regressions on generated scenes,
# but for the last bias, which is a little more generous: a prompt must not fall on ink.
_FIRST = (0.60, 0.94, 0.0, 0.0, -4.02)
_SECOND = (0.43, 0.62, 3.69, 0.45, -3.42)
_FINAL = (0.38, 0.68, 1.38, 0.23, -1.25)


def refine_ink(picture: Picture, detection: Detection) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """The ink that ``detection`` means: a patch (h, w) and its origin (x0, y0) in the picture.

    The patch is trimmed to the ink, which is never empty.
    """
    cells = coarse_mask(detection)
    count = np.count_nonzero(cells.far > 255 * _NEAR) * cells.size[0] * cells.size[1]
    step = max(1, round(float(np.sqrt(count / MAX_PIXELS))))
    height, width = picture.shape[:2]
    region = touched_pixels(detection, height=height, width=width, step=step)
    x0, y0, x1, y1 = region
    patch = picture[y0:y1, x0:x1]
    if step > 1:
        small = (max(1, (x1 - x0) // step), max(1, (y1 - y0) // step))
        patch = np.asarray(cv2.resize(patch, small, interpolation=cv2.INTER_AREA), np.uint8)
    ink = _ink(patch, cells, region)
    if step > 1:
        ink = np.asarray(cv2.resize(ink, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR))
    return trimmed(ink > 127, (x0, y0))


def trimmed(
    ink: NDArray[np.bool_], origin: tuple[int, int]
) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """A patch without its empty border rows and columns, and where it begins then."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return ink[y0:y1, x0:x1], (origin[0] + int(x0), origin[1] + int(y0))


def _logits(edge: float) -> Floats:
    p = np.clip(np.arange(256) / 255, edge, 1 - edge)
    return np.log(p / (1 - p)).astype(np.float32)


_LOGIT, _CORE_LOGIT = _logits(0.01), _logits(0.05)
_NEIGHBOURS = (
    sum(np.eye(_BINS, k=k) * w for k, w in ((-1, 0.25), (0, 0.5), (1, 0.25)))
    + 0.25 * np.diag([1] + [0] * (_BINS - 2) + [1])  # the ends have one neighbour
).astype(np.float32)


def _ink(patch: Picture, cells: CoarseMask, region: Window) -> NDArray[np.uint8]:
    """255 where ``patch``, the picture's ``region`` at any scale, is ink."""
    height, width = patch.shape[:2]
    prob, core, near, far = cv2.split(cells.over(region, (height, width)))
    ink = np.zeros((height, width), np.uint8)
    around = np.flatnonzero(far > _NEAR * 255)
    band = np.flatnonzero(near > _NEAR * 255)
    if len(around) - len(band) < _BACKGROUND:
        ink[prob > _COARSE * 255] = 255
    else:
        sample = around[:: max(1, len(around) // _SAMPLE)]
        block = cells.size[0] * width / (region[2] - region[0])
        scene = _Patch(patch, np.asarray(prob, np.uint8), np.asarray(core, np.uint8), block)
        score = _fitted(scene, sample, near.reshape(-1)[sample] > _NEAR * 255)(band)
        ink.reshape(-1)[band[score > 0]] = 255
        ink = np.asarray(cv2.morphologyEx(ink, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
        _fill_gaps(ink, np.asarray(prob, np.uint8), block)
    if not ink.any():
        ink[prob == prob.max()] = 255
    return ink


def _fill_gaps(ink: NDArray[np.uint8], prob: NDArray[np.uint8], block: float) -> None:
    """Believe the network, in place, where it is certain and no ink was found anywhere near."""
    height, width = ink.shape
    size = (max(1, int(width / block)), max(1, int(height / block)))
    found = (cv2.resize(ink, size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    reach = np.ones((2 * _GAP + 1, 2 * _GAP + 1), np.uint8)
    certain = cv2.resize(prob, size, interpolation=cv2.INTER_AREA) > _COARSE * 255
    gaps = certain & (cv2.dilate(found, reach) == 0)
    if gaps.any():
        wide = cv2.resize(gaps.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        ink[(wide > 0) & (prob > _COARSE * 255)] = 255


@dataclass(frozen=True)
class _Patch:
    """A piece of the picture and the coarse maps over it."""

    rgb: Picture  # (h, w, 3)
    prob: NDArray[np.uint8]  # (h, w)
    core: NDArray[np.uint8]  # (h, w)
    block: float  # side of a cell, pixels


def _fitted(
    patch: _Patch, sample: NDArray[np.int64], band: NDArray[np.bool_]
) -> Callable[[NDArray[np.int64]], Floats]:
    """Log-odds of being ink for any pixels, learned from a sample of which ``band`` may be ink."""
    pixels = patch.rgb.reshape(-1, 3)[sample]
    prob = patch.prob.reshape(-1)[sample]
    colours = _colours(pixels)
    sure, inner = _LOGIT[prob], _CORE_LOGIT[patch.core.reshape(-1)[sample]]
    odds = _log_odds(colours, np.where(band, np.square(prob / np.float32(255)), 0), ~band)
    post = _posterior(_score(_FIRST, sure, odds[colours], None, inner), band)
    mean, nearby = _two_colours(patch, pixels, sample, post, np.where(prob < 128, post, 1))
    way = _way(pixels, nearby.reshape(-1, 3)[sample], mean)
    post = _posterior(_score(_SECOND, sure, odds[colours], way, inner), band)
    odds = _log_odds(colours, np.square(post), np.square(1 - post))

    def score(where: NDArray[np.int64]) -> Floats:
        pixels = patch.rgb.reshape(-1, 3)[where]
        return _score(
            _FINAL,
            _LOGIT[patch.prob.reshape(-1)[where]],
            odds[_colours(pixels)],
            _way(pixels, nearby.reshape(-1, 3)[where], mean),
            _CORE_LOGIT[patch.core.reshape(-1)[where]],
        )

    return score


def _score(
    weights: tuple[float, ...], sure: Floats, odds: Floats, way: Floats | None, inner: Floats
) -> Floats:
    score = sure * np.float32(weights[0])
    score += odds * np.float32(weights[1])
    if way is not None:
        score += way * np.float32(weights[2])
    score += inner * np.float32(weights[3])
    return np.asarray(score + np.float32(weights[4]), np.float32)


def _posterior(score: Floats, band: NDArray[np.bool_]) -> Floats:
    post = 1 / (1 + np.exp(-np.clip(score, -20, 20)))
    return np.asarray(np.where(band, post, 0), np.float32)


def _colours(pixels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Which of the 16 x 16 x 16 colours each of ``pixels`` (n, 3) is nearest to."""
    red, green, blue = (pixels >> 4).T
    return np.asarray((red.astype(np.intp) << 8) | (green.astype(np.intp) << 4) | blue, np.intp)


def _log_odds(colours: NDArray[np.intp], ink: NDArray[Any], other: NDArray[Any]) -> Floats:
    """How much more frequent every colour is in ``ink`` than in ``other`` (weights), (4096,)."""
    counts = np.stack([np.bincount(colours, weights, _BINS**3) for weights in (ink, other)])
    totals = counts.sum(axis=1, keepdims=True) + 1e-6
    unseen = 0.04 / totals.min()
    share = _smooth(counts.astype(np.float32)).reshape(2, -1) / totals + unseen
    return np.asarray(np.clip(np.log(share[0] / share[1]), *_RATIO), np.float32)


def _smooth(counts: Floats) -> Floats:
    """Each of (2, 16, 16, 16) counts shared with the next colours, every axis 1 : 2 : 1."""
    for _ in range(3):
        counts = (_NEIGHBOURS @ counts.reshape(2, _BINS, -1)).reshape(2, _BINS, _BINS, _BINS)
        counts = counts.transpose(0, 2, 3, 1)
    return counts


def _two_colours(
    patch: _Patch, pixels: NDArray[np.uint8], where: NDArray[np.int64], post: Floats, taken: Floats
) -> tuple[Floats, Picture]:
    """The ink's mean colour (3,), and the background's nearby at every pixel of the patch.

    ``post`` weighs the ink's colours, ``(1 - taken) ** 4`` the background's.
    """
    values = pixels.astype(np.float32)
    weights = np.square(post)
    mean = np.einsum("i,ij->j", weights, values) / (weights.sum() + np.float32(1e-3))
    height, width = patch.prob.shape
    rows, columns = max(1, int(height / patch.block)), max(1, int(width / patch.block))
    row, column = np.divmod(where, width)
    index = row * rows // height * columns + column * columns // width
    weights = np.square(np.square(1 - taken)) + np.float32(1e-4)

    def spread(values: Floats) -> NDArray[Any]:
        total = np.bincount(index, values, rows * columns).reshape(rows, columns)
        return np.asarray(cv2.GaussianBlur(total, (0, 0), _SPREAD))

    share = spread(weights) + 1e-9
    nearby = np.stack([spread(values[:, c] * weights) / share for c in range(3)], axis=2)
    small = np.clip(nearby, 0, 255).astype(np.uint8)
    return mean, np.asarray(cv2.resize(small, (width, height)), np.uint8)


def _way(pixels: NDArray[np.uint8], nearby: NDArray[np.uint8], mean: Floats) -> Floats:
    """How far each pixel has gone from the background nearby (0) to the ink's mean colour (1)."""
    background = nearby.astype(np.float32)
    gone = pixels - background
    difference = mean - background
    square = np.einsum("ij,ij->i", difference, difference) + np.float32(_FLAT)
    way = np.einsum("ij,ij->i", gone, difference) / square
    return np.asarray(np.clip(way, *_ALPHA), np.float32)
