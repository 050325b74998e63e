"""A hand's stroke: a path with wobble, widths along it, and its coverage in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Path = NDArray[np.float32]  # (n, 2) xy, pixels
Box = tuple[int, int, int, int]  # xyxy, pixels, half open

_SHIFT = 4  # fractional bits of the coordinates handed to OpenCV
_CV_EXTRA = 0.9  # OpenCV's lines are about a pixel wider than asked for
_SUPERSAMPLED_PIXELS = 1_500_000  # above this many, edges are anti-aliased by OpenCV instead


@dataclass(frozen=True)
class Stroke:
    """One movement of the pen: its path, its width at every point, and whether it is filled in."""

    path: Path
    widths: NDArray[np.float32]  # (n,)
    filled: bool = False


def resample(path: NDArray[np.floating], count: int) -> Path:
    """``count`` points at equal distances along the polyline."""
    steps = np.hypot(np.diff(path[:, 0]), np.diff(path[:, 1]))
    at = np.concatenate([[0.0], np.cumsum(steps)])
    where = np.linspace(0.0, at[-1], count)
    return np.stack(
        [np.interp(where, at, path[:, 0]), np.interp(where, at, path[:, 1])], axis=1
    ).astype(np.float32)


def spline(points: NDArray[np.floating], per_segment: int = 10) -> Path:
    """A Catmull-Rom curve through ``points``."""
    p = np.asarray(points, np.float64)
    if len(p) < 3:
        return p.astype(np.float32)
    padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    a, b, c, d = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0.0, 1.0, per_segment, endpoint=False)[None, :, None]
    a, b, c, d = (v[:, None, :] for v in (a, b, c, d))
    curve = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return np.concatenate([curve.reshape(-1, 2), p[-1:]]).astype(np.float32)


def length(path: NDArray[np.floating]) -> float:
    """The polyline's length in pixels."""
    return float(np.hypot(np.diff(path[:, 0]), np.diff(path[:, 1])).sum())


def low_noise(
    rng: np.random.Generator, count: int, *, waves: int = 4, cycles: float = 2.0
) -> NDArray[np.float32]:
    """Smooth noise of about unit height, (count,): a few sine waves, the slow ones the highest."""
    t = np.linspace(0.0, 1.0, count, dtype=np.float32)[:, None]
    k = np.arange(1, waves + 1, dtype=np.float32)
    phase = rng.uniform(0, 2 * np.pi, waves).astype(np.float32)
    height = rng.normal(0, 1, waves).astype(np.float32) / k
    noise: NDArray[np.float32] = np.sin(np.pi * cycles * k * t + phase) @ height
    return noise


def shake(
    rng: np.random.Generator, path: Path, *, sway: float, tremor: float = 0.0, pin: bool = False
) -> Path:
    """The path as a hand follows it: ``sway`` (slow) and ``tremor`` (quick) in pixels.

    ``pin`` keeps both ends where they are.
    """
    count = len(path)
    offset = sway * np.stack([low_noise(rng, count), low_noise(rng, count)], axis=1)
    if tremor > 0:
        offset += tremor * np.stack(
            [low_noise(rng, count, cycles=11.0), low_noise(rng, count, cycles=11.0)], axis=1
        )
    if pin:
        bell = np.sin(np.linspace(0, np.pi, count, dtype=np.float32))
        offset *= np.sqrt(np.maximum(bell, 0))[:, None]
    return (path + offset).astype(np.float32)


def bounds(strokes: Sequence[Stroke], size: tuple[int, int], margin: float) -> Box | None:
    """The strokes' box with ``margin`` pixels around, clipped to ``size`` (h, w); None outside."""
    points = np.concatenate([s.path for s in strokes])
    reach = max(float(s.widths.max()) for s in strokes) / 2 + margin + 1
    x0, y0 = np.floor(points.min(axis=0) - reach).astype(int)
    x1, y1 = np.ceil(points.max(axis=0) + reach).astype(int) + 1
    box = (max(0, int(x0)), max(0, int(y0)), min(size[1], int(x1)), min(size[0], int(y1)))
    return box if box[0] < box[2] and box[1] < box[3] else None


def coverage(
    strokes: Sequence[Stroke],
    box: Box,
    *,
    grow: float = 0.0,
    nib: tuple[float, float] | None = None,
    flat: bool = False,
    antialias: bool = True,
) -> NDArray[np.uint8]:
    """How much of every pixel of ``box`` the strokes cover, 0..255.

    ``grow`` widens the strokes (pixels); ``nib`` is a chisel's half edge, a vector in units of the
    half width; ``flat`` cuts the ends off square.
    """
    height, width = box[3] - box[1], box[2] - box[0]
    thin = min(float(s.widths.min()) for s in strokes) + grow
    factor = int(np.clip(np.ceil(8.0 / max(thin, 1.0)), 2, 4)) if antialias else 1
    while factor > 1 and height * width * factor * factor > _SUPERSAMPLED_PIXELS:
        factor -= 1
    line = cv2.LINE_AA if antialias and factor == 1 else cv2.LINE_8
    canvas = np.zeros((height * factor, width * factor), np.uint8)
    for stroke in strokes:
        # half a fine pixel: OpenCV puts pixel centres on whole numbers
        path = (stroke.path - (box[0], box[1])) * factor - 0.5
        fixed = np.round(path * (1 << _SHIFT)).astype(np.int32)
        widths = (stroke.widths + grow) * factor - _CV_EXTRA
        if stroke.filled:
            cv2.fillPoly(canvas, [fixed], 255, line, _SHIFT)
        if nib is not None or flat:
            _ribbon(canvas, path, widths, nib, line)
        elif len(fixed) == 1 or widths.max() - widths.min() < 0.5:
            thick = max(1, int(round(float(widths.mean()))))
            cv2.polylines(canvas, [fixed], stroke.filled, 255, thick, line, _SHIFT)
        else:
            thick_at = np.maximum(1, np.round((widths[1:] + widths[:-1]) / 2)).astype(int).tolist()
            points = fixed.tolist()
            for start, end, thick in zip(points[:-1], points[1:], thick_at, strict=True):
                cv2.line(canvas, start, end, 255, thick, line, _SHIFT)
    if factor == 1:
        return canvas
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _ribbon(
    canvas: NDArray[np.uint8],
    path: Path,
    widths: NDArray[np.float32],
    nib: tuple[float, float] | None,
    line: int,
) -> None:
    """A band with square ends, or the band that a chisel's edge sweeps."""
    if len(path) < 2:
        path = np.concatenate([path, path + (1.0, 0.0)]).astype(np.float32)
        widths = np.repeat(widths, 2)[:2]
    if nib is None:
        along = np.gradient(path, axis=0)
        along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)[:, None]
        edge = np.stack([-along[:, 1], along[:, 0]], axis=1) * (widths / 2)[:, None]
    else:
        edge = np.asarray(nib, np.float32)[None] * (widths / 2)[:, None]
    left = np.round((path + edge) * (1 << _SHIFT)).astype(np.int32)
    right = np.round((path - edge) * (1 << _SHIFT)).astype(np.int32)
    quads = np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)
    core = max(1, int(round(float(widths.mean()) * (0.28 if nib is not None else 0.0))))
    for quad in quads:
        cv2.fillConvexPoly(canvas, quad, 255, line, _SHIFT)
    if nib is not None:
        fixed = np.round(path * (1 << _SHIFT)).astype(np.int32)
        cv2.polylines(canvas, [fixed], False, 255, core, line, _SHIFT)
