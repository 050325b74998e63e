"""The parts of a phone's screen that are no photos: text, icons, bars, buttons."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from training.scenes.icons import ACTIONS, Tone, any_icon
from training.scenes.photos import PhotoPool
from training.scenes.scene import Picture
from training.scenes.typesetting import font, words


@dataclass(frozen=True)
class Theme:
    """Colours and typeface of an app."""

    paper: Tone
    ink: Tone
    faint: Tone
    panel: Tone
    accent: Tone
    style: int


def theme(rng: np.random.Generator) -> Theme:
    """A light or dark theme with some accent colour."""
    style = int(rng.choice([0, 1, 2, 3], p=[0.45, 0.4, 0.08, 0.07]))
    accents = [
        (24, 119, 242),
        (10, 124, 255),
        (37, 185, 90),
        (238, 77, 45),
        (225, 48, 108),
        (90, 90, 200),
    ]
    accent = accents[int(rng.integers(len(accents)))]
    if rng.random() < 0.25:
        paper = [(0, 0, 0), (24, 25, 26), (18, 18, 18), (36, 37, 38)][int(rng.integers(4))]
        return Theme(paper, (228, 230, 235), (160, 164, 170), (58, 59, 62), accent, style)
    paper = (255, 255, 255) if rng.random() < 0.8 else (242, 243, 246)
    return Theme(paper, (24, 26, 30), (118, 122, 128), (232, 234, 239), accent, style)


class Screen:
    """A drawing surface in points (390 across a phone), made ``fine`` times as big and reduced."""

    def __init__(
        self, h: int, w: int, look: Theme, *, points: float, offset: float, fine: int
    ) -> None:
        """``points`` across; ``offset``: points scrolled away above the upper edge."""
        self.h, self.w, self.look, self.offset = h, w, look, offset
        self.fine = fine
        self.unit = w * fine / points  # pixels of the drawing per point
        self.points = points
        self.image = Image.new("RGB", (w * fine, h * fine), look.paper)
        self.draw = ImageDraw.Draw(self.image)

    @property
    def height(self) -> float:
        """Points from the page's top to the screen's lower edge."""
        return self.h * self.fine / self.unit + self.offset

    def xy(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of the drawing."""
        return x * self.unit, (y - self.offset) * self.unit

    def pixel_box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[int, int, int, int]:
        """A box of points in whole pixels of the finished picture, cut to it."""
        (a, b), (c, d) = self.xy(x0, y0), self.xy(x1, y1)
        xs = [min(self.w, max(0, round(v / self.fine))) for v in (a, c)]
        ys = [min(self.h, max(0, round(v / self.fine))) for v in (b, d)]
        return xs[0], ys[0], xs[1], ys[1]

    def seen(self, y: float, below: float = 40) -> bool:
        """Whether something at height ``y`` can be on the screen."""
        return self.offset - below <= y <= self.height + below

    def text(
        self, x: float, y: float, text: str, size: float, *,
        tone: Tone | None = None, bold: bool = False, anchor: str = "lm",
    ) -> None:  # fmt: skip
        """One line; ``y`` is its middle."""
        if self.seen(y):
            face = font(max(5, round(size * self.unit)), style=self.look.style, bold=bold)
            self.draw.text(
                self.xy(x, y), text, fill=tone or self.look.ink, font=face, anchor=anchor
            )

    def panel(
        self, x0: float, y0: float, x1: float, y1: float, *, tone: Tone, radius: float = 0
    ) -> None:
        """A filled box with rounded corners."""
        if x1 > x0 and y1 > y0 and self.seen(y0, y1 - y0 + 40):
            (a, b), (c, d) = self.xy(x0, y0), self.xy(x1, y1)
            self.draw.rounded_rectangle((a, b, c, d), radius * self.unit, fill=tone)

    def disc(
        self,
        x: float,
        y: float,
        r: float,
        *,
        tone: Tone | None = None,
        line: Tone | None = None,
        width: float = 1.5,
    ) -> None:
        """A circle, filled with ``tone`` or drawn with ``line``."""
        (a, b), (c, d) = self.xy(x - r, y - r), self.xy(x + r, y + r)
        self.draw.ellipse(
            (a, b, c, d), fill=tone, outline=line, width=max(1, round(width * self.unit))
        )

    def path(self, points: list[tuple[float, float]], *, tone: Tone, width: float = 1.6) -> None:
        """An open line."""
        self.draw.line(
            [self.xy(*p) for p in points],
            fill=tone,
            width=max(1, round(width * self.unit)),
            joint="curve",
        )

    def photo(
        self, x: float, y: float, r: float, rng: np.random.Generator, photos: PhotoPool
    ) -> None:
        """A round avatar."""
        side = max(4, round(2 * r * self.unit))
        mask = Image.new("L", (side, side))
        ImageDraw.Draw(mask).ellipse((0, 0, side - 1, side - 1), fill=255)
        left, top = self.xy(x - r, y - r)
        self.image.paste(
            Image.fromarray(photos.crop(rng, side, side, least=0.2)),
            (round(left), round(top)),
            mask,
        )

    def picture(self) -> Picture:
        """What has been drawn, at the screen's size."""
        made = np.asarray(self.image)
        if self.fine > 1:
            made = cv2.resize(made, (self.w, self.h), interpolation=cv2.INTER_AREA)
        return np.array(made, np.uint8)


