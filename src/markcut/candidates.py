"""What can be said about every mask that the decoder proposes for a mark: one row of numbers each.

Everything is measured on the decoder's own grid, where masks are small, and for all candidates
at once. :func:`feature_table` is what mask selection weighs, and what its weights are fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markcut.interior import hull, interior
from markcut.marks import Mark
from markcut.meaning import meaning
from markcut.views import ink_cells

Grid = NDArray[np.float32]  # (s, s), the decoder's masks

FEATURES = (
    "iou",  # predicted by the decoder, 0..1
    "object",  # the decoder's probability that there is an object
    "stability",  # area at a threshold of +1 over area at -1
    "prompts",  # share of the mark's hypotheses whose first point lies in the mask
    "own_prompts",  # share of this hypothesis' foreground points in the mask
    "consensus",  # mean over the other hypotheses of the best IoU with one of their masks
    "size",  # log10 of the mask's share of the picture
    "ink_share",  # share of the mask that is ink
    "ink_iou",  # IoU of mask and ink
    "on_ink",  # share of the ink that the mask holds
    "inside",  # share of the mask in the convex hull of the ink
    "fill",  # share of what the ink goes round that the mask holds; 0 where it does not
    "border",  # share of the picture's border that the mask touches
    "single",  # 1 for the decoder's single-mask answer
    "first",  # 1 for the first hypothesis
    "ragged",  # length of the mask's edge over the root of its area: 4 for a square
)
"""Columns of the table, in order."""

_SAMPLES = 4  # pixels looked at per grid cell and axis
_CELLS = 128  # a mark's shape is judged at most this large


@dataclass(frozen=True)
class MarkGrids:
    """A mark on the decoder's grid: the share of every cell that is ink, hull, or gone round."""

    ink: Grid
    hull: Grid
    inside: Grid
    meaning: str


def mark_grids(mark: Mark, side: int, *, height: int, width: int) -> MarkGrids:
    """``mark`` of a picture (height, width), on a grid of ``side`` cells across the picture."""
    rows, columns = mark.ink.shape
    stride = 1
    while max(rows, columns) > _CELLS * stride:
        stride *= 2
    x, y = mark.origin
    window = (x, y, min(width, x + columns), min(height, y + rows))
    cells = ink_cells(mark, window, stride)

    size = (height, width)
    way = meaning(mark.kind, cells)
    inside = interior(cells) if way == "round" else np.zeros((1, 1), np.bool_)
    return MarkGrids(
        ink=ink_grid(mark, side, height=height, width=width),
        hull=_looked_up(hull(cells), (x, y), stride, side, size),
        inside=_looked_up(inside, (x, y), stride, side, size),
        meaning=way,
    )


