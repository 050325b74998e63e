"""What things are made of: textures of cloth and of other surfaces, float32 RGB 0..255."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.noise import Field, enlarge, fractal, grain, smooth, streaks
from training.scenes.photos import PhotoPool
from training.scenes.typesetting import stamp_words

Texture = NDArray[np.float32]  # (h, w, 3) RGB, about 0..255
Colour = NDArray[np.float32]  # (3,) RGB 0..255

WORK_SIDE = 640  # textures of bigger things are made at this side and enlarged

_DYES = np.array([
    (246, 245, 242), (235, 232, 226), (22, 22, 24), (45, 46, 50), (128, 128, 130), (200, 199, 196),
    (226, 210, 184), (196, 164, 128), (112, 84, 66), (82, 58, 46), (36, 48, 82), (70, 96, 138),
    (120, 150, 190), (176, 204, 226), (236, 160, 172), (244, 206, 210), (190, 36, 48),
    (128, 26, 40),
    (220, 110, 50), (238, 200, 90), (250, 236, 170), (66, 92, 60), (118, 140, 98), (40, 110, 110),
    (150, 120, 180), (96, 60, 110), (210, 60, 120), (30, 90, 170),
], np.float32)  # fmt: skip
_SKINS = np.array([
    (250, 224, 208), (241, 206, 184), (228, 184, 156), (206, 156, 124), (172, 120, 88),
    (132, 88, 62), (92, 60, 44), (66, 44, 34),
], np.float32)  # fmt: skip


_HAIRS = np.array(
    [(28, 22, 20), (60, 40, 28), (120, 80, 48), (196, 160, 104), (150, 150, 150)], np.float32
)


def dye(rng: np.random.Generator) -> Colour:
    """A colour that things come in: mostly the common dyes, sometimes any."""
    if rng.random() < 0.7:
        base = _DYES[rng.integers(len(_DYES))]
        return np.clip(base + rng.normal(0, 10, 3), 4, 252).astype(np.float32)
    hsv = np.array([[[rng.integers(180), rng.integers(40, 256), rng.integers(30, 256)]]], np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)


def skin_tone(rng: np.random.Generator) -> Colour:
    """A colour of human skin."""
    i = int(rng.integers(len(_SKINS) - 1))
    k = np.float32(rng.random())
    return _SKINS[i] * (1 - k) + _SKINS[i + 1] * k


def near(rng: np.random.Generator, colour: Colour, spread: float = 14) -> Colour:
    """A colour that is hard to tell from ``colour``."""
    shift = rng.normal(0, spread) + rng.normal(0, spread / 3, 3)
    return np.clip(colour + shift, 2, 253).astype(np.float32)


def contrasting(rng: np.random.Generator, colour: Colour) -> Colour:
    """A colour that stands out on ``colour``."""
    for _ in range(6):
        other = dye(rng)
        if np.abs(other - colour).sum() > 160:
            return other
    return (
        np.array([250, 250, 250], np.float32)
        if colour.mean() < 128
        else np.array([20, 20, 22], np.float32)
    )


def folds(rng: np.random.Generator, h: int, w: int) -> Field:
    """Shading of cloth, about 1: broad light, creases along one or two directions."""
    kh, kw = _small(h, w, 160)
    field = 0.10 * smooth(rng, kh, kw, cells_y=2, cells_x=2)
    main = rng.normal(np.pi / 2, 0.5)
    depth = rng.uniform(0.03, 0.2)
    for angle in (main, main + rng.normal(0, 0.9)):
        lines = streaks(rng, kh, kw, angle=angle, across=int(rng.integers(5, 22)))
        ridge = 1 - np.abs(np.tanh(lines * 1.3))  # sharp crests
        where = np.clip(0.5 + 0.7 * smooth(rng, kh, kw, cells_y=2, cells_x=2), 0, 1)
        field += depth * (1.4 * ridge - 0.6 + 0.4 * lines) * where * rng.choice([-1, 1])
    return enlarge(np.clip(1 + field, 0.35, 1.5).astype(np.float32), h, w)


def cloth(
    rng: np.random.Generator, h: int, w: int, *, colour: Colour, photos: PhotoPool
) -> Texture:
    """Cloth of the given main colour: plain, patterned or printed, with its weave and folds."""
    th, tw = _small(h, w, WORK_SIDE)
    choice = rng.random()
    if choice < 0.55:
        base = _plain(th, tw, colour)
    elif choice < 0.9:
        pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))]
        share = _bent(rng, pattern(rng, th, tw))[..., None]
        base = colour * (1 - share) + contrasting(rng, colour) * share
    else:
        base = photos.crop(rng, th, tw, least=0.2, most=0.7).astype(np.float32)
        base = 0.75 * base + 0.25 * colour
    if rng.random() < 0.22:
        _print(rng, base, photos)
    weave = rng.uniform(0, 0.03)
    base *= (folds(rng, th, tw) * (1 + weave * grain(rng, th, tw)))[..., None]
    if colour.mean() < 60:  # black cloth still shows its folds
        base += (8 * smooth(rng, th, tw, cells_y=4, cells_x=4))[..., None]
    return _back(base, h, w)


def skin(rng: np.random.Generator, h: int, w: int, *, colour: Colour) -> Texture:
    """Skin or another soft matt surface."""
    th, tw = _small(h, w, 128)
    light = 1 + 0.06 * smooth(rng, th, tw, cells_y=3, cells_x=3)
    return _back(_plain(th, tw, colour) * light[..., None], h, w)


def hair(rng: np.random.Generator, h: int, w: int) -> Texture:
    """Hair: streaks that run down."""
    th, tw = _small(h, w, 320)
    colour = _HAIRS[min(int(rng.exponential(1.2)), len(_HAIRS) - 1)]
    light = streaks(
        rng, th, tw, angle=np.pi / 2 + rng.normal(0, 0.2), across=int(rng.integers(30, 90))
    )
    gloss = smooth(rng, th, tw, cells_y=3, cells_x=2)
    return _back(_plain(th, tw, colour) * (1 + 0.25 * light + 0.2 * gloss)[..., None], h, w)


def surface(
    rng: np.random.Generator, h: int, w: int, *, colour: Colour, photos: PhotoPool
) -> Texture:
    """Any hard or soft surface but cloth: plain, photo, wood, stone, fur, metal, patterned."""
    th, tw = _small(h, w, WORK_SIDE)
    weights = np.array([k for k, _ in _SURFACES])
    make = _SURFACES[int(rng.choice(len(_SURFACES), p=weights / weights.sum()))][1]
    base = make(rng, th, tw, colour, photos)
    if rng.random() < 0.15:
        _print(rng, base, photos)
    angle, slope = rng.uniform(0, 6.28), rng.uniform(0, 0.25)
    y, x = np.linspace(-1, 1, th, dtype=np.float32), np.linspace(-1, 1, tw, dtype=np.float32)
    light = 1 + slope * (np.sin(angle) * y[:, None] + np.cos(angle) * x[None])
    return _back(base * light[..., None].astype(np.float32), h, w)


# --- surfaces ------------------------------------------------------------------------------------


def _plain(h: int, w: int, colour: Colour) -> Texture:
    return np.broadcast_to(colour, (h, w, 3)).astype(np.float32)


def _photo(rng: np.random.Generator, h: int, w: int, colour: Colour, photos: PhotoPool) -> Texture:
    patch = photos.crop(rng, h, w, least=0.15, most=0.6).astype(np.float32)
    if rng.random() < 0.5:  # dyed: the photo gives the structure, the colour its mean
        k = rng.uniform(0.4, 1)
        patch += np.float32(k) * (colour - patch.mean((0, 1)))
    return patch


def _matt(rng: np.random.Generator, h: int, w: int, colour: Colour, photos: PhotoPool) -> Texture:
    light = 1 + 0.05 * fractal(rng, h, w, cells=3) + rng.uniform(0, 0.03) * grain(rng, h, w)
    return _plain(h, w, colour) * light[..., None]


def _mottled(
    rng: np.random.Generator, h: int, w: int, colour: Colour, photos: PhotoPool
) -> Texture:
    share = np.clip(0.5 + 0.4 * fractal(rng, h, w, cells=int(rng.integers(2, 8)), octaves=4), 0, 1)
    other = near(rng, colour, 50) if rng.random() < 0.7 else dye(rng)
    return colour * (1 - share[..., None]) + other * share[..., None]


def _streaky(
    rng: np.random.Generator, h: int, w: int, colour: Colour, photos: PhotoPool
) -> Texture:
    angle = rng.uniform(0, np.pi)
    coarse = streaks(rng, h, w, angle=angle, across=int(rng.integers(4, 30)))
    fine = streaks(rng, h, w, angle=angle + rng.normal(0, 0.1), across=int(rng.integers(40, 160)))
    light = 1 + rng.uniform(0.04, 0.2) * coarse + rng.uniform(0.02, 0.15) * fine
    return _plain(h, w, colour) * light[..., None]


def _fur(rng: np.random.Generator, h: int, w: int, colour: Colour, photos: PhotoPool) -> Texture:
    base = _mottled(rng, h, w, colour, photos)
    hairs = _bent(rng, streaks(rng, h, w, angle=rng.uniform(0, 3.14), across=max(h, w) // 3), 0.15)
    return base * (1 + rng.uniform(0.1, 0.25) * hairs)[..., None]


def _metal(rng: np.random.Generator, h: int, w: int, colour: Colour, photos: PhotoPool) -> Texture:
    tint = colour * 0.3 + np.float32(rng.uniform(60, 180)) * 0.7
    t = (
        np.cos(a := rng.uniform(0, 3.14)) * np.linspace(0, 1, w, dtype=np.float32)[None]
        + np.sin(a) * np.linspace(0, 1, h, dtype=np.float32)[:, None]
    )
    stops = np.clip(rng.normal(1, 0.4, 9), 0.3, 2)
    light = np.interp(t, np.linspace(-1, 1.6, 9), stops).astype(np.float32)
    return tint * light[..., None]


def _patterned(
    rng: np.random.Generator, h: int, w: int, colour: Colour, photos: PhotoPool
) -> Texture:
    pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))]
    share = pattern(rng, h, w)[..., None]
    return colour * (1 - share) + contrasting(rng, colour) * share


_SURFACES: tuple[tuple[float, Callable[..., Texture]], ...] = (
    (3, _photo), (3, _matt), (1.5, _mottled), (1, _streaky), (1, _fur), (1, _metal),
    (1, _patterned),
)  # fmt: skip


# --- patterns: (h, w) shares 0..1 of the second colour ------------------------------------------


def _axes(rng: np.random.Generator, h: int, w: int) -> tuple[Field, Field]:
    period = max(h, w) / rng.uniform(3, 16)
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    y = np.arange(h, dtype=np.float32)[:, None] / period
    x = np.arange(w, dtype=np.float32)[None] / period
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def _wave(t: Field, share: float) -> Field:
    edge = np.abs(t - np.floor(t) - 0.5) * 2  # 0 in the middle of a stripe, 1 between stripes
    return np.clip((share - edge) * 8 + 0.5, 0, 1)


def _stripes(rng: np.random.Generator, h: int, w: int) -> Field:
    return _wave(_axes(rng, h, w)[0], rng.uniform(0.15, 0.8))


def _checks(rng: np.random.Generator, h: int, w: int) -> Field:
    u, v = _axes(rng, h, w)
    share = rng.uniform(0.2, 0.6)
    return 0.55 * _wave(u, share) + 0.45 * _wave(v, share)


def _dots(rng: np.random.Generator, h: int, w: int) -> Field:
    u, v = _axes(rng, h, w)
    shifted = u + 0.5 * (np.floor(v) % 2)
    r2 = (shifted - np.floor(shifted) - 0.5) ** 2 + (v - np.floor(v) - 0.5) ** 2
    return np.clip((rng.uniform(0.02, 0.12) - r2) * 40 + 0.5, 0, 1)


def _spots(rng: np.random.Generator, h: int, w: int) -> Field:
    """Camouflage, flowers, cow hide: thresholded noise."""
    field = fractal(rng, h, w, cells=int(rng.integers(3, 14)), octaves=2)
    return np.clip((field - rng.uniform(0, 1)) * 6, 0, 1)


_PATTERNS: tuple[Callable[[np.random.Generator, int, int], Field], ...] = (
    _stripes, _stripes, _checks, _dots, _spots,
)  # fmt: skip


def _bent(rng: np.random.Generator, field: Field, strength: float = 0.04) -> Field:
    """``field`` pushed about smoothly, as a pattern on something that is not flat."""
    h, w = field.shape
    reach = strength * max(h, w)
    y = np.arange(h, dtype=np.float32)[:, None] + reach * smooth(rng, h, w, cells_y=3, cells_x=3)
    x = np.arange(w, dtype=np.float32)[None] + reach * smooth(rng, h, w, cells_y=3, cells_x=3)
    return np.asarray(
        cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.float32
    )


def _print(rng: np.random.Generator, base: Texture, photos: PhotoPool) -> None:
    """Words, a small picture or a badge in the middle of ``base``, in place."""
    h, w = base.shape[:2]
    ph, pw = int(h * rng.uniform(0.06, 0.4)), int(w * rng.uniform(0.1, 0.45))
    if min(ph, pw) < 6:
        return
    y = int(np.clip(h * rng.normal(0.42, 0.1) - ph / 2, 0, h - ph))
    x = int(np.clip(w * rng.normal(0.5, 0.06) - pw / 2, 0, w - pw))
    window = base[y : y + ph, x : x + pw]
    ink = contrasting(rng, window.mean((0, 1)).astype(np.float32))
    if rng.random() < 0.6:
        share = stamp_words(rng, ph, pw)
    elif rng.random() < 0.7:
        window[:] = photos.crop(rng, ph, pw, least=0.3)
        return
    else:
        share = np.zeros((ph, pw), np.float32)
        r = min(ph, pw) // 2
        cv2.circle(share, (pw // 2, ph // 2), max(2, r - 1), 1.0, -1, cv2.LINE_AA)
    window += share[..., None] * (ink - window)


def _small(h: int, w: int, side: int) -> tuple[int, int]:
    k = min(1.0, side / max(h, w))
    return max(2, round(h * k)), max(2, round(w * k))


def _back(texture: Texture, h: int, w: int) -> Texture:
    if texture.shape[:2] == (h, w):
        return texture
    return np.asarray(cv2.resize(texture, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)
