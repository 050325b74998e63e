"""Silhouettes of clothes and of things that are worn, as they lie flat or hang."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.scenes.outlines import Outline, Shape, curve, ellipse, mirrored, rounded, strip


def _sleeved(rng: np.random.Generator, *, length: float, spread: float, hem: float) -> Shape:
    u = rng.uniform
    neck, dip, shoulder = u(0.16, 0.3), u(0.08, 0.4), u(0.55, 0.66)
    body, waist = u(0.42, 0.55), u(0.9, 1.05)
    tip = (shoulder + length * np.sin(spread), -0.85 + length * np.cos(spread))
    cuff = u(0.16, 0.26) if length < 0.8 else u(0.09, 0.15)
    inner = (tip[0] - cuff * 2 * np.cos(spread) * 0.8, tip[1] + cuff * np.sin(spread) * 0.8)
    right = [
        (0, -1 + dip),
        (neck * 0.75, -1 + dip * 0.75),
        (neck, -1),
        (neck, -1),
        (shoulder, -0.87),
        tip,
        tip,
        inner,
        inner,
        (body, -0.42),
        (body * waist, hem * 0.5),
        (body * waist * u(0.95, 1.15), hem),
        (body * waist, hem),
        (0, hem + u(-0.03, 0.06)),
    ]
    outline = rounded(mirrored(right), rounds=2)
    collar = np.concatenate(
        [
            curve([(-neck * 1.15, -1.03), (-neck * 0.8, -1 + dip * 0.8), (0, -1 + dip * 1.08)]),
            curve([(neck * 0.8, -1 + dip * 0.8), (neck * 1.15, -1.03)]),
        ]
    )
    bands, lines = [], []
    if rng.random() < 0.6:
        bands.append(strip(collar, 0.05))
    if rng.random() < 0.35:
        bands += [strip([(s * tip[0], tip[1]), (s * inner[0], inner[1])], 0.05) for s in (-1, 1)]
    lines += [curve([(s * shoulder * 0.92, -0.85), (s * body * 1.02, -0.42)]) for s in (-1, 1)]
    lines.append(curve([(-body, hem - 0.06), (body, hem - 0.06)]))
    if rng.random() < 0.3:  # buttons, a zip
        lines.append(curve([(0, -1 + dip), (0, hem)]))
    return Shape(((outline,),), tuple(lines), tuple(bands))


def tshirt(rng: np.random.Generator) -> Shape:
    """Short sleeves, cropped or long."""
    return _sleeved(
        rng, length=rng.uniform(0.3, 0.6), spread=rng.uniform(0.5, 1.3), hem=rng.uniform(0.35, 1)
    )


def pullover(rng: np.random.Generator) -> Shape:
    """Long sleeves, hanging or spread."""
    return _sleeved(
        rng, length=rng.uniform(1.1, 1.6), spread=rng.uniform(0.15, 0.7), hem=rng.uniform(0.5, 0.95)
    )


def hoodie(rng: np.random.Generator) -> Shape:
    """A pullover with a hood and a pouch."""
    base = pullover(rng)
    w = rng.uniform(0.28, 0.4)
    hood = rounded([(-w, -0.75), (-w, -1.15), (0, -1.35), (w, -1.15), (w, -0.75)])
    opening = rounded(
        [
            (-w * 0.6, -0.8),
            (-w * 0.6, -1.1),
            (0, -1.22),
            (w * 0.6, -1.1),
            (w * 0.6, -0.8),
            (0, -0.6),
        ]
    )
    pouch = curve([(-0.25, 0.1), (0.25, 0.1), (0.33, 0.42), (-0.33, 0.42), (-0.25, 0.1)])
    return Shape((*base.parts, (hood,)), (*base.lines, pouch), (opening,))


def tank_top(rng: np.random.Generator) -> Shape:
    """Straps or a bodice without sleeves."""
    u = rng.uniform
    s, w, dip = u(0.25, 0.4), u(0.45, 0.6), u(0.3, 0.55)
    strap, waist, hem = u(0.05, 0.16), u(0.8, 1), u(0.3, 1)
    right = [
        (0, -1 + dip),
        (s - strap, -1 + dip * 0.7),
        (s - strap, -1),
        (s + strap, -1),
        (s + strap, -0.7),
        (w, -0.45),
        (w * waist, hem * 0.5),
        (w, hem),
        (w, hem),
        (0, hem),
    ]
    return Shape(
        ((rounded(mirrored(right), rounds=2),),), (curve([(-w, hem - 0.05), (w, hem - 0.05)]),)
    )


def shorts(rng: np.random.Generator) -> Shape:
    """Short legs with a waistband."""
    return _legs(rng, length=rng.uniform(0.35, 0.8), flare=rng.uniform(1.0, 1.35))


def trousers(rng: np.random.Generator) -> Shape:
    """Long legs, narrow to wide."""
    return _legs(rng, length=rng.uniform(1.6, 2.2), flare=rng.uniform(0.65, 1.15))


def _legs(rng: np.random.Generator, *, length: float, flare: float) -> Shape:
    u = rng.uniform
    waist, hip, crotch = u(0.4, 0.5), u(0.52, 0.62), -1 + u(0.5, 0.62)
    end = crotch + length
    outer, inner = hip * flare, hip * flare - u(0.42, 0.52) * (1 if length < 1 else 0.75)
    right = [
        (0, -1),
        (waist, -1),
        (waist, -1),
        (hip, crotch - 0.15),
        (outer, end),
        (outer, end),
        (max(0.03, inner), end + 0.03),
        (max(0.03, inner), end + 0.03),
        (0.02, crotch),
        (0, crotch),
    ]
    band = curve(
        [(-waist * 1.1, -1.05), (waist * 1.1, -1.05), (waist * 1.1, -0.9), (-waist * 1.1, -0.9)]
    )
    lines = [curve([(0, -0.9), (0, crotch)]), curve([(-waist, -0.9), (waist, -0.9)])]
    lines += [curve([(s * waist * 0.6, -0.9), (s * hip * 0.95, -0.65)]) for s in (-1, 1)]
    lines += [curve([(s * inner, end - 0.06), (s * outer, end - 0.08)]) for s in (-1, 1)]
    bands = (band,) if rng.random() < 0.3 else ()
    return Shape(((rounded(mirrored(right), rounds=2),),), tuple(lines), bands)


def skirt(rng: np.random.Generator) -> Shape:
    """A skirt, tight to wide, with pleats."""
    u = rng.uniform
    waist, hem, end = u(0.3, 0.5), u(0.5, 1.0), u(0.1, 1)
    n = int(rng.integers(5, 12))
    wave = 0.03 * np.cos(np.arange(n) * np.pi)
    bottom = np.stack(
        [np.linspace(hem, -hem, n), end + wave + 0.06 * np.sin(np.linspace(0, np.pi, n))], -1
    )
    outline = np.concatenate(
        [
            curve([(-waist, -1), (-waist, -1), (waist, -1), (waist, -1)]),
            curve([((waist + hem) * u(0.5, 0.6), (end - 1) / 2)]),
            bottom,
            curve([(-(waist + hem) * u(0.5, 0.6), (end - 1) / 2)]),
        ]
    )
    pleats = tuple(
        curve([(k * waist, -0.9), (k * hem, end)]) for k in np.linspace(-0.8, 0.8, n - 2)
    )
    band = curve([(-waist, -1.02), (waist, -1.02), (waist, -0.9), (-waist, -0.9)])
    return Shape(
        ((rounded(outline, rounds=2),),),
        pleats if rng.random() < 0.6 else (),
        (band,) if rng.random() < 0.4 else (),
    )


def dress(rng: np.random.Generator) -> Shape:
    """A bodice that widens into a skirt, with or without sleeves."""
    u = rng.uniform
    s, chest, waist, hem = u(0.2, 0.3), u(0.34, 0.42), u(0.26, 0.36), u(0.45, 0.95)
    dip, w = u(0.1, 0.3), u(-0.35, -0.15)
    if rng.random() < 0.5:
        tip = (chest + u(0.1, 0.3), u(-0.75, -0.55))
        arm = [(s + 0.12, -0.97), tip, tip, (tip[0] - 0.16, tip[1] + 0.1), (chest, -0.65)]
    else:
        arm = [(s + 0.07, -1), (s + 0.08, -0.85), (chest, -0.68)]
    right = [
        (0, -1 + dip),
        (s - 0.05, -1 + dip * 0.6),
        (s, -1),
        *arm,
        (waist, w),
        (hem * 0.75, 0.35),
        (hem, 1),
        (hem, 1),
        (0, 1.05),
    ]
    seam = curve([(-waist, w), (waist, w)])
    return Shape(
        ((rounded(mirrored(right), rounds=2),),),
        (seam,),
        (strip(seam, 0.04),) if rng.random() < 0.3 else (),
    )


def cap(rng: np.random.Generator) -> Shape:
    """A dome with a brim."""
    h = rng.uniform(0.5, 0.8)
    dome = rounded([(-0.7, 0.2), (-0.72, -h), (0, -h * 1.25), (0.6, -h), (0.65, 0.2)])
    brim = rounded([(0.1, 0.15), (0.7, 0), (1.1, 0.25), (0.9, 0.35), (0.2, 0.3), (-0.2, 0.25)])
    return Shape(
        ((dome,), (brim,)),
        (curve([(0, -h * 1.1), (0.1, 0.2)]), curve([(-0.6, 0.15), (0.6, 0.12)])),
        (brim,) if rng.random() < 0.4 else (),
    )


def shoe(rng: np.random.Generator) -> Shape:
    """A shoe from its side with a sole."""
    u = rng.uniform
    top = u(-0.6, -0.2) - (u(0, 0.6) if rng.random() < 0.3 else 0)
    upper = rounded(
        [(-0.95, 0.3), (-0.9, top), (-0.35, top), (-0.2, -0.15), (0.5, 0.0), (1, 0.2), (1, 0.35)],
        rounds=2,
    )
    heel = u(0.38, 0.6)
    sole = rounded(
        [
            (-0.98, 0.25),
            (1.03, 0.25),
            (1.0, 0.42),
            (0.1, 0.42),
            (-0.5, 0.42),
            (-0.55, heel),
            (-0.95, heel),
        ],
        rounds=1,
    )
    laces = tuple(
        curve([(x, -0.12 + 0.2 * x), (x + 0.15, -0.25 + 0.2 * x)]) for x in (-0.1, 0.05, 0.2)
    )
    return Shape(((upper,), (sole,)), laces, (sole,))


def bag(rng: np.random.Generator) -> Shape:
    """A bag with a handle; what shows through the handle is not bag."""
    u = rng.uniform
    w, b, top = u(0.6, 0.9), u(0.6, 1.0), u(-0.3, 0.1)
    body = rounded(
        [(-w, top), (-w, top), (w, top), (w, top), (b, 1), (b, 1), (-b, 1), (-b, 1)], rounds=2
    )
    r, t = u(0.3, 0.5), u(0.06, 0.12)
    height = u(0.6, 0.95)
    handle: Outline = (ellipse(0, top, r, height), ellipse(0, top, r - t, height - t))
    flap = curve([(-w, top), (w, top), (w * 0.9, top + 0.4), (-w * 0.9, top + 0.4)])
    return Shape(
        (handle, (body,)),
        (curve([(-w, top + 0.12), (w, top + 0.12)]),),
        (flap,) if rng.random() < 0.5 else (),
    )


def glasses(rng: np.random.Generator) -> Shape:
    """Two frames and a bridge, the lenses open."""
    r, t = rng.uniform(0.35, 0.44), rng.uniform(0.05, 0.1)
    y = rng.uniform(0.6, 1)
    frames = tuple((ellipse(x, 0, r, r * y), ellipse(x, 0, r - t, r * y - t)) for x in (-0.5, 0.5))
    return Shape((*frames, (strip([(-0.2, -0.05), (0, -0.1), (0.2, -0.05)], t / 2),)))


def scarf(rng: np.random.Generator) -> Shape:
    """A long cloth with fringes, hanging in a bend."""
    t = np.linspace(-1, 1, 20)
    path = np.stack([0.4 * np.sin(t * rng.uniform(1, 3)), t], -1)
    return Shape(((strip(path, rng.uniform(0.15, 0.3) * np.ones(20)),),))


CLOTHES: tuple[Callable[[np.random.Generator], Shape], ...] = (
    tshirt, tshirt, tshirt, pullover, hoodie, tank_top, shorts, shorts, trousers, skirt, dress,
    dress, cap, shoe, shoe, bag, bag, glasses, scarf,
)  # fmt: skip
"""Silhouettes of clothes; repeated where more of them is wanted."""
