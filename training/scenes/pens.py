"""Pens: what a stroke looks like on the picture, and which pixels count as its ink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.scene import Picture
from training.scenes.strokes import Box, Stroke, bounds, coverage, low_noise

INK_SHARE = 0.30  # a pixel is ink where at least this much of its colour is

Colour = tuple[int, int, int]  # RGB

_STYLES = {
    "finger": 0.34, "pen": 0.18, "marker": 0.18, "highlighter": 0.08, "crayon": 0.09,
    "spray": 0.05, "neon": 0.08,
}  # fmt: skip
_COLOURS: tuple[tuple[Colour, float], ...] = (
    ((235, 30, 40), 0.28),
    ((40, 190, 70), 0.12),
    ((35, 90, 235), 0.12),
    ((12, 12, 14), 0.16),
    ((250, 250, 250), 0.12),
    ((255, 225, 30), 0.10),
    ((245, 70, 170), 0.03),
    ((255, 140, 20), 0.03),
    ((30, 215, 235), 0.02),
    ((150, 60, 220), 0.02),
)
_SOFTNESS = 256  # side of the picture patches in which shadows and glows are blurred


@dataclass(frozen=True)
class Pen:
    """A pen in somebody's hand; widths and lengths in pixels."""

    style: str
    colour: Colour
    opacity: float
    width: float
    taper: float = 0.0  # how much thinner the ends are, 0..1
    uneven: float = 0.0  # how much the width varies on the way, 0..1
    nib: tuple[float, float] | None = None
    flat: bool = False
    antialias: bool = True
    outline: Colour | None = None
    outline_width: float = 0.0
    shadow: float = 0.0  # darkness of a soft shadow, 0..1


def choose_colour(rng: np.random.Generator) -> Colour:
    """A colour people draw with: red most, then black, green, blue and white, sometimes any."""
    if rng.random() < 0.08:
        r, g, b = rng.integers(0, 256, 3).tolist()
        return (r, g, b)
    weights = np.array([w for _, w in _COLOURS])
    base = _COLOURS[int(rng.choice(len(_COLOURS), p=weights / weights.sum()))][0]
    r, g, b = np.clip(np.array(base) + rng.normal(0, 14, 3), 0, 255).astype(int).tolist()
    return (r, g, b)


def choose_pen(rng: np.random.Generator, *, width: float) -> Pen:
    """Any pen whose strokes are about ``width`` pixels wide."""
    style = str(rng.choice(list(_STYLES), p=np.array(list(_STYLES.values()))))
    pen = Pen(style, choose_colour(rng), opacity=1.0, width=width)
    antialias = bool(rng.random() > 0.06)
    if style == "finger":
        outline: Colour | None = None
        if rng.random() < 0.15:
            outline = (255, 255, 255) if rng.random() < 0.6 else (10, 10, 10)
        return replace(
            pen, antialias=antialias, outline=outline,
            outline_width=max(1.0, width * float(rng.uniform(0.12, 0.3))),
            shadow=float(rng.uniform(0.2, 0.5)) if rng.random() < 0.12 else 0.0,
        )  # fmt: skip
    if style == "pen":
        return replace(
            pen, opacity=float(rng.uniform(0.8, 1.0)), taper=float(rng.uniform(0.1, 0.7)),
            uneven=float(rng.uniform(0.05, 0.35)), antialias=antialias,
        )  # fmt: skip
    if style == "marker":
        nib = None
        if rng.random() < 0.35:
            angle = rng.uniform(0.3, 1.3)
            nib = (float(np.cos(angle)), float(-np.sin(angle)))
        return replace(
            pen, opacity=float(rng.uniform(0.6, 1.0)), taper=float(rng.uniform(0.0, 0.25)),
            uneven=float(rng.uniform(0.0, 0.2)), nib=nib, flat=bool(rng.random() < 0.3),
        )  # fmt: skip
    if style == "highlighter":
        return replace(
            pen, colour=_bright(rng, pen.colour), opacity=float(rng.uniform(0.6, 0.95)),
            width=width * 1.5, flat=bool(rng.random() < 0.6),
        )  # fmt: skip
    if style == "crayon":
        return replace(
            pen, opacity=float(rng.uniform(0.75, 1.0)), taper=float(rng.uniform(0.0, 0.4)),
            uneven=float(rng.uniform(0.1, 0.4)),
        )  # fmt: skip
    if style == "neon":
        return replace(pen, colour=_bright(rng, pen.colour))
    return replace(pen, opacity=float(rng.uniform(0.75, 1.0)))