# --- bars ----------------------------------------------------------------------------------------


def say(rng: np.random.Generator, look: Theme, count: int) -> str:
    """Words that the theme's typeface can set."""
    return words(rng, count, accents=look.style != 0)


def status_bar(s: Screen, rng: np.random.Generator) -> float:
    """Clock, signal, battery; returns the height used."""
    ink, x = s.look.ink, s.points
    s.text(28, 26, f"{rng.integers(1, 24):02d}:{rng.integers(60):02d}", 15, bold=True)
    for k in range(4):
        s.panel(x - 86 + 5 * k, 29 - 2.5 * k, x - 83 + 5 * k, 32, tone=ink)
    for k in (1, 2, 3):
        (a, b), (c, d) = s.xy(x - 54 - 3 * k, 30 - 3 * k), s.xy(x - 54 + 3 * k, 30 + 3 * k)
        s.draw.arc((a, b, c, d), 225, 315, fill=ink, width=max(1, round(1.6 * s.unit)))
    s.panel(x - 40, 20, x - 17, 32, tone=ink, radius=3)
    s.text(x - 28.5, 26, str(rng.integers(10, 100)), 8.5, tone=s.look.paper, bold=True, anchor="mm")
    return 48


def app_bar(s: Screen, rng: np.random.Generator, photos: PhotoPool, y: float) -> float:
    """Back arrow, avatar, title and subtitle, dots; returns the next free height."""
    look = s.look
    mid = y + 26
    if not s.seen(mid, 60):
        return y + 56
    x = 22.0
    if rng.random() < 0.8:
        s.path([(x + 6, mid - 8), (x - 2, mid), (x + 6, mid + 8)], tone=look.ink, width=2)
        x += 26
    if rng.random() < 0.85:
        if rng.random() < 0.6:
            s.photo(x + 20, mid, 20, rng, photos)
        else:
            tone = tuple(int(v) for v in rng.integers(120, 256, 3))
            s.disc(x + 20, mid, 20, tone=(tone[0], tone[1], tone[2]))
            s.text(
                x + 20, mid, say(rng, look, 1)[:3], 14, tone=(255, 255, 255), bold=True, anchor="mm"
            )
        if rng.random() < 0.5:
            s.disc(x + 34, mid + 14, 5, tone=(49, 204, 70))
        x += 52
    s.text(x, mid - 9, say(rng, look, int(rng.integers(1, 4))), 15, bold=True)
    s.text(x, mid + 10, say(rng, look, int(rng.integers(1, 4))), 12, tone=look.faint)
    if rng.random() < 0.6:
        for k in range(3):
            s.disc(s.points - 34 + 7 * k, mid, 2, tone=look.ink)
    else:
        for k in range(int(rng.integers(1, 4))):
            any_icon(rng)(
                s, s.points - 28 - 38 * k, mid, 9, look.accent if rng.random() < 0.5 else look.ink
            )
    return y + 56


