"""What a generated scene is: the picture and its exact truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (h, w, 3) RGB
Mask = NDArray[np.bool_]  # (h, w)


@dataclass(frozen=True)
class Canvas:
    """A picture before anybody drew on it, with every object in it.

    ``instances`` holds 0 for background and k for the visible pixels of object k (1..n): overlaps
    are resolved, the nearer object wins. ``photos`` are the boxes (xyxy) of photos inside a
    collage or a screenshot, the places where a person would draw; empty means the whole picture.
    ``markable`` lists the ids a person could mean (big enough, visible enough).
    """

    picture: Picture
    instances: NDArray[np.int32]  # (h, w)
    markable: tuple[int, ...]
    photos: tuple[tuple[int, int, int, int], ...] = ()
    layout: str = "plain"  # which layout made it: plain, collage, screenshot, ...


@dataclass(frozen=True)
class SceneMark:
    """One drawn mark: its kind (``markcut.contracts.KINDS``), ink, and the object it means."""

    kind: str
    ink: Mask  # where at least 30 % of the colour is ink
    instance: int  # id in Canvas.instances
    width: float  # stroke width, pixels
    tip: tuple[float, float] | None = None  # xy of an arrow's tip


@dataclass(frozen=True)
class Scene:
    """A marked picture with its truth."""

    picture: Picture
    clean: Picture  # the same picture without marks (distractors stay), same degradation
    instances: NDArray[np.int32]  # (h, w), as in Canvas
    marks: tuple[SceneMark, ...]
    markable: tuple[int, ...]
    layout: str
    seed: int
    notes: dict[str, str] = field(default_factory=dict)

    def object_mask(self, mark: SceneMark) -> Mask:
        """The mask of the object that ``mark`` means, the pixels under the ink included."""
        return self.instances == mark.instance
