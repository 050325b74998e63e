"""Phone screenshots: a shop's post, a chat, a list of products, a gallery, one photo alone."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from training.scenes import widgets
from training.scenes.collage import Box, paste_photos
from training.scenes.icons import any_icon
from training.scenes.photos import PhotoPool
from training.scenes.scene import Canvas
from training.scenes.typesetting import font, stamp
from training.scenes.widgets import Screen

PointBox = tuple[float, float, float, float]


def screenshot(rng: np.random.Generator, h: int, w: int, photos: PhotoPool) -> Canvas:
    """A screen of any app with photos on it; everything but the photos' objects is background."""
    points = 390.0 if w < 0.8 * h else float(rng.uniform(390, 620))
    tall = h * points / w
    offset = float(rng.uniform(0, max(0.0, 640 - tall))) if rng.random() < 0.7 else 0.0
    fine = 3 if w < 240 else 2 if w < 1100 else 1
    look = widgets.theme(rng)
    screen = Screen(h, w, look, points=points, offset=offset, fine=fine)
    page = _PAGES[int(rng.choice(len(_PAGES), p=[0.5, 0.17, 0.15, 0.08, 0.1]))]
    boxes, radius, more = page(screen, rng, photos)
    ground = screen.picture()
    whole = [screen.pixel_box(*box) for box in boxes]
    kept = [b for b in whole if b[2] - b[0] >= 12 and b[3] - b[1] >= 12]
    canvas = paste_photos(
        rng, ground.copy(), kept, photos, layout="screenshot", family=rng.random() < 0.4
    )
    corner = round(radius * w / points)
    if corner > 1:
        _round_corners(canvas, ground, kept, corner)
    if more and kept:
        _more(canvas, kept[-1], f"+{rng.integers(1, 30)}", look.style)
    return canvas


def _post(
    s: Screen, rng: np.random.Generator, photos: PhotoPool
) -> tuple[list[PointBox], float, bool]:
    y = widgets.status_bar(s, rng)
    y = widgets.app_bar(s, rng, photos, y)
    y = widgets.paragraph(s, rng, y, lines=int(rng.integers(1, 8)))
    room = s.height - y - rng.uniform(60, 260)
    tall = float(np.clip(room, 0.5 * s.points, 1.35 * s.points))
    boxes = _grid(rng, s.points, y, tall)
    y += tall
    if rng.random() < 0.7:
        y = widgets.button_card(s, rng, y)
    if rng.random() < 0.85:
        y = widgets.action_row(s, rng, y)
    if rng.random() < 0.7 and s.seen(y + 14):
        s.disc(20, y + 14, 9, tone=s.look.accent)
        s.text(36, y + 14, str(rng.integers(1, 999)), 12, tone=s.look.faint)
        y += 30
    widgets.paragraph(s, rng, y, lines=int(rng.integers(0, 12)), size=13)
    floor = s.height
    bar = rng.random()
    if bar < 0.8:
        floor = widgets.input_bar(s, rng) if bar < 0.55 else widgets.tab_bar(s, rng)
    return _above(boxes, floor), 0, len(boxes) >= 4 and rng.random() < 0.6


def _grid(rng: np.random.Generator, wide: float, y: float, tall: float) -> list[PointBox]:
    """One to six photos as posts show them: rows of equal height, a row's photos of equal width."""
    rows = [[1], [2], [1, 2], [1, 3], [2, 2], [2, 3], [2, 3], [3, 3]][int(rng.integers(8))]
    gap = float(rng.choice([0, 2, 3, 4]))
    if rng.random() < 0.15:  # one tall photo beside a column
        count, cut = int(rng.integers(2, 4)), wide * 0.64
        step = (tall + gap) / count
        column = [(cut + gap, y + k * step, wide, y + (k + 1) * step - gap) for k in range(count)]
        return [(0, y, cut, y + tall), *column]
    shares = np.array([1.0 / n**0.5 for n in rows])
    heights = tall * shares / shares.sum()
    boxes: list[PointBox] = []
    for n, row in zip(rows, heights, strict=True):
        step = (wide + gap) / n
        boxes += [(k * step, y, (k + 1) * step - gap, y + float(row) - gap) for k in range(n)]
        y += float(row)
    return boxes


def _chat(
    s: Screen, rng: np.random.Generator, photos: PhotoPool
) -> tuple[list[PointBox], float, bool]:
    y = widgets.app_bar(s, rng, photos, widgets.status_bar(s, rng)) + 8
    floor = s.height - 84
    boxes: list[PointBox] = []
    while y < floor:
        mine = rng.random() < 0.5
        if rng.random() < 0.45 or (not boxes and y > s.offset + 120):
            wide, tall = rng.uniform(170, 290), rng.uniform(150, 360)
            x = s.points - wide - 12 if mine else 46
            if y + tall < floor + 150:
                boxes.append((x, y, x + wide, y + tall))
            y += tall + 8
            continue
        text = widgets.say(rng, s.look, int(rng.integers(1, 7)))[:36]
        wide = 24 + 7.4 * len(text)
        x = s.points - wide - 12 if mine else 46
        s.panel(x, y, x + wide, y + 36, tone=s.look.accent if mine else s.look.panel, radius=18)
        s.text(x + 12, y + 18, text, 14, tone=(255, 255, 255) if mine else s.look.ink)
        if not mine and s.seen(y):
            s.photo(24, y + 20, 13, rng, photos)
        y += float(rng.choice([40, 44, 62]))
    return _above(boxes, widgets.input_bar(s, rng)), float(rng.choice([0, 14, 18])), False


