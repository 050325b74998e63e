"""Real objects: photos whose objects somebody outlined, as they are, or cut out and laid elsewhere.

Drawn shapes teach where an edge may be; what a coat, a chair or a cat looks like only photos do.
Cutting objects out and laying them on other pictures follows G. Ghiasi et al., Simple copy-paste
is a strong data augmentation method for instance segmentation, 2021.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.backgrounds import relit
from training.scenes.board import Board, Box
from training.scenes.photos import PhotoPool
from training.scenes.scene import Picture

_LEAST_SIDE = 24  # px of the photo, a cut-out's longer side: below there is nothing to see
_BORDER = 0.02  # of an object's box' sides, up to which it may lie on the photo's border
_TRIES = 6
_ENLARGED = 4.0  # times, at most, that something is larger than on its photo


def photo_with_objects(rng: np.random.Generator, h: int, w: int, photos: PhotoPool) -> Board:
    """A board (h, w) of a part of one of the pool's ``known`` photos, with the objects on it.

    The part lies around one of the objects, which takes from an eighth to nearly all of it, or
    less where it would be enlarged too much.
    """
    index = int(rng.choice(photos.known))
    picture, names = photos[index], photos.objects(index)
    height, width = names.shape
    window = Box(0, 0, width, height)
    ids = np.unique(names[names > 0])
    if len(ids):
        window = _part_around(rng, names == rng.choice(ids), h / w, least=w / _ENLARGED)
    sizes = np.bincount(names.ravel())
    scale = h * w / (window.h * window.w)
    part, names = picture[window.window], names[window.window]
    if rng.random() < 0.5:
        part, names = part[:, ::-1], names[:, ::-1]
    how = cv2.INTER_AREA if window.h > h else cv2.INTER_CUBIC
    view = cv2.resize(np.ascontiguousarray(part), (w, h), interpolation=how)
    board = Board(relit(rng, np.asarray(view, np.uint8)))
    for k in np.unique(names[names > 0]).tolist():
        share = cv2.resize((names == k).astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
        board.name(share >= 0.5, board.new_object(), whole=round(sizes[k] * scale))
    return board


def _part_around(
    rng: np.random.Generator, mask: NDArray[np.bool_], aspect: float, *, least: float
) -> Box:
    """A window with sides h : w = ``aspect`` that holds the object of ``mask`` if it can.

    It is ``least`` pixels of the photo wide, if the photo is.
    """
    height, width = mask.shape
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    most = min(height / aspect, width)
    needed = max((ys[-1] + 1 - ys[0]) / aspect, xs[-1] + 1 - xs[0])
    across = min(most, max(least, needed / float(np.exp(rng.uniform(np.log(0.12), -0.05)))))
    w, h = int(max(2, min(width, across))), int(max(2, min(height, across * aspect)))
    y = _start(rng, ys[0], ys[-1] + 1, h, height)
    x = _start(rng, xs[0], xs[-1] + 1, w, width)
    return Box(x, y, x + w, y + h)


def _start(rng: np.random.Generator, first: int, end: int, length: int, size: int) -> int:
    low, high = sorted((end - length, first))
    return int(np.clip(rng.integers(low, high + 1), 0, size - length))


def lay_cut_out(
    board: Board,
    rng: np.random.Generator,
    photos: PhotoPool,
    *,
    centre: tuple[float, float],
    size: float,
    turn: float,
    feather: float,
) -> bool:
    """Lay an object of one of the ``known`` photos on ``board``; False if none was fit for it.

    ``size`` is half its longer side in pixels, ``turn`` in radians. Objects that their photo's
    border cuts are left out.
    """
    found = _cut_out(rng, photos)
    if found is None:
        return False
    picture, alpha = found
    scale = min(_ENLARGED, 2 * size / max(alpha.shape))
    if scale < 1:  # an affine map alone would leave out pixels
        less = tuple(max(4, round(n * scale)) for n in alpha.shape[::-1])
        picture = np.asarray(cv2.resize(picture, less, interpolation=cv2.INTER_AREA), np.uint8)
        alpha = np.asarray(cv2.resize(alpha, less, interpolation=cv2.INTER_AREA), np.float32)
        scale = 1.0
    rows, columns = alpha.shape
    turned = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned[:, 0] *= rng.choice([-1, 1])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (columns / 2, rows / 2)
    box = board.clip([(corners @ turned.T + centre).astype(np.float32)])
    if box is None:
        return False
    shift = np.array(centre) - (box.x0, box.y0) - turned @ (columns / 2, rows / 2)
    matrix = np.column_stack([turned, shift])
    to = (box.w, box.h)
    texture = cv2.warpAffine(relit(rng, picture), matrix, to, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpAffine(alpha, matrix, to)
    if feather > 0.25:
        cover = cv2.GaussianBlur(cover, (0, 0), feather)
    board.paint(box, np.asarray(cover, np.float32), texture.astype(np.float32), board.new_object())
    return True


def _cut_out(
    rng: np.random.Generator, photos: PhotoPool
) -> tuple[Picture, NDArray[np.float32]] | None:
    for _ in range(_TRIES):
        index = int(rng.choice(photos.known))
        names = photos.objects(index)
        ids = np.unique(names[names > 0])
        if not len(ids):
            continue
        mask = names == rng.choice(ids)
        ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        part = mask[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
        rim = sum(int(edge.sum()) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
        if max(part.shape) >= _LEAST_SIDE and rim <= _BORDER * 2 * sum(part.shape):
            window = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
            return np.ascontiguousarray(photos[index][window]), part.astype(np.float32)
    return None
