"""Prompts drawn from an instance map: what a user or a mark would click, box or refine."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_POINTS = 4
MIN_AREA = 0.002  # of the view: what a person could click
_MIN_PIXELS = 40

# how often each kind of prompt is drawn
_ONE_POINT, _POINTS, _BOX = 0.46, 0.24, 0.22  # the rest: an earlier mask with a point


@dataclass(frozen=True)
class Prompts:
    """K prompts of one view of side s, and the anchors of the embedding loss."""

    instances: NDArray[np.int32]  # (K,) id of the object meant
    targets: NDArray[np.uint8]  # (K, s/4, s/4) share of the cell that the object covers, 0..255
    points: NDArray[np.float32]  # (K, MAX_POINTS, 2) xy px
    labels: NDArray[np.int32]  # (K, MAX_POINTS)
    masks: NDArray[np.float32]  # (K, 1, s/4, s/4) logits
    use_mask: NDArray[np.bool_]  # (K,)
    anchors: NDArray[np.int32]  # (A, 2) xy px; the first K lie in the objects meant
    valid: NDArray[np.bool_]  # (K,) False: the view holds nothing to click


class _View:
    """Pixels of every object in a view, with their distance to its border."""

    def __init__(self, instances: NDArray[np.int32], ink: NDArray[np.bool_]) -> None:
        side = instances.shape[0]
        self.instances = instances
        self.side = side
        edge = np.zeros(instances.shape, np.bool_)
        down = instances[1:] != instances[:-1]
        right = instances[:, 1:] != instances[:, :-1]
        edge[1:] |= down
        edge[:-1] |= down
        edge[:, 1:] |= right
        edge[:, :-1] |= right
        self.depth = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 3)
        counts = np.bincount(instances.ravel())
        counts[0] = 0
        least = max(_MIN_PIXELS, MIN_AREA * side * side)
        self.ids = np.flatnonzero(counts >= least)
        flat = instances.ravel()
        self.pixels = {int(i): np.flatnonzero(flat == i) for i in self.ids}
        self.ink = ink.ravel()
        near = cv2.dilate(ink.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(np.bool_)
        self.near_ink = near.ravel() & ~self.ink

    def point(self, instance: int, rng: np.random.Generator) -> tuple[float, float]:
        """A pixel of the object, off the ink where it can be: near ink, deep inside or anywhere."""
        pixels = self.pixels[instance]
        free = pixels[~self.ink[pixels]]
        pixels = free if free.size else pixels
        draw = rng.random()
        if draw < 0.4:
            near = pixels[self.near_ink[pixels]]
            pixels = near if near.size else pixels
        elif draw < 0.8:
            depth = self.depth.ravel()[pixels]
            pixels = pixels[depth >= min(rng.uniform(2.0, 6.0), float(depth.max()) * 0.7)]
        return self._xy(int(rng.choice(pixels)), rng)

    def outside(self, instance: int, rng: np.random.Generator) -> tuple[float, float]:
        """A pixel that is not the object's, mostly in its neighbourhood."""
        x0, y0, x1, y1 = self.box(instance)
        margin = 0.3 * max(x1 - x0, y1 - y0) + 4
        for _ in range(8):
            x = int(np.clip(rng.uniform(x0 - margin, x1 + margin), 0, self.side - 1))
            y = int(np.clip(rng.uniform(y0 - margin, y1 + margin), 0, self.side - 1))
            if self.instances[y, x] != instance:
                return float(x), float(y)
        others = np.flatnonzero(self.instances.ravel() != instance)
        return self._xy(int(rng.choice(others)), rng) if others.size else (0.0, 0.0)

    def box(self, instance: int) -> tuple[float, float, float, float]:
        y, x = np.divmod(self.pixels[instance], self.side)
        return float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)

    def _xy(self, index: int, rng: np.random.Generator) -> tuple[float, float]:
        y, x = divmod(index, self.side)
        return x + float(rng.uniform(-0.3, 0.3)), y + float(rng.uniform(-0.3, 0.3))


