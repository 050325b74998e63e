"""Random changes of a picture's colours."""

from __future__ import annotations

import cv2
import numpy as np

from training.scenes.scene import Picture


def recoloured(picture: Picture, rng: np.random.Generator) -> Picture:
    """Another brightness, contrast, saturation and a little hue, as one colour matrix."""
    if rng.random() < 0.2:
        return picture
    grey = np.full((3, 3), 1 / 3)
    saturation = rng.uniform(0.0, 0.1) if rng.random() < 0.03 else np.exp(rng.normal(0.0, 0.25))
    matrix = saturation * np.eye(3) + (1 - saturation) * grey
    if rng.random() < 0.3:
        shift = rng.uniform(-0.25, 0.25)
        matrix = matrix @ ((1 - abs(shift)) * np.eye(3) + abs(shift) * np.roll(np.eye(3), 1, 0))
    matrix = matrix * np.exp(rng.normal(0.0, 0.15)) * np.exp(rng.normal(0.0, 0.05, (3, 1)))
    offset = rng.normal(0.0, 12.0) + 127.0 * (1.0 - matrix.sum(1)) * rng.uniform(0.0, 0.7)
    full = np.concatenate([matrix, offset[:, None]], 1)
    return np.asarray(cv2.transform(picture, full.astype(np.float32)), np.uint8)
