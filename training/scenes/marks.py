"""Marks: choosing objects, drawing on them, and making sure that it is clear what is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.drawing import Drawing
from training.scenes.pens import Pen, choose_colour, choose_pen, paint, profile
from training.scenes.scene import Canvas, Mask, Picture, SceneMark
from training.scenes.shapes import SHAPES
from training.scenes.strokes import Stroke
from training.scenes.targets import Plan, Target, find_target

WEIGHTS = {
    "arrow": 1.0, "circle": 1.5, "cross": 1.0, "dot": 1.0, "line": 1.0, "tick": 1.4, "other": 1.35,
}  # fmt: skip
"""How often every kind is drawn."""

_ALONG_BORDER = 0.25  # most of a loop that may run along the photo's border
_TRIES = 6  # drawings of one kind on one object
_OBJECTS = 4  # objects tried with one kind
_VISIBLE = 40.0  # least mean colour difference that ink makes, 0..255; thin ink needs more
_THIN = 3.5  # stroke width, pixels
LEAST_WIDTH = 1.2  # of a stroke, pixels


@dataclass
class _Sheet:
    """The plan and the ink drawn so far."""

    plan: Plan
    ink: Mask

    def cover(self, drawing: Drawing, width: float) -> NDArray[np.uint8] | None:
        """The drawing's ink on the plan; None when much of it lies outside the picture."""
        stride = self.plan.stride
        flat = np.concatenate(drawing.strokes)
        height, wide = self.plan.size
        inside = (flat[:, 0] >= 0) & (flat[:, 1] >= 0) & (flat[:, 0] < wide) & (flat[:, 1] < height)
        if inside.mean() < 0.97:
            return None
        cover = np.zeros(self.plan.instances.shape, np.uint8)
        thick = max(1, round(width / stride))
        for index, path in enumerate(drawing.strokes):
            points = np.round((path / stride - 0.5) * 16).astype(np.int32)
            cv2.polylines(cover, [points], False, 1, thick, cv2.LINE_8, 4)
            if drawing.filled and drawing.filled[index]:
                cv2.fillPoly(cover, [points], 1, cv2.LINE_8, 4)
        return cover


def _shares(plan: Plan, region: Mask) -> NDArray[np.int64]:
    return np.bincount(np.maximum(plan.instances[region], 0))


def _on_object(plan: Plan, cover: Mask, target: Target) -> bool:
    """Most of the ink and its centre lie on the object."""
    counts = _shares(plan, cover)
    total = int(counts.sum())
    if total == 0 or len(counts) <= target.instance:
        return False
    others = np.delete(counts, [0, target.instance])
    if counts[target.instance] < 0.55 * total or (len(others) and others.max() > 0.3 * total):
        return False
    ys, xs = np.nonzero(cover)
    y, x = int(round(ys.mean())), int(round(xs.mean()))
    return bool(plan.instances[y, x] == target.instance)


