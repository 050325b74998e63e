"""Canvases of every layout: things, clothed people, collages, screenshots, photos as they are."""

from __future__ import annotations

import cv2
import numpy as np

from training.scenes.collage import collage
from training.scenes.photographs import KNOWN, photograph
from training.scenes.photos import PhotoPool
from training.scenes.scene import Canvas
from training.scenes.screenshot import screenshot

LAYOUTS = {"plain": 0.38, "person": 0.2, "collage": 0.12, "screenshot": 0.2, "photo": 0.1}
"""How often each layout comes."""

SMALLEST_SIDE = 32


def make_canvas(
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    photos: PhotoPool,
    layout: str | None = None,
) -> Canvas:
    """A picture of ``size`` (h, w), both at least 32, with its objects.

    ``layout`` names one of :data:`LAYOUTS`, else chance decides. Everything random comes from
    ``rng``: equal generators and equal photos give equal canvases. ``photo`` canvases have no
    known object but where the pool knows some, other canvases may have no markable one.
    Raises ``ValueError`` on a size or a layout that cannot be.
    """
    h, w = size
    if min(h, w) < SMALLEST_SIDE:
        raise ValueError(f"size: got {size}, wanted (h, w), both at least {SMALLEST_SIDE}")
    if layout is None:
        layout = str(rng.choice(list(LAYOUTS), p=list(LAYOUTS.values())))
        if photos.known and layout in ("plain", "person") and rng.random() < KNOWN:
            layout = "photo"
    elif layout not in LAYOUTS:
        raise ValueError(f"layout: got {layout!r}, wanted one of {', '.join(LAYOUTS)}")
    cv2.setNumThreads(1)  # several workers share the cores
    if layout == "screenshot":
        return screenshot(rng, h, w, photos)
    if layout == "collage":
        return collage(rng, h, w, photos)
    return photograph(rng, h, w, photos, kind=layout)
