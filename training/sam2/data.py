"""From scenes, or from a user's pictures and masks, to batches of clicked pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from markcut.erasing import painted_over
from training.feed import Recipe
from training.sam2.prompts import MIN_AREA, Prompts, draw
from training.scenes.photos import PhotoPool

ANCHORS = 48
_PAINTED = 0.8  # share of the scenes whose marks were found, and are painted over before SAM2 looks
_OTHER_SEED = 10_000_019  # a scene without an object is replaced by the one this far on

# the pipeline looks at a small object once more, in a window of its own (markcut.nearer)
_DETAILED = 0.35  # share of the scenes made twice as fine, so that a near view has its pixels
_NEAR = 0.4  # share of the views that are such windows
_NEAR_AREA = 0.0004  # of the picture: objects worth one


@dataclass(frozen=True)
class Item:
    """One picture, stretched to a square, with what the views are cut from."""

    marked: NDArray[np.uint8]  # (s, s, 3) RGB
    clean: NDArray[np.uint8]
    instances: NDArray[np.int32]  # (s, s)
    ink: NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """Tensors of B views with K prompts each."""

    pixels: Tensor  # uint8 (B, 3, s, s)
    instances: Tensor  # int32 (B, s, s)
    chosen: Tensor  # int32 (B, K)
    targets: Tensor  # uint8 (B, K, s/4, s/4), 255 = covered
    points: Tensor
    labels: Tensor
    masks: Tensor
    use_mask: Tensor
    anchors: Tensor  # int64 (B, A, 2)
    valid: Tensor  # bool (B, K)
    stage: Stage

    def to(self, device: torch.device) -> Batch:
        """The same on ``device``."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Batch(**{n: v if n == "stage" else v.to(device) for n, v in values.items()})


class Stage(IntEnum):
    """What a batch teaches: feature maps, then prompts as well, at last exact masks."""

    DENSE = 0
    PROMPTED = 1
    EXACT = 2


Sample = tuple[NDArray[np.uint8], NDArray[np.int32], Prompts, Stage]
"""Pixels (s, s, 3), instances (s, s), prompts, and what to teach with them."""


@dataclass(frozen=True)
class SceneItems:
    """Items from generated scenes; the picture's shape varies, the square is what SAM2 sees.

    Scenes without an object teach nothing here: another seed takes their place.
    """

    photos: PhotoPool
    side: int

    def __call__(self, seed: int) -> Item:
        from training.scenes import generate

        rng = np.random.default_rng((seed, 7))
        detail = 2 if rng.random() < _DETAILED else 1
        longest = self.side * detail * rng.uniform(0.9, 1.4)
        aspect = float(np.exp(rng.uniform(-0.8, 0.5)))  # w / h: phone screenshots are tall
        h, w = (longest, longest * aspect) if aspect < 1 else (longest / aspect, longest)
        for again in range(5):
            scene = generate(seed + again * _OTHER_SEED, photos=self.photos, size=(int(h), int(w)))
            if scene.markable:
                break
        ink = np.zeros(scene.instances.shape, np.bool_)
        for mark in scene.marks:
            ink |= mark.ink
        item = squared(scene.picture, scene.clean, scene.instances, ink, self.side * detail)
        if rng.random() < _PAINTED:
            item = replace(item, marked=painted_over(item.marked, item.ink))
        return item


