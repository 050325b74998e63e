"""What a hand needs to know about an object before it draws: where it is, how big, how thick."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.scene import Mask

PLAN_SIDE = 320  # marks are planned on a map whose long side is at most about this


@dataclass(frozen=True)
class Plan:
    """The scene in small: every ``stride``-th pixel of the instance map."""

    instances: NDArray[np.int32]
    stride: int
    size: tuple[int, int]  # (h, w) of the picture

    @classmethod
    def of(cls, instances: NDArray[np.int32]) -> Plan:
        height, width = instances.shape
        stride = max(1, round(max(height, width) / PLAN_SIDE))
        small = np.ascontiguousarray(instances[stride // 2 :: stride, stride // 2 :: stride])
        return cls(small, stride, (height, width))

    @property
    def diagonal(self) -> float:
        return float(np.hypot(*self.size))

    def at(self, x: float, y: float) -> int:
        """The instance at a point of the picture; -1 outside."""
        row, column = int(y // self.stride), int(x // self.stride)
        if 0 <= row < self.instances.shape[0] and 0 <= column < self.instances.shape[1]:
            return int(self.instances[row, column])
        return -1


@dataclass(frozen=True)
class Target:
    """An object as a hand sees it; all numbers in pixels of the picture."""

    instance: int
    box: tuple[float, float, float, float]  # xyxy
    area: float
    centre: tuple[float, float]  # of its pixels
    hull: NDArray[np.float32]  # (n, 2) convex hull
    inner: NDArray[np.float32]  # (n, 2) points well inside
    axis: float  # angle of its long axis, radians
    room: tuple[float, float, float, float]  # xyxy: the photo it is in, or the whole picture

    @property
    def size(self) -> float:
        """Side of the square of equal area."""
        return float(np.sqrt(self.area))

    @property
    def least(self) -> float:
        """The size below which nobody would see a mark in this photo."""
        x0, y0, x1, y1 = self.room
        return 0.025 * float(np.sqrt((x1 - x0) * (y1 - y0)))


def find_target(
    plan: Plan, instance: int, photos: tuple[tuple[int, int, int, int], ...]
) -> Target | None:
    """The target for object ``instance``; None when nothing of it is on the plan."""
    mask: Mask = plan.instances == instance
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) < 2 or len(columns) < 2:
        return None
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    crop = np.pad(mask[y0:y1, x0:x1].astype(np.uint8), 1)
    stride = plan.stride
    origin = np.array([x0 - 1, y0 - 1], np.float32)

    def up(points: NDArray[np.floating]) -> NDArray[np.float32]:
        return ((points + origin + 0.5) * stride).astype(np.float32)

    depth = cv2.distanceTransform(crop, cv2.DIST_L2, 3)
    deep_y, deep_x = np.nonzero(depth >= 0.5 * depth.max())
    step = max(1, len(deep_x) // 64)
    inner = up(np.stack([deep_x[::step], deep_y[::step]], axis=1).astype(np.float32))
    moments = cv2.moments(crop, binaryImage=True)
    area = moments["m00"]
    centre = up(np.array([[moments["m10"] / area, moments["m01"] / area]], np.float32))[0]
    axis = 0.5 * np.arctan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"])
    contours, _ = cv2.findContours(crop, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(contours))[:, 0]
    room = (0.0, 0.0, float(plan.size[1]), float(plan.size[0]))
    for photo in photos:
        if photo[0] <= centre[0] < photo[2] and photo[1] <= centre[1] < photo[3]:
            room = tuple(float(v) for v in photo)  # type: ignore[assignment]
            break
    return Target(
        instance=instance,
        box=(float(x0 * stride), float(y0 * stride), float(x1 * stride), float(y1 * stride)),
        area=float(area) * stride * stride,
        centre=(float(centre[0]), float(centre[1])),
        hull=up(hull.astype(np.float32)),
        inner=inner,
        axis=float(axis),
        room=room,
    )
