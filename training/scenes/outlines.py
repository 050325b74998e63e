"""Outlines of things: closed curves in a unit square, x and y in about -1..1, y downward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float32]  # (n, 2) xy
Outline = tuple[Curve, ...]  # filled by the even-odd rule: later curves cut holes


@dataclass(frozen=True)
class Shape:
    """A thing's silhouette: the union of ``parts``; ``lines`` are seams drawn on its surface.

    ``bands`` are areas in a second colour (a collar, a sole, a label), clipped to the silhouette.
    """

    parts: tuple[Outline, ...]
    lines: tuple[Curve, ...] = ()
    bands: tuple[Curve, ...] = ()

    @property
    def contours(self) -> list[Curve]:
        """Every curve of the silhouette."""
        return [c for part in self.parts for c in part]

    def mapped(self, change: Callable[[Curve], Curve]) -> Shape:
        """The same shape with every point moved by ``change``."""
        curves = [*self.contours, *self.lines, *self.bands]
        moved = change(np.concatenate(curves))
        cuts = np.cumsum([len(c) for c in curves])[:-1]
        pieces = iter(np.split(moved, cuts))
        parts = tuple(tuple(next(pieces) for _ in part) for part in self.parts)
        lines = tuple(next(pieces) for _ in self.lines)
        return Shape(parts, lines, tuple(next(pieces) for _ in self.bands))


def curve(points: object) -> Curve:
    """An (n, 2) array of points."""
    return np.asarray(points, np.float32).reshape(-1, 2)


def rounded(points: object, *, rounds: int = 3) -> Curve:
    """A closed polygon with its corners cut ``rounds`` times (Chaikin's curve)."""
    p = curve(points)
    for _ in range(rounds):
        q = np.roll(p, -1, axis=0)
        p = np.stack([0.75 * p + 0.25 * q, 0.25 * p + 0.75 * q], axis=1).reshape(-1, 2)
    return p


def mirrored(right: object) -> Curve:
    """A closed polygon from its right half, listed from the top downward."""
    p = curve(right)
    return np.concatenate([p, (p * np.array([-1, 1], np.float32))[::-1]])


def ellipse(
    cx: float = 0, cy: float = 0, rx: float = 1, ry: float = 1, turn: float = 0, n: int = 48
) -> Curve:
    """An ellipse; ``turn`` in radians."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    x, y = rx * np.cos(t), ry * np.sin(t)
    c, s = np.cos(turn), np.sin(turn)
    return np.stack([cx + c * x - s * y, cy + s * x + c * y], axis=-1).astype(np.float32)


def strip(path: object, widths: object) -> Curve:
    """A band along ``path`` (n, 2) with half ``widths`` (n,) at its points."""
    p = curve(path)
    d = np.gradient(p, axis=0)
    normal = np.stack([-d[:, 1], d[:, 0]], axis=-1) / (np.linalg.norm(d, axis=1)[:, None] + 1e-6)
    side = normal * np.broadcast_to(np.asarray(widths, np.float32), len(p))[:, None]
    return np.concatenate([p + side, (p - side)[::-1]]).astype(np.float32)


def limb(path: object, widths: object) -> tuple[Outline, ...]:
    """Rounded pieces along ``path`` (n, 2) with half ``widths`` (n,); sharp bends stay filled."""
    p = curve(path)
    w = np.broadcast_to(np.asarray(widths, np.float32), len(p))
    ends = [ellipse(x, y, r, r, n=20) for (x, y), r in zip(p, w, strict=True)]
    hulls = (cv2.convexHull(np.concatenate(pair))[:, 0] for pair in pairwise(ends))
    return tuple((curve(hull),) for hull in hulls)


def blob(rng: np.random.Generator) -> Shape:
    """A smooth random lump."""
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    r = np.ones_like(t)
    for k in range(1, int(rng.integers(3, 8))):
        r += rng.normal(0, 0.28 / k) * np.cos(k * t + rng.uniform(0, 6.28))
    r = np.clip(r, 0.25, None) / r.max()
    return Shape(((np.stack([r * np.cos(t), r * np.sin(t)], -1).astype(np.float32),),))


def polygon(rng: np.random.Generator) -> Shape:
    """A polygon of 3 to 8 corners, sharp or slightly rounded."""
    n = int(rng.integers(3, 9))
    t = np.sort(np.arange(n) * 2 * np.pi / n + rng.uniform(-0.3, 0.3, n) * 2 * np.pi / n)
    r = rng.uniform(0.7, 1, n)
    corners = np.stack([r * np.cos(t), r * np.sin(t)], -1)
    return Shape(((rounded(corners, rounds=2) if rng.random() < 0.5 else curve(corners),),))


def superellipse(rng: np.random.Generator) -> Shape:
    """Between diamond, ellipse and rectangle."""
    t = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    e = 2 / rng.uniform(1.4, 7)
    x, y = np.cos(t), np.sin(t)
    points = np.stack([np.sign(x) * np.abs(x) ** e, np.sign(y) * np.abs(y) ** e], -1)
    points *= [1, rng.uniform(0.35, 1)]
    shape = Shape(((points.astype(np.float32),),))
    if rng.random() < 0.3:  # a label or a screen
        k = rng.uniform(0.5, 0.85)
        return Shape(shape.parts, bands=((points * k).astype(np.float32),))
    return shape


def box(rng: np.random.Generator) -> Shape:
    """A box seen from a corner; its side and lid are bands."""
    d, u, h = rng.uniform(0.2, 0.6), rng.uniform(0.15, 0.5), rng.uniform(0.3, 0.9)
    front = [(-1, -h), (1 - d, -h), (1 - d, h), (-1, h)]
    outline = [(-1, -h), (-1 + d, -h - u), (1, -h - u), (1, h - u), (1 - d, h), (-1, h)]
    side = curve([(1 - d, -h), (1, -h - u), (1, h - u), (1 - d, h)])
    edges = (curve([front[1], front[2]]), curve([front[0], front[1], (1, -h - u)]))
    return Shape(((curve(outline),),), lines=edges, bands=(side,))


def star(rng: np.random.Generator) -> Shape:
    """A star, a flower or a gear."""
    n = int(rng.integers(4, 12))
    r = np.where(np.arange(2 * n) % 2, rng.uniform(0.35, 0.8), 1.0)
    t = np.arange(2 * n) * np.pi / n - np.pi / 2
    points = np.stack([r * np.cos(t), r * np.sin(t)], -1)
    return Shape(((rounded(points, rounds=int(rng.integers(0, 4))),),))


def leaf(rng: np.random.Generator) -> Shape:
    """A leaf with its veins."""
    w = rng.uniform(0.25, 0.6)
    half = [(0, -1), (0.5 * w, -0.6), (w, rng.uniform(-0.3, 0.2)), (0.6 * w, 0.6), (0.04, 0.85)]
    veins = [curve([(0, -0.9), (0, 0.9)])]
    for y in np.linspace(-0.5, 0.6, 5):
        veins += [curve([(0, y), (s * w * 0.7, y - 0.25)]) for s in (-1, 1)]
    return Shape(((rounded(mirrored([*half, (0.04, 1)])),),), lines=tuple(veins))


def fruit(rng: np.random.Generator) -> Shape:
    """An apple, a pear, a lemon, with a stalk."""
    neck, hip, dip = rng.uniform(0.25, 1.0), rng.uniform(0.75, 1), rng.uniform(-0.05, 0.2)
    half = [(0, -0.8 + dip), (0.5 * neck, -0.9), (neck, -0.5), (hip, 0.3), (0.6, 0.95), (0, 0.9)]
    parts: list[Outline] = [(rounded(mirrored(half)),)]
    if rng.random() < 0.7:
        bend = rng.uniform(-0.3, 0.3)
        stalk = strip([(0, -0.6), (bend * 0.4, -0.85), (bend, -1.15)], [0.05, 0.04, 0.06])
        parts.append((stalk,))
    return Shape(tuple(parts))


def banana(rng: np.random.Generator) -> Shape:
    """A bent, tapering bar: banana, horn, moon."""
    t = np.linspace(-1, 1, 24)
    bend = rng.uniform(0.3, 0.9)
    width = rng.uniform(0.15, 0.35) * (1 - np.abs(t) ** rng.uniform(2, 5)) + 0.04
    return Shape(((strip(np.stack([t, bend * t * t - bend / 2], -1), width),),))


def bottle(rng: np.random.Generator) -> Shape:
    """A bottle or a vase, perhaps with a label."""
    n, w = rng.uniform(0.1, 0.25), rng.uniform(0.28, 0.5)
    s = rng.uniform(-0.6, 0.0)
    half = [(n, -1), (n, -1), (n, s - 0.2), (w, s + 0.15), (w, 0.95), (w, 1), (w * 0.9, 1)]
    label = curve([(-w, 0.1), (w, 0.1), (w, 0.7), (-w, 0.7)])
    lid = curve([(-n, -1), (n, -1), (n, -0.8), (-n, -0.8)])
    bands = tuple(b for b in (label, lid) if rng.random() < 0.6)
    return Shape(((rounded(mirrored(half), rounds=2),),), bands=bands)


def cup(rng: np.random.Generator) -> Shape:
    """A cup with an open handle."""
    b, h = rng.uniform(0.4, 0.7), rng.uniform(0.5, 0.95)
    body = [(-0.7, -h), (0.7, -h), (b, h * 0.9), (b * 0.8, h), (-b * 0.8, h), (-b, h * 0.9)]
    r = rng.uniform(0.3, 0.45) * h / 0.8
    handle = (ellipse(0.7, -0.05, r, r * 1.1), ellipse(0.7, -0.05, r * 0.6, r * 0.7))
    rim = ellipse(0, -h, 0.7, 0.12)
    return Shape((handle, (curve(body),), (rim,)), lines=(rim,), bands=(ellipse(0, -h, 0.6, 0.09),))


def ring(rng: np.random.Generator) -> Shape:
    """A ring, a frame, a wheel: what the hole shows belongs to something else."""
    k = rng.uniform(0.45, 0.85)
    if rng.random() < 0.3:
        outer = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float32) * np.array(
            [1, 0.8], np.float32
        )
        return Shape(((outer, outer * k),))
    outer = ellipse(ry=rng.uniform(0.6, 1))
    return Shape(((outer, outer * np.float32(k)),))


def stick(rng: np.random.Generator) -> Shape:
    """A thin bent thing: cable, twig, strap, knife."""
    t = np.linspace(-1, 1, 32)
    y = sum(rng.normal(0, 0.25) * np.sin(k * t * 2 + rng.uniform(0, 6.28)) for k in (1, 2, 3))
    taper = 1 - rng.uniform(0, 0.8) * (t + 1) / 2
    return Shape(((strip(np.stack([t, y], -1), rng.uniform(0.04, 0.13) * taper),),))


def key(rng: np.random.Generator) -> Shape:
    """A head with a hole on a shaft: key, racket, magnifier, spoon."""
    r, w = rng.uniform(0.25, 0.45), rng.uniform(0.05, 0.12)
    head: Outline = (ellipse(0, -1 + r, r * rng.uniform(0.7, 1.1), r),)
    if rng.random() < 0.6:
        head = (*head, ellipse(0, -1 + r, r * 0.6, r * 0.65))
    return Shape((head, (strip([(0, -1 + 1.9 * r), (0, 0.5), (0, 1)], [w, w, w * 1.3]),)))


def heart(rng: np.random.Generator) -> Shape:
    """A heart, more or less plump."""
    half = [(0, -0.5), (0.3, -1), (0.95, -0.95), (1, -0.2), (0.5, 0.4), (0, 1), (0, 1)]
    return Shape(((rounded(mirrored(half)) * np.array([rng.uniform(0.7, 1), 1], np.float32),),))


def fish(rng: np.random.Generator) -> Shape:
    """A body with a tail and fins."""
    h = rng.uniform(0.3, 0.6)
    tail = rounded([(0.55, 0), (1, -0.5), (0.9, 0), (1, 0.5)], rounds=1)
    fin = rounded([(-0.2, -h * 0.8), (0.1, -h * 1.5), (0.35, -h * 0.6)], rounds=1)
    return Shape(
        ((ellipse(-0.2, 0, 0.8, h),), (tail,), (fin,)), bands=(ellipse(-0.7, -0.1, 0.07, 0.07),)
    )


def animal(rng: np.random.Generator) -> Shape:
    """A four-legged sum of ellipses with head, ears and tail."""
    u = rng.uniform
    body = ellipse(0, 0, 0.6, u(0.28, 0.4), u(-0.15, 0.15))
    hx, hy, hr = -u(0.6, 0.8), -u(0.2, 0.6), u(0.2, 0.3)
    head = ellipse(hx, hy, hr * u(1, 1.3), hr, u(-0.4, 0.4))
    neck = strip([(hx, hy), (-0.35, 0)], [hr * 0.7, 0.28])
    ears = [
        rounded(
            [
                (hx + s * hr - 0.1, hy - hr * 0.4),
                (hx + s * hr, hy - hr * u(1.3, 2.2)),
                (hx + s * hr + 0.12, hy - hr * 0.3),
            ],
            rounds=1,
        )
        for s in (-0.2, 0.7)
    ]
    legs = [
        strip(
            [(x, 0.1), (x + u(-0.1, 0.1), 0.5), (x + u(-0.12, 0.12), 1)], [0.14, 0.09, u(0.06, 0.1)]
        )
        for x in (-0.45, -0.3, 0.32, 0.48)
    ]
    tail = strip([(0.5, -0.1), (0.8, u(-0.5, 0.2)), (1, u(-0.9, 0.3))], [0.08, 0.06, 0.04])
    return Shape(tuple((c,) for c in (body, neck, head, *ears, *legs, tail)))


def bird(rng: np.random.Generator) -> Shape:
    """Body, head, beak, wing and tail."""
    u = rng.uniform
    body = ellipse(0, 0.1, 0.6, 0.38, u(-0.4, 0.1))
    wing = rounded([(-0.3, 0), (0.5, -u(0.1, 1)), (0.7, u(-0.1, 0.4)), (0.1, 0.35)], rounds=2)
    beak = curve([(-0.75, -0.4), (-1.05, -0.28), (-0.75, -0.22)])
    tail = curve([(0.4, 0.05), (1.05, u(-0.1, 0.5)), (0.95, u(0.4, 0.7)), (0.3, 0.35)])
    return Shape(tuple((c,) for c in (body, ellipse(-0.55, -0.33, 0.26, 0.24), beak, tail, wing)))


def plant(rng: np.random.Generator) -> Shape:
    """Leaves fanned out of a pot."""
    parts: list[Outline] = [(curve([(-0.35, 0.4), (0.35, 0.4), (0.27, 1), (-0.27, 1)]),)]
    for a in rng.uniform(-1.2, 1.2, int(rng.integers(3, 9))):
        length = rng.uniform(0.7, 1.3)
        tip = (np.sin(a) * length, 0.4 - np.cos(a) * length)
        mid = (tip[0] * 0.45, 0.4 + (tip[1] - 0.4) * 0.6)
        parts.append(
            (rounded(strip([(0, 0.45), mid, tip], [0.03, rng.uniform(0.05, 0.16), 0.02])),)
        )
    return Shape(tuple(parts), bands=(parts[0][0],))


def chair(rng: np.random.Generator) -> Shape:
    """A seat on thin legs with a back; the gaps are background."""
    w, t = rng.uniform(0.45, 0.7), rng.uniform(0.04, 0.09)
    back: Outline = (curve([(-w, -1), (w, -1), (w, 0.1), (-w, 0.1)]),)
    if rng.random() < 0.5:
        back = (
            *back,
            curve([(-w + 2 * t, -0.85), (w - 2 * t, -0.85), (w - 2 * t, -0.3), (-w + 2 * t, -0.3)]),
        )
    seat = curve([(-w, 0), (w, 0), (w * 1.2, 0.3), (-w * 1.2, 0.3)])
    legs = [
        strip([(s * w * k, 0.2), (s * w * k * 1.1, 1)], [t, t * 0.8])
        for s in (-1, 1)
        for k in (0.9, 0.6)
    ]
    return Shape((back, (seat,), *((leg,) for leg in legs)), lines=(seat,))


def vehicle(rng: np.random.Generator) -> Shape:
    """A car from its side."""
    r = rng.uniform(0.17, 0.24)
    body = rounded(
        [
            (-1, 0.1),
            (-0.95, -0.1),
            (-0.6, -0.15),
            (-0.3, -0.5),
            (0.35, -0.5),
            (0.7, -0.12),
            (1, 0),
            (1, 0.35),
            (-1, 0.35),
        ],
        rounds=2,
    )
    window = rounded([(-0.45, -0.12), (-0.25, -0.4), (0.3, -0.4), (0.5, -0.12)], rounds=1)
    wheels = [ellipse(x, 0.35, r, r) for x in (-0.58, 0.58)]
    return Shape(((body,), *((w,) for w in wheels)), bands=(window, *wheels))


GENERAL: tuple[Callable[[np.random.Generator], Shape], ...] = (
    blob, blob, polygon, superellipse, superellipse, box, star, leaf, fruit, fruit, banana, bottle,
    bottle, cup, ring, stick, key, heart, fish, animal, animal, bird, plant, chair, vehicle,
)  # fmt: skip
"""Silhouettes of anything but clothes; repeated where more of them is wanted."""
