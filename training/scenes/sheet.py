"""A contact sheet: every scene as it is, and beside it what is true about it."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.scenes.scene import Picture, Scene

_HUES = ((255, 60, 200), (60, 220, 255), (255, 220, 40), (90, 255, 90), (255, 130, 40),
         (150, 120, 255))  # fmt: skip


def truth_overlay(scene: Scene) -> Picture:
    """The picture in grey with every mark's ink and the outline of the object it means."""
    grey = scene.picture.mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.6 + 60
    out = grey.astype(np.uint8)
    thick = max(1, round(max(out.shape) / 250))
    for index, mark in enumerate(scene.marks):
        hue = np.array(_HUES[index % len(_HUES)], np.uint8)
        mask = scene.object_mask(mark)
        out[mask] = (out[mask] * 0.65 + hue * 0.35).astype(np.uint8)
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, contours, -1, hue.tolist(), thick)
        out[mark.ink] = hue
        if mark.tip is not None:
            tip = (round(mark.tip[0]), round(mark.tip[1]))
            cv2.circle(out, tip, 2 * thick, (255, 255, 255), -1)
    return np.asarray(out, np.uint8)


def contact_sheet(scenes: Iterable[Scene], *, columns: int = 4, tile: int = 320) -> Image.Image:
    """All scenes on one picture, two tiles each: the scene, and its truth with a caption."""
    pairs = list(scenes)
    rows = max(1, -(-len(pairs) // columns))
    caption = 16
    sheet = Image.new("RGB", (columns * (2 * tile + 12), rows * (tile + caption + 6)), (24, 24, 28))
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for index, scene in enumerate(pairs):
        x = index % columns * (2 * tile + 12)
        y = index // columns * (tile + caption + 6)
        for side, picture in enumerate((scene.picture, truth_overlay(scene))):
            image = Image.fromarray(picture)
            image.thumbnail((tile, tile), Image.Resampling.LANCZOS)
            sheet.paste(image, (x + side * tile, y))
        height, width = scene.picture.shape[:2]
        kinds = ", ".join(mark.kind for mark in scene.marks) or "no marks"
        pen.text(
            (x + 2, y + tile + 1), f"{scene.seed}: {scene.layout} {width}x{height}: {kinds}",
            fill=(230, 230, 230), font=font,
        )  # fmt: skip
    return sheet