def paragraph(
    s: Screen, rng: np.random.Generator, y: float, *, lines: int, size: float = 14
) -> float:
    """Lines of text, now and then bold, red, dashed or empty; returns the next free height."""
    for _ in range(lines):
        kind = rng.random()
        if kind < 0.08:
            s.text(
                14,
                y + 10,
                str(rng.choice(["-", "_", ".", "*", "="])) * int(rng.integers(10, 40)),
                size,
            )
        elif kind > 0.06:
            tone = None if rng.random() < 0.9 else s.look.accent
            text = say(rng, s.look, int(rng.integers(1, 9)))[: int(s.points / size * 1.6)]
            s.text(14, y + 10, text, size, tone=tone, bold=bool(rng.random() < 0.12))
        y += size * 1.4
    return y + 8


def action_row(s: Screen, rng: np.random.Generator, y: float) -> float:
    """Thumb, bubble and arrow with their words; returns the next free height."""
    if s.seen(y, 60):
        for k, icon in enumerate(ACTIONS):
            x = s.points * (k + 0.25) / 3
            icon(s, x, y + 20, 9, s.look.faint)
            s.text(x + 18, y + 20, say(rng, s.look, 1), 13, tone=s.look.faint)
    return y + 42


def button_card(s: Screen, rng: np.random.Generator, y: float) -> float:
    """A shop's card: two lines and a button; returns the next free height."""
    look = s.look
    tint = tuple(int(0.5 * (a + b)) for a, b in zip(look.paper, look.panel, strict=True))
    s.panel(0, y, s.points, y + 62, tone=(tint[0], tint[1], tint[2]))
    s.text(13, y + 20, say(rng, look, 3), 12, tone=look.faint)
    s.text(13, y + 42, say(rng, look, 2), 14, bold=True)
    strong = rng.random() < 0.4
    wide = rng.uniform(90, 135)
    s.panel(
        s.points - wide - 12,
        y + 14,
        s.points - 12,
        y + 48,
        tone=look.accent if strong else look.panel,
        radius=6,
    )
    tone = (255, 255, 255) if strong else look.ink
    if s.seen(y + 31):
        any_icon(rng)(s, s.points - wide + 6, y + 31, 7, tone)
    s.text(s.points - wide + 20, y + 31, say(rng, look, 2)[:12], 13, tone=tone, bold=True)
    return y + 62


def input_bar(s: Screen, rng: np.random.Generator) -> float:
    """The field to write in, at the lower edge; returns its upper edge."""
    look, y = s.look, s.height - rng.uniform(60, 84)
    s.panel(0, y, s.points, s.height + 1, tone=look.paper)
    s.path([(0, y), (s.points, y)], tone=look.panel, width=1)
    mid = y + 26
    x = 30.0
    for _ in range(int(rng.integers(0, 4))):
        any_icon(rng)(s, x, mid, 10, look.accent if rng.random() < 0.5 else look.faint)
        x += 36
    s.panel(x - 8, mid - 18, s.points - 20, mid + 18, tone=look.panel, radius=18)
    s.text(x + 8, mid, say(rng, look, 3) + "...", 14, tone=look.faint)
    for k in range(int(rng.integers(0, 4))):
        any_icon(rng)(s, s.points - 42 - 34 * k, mid, 9, look.faint)
    s.panel(
        s.points / 2 - 66, s.height - 9, s.points / 2 + 66, s.height - 4, tone=look.ink, radius=2.5
    )
    return y


def tab_bar(s: Screen, rng: np.random.Generator) -> float:
    """Icons along the lower edge; returns its upper edge."""
    look, y, count = s.look, s.height - 62, int(rng.integers(3, 6))
    s.panel(0, y, s.points, s.height + 1, tone=look.paper)
    s.path([(0, y), (s.points, y)], tone=look.panel, width=1)
    for k in range(count):
        x = s.points * (k + 0.5) / count
        tone = look.accent if k == 0 else look.faint
        any_icon(rng)(s, x, y + 20, 10, tone)
        s.text(x, y + 40, say(rng, look, 1)[:9], 9, tone=tone, anchor="mm")
    return y
