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
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from markcut.coarse_mask import CoarseMask, coarse_mask, touched_pixels
from markcut.colour import lab
from markcut.geometry import Picture, Window
from markcut.looks import Detection
from markcut.strokes import without_specks

Floats = NDArray[np.float32]

MAX_PIXELS = 80_000
"""Pixels in and around the coarse mask beyond which a reduced copy is worked on."""

_NEAR = 0.3  # probability (of a cell or one beside it) from which a pixel may be ink
_COARSE = 0.8  # probability from which ink is believed where colours do not tell
_LIKELY = 0.5  # the same where no colour is more frequent in ink
_TELLING = 0.7  # log-odds of a colour that make it one of the ink
_GAP = 2  # cells around refined ink in which they do
_BACKGROUND = 30  # pixels that it takes to know the background's colours
_SAMPLE = 8_000  # pixels from which colours are learned
_BINS = 16  # per colour channel
_RATIO = (-6.0, 8.0)  # limits of a colour's log-odds
_ALPHA = (-0.3, 1.0)  # limits of the way from background to ink colour
_FLAT = 400.0  # squared difference of two colours that are as good as the same
_PIECE = 0.02  # of the largest piece of ink: smaller ones are not judged
_STRANGE = 38.0  # distance in CIELAB from which a colour is another pen's
_UNSURE = 0.6  # probability below which a piece that lies apart is not believed
_SPREAD = 1.5  # cells over which the background is averaged


class _Weights(NamedTuple):
    """What the clues count, in log-odds."""

    sure: float  # logit of the probability
    inner: float  # logit of the probability two cells further inside
    odds: float  # log-odds of the colour
    way: float  # from the background's colour to the ink's
    bias: float


# Logistic regressions on generated scenes, but for the last bias, which is a little more generous:
# a prompt must not fall on ink.
_FIRST = _Weights(sure=0.60, inner=0.0, odds=0.94, way=0.0, bias=-4.02)
_SECOND = _Weights(sure=0.43, inner=0.45, odds=0.62, way=3.69, bias=-3.42)
_FINAL = _Weights(sure=0.38, inner=0.23, odds=0.68, way=1.38, bias=-1.25)


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
    found, prob = _ink(patch, cells, region)
    ink = _without_strangers(without_specks(found > 0), patch, prob)
    if step > 1:
        grey = ink.astype(np.uint8) * 255
        grey = np.asarray(cv2.resize(grey, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR))
        ink = grey > 127
    return trimmed(ink, (x0, y0))


def trimmed(
    ink: NDArray[np.bool_], origin: tuple[int, int]
) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """A patch without its empty border rows and columns, and where it begins then."""
    x, y, width, height = cv2.boundingRect(ink.view(np.uint8))
    return ink[y : y + height, x : x + width], (origin[0] + x, origin[1] + y)


def _logits(edge: float) -> Floats:
    p = np.clip(np.arange(256) / 255, edge, 1 - edge)
    return np.log(p / (1 - p)).astype(np.float32)


_LOGIT, _CORE_LOGIT = _logits(0.01), _logits(0.05)
_NEIGHBOURS = (
    sum(np.eye(_BINS, k=k) * w for k, w in ((-1, 0.25), (0, 0.5), (1, 0.25)))
    + 0.25 * np.diag([1] + [0] * (_BINS - 2) + [1])  # the ends have one neighbour
).astype(np.float32)


