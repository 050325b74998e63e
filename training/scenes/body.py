"""A body's skeleton and outline, measured in heads: the head's centre at 0, the soles at 7."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.scenes.outlines import Curve, rounded

NECK, SHOULDER, CHEST, WAIST, HIP, KNEE, ANKLE = 0.55, 0.95, 1.6, 2.35, 3.0, 5.0, 6.7
LOWEST = 3.6  # of the trunk's own outline; clothes go on below it

Joints = NDArray[np.float32]  # (n, 2) xy


@dataclass(frozen=True)
class Body:
    """Where a person's parts are; -1 and 1 name the two sides."""

    build: float  # width
    hips: float  # width of the hip, on top of build
    lean: float  # sideways shift of the hip
    arms: dict[int, Joints]  # shoulder, elbow, wrist, fingertips
    legs: dict[int, Joints]  # hip, knee, ankle

    @classmethod
    def random(cls, rng: np.random.Generator) -> Body:
        """Any build in any pose."""
        build, hips = float(rng.uniform(0.85, 1.2)), float(rng.uniform(0.9, 1.12))
        lean = float(rng.normal(0, 0.12))
        arms = {s: _arm(rng, s, build) for s in (-1, 1)}
        legs = {s: _leg(rng, s, 0.36 * hips, lean) for s in (-1, 1)}
        return cls(build, hips, lean, arms, legs)

    def middle(self, y: float) -> float:
        """The body's middle at height ``y``."""
        return self.lean * float(np.clip((y - CHEST) / (HIP - CHEST), 0, 1))

    def trunk(self, top: float, end: float, ease: float, flare: float = 1.0) -> Curve:
        """The outline from ``top`` down to ``end``, ``ease`` times as wide as the body.

        Below the waist it widens, at ``end`` by ``flare``.
        """
        y = np.linspace(top, end, 9)
        known = [NECK, 0.8, SHOULDER + 0.1, CHEST, WAIST, HIP, LOWEST]
        widths = [0.2, 0.4, 0.76, 0.62, 0.5, 0.72 * self.hips, 0.7 * self.hips]
        half = np.interp(np.minimum(y, LOWEST), known, widths) * self.build * ease
        half *= 1 + (flare - 1) * np.clip((y - WAIST) / max(0.3, end - WAIST), 0, 1)
        middle = np.array([self.middle(float(v)) for v in y])
        right, left = np.stack([middle + half, y], -1), np.stack([middle - half, y], -1)[::-1]
        return rounded(np.concatenate([right, right[-1:], left[:1], left]), rounds=2)


def _arm(rng: np.random.Generator, side: int, build: float) -> Joints:
    u = rng.uniform
    shoulder = np.array([side * 0.66 * build, SHOULDER + 0.17])
    pose = rng.choice(["hang", "hip", "face", "across", "up"], p=[0.4, 0.22, 0.16, 0.14, 0.08])
    reach = {
        "hang": [(0.25, 2.35), (0.3, 3.25)],
        "hip": [(0.85, 2.1), (0.1 * u(-1, 1) - 0.05, 2.5)],
        "face": [(0.55, 2.1), (0.2, 0.9)],
        "across": [(0.2, 2.15), (-0.75, u(1.7, 2.6))],
        "up": [(0.6, 0.4), (0.5, -0.6)],
    }[str(pose)]
    elbow, wrist = (
        np.array([shoulder[0] + side * (dx + rng.normal(0, 0.08)), y + rng.normal(0, 0.08)])
        for dx, y in reach
    )
    return np.array([shoulder, elbow, wrist, wrist + (wrist - elbow) * 0.35], np.float32)


def _leg(rng: np.random.Generator, side: int, x: float, lean: float) -> Joints:
    hip = side * x + lean
    knee = hip + side * rng.uniform(-0.08, 0.25)
    ankle = knee + rng.normal(0, 0.15)
    return np.array([(hip, HIP), (knee, KNEE + rng.normal(0, 0.1)), (ankle, ANKLE)], np.float32)


def along(path: Joints, stop: float) -> Curve:
    """Points of ``path`` from its first to ``stop``, counted in segments."""
    t, k = np.linspace(0, stop, 13), np.arange(len(path))
    points = [np.interp(t, k, path[:, 0]), np.interp(t, k, path[:, 1])]
    return np.stack(points, -1).astype(np.float32)
