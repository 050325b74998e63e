"""Icons of phone apps, as outlines; many of them look like marks and are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from training.scenes.widgets import Screen

Tone = tuple[int, int, int]


def _thumb(s: Screen, x: float, y: float, r: float, tone: Tone) -> None:
    s.path(
        [(x - r, y), (x - r, y + r), (x - 0.5 * r, y + r), (x - 0.5 * r, y), (x - r, y)], tone=tone
    )
    s.path(
        [
            (x - 0.5 * r, y),
            (x, y - r),
            (x + 0.3 * r, y - 0.8 * r),
            (x + 0.2 * r, y - 0.1 * r),
            (x + r, y - 0.1 * r),
            (x + 0.7 * r, y + r),
            (x - 0.5 * r, y + r),
        ],
        tone=tone,
    )


def _bubble(s: Screen, x: float, y: float, r: float, tone: Tone) -> None:
    s.disc(x, y, r, line=tone)
    s.path([(x + 0.4 * r, y + 0.9 * r), (x + r, y + r), (x + 0.9 * r, y + 0.4 * r)], tone=tone)


def _share(s: Screen, x: float, y: float, r: float, tone: Tone) -> None:
    s.path(
        [
            (x - r, y + 0.8 * r),
            (x - 0.6 * r, y),
            (x + 0.1 * r, y - 0.3 * r),
            (x + 0.1 * r, y - 0.8 * r),
            (x + r, y),
            (x + 0.1 * r, y + 0.8 * r),
            (x + 0.1 * r, y + 0.3 * r),
            (x - r, y + 0.8 * r),
        ],
        tone=tone,
    )


def _heart(s: Screen, x: float, y: float, r: float, tone: Tone) -> None:
    s.path(
        [
            (x, y + r),
            (x - r, y),
            (x - 0.9 * r, y - 0.7 * r),
            (x - 0.3 * r, y - 0.8 * r),
            (x, y - 0.4 * r),
            (x + 0.3 * r, y - 0.8 * r),
            (x + 0.9 * r, y - 0.7 * r),
            (x + r, y),
            (x, y + r),
        ],
        tone=tone,
    )


def _camera(s: Screen, x: float, y: float, r: float, tone: Tone) -> None:
    s.path(
        [
            (x - r, y - 0.6 * r),
            (x + r, y - 0.6 * r),
            (x + r, y + 0.8 * r),
            (x - r, y + 0.8 * r),
            (x - r, y - 0.6 * r),
        ],
        tone=tone,
    )
    s.disc(x, y + 0.1 * r, 0.45 * r, line=tone)


def _smiley(s: Screen, x: float, y: float, r: float, tone: Tone) -> None:
    s.disc(x, y, r, line=tone)
    s.path([(x - 0.5 * r, y + 0.2 * r), (x, y + 0.5 * r), (x + 0.5 * r, y + 0.2 * r)], tone=tone)
    for side in (-1, 1):
        s.disc(x + side * 0.35 * r, y - 0.25 * r, 0.1 * r, tone=tone)


def _check(s: Screen, x: float, y: float, r: float, tone: Tone) -> None:
    s.disc(x, y, r, line=tone)
    s.path([(x - 0.4 * r, y), (x - 0.1 * r, y + 0.35 * r), (x + 0.45 * r, y - 0.35 * r)], tone=tone)


def _cross(s: Screen, x: float, y: float, r: float, tone: Tone) -> None:
    s.path([(x - 0.7 * r, y - 0.7 * r), (x + 0.7 * r, y + 0.7 * r)], tone=tone)
    s.path([(x - 0.7 * r, y + 0.7 * r), (x + 0.7 * r, y - 0.7 * r)], tone=tone)


def _plus(s: Screen, x: float, y: float, r: float, tone: Tone) -> None:
    s.path([(x - r, y), (x + r, y)], tone=tone)
    s.path([(x, y - r), (x, y + r)], tone=tone)


def _lens(s: Screen, x: float, y: float, r: float, tone: Tone) -> None:
    s.disc(x - 0.2 * r, y - 0.2 * r, 0.65 * r, line=tone)
    s.path([(x + 0.3 * r, y + 0.3 * r), (x + r, y + r)], tone=tone)


def _house(s: Screen, x: float, y: float, r: float, tone: Tone) -> None:
    s.path(
        [
            (x - r, y),
            (x, y - 0.9 * r),
            (x + r, y),
            (x + 0.75 * r, y),
            (x + 0.75 * r, y + r),
            (x - 0.75 * r, y + r),
            (x - 0.75 * r, y),
            (x - r, y),
        ],
        tone=tone,
    )


def _bars(s: Screen, x: float, y: float, r: float, tone: Tone) -> None:
    for dy in (-0.6, 0, 0.6):
        s.path([(x - r, y + dy * r), (x + r, y + dy * r)], tone=tone)


Icon = Callable[["Screen", float, float, float, Tone], None]
ICONS: tuple[Icon, ...] = (
    _thumb,
    _bubble,
    _share,
    _heart,
    _camera,
    _smiley,
    _check,
    _cross,
    _plus,
    _lens,
    _house,
    _bars,
)
ACTIONS: tuple[Icon, ...] = (_thumb, _bubble, _share)


def any_icon(rng: np.random.Generator) -> Icon:
    """One of the icons."""
    return ICONS[int(rng.integers(len(ICONS)))]
