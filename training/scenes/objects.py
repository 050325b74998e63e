"""Single things: a silhouette bent and placed, a material, light, a shadow on what lies behind."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from training.scenes import materials
from training.scenes.board import FRACTION, Alpha, Board, Box, dress_up, fill, fixed
from training.scenes.garments import CLOTHES
from training.scenes.known import lay_cut_out
from training.scenes.materials import Colour, Texture
from training.scenes.noise import enlarge
from training.scenes.outlines import GENERAL, Curve, Shape, curve, strip
from training.scenes.photos import PhotoPool

CUT_OUTS = 0.4  # share of the things that are real ones, where objects of photos are known
HANGER = curve([(-0.55, -0.88), (0, -1.12), (0.55, -0.88)])
HOOK = curve([(0, -1.1), (0.02, -1.25), (0.1, -1.32), (0.06, -1.42), (-0.06, -1.4)])


def placement(
    rng: np.random.Generator,
    *,
    centre: tuple[float, float],
    size: float,
    turn: float,
    bend: float = 0.08,
    squeeze: float = 0.25,
    slant: float = 0.08,
) -> Callable[[Curve], Curve]:
    """A map from the unit square to pixels: bends, squeezes, slants, turns and moves.

    ``size`` is half the side in pixels, ``turn`` in radians.
    """
    amount, rate = rng.normal(0, bend, (2, 2)), rng.uniform(1, 3.5, (2, 2))
    phase = rng.uniform(0, 6.28, (2, 2))
    stretch = np.exp(rng.normal(0, squeeze, 2))
    stretch /= stretch.max()
    shear, tilt = rng.normal(0, slant), rng.normal(0, slant, 2)
    mirror = rng.choice([-1, 1])
    axes = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    scale = np.array([[stretch[0], shear], [0, stretch[1]]])

    def change(points: Curve) -> Curve:
        xy = points * (mirror, 1.0)
        waves = np.sin(xy[:, ::-1, None] * rate + phase)  # x moves with y, y with x
        xy = (xy + (amount * waves).sum(-1)) @ scale.T
        xy /= np.clip(1 + xy @ tilt, 0.6, 1.6)[:, None]
        return (xy @ axes.T + centre).astype(np.float32)

    return change


def paint_shape(
    board: Board,
    rng: np.random.Generator,
    shape: Shape,
    texture: Callable[[Box], Texture],
    identity: int,
    *,
    feather: float,
    relief: float = 0.0,
    shadow: float = 0.0,
    band: Colour | None = None,
) -> None:
    """Paint ``shape`` (pixels) with the texture of its window; nothing where it lies outside."""
    box = board.clip(shape.contours)
    if box is None:
        return
    side = float(max(np.ptp(np.concatenate(shape.contours), axis=0)))
    if shadow > 0:
        cast(board, rng, shape, side, shadow)
    alpha = fill(shape, box, feather=feather)
    surface = texture(box)
    if shape.bands or shape.lines:
        second = band if band is not None else materials.contrasting(rng, surface.mean((0, 1)))
        seam = float(rng.choice([rng.uniform(0.5, 0.9), rng.uniform(1.05, 1.3)], p=[0.8, 0.2]))
        dress_up(
            surface, shape, box, band=second, seam=seam, width=side * rng.uniform(0.004, 0.014)
        )
    if relief > 0 and min(box.h, box.w) > 12:
        surface *= rounding(rng, alpha, relief)[..., None]
    board.paint(box, alpha, surface, identity)


def rounding(rng: np.random.Generator, alpha: Alpha, strength: float) -> Alpha:
    """Light over a surface that bulges inside ``alpha``, about 1, perhaps with a highlight."""
    h, w = alpha.shape
    k = min(1.0, 72 / max(h, w))
    small = cv2.resize(
        alpha, (max(4, round(w * k)), max(4, round(h * k))), interpolation=cv2.INTER_AREA
    )
    reach = max(small.shape) * rng.uniform(0.05, 0.16)
    height = np.sqrt(np.clip(cv2.GaussianBlur(small, (0, 0), reach), 0, 1)) * small
    height = cv2.GaussianBlur(height, (0, 0), max(0.8, reach * 0.35)) * (2.5 * reach)
    gx = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=0.125)
    gy = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=0.125)
    angle = rng.normal(-np.pi / 2, 0.9)
    normal = 1 / np.sqrt(1 + gx * gx + gy * gy)
    facing = -(np.cos(angle) * gx + np.sin(angle) * gy) * normal
    light = 1 + strength * (0.9 * facing + 0.8 * (normal - 0.85))
    if rng.random() < 0.3:
        light += rng.uniform(0.2, 1.2) * np.clip(
            (0.6 * normal + 0.6 * facing), 0, 1
        ) ** rng.uniform(12, 40)
    return enlarge(np.clip(light, 0.25, 2.2).astype(np.float32), h, w)


def cast(
    board: Board, rng: np.random.Generator, shape: Shape, side: float, strength: float
) -> None:
    """Darken what lies behind ``shape``: a soft shadow to one side and a tight one in contact."""
    kinds = ((rng.uniform(0.03, 0.15), rng.uniform(0, 0.12), 1.0), (0.015, 0.01, 0.6))
    for soft, far, deep in kinds[: 2 if side > 60 else 1]:
        angle = rng.uniform(0.2, 2.9)
        shift = (np.array([np.cos(angle), np.sin(angle)], np.float32) * far * side).astype(
            np.float32
        )
        blur = max(0.7, soft * side)
        moved = [c + shift for c in shape.contours]
        box = board.clip(moved, margin=int(3 * blur) + 1)
        if box is None:
            continue
        k = min(1.0, 3 / blur)  # a blurred thing needs few pixels
        h, w = max(2, round(box.h * k)), max(2, round(box.w * k))
        cover = np.zeros((h, w), np.uint8)
        scale = np.array([w / box.w, h / box.h], np.float32)
        origin, small = np.array([box.x0, box.y0], np.float32), Box(0, 0, w, h)
        for part in shape.parts:
            curves = [fixed((c + shift - origin) * scale, small) for c in part]
            cv2.fillPoly(cover, curves, 255, cv2.LINE_AA, FRACTION)
        soft_cover = cv2.GaussianBlur(
            cover, (0, 0), max(0.6, blur * k), borderType=cv2.BORDER_CONSTANT
        )
        dark = cv2.convertScaleAbs(soft_cover, alpha=strength * deep)
        light = cv2.resize(255 - dark, (box.w, box.h), interpolation=cv2.INTER_LINEAR)
        board.shade(box, np.asarray(light, np.uint8))


def scatter(
    board: Board,
    rng: np.random.Generator,
    photos: PhotoPool,
    *,
    count: int,
    clothes: float,
    feather: float,
) -> None:
    """Paint ``count`` things anywhere on ``board``; ``clothes`` is the share of garments."""
    side = min(board.h, board.w)
    sizes = np.sort(side * np.exp(rng.uniform(np.log(0.06), np.log(0.42), count)))
    rng.shuffle(sizes)
    shadow = rng.uniform(0.1, 0.6) if rng.random() < 0.7 else 0.0
    last: Colour | None = None
    where: tuple[float, float] | None = None
    for size in sizes:
        is_cloth = rng.random() < clothes
        shape = _choice(rng, CLOTHES if is_cloth else GENERAL)(rng)
        centre = (rng.uniform(0.08, 0.92) * board.w, rng.uniform(0.08, 0.92) * board.h)
        colour = materials.dye(rng)
        if (
            last is not None and where is not None and rng.random() < 0.15
        ):  # a like-coloured neighbour
            colour = materials.near(rng, last, 16)
            centre = (where[0] + rng.normal(0, 1.1) * size, where[1] + rng.normal(0, 1.1) * size)
        elif rng.random() < 0.1:  # nearly the colour of what lies behind
            y, x = int(np.clip(centre[1], 0, board.h - 1)), int(np.clip(centre[0], 0, board.w - 1))
            colour = materials.near(rng, board.picture[y, x].astype(np.float32), 24)
        turn = rng.normal(0, 0.35) if rng.random() < 0.7 else rng.uniform(0, 6.28)
        if photos.known and rng.random() < CUT_OUTS:
            laid = lay_cut_out(
                board, rng, photos,
                centre=centre, size=float(size), turn=float(turn), feather=feather,
            )  # fmt: skip
            if laid:
                continue
        placed = shape.mapped(placement(rng, centre=centre, size=float(size), turn=turn))
        make = materials.cloth if is_cloth else materials.surface

        texture = _textured(rng, make, colour, photos)
        paint_shape(
            board, rng, placed, texture, board.new_object(), feather=feather,
            relief=float(rng.uniform(0, 0.6)), shadow=shadow * float(rng.random() < 0.85),
        )  # fmt: skip
        last, where = colour, centre


def spread(
    board: Board, rng: np.random.Generator, photos: PhotoPool, *, count: int, feather: float
) -> None:
    """Paint ``count`` of one article in several colours, side by side, perhaps on hangers."""
    side = float(np.sqrt(board.h * board.w))
    is_cloth = rng.random() < 0.75
    maker = _choice(rng, CLOTHES if is_cloth else GENERAL)
    article = maker(rng)
    size = side * rng.uniform(0.5, 0.9) / np.sqrt(count + 1)
    across = max(1, round(float(np.sqrt(count * board.w / board.h))))
    down = -(-count // across)
    turn, shadow = rng.normal(0, 0.2), rng.uniform(0.1, 0.6)
    hangers = is_cloth and rng.random() < 0.4
    for k in range(count):
        column, row = k % across + 0.5 * (k // across % 2), k // across
        x = (column + 0.5 + rng.normal(0, 0.1)) / (across + 0.5 * (down > 1)) * board.w
        y = (row + 0.5 + rng.normal(0, 0.1)) / down * board.h
        change = placement(
            rng, centre=(float(x), float(y)), size=float(size), bend=0.04, squeeze=0.08,
            turn=float(turn + rng.normal(0, 0.12)),
        )  # fmt: skip
        if hangers:
            wire = Shape(((strip(HANGER, 0.03),), (strip(HOOK, 0.025),)))
            tone = materials.contrasting(rng, board.picture[board.h // 2, board.w // 2])
            plain = _textured(rng, materials.surface, tone, photos)
            paint_shape(
                board,
                rng,
                wire.mapped(change),
                plain,
                board.new_object(silent=True),
                feather=feather,
            )
        colour = materials.dye(rng)
        make = materials.cloth if is_cloth else materials.surface
        shape = (article if rng.random() < 0.8 else maker(rng)).mapped(change)
        paint_shape(
            board, rng, shape, _textured(rng, make, colour, photos), board.new_object(),
            feather=feather, relief=float(rng.uniform(0, 0.4)), shadow=float(shadow),
        )  # fmt: skip


def _textured(
    rng: np.random.Generator, make: Callable[..., Texture], colour: Colour, photos: PhotoPool
) -> Callable[[Box], Texture]:
    return lambda box: make(rng, box.h, box.w, colour=colour, photos=photos)


def _choice(
    rng: np.random.Generator, makers: tuple[Callable[[np.random.Generator], Shape], ...]
) -> Callable[[np.random.Generator], Shape]:
    return makers[int(rng.integers(len(makers)))]