def squared(
    marked: NDArray[np.uint8],
    clean: NDArray[np.uint8],
    instances: NDArray[np.int32],
    ink: NDArray[np.bool_],
    side: int,
) -> Item:
    """Everything stretched to ``side`` x ``side``, as SAM2 takes pictures."""
    size = (side, side)
    how = cv2.INTER_AREA if min(marked.shape[:2]) > side else cv2.INTER_LINEAR
    return Item(
        marked=np.asarray(cv2.resize(marked, size, interpolation=how), np.uint8),
        clean=np.asarray(cv2.resize(clean, size, interpolation=how), np.uint8),
        instances=np.asarray(
            cv2.resize(instances.astype(np.float32), size, interpolation=cv2.INTER_NEAREST_EXACT),
            np.int32,
        ),
        ink=cv2.resize(ink.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0,
    )


@dataclass(frozen=True)
class Views:
    """One training view of an item: crop, flip, colours; then its prompts."""

    early_side: int
    final_side: int
    prompts: int
    grow_at: float  # part of the time after which views have the final side
    dense_until: float = 0.0  # part of the time without prompts

    def side(self, progress: float) -> int:
        return self.final_side if progress >= self.grow_at else self.early_side

    def stage(self, progress: float) -> Stage:
        if progress < self.dense_until:
            return Stage.DENSE
        return Stage.PROMPTED if progress < self.grow_at else Stage.EXACT

    def __call__(self, item: Item, rng: np.random.Generator, progress: float) -> Sample:
        side = self.side(progress)
        if rng.random() < _NEAR:
            cut = _near_window(item.instances, rng)
        else:
            cut = _window(item.instances, rng, side=side, whole=progress >= self.grow_at)
        picture = item.marked if rng.random() < 0.65 else item.clean
        ink = item.ink if picture is item.marked else np.zeros_like(item.ink)
        view = squared(picture[cut], picture[cut], item.instances[cut], ink[cut], side)
        pixels, instances, ink = view.marked, view.instances, view.ink
        if rng.random() < 0.5:
            pixels, instances, ink = pixels[:, ::-1], instances[:, ::-1], ink[:, ::-1]
        pixels = _recoloured(pixels, rng)
        instances = np.ascontiguousarray(instances)
        drawn = draw(
            instances,
            np.ascontiguousarray(ink),
            rng,
            prompts=self.prompts,
            anchors=ANCHORS,
        )
        return pixels, instances, drawn, self.stage(progress)


def _window(
    instances: NDArray[np.int32], rng: np.random.Generator, *, side: int, whole: bool
) -> tuple[slice, slice]:
    """Where a view looks: mostly at an object, which takes 0.15 to 0.75 of the view's side."""
    full = instances.shape[0]
    ids = np.flatnonzero(np.bincount(instances.ravel()) >= MIN_AREA * instances.size)
    ids = ids[ids > 0]
    centre, size = rng.uniform(0, full, 2), full * float(rng.uniform(0.4, 1.0))
    if ids.size:
        ys, xs = np.nonzero(instances == rng.choice(ids))
        extent = max(xs.max() - xs.min(), ys.max() - ys.min()) + 1
        centre = np.array([rng.choice(xs), rng.choice(ys)], np.float64)
        size = extent / float(np.exp(rng.uniform(np.log(0.15), np.log(0.75))))
    if whole and rng.random() < 0.7:
        size = full
    w = int(np.clip(size, 0.5 * side, full))
    h = int(np.clip(w * np.exp(rng.uniform(-0.2, 0.2)), 0.4 * side, full))
    x = int(np.clip(centre[0] - w * rng.uniform(0.25, 0.75), 0, full - w))
    y = int(np.clip(centre[1] - h * rng.uniform(0.25, 0.75), 0, full - h))
    return slice(y, y + h), slice(x, x + w)


def _near_window(instances: NDArray[np.int32], rng: np.random.Generator) -> tuple[slice, slice]:
    """Where a nearer look goes: at any object, which takes 0.25 to 0.75 of the view's side."""
    full = instances.shape[0]
    ids = np.flatnonzero(np.bincount(instances.ravel()) >= _NEAR_AREA * instances.size)
    ids = ids[ids > 0]
    if not ids.size:
        return slice(0, full), slice(0, full)
    ys, xs = np.nonzero(instances == rng.choice(ids))
    x0, y0, x1, y1 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    size = max(x1 - x0, y1 - y0) / rng.uniform(0.25, 0.75)
    squeeze = float(np.exp(rng.normal(0, 0.25)))  # the item was stretched to a square
    w = int(np.clip(size * squeeze, 0.1 * full, full))
    h = int(np.clip(size / squeeze, 0.1 * full, full))
    x = int(np.clip((x0 + x1 - w) / 2 + w * rng.normal(0, 0.12), 0, full - w))
    y = int(np.clip((y0 + y1 - h) / 2 + h * rng.normal(0, 0.12), 0, full - h))
    return slice(y, y + h), slice(x, x + w)


def _recoloured(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brightness, contrast, gamma and white balance by a table per channel; grey now and then."""
    levels = np.arange(256, dtype=np.float32) / 255
    gamma, contrast = np.exp(rng.normal(0, 0.15)), np.exp(rng.normal(0, 0.12))
    out = np.empty_like(pixels)
    shift = rng.normal(0, 0.04)
    for c in range(3):
        curve = ((levels**gamma) - 0.5) * contrast * np.exp(rng.normal(0, 0.05)) + 0.5 + shift
        out[..., c] = cv2.LUT(
            np.ascontiguousarray(pixels[..., c]), (np.clip(curve, 0, 1) * 255).astype(np.uint8)
        )
    if rng.random() < 0.05:
        out[:] = cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)[..., None]
    return out


def collate(samples: Sequence[Sample]) -> Batch:
    def stack(arrays: Sequence[NDArray[np.generic]]) -> Tensor:
        return torch.from_numpy(np.stack(arrays))

    drawn = [s[2] for s in samples]
    return Batch(
        pixels=stack([np.ascontiguousarray(s[0].transpose(2, 0, 1)) for s in samples]),
        instances=stack([s[1] for s in samples]),
        chosen=stack([p.instances for p in drawn]),
        targets=stack([p.targets for p in drawn]),
        points=stack([p.points for p in drawn]),
        labels=stack([p.labels for p in drawn]),
        masks=stack([p.masks for p in drawn]),
        use_mask=stack([p.use_mask for p in drawn]),
        anchors=stack([p.anchors for p in drawn]).long(),
        valid=stack([p.valid for p in drawn]),
        stage=min(s[3] for s in samples),
    )


def recipe(items: Callable[[int], Item], views: Views, batch_size: int) -> Recipe[Item, Sample]:
    return Recipe(item=items, sample=views, collate=collate, batch_size=lambda progress: batch_size)
