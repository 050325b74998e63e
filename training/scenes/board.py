"""The board that objects are painted on: colour, identity and what is still to be seen of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.materials import Colour, Texture
from training.scenes.noise import grain
from training.scenes.outlines import Curve, Shape
from training.scenes.scene import Canvas, Picture

Alpha = NDArray[np.float32]  # (h, w) 0..1

LEAST_SHARE = 0.003  # of the picture, visible, for an object to be markable
LEAST_PIXELS = 150
LEAST_VISIBLE = 0.4  # of the object inside the picture
FRACTION = 4  # fractional bits of cv2's drawing coordinates


def least_pixels(picture: int) -> float:
    """How many pixels of an object must show in a picture of so many."""
    return max(LEAST_PIXELS, LEAST_SHARE * picture)


@dataclass(frozen=True)
class Box:
    """A window of the board, pixels; never empty."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def h(self) -> int:
        return self.y1 - self.y0

    @property
    def w(self) -> int:
        return self.x1 - self.x0

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


class Board:
    """A picture in the making. Paint from far to near."""

    def __init__(self, picture: Picture) -> None:
        self.picture = np.ascontiguousarray(picture)
        self.h, self.w = picture.shape[:2]
        self.instances = np.zeros((self.h, self.w), np.int32)
        self._painted = [0]  # per id: pixels painted, before anything nearer covered them
        self._silent: set[int] = set()

    def new_object(self, *, silent: bool = False) -> int:
        """The id of a further object; a ``silent`` one is never markable (skin, hair, clutter)."""
        self._painted.append(0)
        if silent:
            self._silent.add(len(self._painted) - 1)
        return len(self._painted) - 1

    def clip(self, curves: list[Curve], margin: int = 3) -> Box | None:
        """The window that holds ``curves``, cut to the board; None where nothing is left."""
        points = np.concatenate(curves)
        low, high = np.floor(points.min(0)) - margin, np.ceil(points.max(0)) + margin + 1
        x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
        x1, y1 = min(self.w, int(high[0])), min(self.h, int(high[1]))
        return Box(x0, y0, x1, y1) if x1 - x0 > 1 and y1 - y0 > 1 else None

    def paint(self, box: Box, alpha: Alpha, texture: Texture, identity: int) -> None:
        """Lay ``texture`` over the window ``box`` where ``alpha`` says; both have its size."""
        colour = cv2.convertScaleAbs(texture)
        window = np.ascontiguousarray(self.picture[box.window])
        self.picture[box.window] = cv2.blendLinear(colour, window, alpha, 1 - alpha)
        solid = alpha >= 0.5
        names = self.instances[box.window]
        self._painted[identity] += int(np.count_nonzero(solid & (names != identity)))
        names[solid] = identity

    def name(self, where: NDArray[np.bool_], identity: int, *, whole: int) -> None:
        """Say that ``where`` (h, w) the picture shows an object, of ``whole`` pixels in all."""
        self.instances[where] = identity
        self._painted[identity] += whole

    def shade(self, box: Box, light: NDArray[np.uint8]) -> None:
        """Multiply the window ``box`` by ``light``, 255 leaves it as it is."""
        window = np.ascontiguousarray(self.picture[box.window])
        self.picture[box.window] = cv2.multiply(window, cv2.merge([light] * 3), scale=1 / 255)

    def markable(self) -> tuple[int, ...]:
        """Ids of which enough is to be seen."""
        seen = np.bincount(self.instances.ravel(), minlength=len(self._painted))
        least = least_pixels(self.instances.size)
        return tuple(
            k
            for k in range(1, len(self._painted))
            if k not in self._silent and seen[k] >= max(least, LEAST_VISIBLE * self._painted[k])
        )

    def finish(
        self, rng: np.random.Generator, *, layout: str, blur: float = 0, noise: float = 0
    ) -> Canvas:
        """The finished picture: blurred and grained as by one camera."""
        picture = self.picture
        if blur > 0.2:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), np.uint8)
        if noise > 0.3:
            rough = picture + (noise * grain(rng, self.h, self.w))[..., None]
            picture = np.clip(rough, 0, 255).astype(np.uint8)
        return Canvas(
            picture.astype(np.uint8, copy=False), self.instances, self.markable(), layout=layout
        )


def fill(shape: Shape, box: Box, *, feather: float) -> Alpha:
    """Coverage of ``shape`` (pixels of the board) inside ``box``, edges softened by ``feather``."""
    cover = np.zeros((box.h, box.w), np.uint8)
    for part in shape.parts:
        cv2.fillPoly(cover, [fixed(c, box) for c in part], 255, cv2.LINE_AA, FRACTION)
    if feather > 0.25:
        cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), feather), np.uint8)
    return cover.astype(np.float32) * np.float32(1 / 255)


def dress_up(
    texture: Texture, shape: Shape, box: Box, *, band: Colour, seam: float, width: float
) -> None:
    """Draw the bands and seams of ``shape`` into ``texture``, in place.

    ``band`` is the second colour, ``seam`` the light along seams (below 1 dark), ``width`` of
    seams in pixels.
    """
    h, w = texture.shape[:2]
    if shape.bands:
        cover = np.zeros((h, w), np.uint8)
        for c in shape.bands:
            cv2.fillPoly(cover, [fixed(c, box)], 255, cv2.LINE_AA, FRACTION)
        share = (cover.astype(np.float32) / 255)[..., None]
        light = texture.mean(2, keepdims=True) / (texture.mean() + 1)
        texture += share * (band * np.clip(light, 0.6, 1.3) - texture)
    if shape.lines:
        cover = np.zeros((h, w), np.uint8)
        curves = [fixed(c, box) for c in shape.lines]
        cv2.polylines(cover, curves, False, 255, max(1, round(width)), cv2.LINE_AA, FRACTION)
        texture *= (1 + (seam - 1) * (cover.astype(np.float32) / 255))[..., None]


def fixed(points: Curve, box: Box) -> NDArray[np.int32]:
    """``points`` relative to ``box`` in cv2's fixed-point drawing coordinates."""
    return np.round((points - np.array([box.x0, box.y0], np.float32)) * 2**FRACTION).astype(
        np.int32
    )
