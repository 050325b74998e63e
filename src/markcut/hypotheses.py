"""Where one mark may point to, in cells of its view: one function for every way of meaning."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from markcut.agreement import agreement, cells_of, density
from markcut.arrow import Arrow, find_arrow
from markcut.beside import Beside, find_beside
from markcut.interior import interior
from markcut.meaning import meaning
from markcut.views import View, distance_to

Cells = NDArray[np.float64]  # (n, 2) xy
Hypothesis = tuple[Cells, Cells | None]
"""Foreground points, and the corners (2, 2) of a box or None."""
Mask = NDArray[np.bool_]

_CANDIDATES = 400  # cells weighed as places for a point

# round: of the square root of what is gone round
_RIM = 0.12  # what is nearer to the loop, inside, is probably not meant
_OUTSIDE = 0.25  # what is nearer to the loop, outside, shows what is not meant
_GOOD = 0.5  # of the best score: where further points may lie

# at: of the picture's diagonal, how far beyond an arrow's tip
_BEYOND = (0.0, 0.01, 0.016, 0.027, 0.042)  # the second is the usual one
_FARTHEST = 0.06
_SHAFT = 0.6  # of the arrow's length, from its tail
_GROUND, _NO_GROUND = 0.2, 0.1  # shares of the ground that have a cell's colour

# on: in sizes of the ink (its deviation plus its stroke)
_CLOSE = 0.3  # cells this much farther than the nearest free one are as good
_NEAR = 3.0  # how fast a cell loses by distance
_SURROUNDINGS = 1.0  # what is farther from the ink shows what it does not lie on

# beside: of the mark's length, how far from its rim
_AWAY = ((0.04, 0.8), (0.12, 1.0), (0.25, 0.9), (0.4, 0.6))  # and how likely it is there
_ALONG = np.array([0.0, -0.22, 0.22])


def hypotheses(view: View, kind: int, *, rng: np.random.Generator, most: int) -> list[Hypothesis]:
    """Points, and sometimes a box, for the mark of ``view``, the most likely hypothesis first.

    ``kind`` indexes ``contracts.KINDS``; ``most`` is the most points of one hypothesis. Points
    lie on no cell with ink, so there must be one without.
    """
    free = ~view.near
    if not free.any():
        free = ~view.ink
    way = meaning(kind, view.own)
    if way == "at":
        return _beyond_tip(view, free, rng, most)
    if way == "round":
        inside = interior(view.own)
        if (inside & free).any():
            return _inside(view, inside, free, rng, most)
    found = _on(view, free, rng, most)
    beside = find_beside(view.own) if way == "beside" else None
    return found if beside is None else _beside(view, free, beside, rng, most) + found[:1]


def _inside(
    view: View, inside: Mask, free: Mask, rng: np.random.Generator, most: int
) -> list[Hypothesis]:
    size = float(np.sqrt(np.count_nonzero(inside)))
    depth = np.minimum(distance_to(~(inside & free)), size)
    depth /= depth.max()
    far = distance_to(view.own)
    unlike = free & np.where(inside, far < _RIM * size, far < _OUTSIDE * size + 4)
    cells = cells_of(depth > 0.25, rng, most=_CANDIDATES)
    fits = agreement(view.colours, cells, like=depth > 0.5, unlike=unlike, rng=rng)
    score = np.sqrt(depth[cells[:, 1], cells[:, 0]]) * fits
    first = cells[int(score.argmax())].astype(np.float64)
    found: list[Hypothesis] = [(first[None], None)]
    if most > 1:
        found.append((_scatter(cells[score > _GOOD * score.max()], first, most), None))
    ys, xs = np.nonzero(inside)
    box = np.array([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]], np.float64)
    found.append((first[None], box))
    return found


def _beyond_tip(view: View, free: Mask, rng: np.random.Generator, most: int) -> list[Hypothesis]:
    arrow = find_arrow(view.own)
    steps = np.arange(0.0, _FARTHEST * view.diagonal + 0.2 * arrow.length + 8, 0.5)
    ray = np.round(arrow.tip + steps[:, None] * arrow.heading).astype(int)
    within = (ray >= 0).all(axis=1) & (ray < free.shape[::-1]).all(axis=1)
    ray, steps = ray[within], steps[within]
    clear = free[ray[:, 1], ray[:, 0]]
    ray, steps = ray[clear], steps[clear]
    if not len(ray):
        return [(_nearest(free, arrow.tip + 2 * arrow.heading)[None], None)]
    at = [int(np.abs(steps - steps[0] - beyond * view.diagonal).argmin()) for beyond in _BEYOND]
    cells = ray[list(dict.fromkeys(at))]
    # where the ground along the shaft goes on beyond the tip, the thing begins where it ends
    ground = free & _beside_shaft(view, arrow)
    seen = density(view.colours, cells, like=ground, rng=rng)
    first = min(1, len(cells) - 1)
    if seen[first] > _GROUND:
        first += int((seen[first:] < _NO_GROUND).argmax())
    order = [first, *(index for index in range(len(cells)) if index != first)]
    found: list[Hypothesis] = [(cells[[index]].astype(np.float64), None) for index in order]
    if most > 1 and first + 1 < len(cells):
        found.append((cells[first : first + 2].astype(np.float64), None))
    return found


def _beside_shaft(view: View, arrow: Arrow) -> Mask:
    """Cells left and right of the part of an arrow that is certainly no head."""
    height, width = view.own.shape
    chord = (arrow.tip - arrow.tail) / max(arrow.length, 1.0) ** 2
    x, y = np.arange(width) - arrow.tail[0], np.arange(height) - arrow.tail[1]
    along = y[:, None] * chord[1] + x * chord[0]
    return np.asarray((distance_to(view.own) < 2 * view.stroke + 5) & (along < _SHAFT), np.bool_)


def _on(view: View, free: Mask, rng: np.random.Generator, most: int) -> list[Hypothesis]:
    far = distance_to(view.own)
    ys, xs = np.nonzero(view.own)
    centre = np.array([xs.mean(), ys.mean()])
    size = float(np.sqrt(xs.var() + ys.var())) + view.stroke
    gaps = _gaps(free, centre)
    nearest = float(gaps.min())
    close = gaps <= nearest + max(2.0, _CLOSE * size)
    band = close & (far <= float(far[close].min()) + max(2.0, view.stroke))
    # the ink's own colour is no good sign either: the ink may be wider than what was found of it
    surroundings = free & (far > max(_SURROUNDINGS * size, 6.0))
    cells = cells_of(band, rng, most=_CANDIDATES)
    fits = agreement(view.colours, cells, like=band, unlike=view.own | surroundings, rng=rng)
    away = (np.hypot(*(cells - centre).T) - nearest) / size
    score = fits * np.exp(-_NEAR * away)
    first = cells[int(score.argmax())].astype(np.float64)
    found: list[Hypothesis] = [(first[None], None)]
    found.append((_nearest(free, 2 * centre - first)[None], None))
    wide = cells_of(free & (far <= view.stroke + 0.5 * size), rng, most=_CANDIDATES)
    if len(wide):
        stands_out = 1 - density(view.colours, wide, like=surroundings, rng=rng)
        away = np.hypot(*(wide - centre).T) / size
        best = int((stands_out * np.exp(-away)).argmax())
        found.append((wide[[best]].astype(np.float64), None))
    if most > 1:
        found.append((_scatter(cells[score > _GOOD * score.max()], first, most), None))
    return found


def _beside(
    view: View, free: Mask, beside: Beside, rng: np.random.Generator, most: int
) -> list[Hypothesis]:
    limits = np.array(free.shape[::-1]) - 1
    height, width = free.shape
    x, y = np.arange(width) - beside.start[0], np.arange(height) - beside.start[1]
    unlike = free & (y[:, None] * beside.towards[1] + x * beside.towards[0] < 0)
    best: list[tuple[float, NDArray[np.float64]]] = []
    for away, trust in _AWAY:
        aims = (
            beside.start
            + beside.towards * (away * beside.length + 2.0)
            + np.outer(_ALONG, beside.along * beside.length)
        )
        cells = np.stack([_nearest(free, aim) for aim in np.clip(aims, 0, limits)])
        seen = density(view.colours, cells.astype(np.int64), like=unlike, rng=rng)
        score = trust * (1 - seen) * (1 - np.abs(_ALONG))
        at = int(score.argmax())
        best.append((float(score[at]), cells[at]))
    best.sort(key=lambda scored: -scored[0])
    found: list[Hypothesis] = [(cell[None], None) for _, cell in best]
    if most > 1:
        found.append((np.stack([cell for _, cell in best[:2]]), None))
    return found


def _gaps(free: Mask, to: NDArray[np.floating]) -> NDArray[np.float32]:
    """Distance of every free cell from a point xy, infinite for the others."""
    height, width = free.shape
    x = (np.arange(width, dtype=np.float32) - np.float32(to[0])) ** 2
    y = (np.arange(height, dtype=np.float32) - np.float32(to[1])) ** 2
    gaps = np.where(free, np.sqrt(y[:, None] + x), np.inf)
    return np.asarray(gaps, np.float32)


def _nearest(free: Mask, to: NDArray[np.floating]) -> NDArray[np.float64]:
    row, column = np.unravel_index(int(_gaps(free, to).argmin()), free.shape)
    return np.array([column, row], np.float64)


def _scatter(cells: NDArray[np.int64], first: NDArray[np.float64], count: int) -> Cells:
    """``first`` and up to ``count`` - 1 of ``cells``, each as far from the others as it can be."""
    chosen = [first]
    gap = np.hypot(*(cells - first).T)
    for _ in range(count - 1):
        at = int(gap.argmax())
        if gap[at] < 1.0:
            break
        chosen.append(cells[at].astype(np.float64))
        gap = np.minimum(gap, np.hypot(*(cells - cells[at]).T))
    return np.stack(chosen)