def _bright(rng: np.random.Generator, colour: Colour) -> Colour:
    """The colour at full saturation, as text markers and neon tubes have it."""
    c = np.array(colour, np.float32)
    if c.max() - c.min() < 60:
        c = np.array([(255, 240, 40), (120, 255, 80), (255, 90, 190)][int(rng.integers(3))])
    c = (c - c.min()) / (c.max() - c.min()) * 225 + 30
    r, g, b = c.astype(int).tolist()
    return (r, g, b)


def profile(rng: np.random.Generator, pen: Pen, count: int) -> NDArray[np.float32]:
    """The stroke's width at ``count`` points on the way, pixels: pressure and speed."""
    widths = np.full(count, pen.width, np.float32)
    if pen.uneven > 0:
        widths *= 1 + pen.uneven * 0.5 * low_noise(rng, count)
    if pen.taper > 0 and count > 2:
        t = np.linspace(0, 1, count, dtype=np.float32)
        lead, tail = rng.uniform(0.03, 0.15), rng.uniform(0.08, 0.4)
        widths *= 1 - 0.6 * pen.taper * np.clip(1 - t / lead, 0, 1)
        widths *= 1 - pen.taper * np.clip(1 - (1 - t) / tail, 0, 1)
    return np.maximum(widths, min(1.2, pen.width)).astype(np.float32)


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.float32]:
    """Paper's tooth: noise 0..1 of two sizes, (512, 512), the same in every process."""
    noise = np.random.default_rng(7).random((512, 512), np.float32)
    mixed = 0.55 * noise + 0.45 * cv2.GaussianBlur(noise, (0, 0), 2.0) * 3 - 0.45
    level = (mixed - mixed.min()) / (mixed.max() - mixed.min())
    return np.asarray(level, np.float32)


def _grainy(rng: np.random.Generator, cover: NDArray[np.uint8], size: float) -> NDArray[np.uint8]:
    grain = _grain()
    height, width = cover.shape
    size = max(1.0, size)
    h, w = min(512, int(height / size) + 1), min(512, int(width / size) + 1)
    y, x = int(rng.integers(0, 513 - h)), int(rng.integers(0, 513 - w))
    tooth = cv2.resize(grain[y : y + h, x : x + w], (width, height))
    edge = float(rng.uniform(0.3, 0.5))
    return np.asarray(cover * np.clip((tooth - edge) * 6 + 0.75, 0.08, 1), np.uint8)


def _sprayed(
    rng: np.random.Generator, strokes: Sequence[Stroke], box: Box, pen: Pen
) -> NDArray[np.uint8]:
    """Droplets around the path, dense in the middle."""
    cover = np.zeros((box[3] - box[1], box[2] - box[0]), np.uint8)
    path = np.concatenate([s.path for s in strokes]) - (box[0], box[1])
    drop = max(0.5, pen.width * 0.05)
    count = int(min(6000, max(200, 3.0 * len(path) * pen.width / drop / 6)))
    at = path[rng.integers(0, len(path), count)] + rng.normal(0, pen.width * 0.36, (count, 2))
    radii = rng.integers(0, 2 if drop < 1 else int(drop) + 2, count).tolist()
    for (x, y), radius in zip(np.round(at).astype(int).tolist(), radii, strict=True):
        cv2.circle(cover, (x, y), radius, 255, -1)
    core = coverage(strokes, box, grow=-0.45 * pen.width)
    core = _softened(core, pen.width * 0.22)
    return np.maximum(cv2.GaussianBlur(cover, (0, 0), max(0.5, drop * 0.4)), core)