def _ink(
    picture: Picture, cells: CoarseMask, region: Window
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """255 where ``picture``, a piece over ``region`` at any scale, is ink; the probability."""
    shape = picture.shape[:2]
    maps = cells.over(cells.maps, region, shape)
    prob, core, near, far = (np.asarray(plane, np.uint8) for plane in cv2.split(maps))
    ink = np.zeros(shape, np.uint8)
    around = np.flatnonzero(far > int(_NEAR * 255))  # integers compare several times as fast
    band = np.flatnonzero(near > int(_NEAR * 255))
    if len(around) - len(band) < _BACKGROUND:
        ink[prob > _COARSE * 255] = 255
    else:
        flat = np.ascontiguousarray(picture)  # of a window OpenCV's split takes twice as long
        rgb = tuple(np.asarray(plane, np.uint8).reshape(-1) for plane in cv2.split(flat))
        patch = _Patch(rgb, prob.reshape(-1), core.reshape(-1), cells, region, shape)
        sample = around[:: -(-len(around) // _SAMPLE)]
        found = _fitted(patch, sample, near.reshape(-1)[sample] > _NEAR * 255)(band)
        ink.reshape(-1)[found] = 255
        ink.reshape(-1)[_gaps(patch, found, band)] = 255
        ink = np.asarray(cv2.morphologyEx(ink, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
    if not ink.any():
        ink[prob == prob.max()] = 255
    return ink, prob


def _without_strangers(
    ink: NDArray[np.bool_], picture: Picture, prob: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """``ink`` without pieces of another colour than the largest's, or of which YOLO is unsure.

    They are bits of an edge or a print, and at a distance they move an arrow's tip and a loop's
    rim. On 427 pieces beside the largest one of their mark, in training scenes, this takes away
    0.6 of the false ink and 0.1 of the true.
    """
    count, labels = cv2.connectedComponents(ink.view(np.uint8))
    if count < 3:  # the paper and one piece
        return ink
    inked = np.flatnonzero(ink)
    piece_of = labels.reshape(-1)[inked]
    sizes = np.bincount(piece_of, minlength=count)
    largest = int(sizes.argmax())

    def colour_of(where: NDArray[np.intp]) -> NDArray[Any]:
        colours = lab(picture[np.divmod(where, ink.shape[1])])
        return np.asarray(np.median(colours, axis=0))

    colour = colour_of(inked[piece_of == largest])
    kept: NDArray[np.bool_] = ink.copy()
    for piece in np.flatnonzero(sizes >= _PIECE * sizes[largest]):
        if piece != largest:
            where = inked[piece_of == piece]
            away = np.linalg.norm(colour_of(where) - colour)
            if away > _STRANGE or prob.reshape(-1)[where].mean() < _UNSURE * 255:
                kept.reshape(-1)[where] = False
    return kept


@dataclass(frozen=True)
class _Patch:
    """A piece of the picture and the coarse maps over it, pixel after pixel."""

    rgb: tuple[NDArray[np.uint8], ...]  # red, green and blue, each (n,)
    prob: NDArray[np.uint8]  # (n,)
    core: NDArray[np.uint8]  # (n,)
    cells: CoarseMask
    region: Window
    shape: tuple[int, int]  # h, w with h * w = n

    def cells_of(self, where: NDArray[np.intp]) -> NDArray[np.intp]:
        return self.cells.under(where, self.region, self.shape)

    def colours(self, where: NDArray[np.intp]) -> NDArray[np.intp]:
        """Which of the 16 x 16 x 16 colours every pixel is nearest to."""
        red, green, blue = (plane[where] >> 4 for plane in self.rgb)
        number = (red.astype(np.intp) << 8) | (green.astype(np.intp) << 4) | blue
        return np.asarray(number, np.intp)


def _gaps(patch: _Patch, found: NDArray[np.intp], band: NDArray[np.intp]) -> NDArray[np.intp]:
    """The pixels of ``band`` where the network is certain and nothing was found anywhere near."""
    inked = np.zeros(patch.cells.prob.shape, np.uint8)
    inked.reshape(-1)[patch.cells_of(found)] = 1
    reach = cv2.dilate(inked, np.ones((2 * _GAP + 1, 2 * _GAP + 1), np.uint8))
    gaps = (patch.cells.prob > _COARSE * 255) & (reach == 0)
    if not gaps.any():
        return band[:0]
    certain = band[patch.prob[band] > _COARSE * 255]
    return np.asarray(certain[gaps.reshape(-1)[patch.cells_of(certain)]], np.intp)


def _fitted(
    patch: _Patch, sample: NDArray[np.intp], band: NDArray[np.bool_]
) -> Callable[[NDArray[np.intp]], NDArray[np.intp]]:
    """Picks the ink out of any pixels; learns from a sample, of which ``band`` may be ink."""
    prob, colours = patch.prob[sample], patch.colours(sample)
    clues = _LOGIT[prob], _CORE_LOGIT[patch.core[sample]]
    odds = _log_odds(colours, np.where(band, np.square(prob / np.float32(255)), 0), ~band)
    post = _posterior(_score(_FIRST, *clues, odds[colours]), band)
    pens = _two_colours(patch, sample, post, np.where(prob < 128, post, 1))
    score = _score(_SECOND, *clues, odds[colours])
    score += np.float32(_SECOND.way) * pens.way(patch, sample)
    post = _posterior(score, band)
    odds = _log_odds(colours, np.square(post), np.square(1 - post))
    alike = odds[colours[band]].max(initial=-np.inf) < _TELLING

    def ink(where: NDArray[np.intp]) -> NDArray[np.intp]:
        if alike:  # ink of the background's colour: the network alone knows
            return where[patch.prob[where] > _LIKELY * 255]
        clues = _LOGIT[patch.prob[where]], _CORE_LOGIT[patch.core[where]]
        score = _score(_FINAL, *clues, odds[patch.colours(where)])
        hopeful = score > -_FINAL.way * _ALPHA[1]  # the last clue cannot save the others
        where, score = where[hopeful], score[hopeful]
        score += np.float32(_FINAL.way) * pens.way(patch, where)
        return np.asarray(where[score > 0], np.intp)

    return ink


def _score(weights: _Weights, sure: Floats, inner: Floats, odds: Floats) -> Floats:
    """Log-odds of being ink, but for the way from background to ink."""
    score = sure * np.float32(weights.sure)
    score += inner * np.float32(weights.inner)
    score += odds * np.float32(weights.odds)
    score += np.float32(weights.bias)
    return np.asarray(score, np.float32)


def _posterior(score: Floats, band: NDArray[np.bool_]) -> Floats:
    post = 1 / (1 + np.exp(-np.clip(score, -20, 20)))
    return np.asarray(np.where(band, post, 0), np.float32)


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


@dataclass(frozen=True)
class _TwoColours:
    """The ink's mean colour (3,), and under every cell the background's nearby (cells, 3)."""

    ink: Floats
    background: Floats

    def way(self, patch: _Patch, where: NDArray[np.intp]) -> Floats:
        """How far each pixel has gone from the background nearby (0) to the ink's colour (1)."""
        cells = patch.cells_of(where)
        product, square = np.float32(0), np.float32(_FLAT)
        for plane, ink, background in zip(patch.rgb, self.ink, self.background.T, strict=True):
            nearby = background[cells]
            difference = ink - nearby
            product = product + (plane[where] - nearby) * difference
            square = square + np.square(difference)
        return np.asarray(np.clip(product / square, *_ALPHA), np.float32)


def _two_colours(
    patch: _Patch, sample: NDArray[np.intp], post: Floats, taken: Floats
) -> _TwoColours:
    """``post`` weighs the ink's colours, ``(1 - taken) ** 4`` the background's."""
    ink = np.square(post)
    other = np.square(np.square(1 - taken)) + np.float32(1e-4)
    cells, shape = patch.cells_of(sample), patch.cells.prob.shape

    def spread(values: Floats) -> NDArray[Any]:
        total = np.bincount(cells, values, shape[0] * shape[1]).reshape(shape)
        return np.asarray(cv2.GaussianBlur(total, (0, 0), _SPREAD)).reshape(-1)

    share, total = spread(other) + 1e-9, ink.sum() + 1e-3
    planes = [plane[sample].astype(np.float32) for plane in patch.rgb]
    return _TwoColours(
        ink=np.array([np.einsum("i,i", ink, plane) / total for plane in planes], np.float32),
        background=np.stack([spread(plane * other) / share for plane in planes], axis=1).astype(
            np.float32
        ),
    )