def _enclosed(plan: Plan, drawing: Drawing, target: Target) -> bool:
    """The loop's inside is mostly the object, and holds most of it."""
    path = drawing.strokes[0]
    x0, y0, x1, y1 = target.room
    edge = np.minimum(path - (x0, y0), (x1, y1) - path).min(axis=1)
    if (edge <= edge.min() + 0.5).mean() > _ALONG_BORDER:
        return False
    region = np.zeros(plan.instances.shape, np.uint8)
    points = np.round((path / plan.stride - 0.5) * 16).astype(np.int32)
    hull = points if drawing.kind == "circle" else cv2.convexHull(points)
    cv2.drawContours(region, [hull // 16], -1, 1, -1)
    counts = _shares(plan, region > 0)
    if len(counts) <= target.instance:
        return False
    mine = counts[target.instance] * plan.stride**2
    inside = int(counts.sum()) * plan.stride**2
    others = np.delete(counts, [0, target.instance]) * plan.stride**2
    return bool(
        mine >= 0.75 * target.area
        and mine >= 0.42 * inside
        and (not len(others) or others.max() <= 0.45 * mine)
    )


def _pointed_at(plan: Plan, drawing: Drawing, target: Target) -> bool:
    """From the tip on, the object meant comes first, soon, and stays for a while."""
    if drawing.tip is None or drawing.heading is None:
        return False
    step = plan.stride
    far = 0.038 * plan.diagonal
    stay = max(3 * step, 0.12 * target.size)
    path = drawing.strokes[0]
    for bend in (0.0, -0.12, 0.12):
        c, s = np.cos(bend), np.sin(bend)
        dx = drawing.heading[0] * c - drawing.heading[1] * s
        dy = drawing.heading[0] * s + drawing.heading[1] * c
        entered: float | None = None
        for at in np.arange(0.0, far + stay + 2 * step, step):
            here = plan.at(drawing.tip[0] + dx * at, drawing.tip[1] + dy * at)
            if here == target.instance:
                entered = at if entered is None else entered
                if at - entered >= stay:
                    break
            elif here != 0 or entered is not None or at > far:
                return False
        else:
            return False
    tail = plan.at(float(path[0, 0]), float(path[0, 1]))
    return tail >= 0


def _beside(plan: Plan, cover: Mask, drawing: Drawing, target: Target) -> bool:
    """Seen from the ink, the object meant is next, and nothing else is as near."""
    if drawing.beside is None:
        return False
    dx, dy = drawing.beside
    ys, xs = np.nonzero(cover)
    if len(xs) == 0:
        return False
    if (plan.instances[cover] == target.instance).mean() > 0.4:
        return False
    hits = looks = 0
    pick = np.linspace(0, len(xs) - 1, 16).astype(int)
    reach = int(max(4, 0.07 * plan.diagonal / plan.stride))
    for x, y in zip(xs[pick].tolist(), ys[pick].tolist(), strict=True):
        looks += 1
        for step in range(reach):
            here = plan.at((x + dx * step) * plan.stride, (y + dy * step) * plan.stride)
            if here != 0:
                hits += here == target.instance
                break
        for step in range(reach // 2):
            there = plan.at((x - dx * step) * plan.stride, (y - dy * step) * plan.stride)
            if there > 0 and there != target.instance:
                return False
    return hits >= 0.75 * looks


def _in_room(drawing: Drawing, target: Target) -> bool:
    path = np.concatenate(drawing.strokes)
    x0, y0, x1, y1 = target.room
    return bool(((path >= (x0, y0)) & (path <= (x1, y1))).all(axis=1).mean() > 0.95)


def _is_clear(plan: Plan, cover: Mask, drawing: Drawing, target: Target) -> bool:
    if drawing.tip is not None:
        return _pointed_at(plan, drawing, target)
    if drawing.encloses:
        return _enclosed(plan, drawing, target)
    if drawing.beside is not None:
        return _beside(plan, cover, drawing, target)
    return _on_object(plan, cover, target)


def stroke_width(rng: np.random.Generator, area: int) -> float:
    """A stroke's width in pixels: 2 to 40 at 1 MP, mostly 4.5 to 20, scaled with the picture."""
    low, high = (2.0, 40.0) if rng.random() < 0.25 else (4.5, 20.0)
    at_1mp = np.exp(rng.uniform(np.log(low), np.log(high)))
    return float(at_1mp * np.sqrt(area / 1e6))


def ink_drawing(
    rng: np.random.Generator, picture: Picture, drawing: Drawing, pen: Pen
) -> Mask | None:
    """Draw in place with a colour that can be seen there; the ink's mask, None when invisible."""
    filled = drawing.filled or (False,) * len(drawing.strokes)
    strokes = [
        Stroke(path, profile(rng, pen, len(path)), fill)
        for path, fill in zip(drawing.strokes, filled, strict=True)
    ]
    for _ in range(5):
        painted = paint(rng, picture, strokes, pen)
        if painted is None:
            return None
        x0, y0, x1, y1 = painted.box
        ink, before = painted.ink, picture[y0:y1, x0:x1]
        if ink.sum() < 6:
            return None
        change = cv2.absdiff(before, painted.region)[ink].max(axis=1)
        if change.mean() >= _VISIBLE * (1.5 if pen.width < _THIN else 1.0):
            before[:] = painted.region
            mask = np.zeros(picture.shape[:2], np.bool_)
            mask[y0:y1, x0:x1] = ink
            return mask
        style = "finger" if pen.style == "highlighter" else pen.style
        pen = replace(pen, style=style, colour=choose_colour(rng), opacity=1.0)
    return None


def draw_marks(
    rng: np.random.Generator,
    canvas: Canvas,
    picture: Picture,
    *,
    count: int,
    kinds: Sequence[str],
    widths: tuple[float, float] | None = None,
    least_width: float = LEAST_WIDTH,
) -> tuple[SceneMark, ...]:
    """Draw up to ``count`` marks on ``picture`` in place, each on another object.

    Fewer are drawn when no object is left on which a mark would be unambiguous. ``widths`` is a
    range of stroke widths in pixels; none is below ``least_width``.
    """
    plan = Plan.of(canvas.instances)
    sheet = _Sheet(plan, np.zeros(plan.instances.shape, np.bool_))
    free = list(canvas.markable)
    targets: dict[int, Target | None] = {}
    weights = np.array([WEIGHTS[k] for k in kinds])
    marks: list[SceneMark] = []
    hand: Pen | None = None
    for _ in range(count):
        if widths is None:
            width = stroke_width(rng, picture.shape[0] * picture.shape[1])
        else:
            width = float(np.exp(rng.uniform(np.log(widths[0]), np.log(widths[1]))))
        if hand is None or rng.random() < 0.2:
            hand = choose_pen(rng, width=width)
        pen = replace(hand, width=max(least_width, hand.width * float(rng.uniform(0.9, 1.1))))
        for kind in rng.choice(len(kinds), 3, p=weights / weights.sum()).tolist():
            found = _place(rng, canvas, sheet, free, targets, kinds[kind], pen)
            if found is None:
                continue
            drawing, target, cover, pen = found
            ink = ink_drawing(rng, picture, drawing, pen)
            if ink is None:
                continue
            marks.append(SceneMark(drawing.kind, ink, target.instance, pen.width, drawing.tip))
            free.remove(target.instance)
            reach = max(3, 2 * round(pen.width / plan.stride / 2) + 3)
            sheet.ink |= cv2.dilate(cover, np.ones((reach, reach), np.uint8)) > 0
            break
    return tuple(marks)


def _place(
    rng: np.random.Generator,
    canvas: Canvas,
    sheet: _Sheet,
    free: list[int],
    targets: dict[int, Target | None],
    kind: str,
    pen: Pen,
) -> tuple[Drawing, Target, NDArray[np.uint8], Pen] | None:
    """A drawing of ``kind`` on one of the free objects that cannot be misunderstood."""
    for index in rng.permutation(len(free))[:_OBJECTS].tolist():
        instance = free[index]
        if instance not in targets:
            targets[instance] = find_target(sheet.plan, instance, canvas.photos)
        target = targets[instance]
        if target is None:
            continue
        stays = rng.random() < 0.7  # drawn on the photo before it went into a collage or a post
        thin = min(1.0, max(LEAST_WIDTH, 0.3 * target.size) / pen.width)
        fits = replace(pen, width=pen.width * thin, outline_width=pen.outline_width * thin)
        for _ in range(_TRIES):
            drawing = SHAPES[kind](rng, target, fits.width)
            if stays and not _in_room(drawing, target):
                continue
            cover = sheet.cover(drawing, fits.width)
            if cover is None:
                continue
            ink = cover > 0
            if (sheet.ink & ink).sum() > 0.02 * ink.sum():
                continue
            if _is_clear(sheet.plan, ink, drawing, target):
                return drawing, target, cover, fits
    return None