def draw(
    instances: NDArray[np.int32],
    ink: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    prompts: int,
    anchors: int,
) -> Prompts:
    """Draw ``prompts`` prompts of all kinds and ``anchors`` pixels, objects equally likely."""
    view = _View(instances, ink)
    side = view.side
    points = np.zeros((prompts, MAX_POINTS, 2), np.float32)
    labels = np.full((prompts, MAX_POINTS), -1, np.int32)
    masks = np.zeros((prompts, 1, side // 4, side // 4), np.float32)
    use_mask = np.zeros(prompts, np.bool_)
    chosen = np.zeros(prompts, np.int32)
    targets = np.zeros((prompts, side // 4, side // 4), np.uint8)
    for k in range(prompts if view.ids.size else 0):
        instance = int(rng.choice(view.ids))
        chosen[k] = instance
        whole = (instances == instance).astype(np.uint8) * 255
        targets[k] = cv2.resize(whole, targets.shape[:0:-1], interpolation=cv2.INTER_AREA)
        given: list[tuple[tuple[float, float], int]] = []
        kind = rng.random()
        if kind < _ONE_POINT:
            given.append((view.point(instance, rng), 1))
        elif kind < _ONE_POINT + _POINTS:
            given += [(view.point(instance, rng), 1) for _ in range(rng.integers(1, 4))]
            if len(given) == 1 or rng.random() < 0.4:
                given.append((view.outside(instance, rng), 0))
        elif kind < _ONE_POINT + _POINTS + _BOX:
            given += _loose_box(view.box(instance), rng)
            if rng.random() < 0.5:
                given.append((view.point(instance, rng), 1))
        else:
            masks[k, 0] = _earlier_mask(instances == instance, rng)
            use_mask[k] = True
            if rng.random() < 0.85:
                given.append((view.point(instance, rng), 1))
        for p, (xy, label) in enumerate(given[:MAX_POINTS]):
            points[k, p], labels[k, p] = xy, label
    return Prompts(
        instances=chosen,
        targets=targets,
        points=points,
        labels=labels,
        masks=masks,
        use_mask=use_mask,
        anchors=_anchors(view, chosen, rng, anchors),
        valid=np.full(prompts, view.ids.size > 0),
    )


def _loose_box(
    box: tuple[float, float, float, float], rng: np.random.Generator
) -> list[tuple[tuple[float, float], int]]:
    """A box as people and loops give it: mostly a little too large. Corners: labels 2 and 3."""
    x0, y0, x1, y1 = box
    slack = rng.uniform(-0.05, 0.22, 4) if rng.random() < 0.6 else rng.uniform(-0.03, 0.05, 4)
    w, h = x1 - x0, y1 - y0
    return [
        ((x0 - slack[0] * w, y0 - slack[1] * h), 2),
        ((x1 + slack[2] * w, y1 + slack[3] * h), 3),
    ]


def _earlier_mask(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """Logits as an earlier, imperfect answer would hold: shifted, grown or shrunk, bitten."""
    side = mask.shape[0] // 4
    soft = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    shift = np.array([[1, 0, rng.uniform(-2, 2)], [0, 1, rng.uniform(-2, 2)]], np.float32)
    soft = cv2.warpAffine(soft, shift, (side, side))
    size = int(rng.integers(1, 4))
    change = cv2.dilate if rng.random() < 0.5 else cv2.erode
    soft = change(soft, np.ones((size, size), np.uint8))
    noise = cv2.resize(
        rng.uniform(-1, 1, (6, 6)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC
    )
    logits = (
        cv2.GaussianBlur(soft, (0, 0), rng.uniform(0.5, 1.5))
        - 0.5
        + 0.35 * noise * (rng.random() < 0.5)
    ) * rng.uniform(8, 24)
    return logits.astype(np.float32)


def _anchors(
    view: _View, chosen: NDArray[np.int32], rng: np.random.Generator, count: int
) -> NDArray[np.int32]:
    flat = np.empty(count, np.int64)
    for i in range(count):
        if view.ids.size and i < len(chosen):
            pixels = view.pixels[int(chosen[i])]
            depth = view.depth.ravel()[pixels]
            flat[i] = rng.choice(pixels[depth >= 0.5 * depth.max()])
        elif view.ids.size and rng.random() < 0.85:
            flat[i] = rng.choice(view.pixels[int(rng.choice(view.ids))])
        else:
            flat[i] = rng.integers(view.side * view.side)
    y, x = np.divmod(flat, view.side)
    return np.stack([x, y], 1).astype(np.int32)
