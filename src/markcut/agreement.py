"""Colour agreement: which cells look like what a mark means, and not like what it leaves out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Cells = NDArray[np.int64]  # (n, 2) xy
Lab = NDArray[np.float32]  # (n, 3)

_NEAR = 11.0  # colour distance, 8-bit Lab, within which two cells are of one material
# lightness counts less than hue: folds and shadows change it
_WEIGHTS = np.array([0.6, 1.0, 1.0], np.float32)
_SAMPLES = 160  # cells looked at on each side


def cells_of(mask: Mask, rng: np.random.Generator, *, most: int) -> Cells:
    """Up to ``most`` cells of ``mask`` (h, w), drawn evenly, xy."""
    flat = np.flatnonzero(mask)
    if len(flat) > most:
        flat = np.sort(rng.choice(flat, most, replace=False))
    y, x = np.divmod(flat, mask.shape[1])
    return np.stack([x, y], axis=1)


def agreement(
    colours: NDArray[np.uint8],
    cells: Cells,
    *,
    like: Mask,
    unlike: Mask | None = None,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """How well each of ``cells`` (n, 2) agrees with the colours of ``like``, 0..1.

    ``colours`` is Lab (h, w, 3). A cell scores the share of ``like`` that has its colour, less
    where ``unlike`` has that colour too; the best cell scores 1. With nothing to compare, all do.
    """
    mine = _lab(colours, cells)
    support = _density(mine, _lab(colours, cells_of(like, rng, most=_SAMPLES)))
    if unlike is not None and unlike.any():
        against = _density(mine, _lab(colours, cells_of(unlike, rng, most=_SAMPLES)))
        support = support * support / (support + against + 1e-6)
    top = float(support.max(initial=0.0))
    return support / top if top > 0 else np.ones(len(cells))


def density(
    colours: NDArray[np.uint8], cells: Cells, *, like: Mask, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The share of ``like`` that has the colour of each of ``cells`` (n, 2), 0..1."""
    return _density(_lab(colours, cells), _lab(colours, cells_of(like, rng, most=_SAMPLES)))


def _lab(colours: NDArray[np.uint8], cells: Cells) -> Lab:
    lab: Lab = colours[cells[:, 1], cells[:, 0]] * _WEIGHTS
    return lab


def _density(mine: Lab, theirs: Lab) -> NDArray[np.float64]:
    if not len(theirs):
        return np.zeros(len(mine))
    apart = (mine**2).sum(axis=1)[:, None] + (theirs**2).sum(axis=1) - 2 * (mine @ theirs.T)
    share: NDArray[np.float32] = np.exp(apart / (-2 * _NEAR**2)).mean(axis=1)
    return share.astype(np.float64)
