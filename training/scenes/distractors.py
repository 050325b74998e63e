"""Things that look like marks and are none: print, icons, buttons, rulers, cables.

A person tells them from marks because they are regular: fonts, perfect circles, straight lines of
one width, or because they belong to the scene (a cable runs behind the objects).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from training.scenes.lettering import lettering
from training.scenes.printing import (
    Colour,
    disc,
    print_colour,
    rounded_box,
    spot,
    stamp,
    unit_of,
)
from training.scenes.scene import Canvas, Picture
from training.scenes.strokes import spline

Rng = np.random.Generator

_SYMBOLS = "✓✔✗✘×+→←↑↓➔➜➤★☆♥●○xXoOVvCUL?!@#%&*/|▶◀■□◇►⊕⊗⊙"
_BADGE_SYMBOLS = "✓✔✗✘×+−→←↑↓➜★♥▶?!i1234x"
_WORDS = (
    "SALE", "NEW", "-50%", "HOT", "XOXO", "OK", "TOP", "BEST", "FREE SHIPPING", "Size M", "49.90",
    "$12", "€ 8,99", "LIKE NEW", "sold", "Mã A2", "XL", "Vol. 3", "cotton", "STUDIO", "24/7",
    "1+1", "OOO", "vivid", "Lxx", "COCO", "VOX", "100%", "ANGEBOT", "Neu", "x2", "+2", "+14",
)  # fmt: skip


def _symbols(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """Printed symbols: in a row, or one alone that no object lies below, or one with a word."""
    size = unit_of(picture) * float(np.exp(rng.uniform(np.log(1.8), np.log(9))))
    x, y = spot(rng, picture)
    colour = print_colour(rng)
    same = rng.random() < 0.5
    glyph = _SYMBOLS[int(rng.integers(len(_SYMBOLS)))]
    face = int(rng.integers(2))
    count = int(rng.choice([1, 2, 4]))
    if count == 1 and canvas.instances[y, x] != 0:
        glyph, same = f"{glyph} {_WORDS[int(rng.integers(len(_WORDS)))]}", True
        size = min(size, 3.5 * unit_of(picture))
    for _ in range(count):
        if not same:
            glyph = _SYMBOLS[int(rng.integers(len(_SYMBOLS)))]
        stamp(picture, lettering(glyph, size, face=face), x, y, colour)
        x += round(size * 1.6)


def _badges(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """Round or rounded buttons with a symbol in them."""
    unit = unit_of(picture)
    radius = unit * float(rng.uniform(1.8, 5.5))
    x, y = spot(rng, picture)
    step = (2.6 * radius, 0.0) if rng.random() < 0.6 else (0.0, 2.6 * radius)
    fill, front = print_colour(rng), print_colour(rng)
    hollow, square = rng.random() < 0.2, rng.random() < 0.3
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        if square:
            r = round(radius * 0.9)
            rounded_box(picture, x - r, y - r, x + r, y + r, round(radius * 0.3), fill)
        elif hollow:
            disc(picture, x, y, radius, fill, edge=radius * 0.14)
        else:
            disc(picture, x, y, radius, fill)
        glyph = _BADGE_SYMBOLS[int(rng.integers(len(_BADGE_SYMBOLS)))]
        on = fill if hollow and not square else ((255, 255, 255) if sum(fill) < 640 else front)
        stamp(picture, lettering(glyph, radius * 0.95, face=1), x, y, on)
        x, y = round(x + step[0]), round(y + step[1])


def _text(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """A line or two of print, often red, sometimes turned or on a plate."""
    unit = unit_of(picture)
    size = unit * float(np.exp(rng.uniform(np.log(1.6), np.log(8))))
    x, y = spot(rng, picture)
    colour: Colour = (220, 25, 35) if rng.random() < 0.5 else print_colour(rng)
    face = int(rng.integers(8))
    for _ in range(int(rng.integers(1, 3))):
        alpha = lettering(_WORDS[int(rng.integers(len(_WORDS)))], size, face=face)
        if rng.random() < 0.15:
            h, w = alpha.shape
            side = int(np.hypot(h, w)) + 2
            turn = cv2.getRotationMatrix2D((w / 2, h / 2), float(rng.uniform(-30, 30)), 1.0)
            turn[:, 2] += (side - w) / 2, (side - h) / 2
            alpha = cv2.warpAffine(alpha, turn, (side, side))  # type: ignore[assignment]
        elif rng.random() < 0.2:
            h, w = alpha.shape
            pad = round(size * 0.4)
            box = (x - w // 2 - pad, y - h // 2 - pad, x + w // 2 + pad, y + h // 2 + pad)
            rounded_box(picture, *box, r=pad, colour=print_colour(rng))
        stamp(picture, alpha, x, y, colour)
        y += round(size * 1.7)


def _rating(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """Five stars or hearts, some of them empty."""
    size = unit_of(picture) * float(rng.uniform(1.5, 4))
    x, y = spot(rng, picture)
    colour = print_colour(rng) if rng.random() < 0.3 else (250, 180, 20)
    full, empty = ("★", "☆") if rng.random() < 0.8 else ("♥", "♡")
    count = int(rng.integers(1, 6))
    stamp(picture, lettering(full * count + empty * (5 - count), size), x, y, colour)


def _face(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """A smiley."""
    radius = unit_of(picture) * float(rng.uniform(2, 7))
    x, y = spot(rng, picture)
    disc(picture, x, y, radius, (255, 205, 50))
    dark: Colour = (80, 50, 20)
    for side in (-1, 1):
        disc(picture, x + side * radius * 0.36, y - radius * 0.22, radius * 0.12, dark)
    axes = (round(radius * 0.5), round(radius * float(rng.uniform(0.2, 0.45))))
    smile = (20, 160) if rng.random() < 0.8 else (200, 340)
    centre = (x, round(y + radius * (0.15 if smile[0] == 20 else 0.5)))
    thick = max(1, round(radius * 0.1))
    cv2.ellipse(picture, centre, axes, 0, *smile, dark, thick, cv2.LINE_AA)


def _bubble(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """A speech bubble with text."""
    unit = unit_of(picture)
    size = unit * float(rng.uniform(1.4, 3))
    alpha = lettering(_WORDS[int(rng.integers(len(_WORDS)))], size, face=int(rng.integers(2)))
    x, y = spot(rng, picture)
    h, w = alpha.shape[0] // 2 + round(size), alpha.shape[1] // 2 + round(size)
    fill = (255, 255, 255) if rng.random() < 0.5 else print_colour(rng)
    tail = np.array([[x - w // 2, y + h - 1], [x - w // 2 - round(size), y + h + round(size * 1.2)],
                     [x, y + h - 1]])  # fmt: skip
    rounded_box(picture, x - w, y - h, x + w, y + h, round(size), fill)
    cv2.fillPoly(picture, [tail], fill, cv2.LINE_AA)
    stamp(picture, alpha, x, y, (20, 20, 22) if sum(fill) > 420 else (255, 255, 255))


def _rules(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """Straight lines of one width: a frame, a rule, dashes, a ruler."""
    height, width = picture.shape[:2]
    unit, colour = unit_of(picture), print_colour(rng)
    thick = max(1, round(unit * float(rng.uniform(0.1, 0.7))))
    x, y = spot(rng, picture)
    long = round(unit * float(rng.uniform(15, 90)))
    style = rng.choice(["frame", "rule", "dashes", "ruler"])
    if style == "frame":
        other = round(long * float(rng.uniform(0.4, 1.4)))
        cv2.rectangle(picture, (x, y), (x + long, y + other), colour, thick)
        return
    upright = bool(rng.random() < 0.4)
    if style == "rule":
        end = (x, y + long) if upright else (x + long, y)
        cv2.line(picture, (x, y), end, colour, thick)
        return
    gap = max(3, round(unit * float(rng.uniform(0.8, 2.5))))
    limit = height if upright else width
    for index, at in enumerate(range(0, long, gap)):
        if style == "dashes":
            ends = (at, 0, at + round(gap * 0.55), 0)
        else:
            ends = (at, 0, at, round(gap * (1.5 if index % 5 else 2.6)))
        a, b, c, d = (ends[1], ends[0], ends[3], ends[2]) if upright else ends
        if at + (y if upright else x) > limit:
            break
        cv2.line(picture, (x + a, y + b), (x + c, y + d), colour, thick)


def _behind(rng: Rng, canvas: Canvas, picture: Picture, layer: Picture) -> None:
    """Put ``layer`` where background is seen, in one of the photos, in place."""
    x0, y0, x1, y1 = 0, 0, picture.shape[1], picture.shape[0]
    if canvas.photos:
        x0, y0, x1, y1 = canvas.photos[int(rng.integers(len(canvas.photos)))]
    seen = canvas.instances[y0:y1, x0:x1, None] == 0
    np.copyto(picture[y0:y1, x0:x1], layer[y0:y1, x0:x1], where=seen)


def _cables(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """Cables, strings and twigs that run behind the objects from edge to edge."""
    height, width = picture.shape[:2]
    unit = unit_of(picture)
    layer = picture.copy()
    dull = rng.integers(10, 90, 3) if rng.random() < 0.7 else rng.integers(150, 245, 3)
    base = int(dull.mean()) + (dull - dull.mean()) * 0.4
    for _ in range(int(rng.integers(1, 3))):
        count = int(rng.integers(4, 8))
        along = np.linspace(-0.1, 1.1, count)
        across = np.clip(np.cumsum(rng.normal(0, 0.13, count)) + rng.uniform(0, 1), -0.2, 1.2)
        points = np.stack([along * width, across * height], 1)
        if rng.random() < 0.4:
            points = np.stack([across * width, along * height], 1)
        path = np.round(spline(points, 16) * 16).astype(np.int32)
        thick = max(1, round(unit * float(rng.uniform(0.25, 1.3))))
        shift = round(thick * 4)
        dark, light = (np.clip(base + d, 0, 255).astype(int).tolist() for d in (-25, 55))
        cv2.polylines(layer, [path + shift], False, (30, 28, 26), thick, cv2.LINE_AA, 4)
        cv2.polylines(layer, [path], False, dark, thick, cv2.LINE_AA, 4)
        cv2.polylines(layer, [path - shift], False, light, max(1, thick // 4), cv2.LINE_AA, 4)
    _behind(rng, canvas, picture, layer)


def _stripes(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """Parallel bands on the background, as on wallpaper or a tablecloth."""
    height, width = picture.shape[:2]
    unit, colour = unit_of(picture), print_colour(rng)
    layer = picture.copy()
    angle = float(rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)]))
    to = np.array([np.cos(angle), np.sin(angle)])
    side = np.array([-to[1], to[0]])
    step = unit * float(rng.uniform(3, 14))
    thick = max(1, round(step * float(rng.uniform(0.08, 0.4))))
    middle, reach = np.array([width, height]) / 2, float(np.hypot(width, height)) / 2
    for at in np.arange(-reach, reach, step):
        a = np.round(middle + side * at - to * reach).astype(int).tolist()
        b = np.round(middle + side * at + to * reach).astype(int).tolist()
        cv2.line(layer, a, b, colour, thick, cv2.LINE_AA)
    strength = float(rng.uniform(0.2, 0.8))
    _behind(rng, canvas, picture, cv2.addWeighted(layer, strength, picture, 1 - strength, 0))  # type: ignore[arg-type]


def _watermark(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """A translucent name, once or all over."""
    height, width = picture.shape[:2]
    size = unit_of(picture) * float(rng.uniform(2, 7))
    alpha = lettering(_WORDS[int(rng.integers(len(_WORDS)))], size, face=int(rng.integers(8)))
    colour: Colour = (255, 255, 255) if rng.random() < 0.7 else (20, 20, 20)
    share = float(rng.uniform(0.2, 0.55))
    if rng.random() < 0.5:
        stamp(picture, alpha, *spot(rng, picture), colour, share)
        return
    for row, y in enumerate(range(round(size * 2), height, max(8, round(size * 6)))):
        start = round(size * (3 if row % 2 else 6))
        for x in range(start, width + alpha.shape[1], alpha.shape[1] + round(size * 6)):
            stamp(picture, alpha, x, y, colour, share)


def _tag(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """A price tag with a hole."""
    size = unit_of(picture) * float(rng.uniform(2, 5))
    alpha = lettering(str(rng.choice(["49.90", "$12", "-50%", "SALE", "x2"])), size, face=1)
    x, y = spot(rng, picture)
    h, w = round(size * 1.1), alpha.shape[1] // 2 + round(size * 0.6)
    points = np.array([[-w - h, 0], [-w, -h], [w, -h], [w, h], [-w, h]]) + (x, y)
    fill = print_colour(rng)
    cv2.fillPoly(picture, [points], fill, cv2.LINE_AA)
    disc(picture, x - w - h * 0.35, y, size * 0.22, (235, 235, 235))
    stamp(picture, alpha, x, y, (255, 255, 255) if sum(fill) < 560 else (20, 20, 22))


def _rings(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """Small perfect circles: radio buttons, bullets, page dots, a logo's rings."""
    radius = unit_of(picture) * float(rng.uniform(0.8, 3.5))
    x, y = spot(rng, picture)
    colour, edge = print_colour(rng), max(1.0, radius * float(rng.uniform(0.1, 0.3)))
    step = (0, round(radius * 3.2)) if rng.random() < 0.5 else (round(radius * 3.2), 0)
    count = int(rng.integers(1, 6))
    chosen = int(rng.integers(count + 1))
    for index in range(count):
        disc(picture, x, y, radius, colour, edge)
        if index == chosen:
            disc(picture, x, y, radius * 0.5, colour)
        x, y = x + step[0], y + step[1]


