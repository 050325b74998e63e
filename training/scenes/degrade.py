"""What happens to a picture on its way: cameras, messengers and browsers spoil it a little."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.scenes.scene import Picture


@dataclass(frozen=True)
class Degradation:
    """One way of spoiling a picture, the same for every picture it is applied to."""

    scale: float = 1.0  # resized down to this and up again
    blur: float = 0.0  # Gaussian sigma, pixels
    sharpen: float = 0.0
    noise: float = 0.0  # standard deviation, grey levels
    noise_at: tuple[int, int] = (0, 0)
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    lift: float = 0.0  # grey levels
    jpeg: int | None = None
    subsampling: int = 2  # Pillow's: 0 is 4:4:4, 2 is 4:2:0

    def apply(self, picture: Picture) -> Picture:
        """The spoiled picture, a new array of the same size."""
        out = picture
        height, width = picture.shape[:2]
        if self.scale < 1.0:
            small = (max(8, int(width * self.scale)), max(8, int(height * self.scale)))
            out = cv2.resize(out, small, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
            out = cv2.resize(out, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
        if self.blur > 0:
            out = cv2.GaussianBlur(out, (0, 0), self.blur)  # type: ignore[assignment]
        if self.sharpen > 0:
            soft = cv2.GaussianBlur(out, (3, 3), 0)
            out = cv2.addWeighted(out, 1 + self.sharpen, soft, -self.sharpen, 0)  # type: ignore[assignment]
        if self.gain != (1.0, 1.0, 1.0) or self.gamma != 1.0 or self.lift != 0.0:
            out = cv2.LUT(out, self._curve())  # type: ignore[assignment]
        if self.noise > 0:
            out = _add_noise(out, self.noise, self.noise_at)
        if self.jpeg is not None:
            out = _through_jpeg(out, self.jpeg, self.subsampling)
        return out.copy() if out is picture else out

    def _curve(self) -> NDArray[np.uint8]:
        x = np.linspace(0, 1, 256)[:, None] ** self.gamma
        curve = np.clip(x * np.array(self.gain) * 255 + self.lift, 0, 255)
        return np.asarray(curve.round(), np.uint8)[None]


@lru_cache(maxsize=1)
def _noise_tile() -> NDArray[np.float32]:
    """Sensor noise of deviation 1, slightly smooth, (768, 768, 3), the same in every process."""
    noise = np.random.default_rng(11).standard_normal((768, 768, 3), np.float32)
    noise = 0.6 * noise + 0.4 * noise.mean(axis=2, keepdims=True)
    return np.asarray(noise / noise.std(), np.float32)


def _add_noise(picture: Picture, deviation: float, at: tuple[int, int]) -> Picture:
    tile = np.clip(_noise_tile() * deviation, -60, 60).astype(np.int16)
    side = tile.shape[0]
    out = np.empty_like(picture)
    for y in range(-at[1], picture.shape[0], side):
        for x in range(-at[0], picture.shape[1], side):
            rows, columns = slice(max(y, 0), y + side), slice(max(x, 0), x + side)
            patch = picture[rows, columns]
            piece = tile[max(-y, 0) :, max(-x, 0) :][: patch.shape[0], : patch.shape[1]]
            out[rows, columns] = np.clip(patch + piece, 0, 255)
    return out


def _through_jpeg(picture: Picture, quality: int, subsampling: int) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.array(Image.open(buffer))


def _jitter(rng: np.random.Generator, strength: float) -> Degradation:
    gain = 1 + rng.normal(0, 0.05 * strength, 3) + rng.normal(0, 0.06 * strength)
    r, g, b = np.clip(gain, 0.6, 1.4).tolist()
    return Degradation(
        gain=(r, g, b),
        gamma=float(np.exp(rng.normal(0, 0.15 * strength))),
        lift=float(rng.normal(0, 6 * strength)),
    )


def camera(rng: np.random.Generator) -> Degradation:
    """What a camera does before anybody draws: noise, blur, colours, its own JPEG."""
    base = _jitter(rng, 1.0) if rng.random() < 0.7 else Degradation()
    return Degradation(
        gain=base.gain, gamma=base.gamma, lift=base.lift,
        blur=float(rng.uniform(0.4, 1.2)) if rng.random() < 0.25 else 0.0,
        noise=float(rng.uniform(1.0, 9.0)) if rng.random() < 0.4 else 0.0,
        noise_at=(int(rng.integers(768)), int(rng.integers(768))),
        jpeg=int(rng.integers(60, 96)) if rng.random() < 0.3 else None,
    )  # fmt: skip


def transport(rng: np.random.Generator, *, screenshot: bool) -> Degradation:
    """What sending a marked picture does to it: resizing, sharpening, JPEG; often nothing."""
    if screenshot and rng.random() < 0.45:
        return Degradation()
    base = _jitter(rng, 0.5) if rng.random() < 0.3 else Degradation()
    return Degradation(
        gain=base.gain, gamma=base.gamma, lift=base.lift,
        scale=float(rng.uniform(0.5, 0.95)) if rng.random() < 0.2 else 1.0,
        blur=float(rng.uniform(0.4, 0.9)) if rng.random() < 0.12 else 0.0,
        sharpen=float(rng.uniform(0.2, 0.8)) if rng.random() < 0.15 else 0.0,
        noise=float(rng.uniform(1.0, 4.0)) if rng.random() < 0.12 else 0.0,
        noise_at=(int(rng.integers(768)), int(rng.integers(768))),
        jpeg=int(rng.integers(35, 96)) if rng.random() < 0.8 else None,
        subsampling=2 if rng.random() < 0.8 else 0,
    )  # fmt: skip
