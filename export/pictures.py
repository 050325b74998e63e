"""Pictures to verify graphs on: photos that scikit-image brings along, and a generated one."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from markcut.geometry import Picture


def verification_pictures() -> list[Picture]:
    """Three photos, one with a drawn circle and arrow, and one that is all edges and flat parts."""
    from skimage import data

    marked = Image.fromarray(data.coffee())
    pen = ImageDraw.Draw(marked)
    pen.ellipse((150, 60, 430, 340), outline=(230, 20, 30), width=9)
    pen.line((560, 60, 470, 150), fill=(20, 60, 230), width=8)
    pen.polygon([(450, 170), (456, 132), (488, 164)], fill=(20, 60, 230))
    return [data.astronaut(), np.asarray(marked), data.chelsea(), _generated()]


def stretched(picture: Picture, side: int) -> Picture:
    """``picture`` resized to ``side`` x ``side`` whatever its shape."""
    image = Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR)
    return np.array(image)


def letterboxed(picture: Picture, side: int) -> Picture:
    """``picture`` resized to fit into ``side`` x ``side``, grey around it."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    square = Image.new("RGB", (side, side), (114, 114, 114))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.array(square)


def _generated() -> Picture:
    """Blobs, stripes, saturated colours and noise: what photos have little of."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    picture = np.zeros((480, 640, 3), np.float64)
    picture[..., 0] = 255 * ((x // 32 + y // 32) % 2)
    picture[..., 1] = 127.5 + 127.5 * np.sin(x * y / 900)
    picture[(x - 420) ** 2 + (y - 200) ** 2 < 110**2] = (250, 230, 20)
    picture[300:, :200] = 0
    picture[300:, 500:] = rng.uniform(0, 255, (180, 140, 3))
    return picture.astype(np.uint8)