def _softened(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """A Gaussian blur; wide ones are done on a smaller copy."""
    shrink = max(1, int(min(sigma / 2.5, max(image.shape) / _SOFTNESS * 2)))
    if shrink == 1:
        return cv2.GaussianBlur(image, (0, 0), max(0.3, sigma))  # type: ignore[return-value]
    height, width = image.shape
    small = cv2.resize(
        image, (max(1, width // shrink), max(1, height // shrink)), interpolation=cv2.INTER_AREA
    )
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink)
    return cv2.resize(small, (width, height))  # type: ignore[return-value]


def _blend(
    region: NDArray[np.uint8], colour: Colour, alpha: NDArray[np.float32], *, multiply: bool = False
) -> None:
    """Lay ``colour`` over ``region`` (h, w, 3) in place; only touched pixels are computed."""
    where = np.nonzero(alpha > 0.004)
    share = alpha[where][:, None]
    under = region[where].astype(np.float32)
    over = np.array(colour, np.float32)[None]
    if multiply:
        over = under * (over / np.float32(255))
    region[where] = np.clip(under + (over - under) * share + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Painted:
    """A piece of the picture with ink on it."""

    box: Box
    region: NDArray[np.uint8]  # (h, w, 3), what the picture's box becomes
    share: NDArray[np.float32]  # (h, w) how much of every pixel's colour is ink, 0..1

    @property
    def ink(self) -> NDArray[np.bool_]:
        return self.share >= INK_SHARE


def paint(
    rng: np.random.Generator, picture: Picture, strokes: Sequence[Stroke], pen: Pen
) -> Painted | None:
    """The strokes on ``picture``, which stays as it is; None when they lie outside it.

    Shadows and glows are no ink; the outline of a stroke is.
    """
    spread = pen.outline_width if pen.outline is not None else 0.0
    if pen.shadow or pen.style == "neon":
        spread = pen.width * 2.2 + 2
    elif pen.style == "spray":
        spread = pen.width * 1.2 + 2
    box = bounds(strokes, picture.shape[:2], spread)
    if box is None:
        return None
    region = picture[box[1] : box[3], box[0] : box[2]].copy()
    if pen.style == "spray":
        cover = _sprayed(rng, strokes, box, pen)
        truth = _softened(cover, max(0.6, pen.width * 0.12))
    else:
        cover = coverage(strokes, box, nib=pen.nib, flat=pen.flat, antialias=pen.antialias)
        truth = cover
    if pen.style == "crayon":
        cover = _grainy(rng, cover, pen.width / 9)
    if pen.shadow:
        shift = max(1, int(pen.width * 0.25))
        soft = _softened(cover, max(0.8, pen.width * 0.3))
        soft = np.pad(soft, ((shift, 0), (shift, 0)))[:-shift, :-shift]
        _blend(region, (0, 0, 0), soft * np.float32(pen.shadow / 255))
    if pen.style == "neon":
        _blend(region, pen.colour, _softened(cover, pen.width * 0.75) * np.float32(0.8 / 255))
    if pen.outline is not None:
        wide = coverage(strokes, box, grow=2 * pen.outline_width, antialias=pen.antialias)
        _blend(region, pen.outline, wide * np.float32(1 / 255))
        truth = np.maximum(truth, wide)
    share = cover * np.float32(pen.opacity / 255)
    _blend(region, pen.colour, share, multiply=pen.style == "highlighter")
    if pen.style == "neon":
        core = coverage(strokes, box, grow=-0.45 * pen.width)
        _blend(region, (255, 255, 255), core * np.float32(0.85 / 255))
    return Painted(box, region, truth * np.float32(pen.opacity / 255))