def _shop(
    s: Screen, rng: np.random.Generator, photos: PhotoPool
) -> tuple[list[PointBox], float, bool]:
    y = widgets.status_bar(s, rng)
    s.panel(14, y + 4, s.points - 60, y + 38, tone=s.look.panel, radius=float(rng.choice([4, 17])))
    s.text(30, y + 21, widgets.say(rng, s.look, 2), 13, tone=s.look.faint)
    if s.seen(y + 21):
        any_icon(rng)(s, s.points - 30, y + 21, 10, s.look.ink)
    y += 50
    columns, aspect = int(rng.choice([2, 2, 3])), rng.uniform(0.9, 1.4)
    margin = float(rng.choice([0, 6, 12]))
    wide = (s.points - margin * (columns + 1)) / columns
    boxes: list[PointBox] = []
    while y < s.height:
        for k in range(columns):
            x = margin + k * (wide + margin)
            boxes.append((x, y, x + wide, y + wide * aspect))
            below = y + wide * aspect
            s.text(x + 4, below + 12, widgets.say(rng, s.look, 3)[: int(wide / 7)], 12)
            s.text(
                x + 4,
                below + 30,
                f"{rng.integers(1, 400)}.{rng.integers(10, 99)}",
                13,
                tone=s.look.accent,
                bold=True,
            )
        y += wide * aspect + 46
    return _above(boxes, widgets.tab_bar(s, rng)), float(rng.choice([0, 6, 10])), False


def _gallery(
    s: Screen, rng: np.random.Generator, photos: PhotoPool
) -> tuple[list[PointBox], float, bool]:
    y = widgets.app_bar(s, rng, photos, widgets.status_bar(s, rng))
    columns, gap = int(rng.integers(2, 4)), float(rng.choice([1, 2, 4]))
    step = (s.points + gap) / columns
    rows = int((s.height - y) / step) + 1
    boxes = [(k * step, y + r * step, (k + 1) * step - gap, y + (r + 1) * step - gap)
             for r in range(rows) for k in range(columns)]  # fmt: skip
    return _above(boxes, widgets.tab_bar(s, rng) if rng.random() < 0.6 else s.height), 0, False


def _viewer(
    s: Screen, rng: np.random.Generator, photos: PhotoPool
) -> tuple[list[PointBox], float, bool]:
    y = widgets.status_bar(s, rng)
    if rng.random() < 0.7:
        y = widgets.app_bar(s, rng, photos, y)
    tall = float(min(s.points * rng.uniform(0.7, 1.6), s.height - y - 60))
    top = y + rng.uniform(0, max(0.0, s.height - y - tall - 60))
    box = (0.0, float(top), s.points, float(top + max(tall, 60)))
    if rng.random() < 0.6:
        widgets.action_row(s, rng, s.height - 52)
    return [box], 0, False


_Page = Callable[[Screen, np.random.Generator, PhotoPool], tuple[list[PointBox], float, bool]]
_PAGES: tuple[_Page, ...] = (_post, _chat, _shop, _gallery, _viewer)


def _above(boxes: list[PointBox], floor: float) -> list[PointBox]:
    cut = [(x0, y0, x1, min(y1, floor)) for x0, y0, x1, y1 in boxes]
    return [b for b in cut if b[3] - b[1] > 12]


def _round_corners(canvas: Canvas, ground: np.ndarray, boxes: list[Box], radius: int) -> None:
    for x0, y0, x1, y1 in boxes:
        r = min(radius, (x1 - x0) // 3, (y1 - y0) // 3)
        d = np.arange(r, dtype=np.float32)[::-1] + 0.5
        corner = np.clip(r - np.hypot(d[:, None], d[None]) + 0.5, 0, 1)  # 0 outside, upper left
        for ys, xs, cover in (
            (slice(y0, y0 + r), slice(x0, x0 + r), corner),
            (slice(y0, y0 + r), slice(x1 - r, x1), corner[:, ::-1]),
            (slice(y1 - r, y1), slice(x0, x0 + r), corner[::-1]),
            (slice(y1 - r, y1), slice(x1 - r, x1), corner[::-1, ::-1]),
        ):
            share = cover[..., None]
            mixed = canvas.picture[ys, xs] * share + ground[ys, xs] * (1 - share)
            canvas.picture[ys, xs] = mixed + 0.5
            canvas.instances[ys, xs][cover < 0.5] = 0


def _more(canvas: Canvas, box: Box, text: str, style: int) -> None:
    """Darken a photo and write how many more there are."""
    x0, y0, x1, y1 = box
    window = canvas.picture[y0:y1, x0:x1]
    share = stamp(text, y1 - y0, x1 - x0, font(max(6, (x1 - x0) // 5), style=style))[..., None]
    dark = cv2.convertScaleAbs(window, alpha=0.55)
    canvas.picture[y0:y1, x0:x1] = dark + share * (250 - dark)