def _bar(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """A slider, a progress bar or a switch."""
    unit = unit_of(picture)
    x, y = spot(rng, picture)
    thick = max(1, round(unit * float(rng.uniform(0.3, 1.2))))
    long = round(unit * float(rng.uniform(8, 45)))
    at = round(long * float(rng.uniform(0.1, 0.9)))
    colour = print_colour(rng)
    rounded_box(picture, x, y - thick, x + long, y + thick, thick, (200, 200, 205))
    rounded_box(picture, x, y - thick, x + at, y + thick, thick, colour)
    disc(picture, x + at, y, thick * 2.2, (255, 255, 255) if rng.random() < 0.5 else colour)


_Thing = Callable[[Rng, Canvas, Picture], None]
_THINGS: tuple[tuple[_Thing, float], ...] = (
    (_symbols, 0.2), (_badges, 0.15), (_text, 0.16), (_rating, 0.06), (_face, 0.05),
    (_bubble, 0.05), (_rules, 0.1), (_cables, 0.06), (_stripes, 0.03), (_watermark, 0.05),
    (_tag, 0.05), (_rings, 0.07), (_bar, 0.05),
)  # fmt: skip


def add_distractors(rng: Rng, canvas: Canvas, picture: Picture) -> None:
    """Draw some printed or regular things on ``picture`` in place."""
    weights = np.array([weight for _, weight in _THINGS])
    weights /= weights.sum()
    for index in rng.choice(len(_THINGS), int(rng.integers(1, 6)), p=weights).tolist():
        _THINGS[index][0](rng, canvas, picture)
