"""What lies behind the objects: photos, rooms, tables, studio paper, clutter. uint8 RGB."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from training.scenes import materials
from training.scenes.noise import enlarge, fractal, grain, smooth, streaks
from training.scenes.photos import PhotoPool
from training.scenes.scene import Picture

WORK_SIDE = 900  # bigger backgrounds are made at this side and enlarged


def photo(rng: np.random.Generator, h: int, w: int, photos: PhotoPool) -> Picture:
    """A photo as it is, in other light."""
    return relit(rng, photos.crop(rng, h, w, least=0.45))


def blurred(rng: np.random.Generator, h: int, w: int, photos: PhotoPool) -> Picture:
    """A photo out of focus."""
    k = rng.uniform(0.02, 0.15)
    small = photos.crop(rng, max(8, int(h * k)), max(8, int(w * k)), least=0.3)
    return relit(rng, cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC).astype(np.uint8))


def gradient(rng: np.random.Generator, h: int, w: int, photos: PhotoPool) -> Picture:
    """A colour that runs into another."""
    a = materials.dye(rng)
    b = materials.near(rng, a, 40) if rng.random() < 0.7 else materials.dye(rng)
    share = np.clip(0.5 + 0.35 * smooth(rng, h, w, cells_y=1, cells_x=1), 0, 1)[..., None]
    return _as_picture(a * (1 - share) + b * share)


def studio(rng: np.random.Generator, h: int, w: int, photos: PhotoPool) -> Picture:
    """White or grey paper of a product shot."""
    tone = np.float32(rng.choice([255, 252, 245, 235, 215])) + rng.normal(0, 2, 3)
    light = 1 - 0.05 * np.abs(smooth(rng, h, w, cells_y=1, cells_x=1)) * (rng.random() < 0.6)
    return _as_picture((tone * light[..., None]).astype(np.float32))


def wall_and_floor(rng: np.random.Generator, h: int, w: int, photos: PhotoPool) -> Picture:
    """A wall that meets a floor, each of its own stuff."""
    wall, floor = _stuff(rng, h, w), _stuff(rng, h, w)
    line = h * rng.uniform(0.45, 0.95) + np.arange(w) * rng.normal(0, 0.08)
    below = np.arange(h, dtype=np.float32)[:, None] - line[None].astype(np.float32)
    share = np.clip(below + 0.5, 0, 1)[..., None]
    made = wall * (1 - share) + floor * share
    corner = np.exp(-np.abs(below) / (0.04 * h)) * rng.uniform(0, 0.4)
    return _as_picture(made * (1 - corner)[..., None])


def flat(rng: np.random.Generator, h: int, w: int, photos: PhotoPool) -> Picture:
    """A table, a floor, a wall seen straight on."""
    return _as_picture(_stuff(rng, h, w))


def slats(rng: np.random.Generator, h: int, w: int, photos: PhotoPool) -> Picture:
    """Blinds, panels, curtains: parallel bands with shadows between them."""
    colour = materials.dye(rng) * np.float32(rng.uniform(0.3, 1))
    along = (
        np.arange(h, dtype=np.float32)[:, None]
        if rng.random() < 0.5
        else np.arange(w, dtype=np.float32)[None]
    )
    period = max(h, w) / rng.uniform(6, 40)
    phase = along / period + rng.random()
    edge = np.abs(phase - np.floor(phase) - 0.5) * 2
    light = (
        1
        - rng.uniform(0.1, 0.6) * edge ** rng.uniform(2, 14)
        + 0.1 * smooth(rng, h, w, cells_y=2, cells_x=2)
    )
    return _as_picture(colour * light[..., None])


def clutter(rng: np.random.Generator, h: int, w: int, photos: PhotoPool) -> Picture:
    """Patches of several photos beside and over each other, blurred at their borders."""
    made = photo(rng, h, w, photos)
    for _ in range(int(rng.integers(2, 7))):
        ph, pw = int(h * rng.uniform(0.15, 0.5)), int(w * rng.uniform(0.15, 0.5))
        y, x = int(rng.integers(h - ph + 1)), int(rng.integers(w - pw + 1))
        made[y : y + ph, x : x + pw] = photos.crop(rng, ph, pw, least=0.2)
    return cv2.GaussianBlur(made, (0, 0), max(0.8, min(h, w) * rng.uniform(0.003, 0.02))).astype(
        np.uint8
    )


_CHOICES: tuple[tuple[float, Callable[..., Picture]], ...] = (
    (5, photo), (1.2, blurred), (0.8, gradient), (1.2, studio), (1.2, wall_and_floor), (1.4, flat),
    (0.7, slats), (0.5, clutter),
)  # fmt: skip


def background(
    rng: np.random.Generator, h: int, w: int, photos: PhotoPool, *, calm: bool = False
) -> Picture:
    """Any background; a ``calm`` one is what people are photographed against, without objects."""
    makers = [(k, m) for k, m in _CHOICES if not calm or m not in (photo, clutter)]
    weights = np.array([k for k, _ in makers])
    make = makers[int(rng.choice(len(makers), p=weights / weights.sum()))][1]
    scale = min(1.0, WORK_SIDE / max(h, w))
    made = make(rng, max(4, round(h * scale)), max(4, round(w * scale)), photos)
    if made.shape[:2] != (h, w):
        return np.asarray(cv2.resize(made, (w, h), interpolation=cv2.INTER_CUBIC), np.uint8)
    return made


def relit(rng: np.random.Generator, picture: Picture) -> Picture:
    """``picture`` with another exposure, contrast and white balance."""
    gain = np.exp(rng.normal(0, 0.12)) * np.exp(rng.normal(0, 0.04, 3))
    lift, gamma = rng.normal(0, 8), np.exp(rng.normal(0, 0.15))
    ramp = 255 * (np.arange(256) / 255) ** gamma
    table = np.clip(ramp[:, None] * gain + lift, 0, 255).astype(np.uint8).reshape(1, 256, 3)
    return np.asarray(cv2.LUT(picture, table), np.uint8)


def _stuff(rng: np.random.Generator, h: int, w: int) -> materials.Texture:
    """Paint, wood, boards, stone, grass, tiles, carpet."""
    colour = materials.dye(rng) * np.float32(rng.uniform(0.5, 1.0))
    kind = int(rng.integers(6))
    if kind == 0:  # paint
        light = 1 + 0.05 * fractal(rng, h, w, cells=2) + 0.01 * grain(rng, h, w)
    elif kind == 1:  # wood, with boards
        turn = rng.choice([0.0, np.pi / 2])
        light = 1 + 0.1 * streaks(rng, h, w, angle=turn, across=int(rng.integers(20, 90)))
        light += 0.06 * streaks(rng, h, w, angle=turn, across=int(rng.integers(90, 240)))
        along = np.arange(h)[:, None] if turn == 0 else np.arange(w)[None]
        board = along / (max(h, w) / rng.uniform(2, 9))
        tones = rng.normal(1, 0.07, 16)
        light = light * tones[np.floor(board).astype(int) % 16] * (1 - 0.4 * (board % 1 < 0.02))
        colour = (
            np.array([150, 112, 78], np.float32) * np.float32(rng.uniform(0.4, 1.5)) * 0.7
            + 0.3 * colour
        )
    elif kind == 2:  # stone
        light = 1 + 0.12 * fractal(rng, h, w, cells=4, octaves=6, decay=0.7)
    elif kind == 3:  # grass, leaves, gravel
        light = 1 + 0.11 * fractal(rng, h, w, cells=max(4, min(h, w) // 16), octaves=4, decay=0.9)
        green = np.array([96, 124, 62], np.float32)
        colour = green * np.float32(rng.uniform(0.6, 1.2)) if rng.random() < 0.6 else colour
    elif kind == 4:  # tiles
        period = max(h, w) / rng.uniform(3, 14)
        gap = (np.arange(h)[:, None] % period < 0.03 * period) | (
            np.arange(w)[None] % period < 0.03 * period
        )
        light = 1 + 0.05 * fractal(rng, h, w, cells=3) - rng.uniform(-0.2, 0.4) * gap
    else:  # cloth, carpet
        light = 1 + 0.06 * fractal(rng, h, w, cells=3) + rng.uniform(0.02, 0.1) * grain(rng, h, w)
        if rng.random() < 0.6:
            light = light * materials.folds(rng, h, w)
    fade = 1 + rng.uniform(0, 0.3) * enlarge(rng.normal(0, 0.5, (2, 2)).astype(np.float32), h, w)
    return (colour * (light * fade)[..., None]).astype(np.float32)


def _as_picture(values: materials.Texture) -> Picture:
    return np.clip(values, 0, 255).astype(np.uint8)