def ink_grid(mark: Mark, side: int, *, height: int, width: int) -> Grid:
    """The share of every cell that is the ink of ``mark``; arguments as for `mark_grids`."""
    step = int(min(width, height) / side / _SAMPLES)
    if step == 0:  # cells are hardly larger than pixels
        return _looked_up(mark.ink, mark.origin, 1, side, (height, width))
    sampled = np.ascontiguousarray(mark.ink[step // 2 :: step, step // 2 :: step])
    ys, xs = np.divmod(np.flatnonzero(sampled), sampled.shape[1])  # many times nonzero's speed
    column = ((xs + 0.5) * step + mark.origin[0]) * (side / width)
    row = ((ys + 0.5) * step + mark.origin[1]) * (side / height)
    at = np.clip(row.astype(int), 0, side - 1) * side + np.clip(column.astype(int), 0, side - 1)
    samples = height * width / (side * side * step * step)
    share = np.minimum(np.bincount(at, minlength=side * side) / samples, 1)
    return share.astype(np.float32).reshape(side, side)


def _looked_up(
    region: NDArray[np.bool_], origin: tuple[int, int], step: int, side: int, size: tuple[int, int]
) -> Grid:
    """How much of every grid cell ``region``, whose cells are ``step`` pixels, covers.

    Looked up at 2 x 2 places in every cell; ``size`` is (height, width) of the picture.
    """
    places = (np.arange(2 * side) + 0.5) / (2 * side)
    column = np.floor((places * size[1] - origin[0]) / step).astype(int)
    row = np.floor((places * size[0] - origin[1]) / step).astype(int)
    columns = np.flatnonzero((column >= 0) & (column < region.shape[1]))
    rows = np.flatnonzero((row >= 0) & (row < region.shape[0]))
    seen = np.zeros((2 * side, 2 * side), np.float32)
    if len(rows) and len(columns):
        part = region[np.ix_(row[rows], column[columns])]
        seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = part
    share = seen[::2, ::2] + seen[1::2, ::2] + seen[::2, 1::2] + seen[1::2, 1::2]
    return np.asarray(share / 4, np.float32)


def feature_table(
    logits: NDArray[np.float32],
    predicted: NDArray[np.float32],
    object_logits: NDArray[np.float32],
    points: NDArray[np.float32],
    labels: NDArray[np.int32],
    grids: MarkGrids,
) -> NDArray[np.float32]:
    """The features of all candidates of one mark: (H, M, len(FEATURES)).

    ``logits`` (H, M, s, s) are the decoder's masks for H hypotheses, ``predicted`` (H, M) its
    IoUs, ``object_logits`` (H,) its object scores; ``points`` (H, P, 2) are the prompts in cells
    of the grid, ``labels`` (H, P).
    """
    hypotheses, masks, side = logits.shape[:3]
    count = hypotheses * masks
    flat = logits.reshape(count, side * side)
    binary = (flat > 0).astype(np.float32)
    area = binary @ np.ones(side * side, np.float32)
    some = np.maximum(area, 1.0)
    ink = grids.ink.ravel()
    ink_area = max(float(ink.sum()), 1e-6)
    inside_area = max(float(grids.inside.sum()), 1e-6)
    border = np.ones((side, side), np.float32)
    border[1:-1, 1:-1] = 0
    # vector by vector: one product of so few columns wakes BLAS' threads, which cost 50 times more
    in_ink, in_hull, in_inside, on_border = (
        binary @ region
        for region in (ink, grids.hull.ravel(), grids.inside.ravel(), border.ravel())
    )
    held = _held(binary.reshape(hypotheses, masks, side, side), points, labels)

    table = np.zeros((count, len(FEATURES)), np.float32)
    column = {name: table[:, index] for index, name in enumerate(FEATURES)}
    column["iou"][:] = np.nan_to_num(predicted).ravel()
    column["object"][:] = np.repeat(1 / (1 + np.exp(-np.clip(object_logits, -30, 30))), masks)
    column["ragged"][:] = _edge_lengths(flat.reshape(count, side, side) > 0) / np.sqrt(some)
    # row by row: counting along an axis is many times slower
    sure = np.array([np.count_nonzero(row) for row in flat > 1])
    maybe = np.array([np.count_nonzero(row) for row in flat > -1])
    column["stability"][:] = sure / np.maximum(maybe, 1)
    column["prompts"][:], column["own_prompts"][:] = held
    column["consensus"][:] = _consensus(binary, area, hypotheses, masks)
    column["size"][:] = np.log10(some / (side * side))
    column["ink_share"][:] = in_ink / some
    column["ink_iou"][:] = in_ink / np.maximum(area + ink_area - in_ink, 1e-6)
    column["on_ink"][:] = in_ink / ink_area
    column["inside"][:] = in_hull / some
    column["fill"][:] = in_inside / inside_area
    column["border"][:] = on_border / border.sum()
    column["single"][:] = np.tile(np.arange(masks) == 0, hypotheses)
    column["first"][:] = np.repeat(np.arange(hypotheses) == 0, masks)
    return table.reshape(hypotheses, masks, len(FEATURES))


def _held(
    binary: NDArray[np.float32], points: NDArray[np.float32], labels: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Per candidate: the share of all first points, and of its own points, in the mask."""
    hypotheses, masks, side = binary.shape[:3]
    cells = np.clip(np.floor(points), 0, side - 1).astype(int)
    foreground = labels == 1
    first = np.argmax(foreground, axis=1)
    at = cells[np.arange(hypotheses), first]
    everybody = binary[:, :, at[:, 1], at[:, 0]].mean(axis=2)
    own = np.zeros((hypotheses, masks), np.float32)
    for index in range(hypotheses):
        mine = cells[index][foreground[index]]
        if len(mine):
            own[index] = binary[index][:, mine[:, 1], mine[:, 0]].mean(axis=1)
    return everybody.ravel(), own.ravel()


def _edge_lengths(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Sides of cells between each of ``masks`` (n, s, s) and what is not; its picture ends free."""
    across = masks[:, :, 1:] != masks[:, :, :-1]
    down = masks[:, 1:] != masks[:, :-1]
    lengths = [np.count_nonzero(a) + np.count_nonzero(b) for a, b in zip(across, down, strict=True)]
    return np.array(lengths, np.float32)


def _consensus(
    binary: NDArray[np.float32], area: NDArray[np.float32], hypotheses: int, masks: int
) -> NDArray[np.float32]:
    """Per candidate: how well the other hypotheses can say the same; 1 when there are none."""
    if hypotheses == 1:
        return np.ones(len(binary), np.float32)
    iou = pairwise_iou(binary, area).reshape(len(binary), hypotheses, masks).max(axis=2)
    own = iou[np.arange(len(binary)), np.repeat(np.arange(hypotheses), masks)]
    mean: NDArray[np.float32] = (iou.sum(axis=1) - own) / (hypotheses - 1)
    return mean


def pairwise_iou(binary: NDArray[np.float32], area: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of every two rows of ``binary`` (n, cells), 0 or 1 each; 0 where both are empty."""
    both = binary @ binary.T
    either = area[:, None] + area[None] - both
    iou: NDArray[np.float32] = both / np.maximum(either, 1.0)
    return iou
