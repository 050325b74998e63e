"""People in clothes: every garment is an object, skin and hair are objects nobody marks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.scenes import materials
from training.scenes.board import Board, Box
from training.scenes.body import HIP, SHOULDER, Body, along
from training.scenes.materials import Texture
from training.scenes.objects import paint_shape, placement
from training.scenes.outlines import Curve, Outline, Shape, curve, ellipse, limb, rounded, strip
from training.scenes.photos import PhotoPool

Point = tuple[float, float]


class Person:
    """Paints one person; parts are laid on from far to near."""

    def __init__(
        self,
        board: Board,
        rng: np.random.Generator,
        photos: PhotoPool,
        *,
        head: float,
        centre: Point,
        feather: float,
    ) -> None:
        """``head`` is the height of the head in pixels, ``centre`` the head's middle."""
        self.board, self.rng, self.photos, self.feather = board, rng, photos, feather
        self.map = placement(
            rng,
            centre=centre,
            size=head,
            turn=float(rng.normal(0, 0.06)),
            bend=0.025,
            squeeze=0.08,
            slant=0.012,
        )
        self.shadow = float(rng.uniform(0.05, 0.4))
        self.body = Body.random(rng)
        # some people wear one colour from head to foot: neighbours that are hard to tell apart
        self.uniform = materials.dye(rng) if rng.random() < 0.2 else None
        self.tone = materials.skin_tone(rng)
        self.face = board.new_object(silent=True)  # with the neck

    def _lay(
        self, shape: Shape, texture: Callable[[Box], Texture], identity: int, *, relief: float = 0.5
    ) -> None:
        shadow = self.shadow * float(self.rng.random() < 0.6)
        paint_shape(
            self.board, self.rng, shape.mapped(self.map), texture, identity,
            feather=self.feather, relief=relief, shadow=shadow,
        )  # fmt: skip

    def _skin(self, box: Box) -> Texture:
        return materials.skin(self.rng, box.h, box.w, colour=self.tone)

    def _flesh(self, identity: int, *parts: Outline) -> None:
        self._lay(Shape(parts), self._skin, identity)

    def _limb(self, joints: NDArray[np.float32], widths: object) -> None:
        self._flesh(self.board.new_object(silent=True), *limb(joints, widths))

    def _fabric(self, curves: list[Curve]) -> Callable[[Box], Texture]:
        """One piece of cloth that covers all of ``curves``; parts take their windows from it."""
        rng = self.rng
        whole = self.board.clip([self.map(c) for c in curves])
        if whole is None:
            return lambda box: np.zeros((box.h, box.w, 3), np.float32)
        colour = materials.dye(rng)
        if self.uniform is not None and rng.random() < 0.8:
            colour = materials.near(rng, self.uniform, 10)
        cloth = materials.cloth(rng, whole.h, whole.w, colour=colour, photos=self.photos)

        def window(box: Box) -> Texture:
            rows = np.clip(np.arange(box.y0, box.y1) - whole.y0, 0, whole.h - 1)
            columns = np.clip(np.arange(box.x0, box.x1) - whole.x0, 0, whole.w - 1)
            return cloth[rows[:, None], columns[None]]

        return window

    def paint(self) -> None:
        """Everything, from the hair behind the head to the hand before the body."""
        rng = self.rng
        long_hair = rng.random() < 0.55
        strands = self.board.new_object(silent=True)
        if long_hair:
            end = rng.uniform(0.6, 2.2)
            back = rounded([(-0.42, -0.45), (0.42, -0.45), (0.6, end), (-0.6, end)])
            self._lay(Shape(((back,),)), self._hair, strands)
        for side in (-1, 1):
            self._limb(self.body.legs[side], [0.34 * self.body.hips, 0.21, 0.12])
        self._shoes()
        self._flesh(
            self.board.new_object(silent=True), (self.body.trunk(SHOULDER - 0.1, 3.3, 0.96),)
        )
        self._flesh(self.face, (strip([(0, 0.2), (0, 0.8), (0, 1.1)], [0.2, 0.21, 0.3]),))
        style = rng.random()
        if style < 0.2:
            hem = rng.uniform(3.8, 6)
            top = self._top(length=hem, flare=rng.uniform(1.1, 1.7))
        elif rng.random() < 0.5:
            top = self._top_last()
        else:
            top = self._top(length=rng.uniform(2.1, 2.9), flare=1.0)
            self._bottom()
        self._head(strands)
        for side in (-1, 1):
            self._paint_arm(side, *top)
        if rng.random() < 0.25:
            self._bag()

    def _top_last(self) -> tuple[Callable[[Box], Texture], int, float]:
        """A top worn over the waistband."""
        self._bottom()
        return self._top(length=self.rng.uniform(2.2, 3.2), flare=1.05)

    def _top(self, *, length: float, flare: float) -> tuple[Callable[[Box], Texture], int, float]:
        """Shirt, pullover, dress; returns its cloth, id and the share of the arm it covers."""
        rng = self.rng
        ease = rng.uniform(1.0, 1.25)
        sleeve = float(rng.choice([0.0, 0.35, 0.6, 1.9], p=[0.15, 0.4, 0.15, 0.3]))
        body = self.body.trunk(SHOULDER - 0.17, length, ease, flare)
        neck, dip = rng.uniform(0.22, 0.4), rng.uniform(0.1, 0.6)
        collar = rounded(
            [
                (-neck, SHOULDER - 0.3),
                (neck, SHOULDER - 0.3),
                (neck * 0.9, SHOULDER),
                (0, SHOULDER + dip),
                (-neck * 0.9, SHOULDER),
            ]
        )
        identity = self.board.new_object()
        fabric = self._fabric(
            [body, *(a[:3] + np.array([s * 0.2, 0], np.float32) for s, a in self.body.arms.items())]
        )
        rim = collar[collar[:, 1] > SHOULDER - 0.2]
        lines = [
            rim,
            curve(
                [
                    (self.body.middle(length) - 0.8, length - 0.08),
                    (self.body.middle(length) + 0.8, length - 0.08),
                ]
            ),
        ]
        if rng.random() < 0.3:
            lines.append(curve([(0, SHOULDER + dip), (self.body.middle(length), length)]))
        bands = (strip(rim, 0.06),) if rng.random() < 0.4 and len(rim) > 3 else ()
        self._lay(Shape(((body,),), tuple(lines), bands), fabric, identity, relief=0.35)
        if sleeve == 0 or rng.random() < 0.8:  # skin in the neckline
            self._flesh(self.face, (collar,))
        return fabric, identity, sleeve

    def _bottom(self) -> None:
        """Shorts, trousers or a skirt, from the waist."""
        rng = self.rng
        kind = rng.choice(["shorts", "trousers", "skirt"], p=[0.45, 0.35, 0.2])
        top = rng.uniform(2.2, 2.6)
        identity = self.board.new_object()
        seams = [
            curve(
                [
                    (self.body.middle(top) - 0.7, top + 0.17),
                    (self.body.middle(top) + 0.7, top + 0.17),
                ]
            )
        ]
        if kind == "skirt":
            end = rng.uniform(3.5, 5.8)
            parts = [self.body.trunk(top, end, 1.05, rng.uniform(1.0, 1.9))]
            seams += [
                curve([(k * 0.5 + self.body.lean, top + 0.2), (k * 1.1 + self.body.lean, end)])
                for k in np.linspace(-1, 1, 7)
            ]
        else:
            ease = rng.uniform(1.02, 1.5 if kind == "shorts" else 1.3)
            stop = rng.uniform(0.2, 0.7) if kind == "shorts" else rng.uniform(1.6, 2.0)
            parts = [self.body.trunk(top, HIP + 0.45, 1.06)]
            for side in (-1, 1):
                path = along(self.body.legs[side], stop)
                wide = (
                    np.interp(
                        np.linspace(0, stop, len(path)),
                        [0, 1, 2],
                        [0.4 * self.body.hips, 0.3, 0.22],
                    )
                    * ease
                )
                if kind == "shorts":
                    wide[len(path) // 2 :] = np.maximum(wide[len(path) // 2 :], wide[0])
                parts.append(strip(path, wide))
            seams.append(curve([(self.body.middle(top), top + 0.17), (self.body.lean, HIP + 0.4)]))
            seams += [
                curve(
                    [(self.body.lean + s * 0.55, top + 0.2), (self.body.lean + s * 0.7, top + 0.6)]
                )
                for s in (-1, 1)
            ]
        fabric = self._fabric(parts)
        # the legs first, one at a time, so that each is rounded; the pelvis joins them
        for part in parts[1:]:
            self._lay(Shape(((part,),)), fabric, identity, relief=0.4)
        self._lay(Shape(((parts[0],),), tuple(seams)), fabric, identity, relief=0.25)

    def _shoes(self) -> None:
        if self.rng.random() < 0.15:
            return
        identity = self.board.new_object()
        pair = []
        for side in (-1, 1):
            x, y = self.body.legs[side][2]
            toe, tall = x + side * self.rng.uniform(0.15, 0.4), self.rng.uniform(0.1, 0.2)
            pair.append(
                rounded(
                    [
                        (x - 0.17, y - tall),
                        (x + 0.17, y - tall),
                        (toe + 0.14, y + 0.3),
                        (toe - 0.14, y + 0.36),
                    ],
                    rounds=2,
                )
            )
        fabric = self._fabric(pair)
        for shoe in pair:
            self._lay(Shape(((shoe,),)), fabric, identity)

    def _head(self, strands: int) -> None:
        rng = self.rng
        face = ellipse(0, 0, 0.37, 0.5)
        look = rng.normal(0, 0.05)
        features = [curve([(look + s * 0.08, -0.02), (look + s * 0.2, -0.03)]) for s in (-1, 1)]
        features += [curve([(look + s * 0.06, -0.12), (look + s * 0.22, -0.14)]) for s in (-1, 1)]
        features += [
            curve([(look - 0.09, 0.26), (look, 0.28), (look + 0.09, 0.26)]),
            curve([(look, 0), (look + 0.03, 0.13)]),
        ]
        head = Shape(((face,),), tuple(features))
        self._lay(head, self._skin, self.face)
        if rng.random() < 0.95:
            low = rng.uniform(-0.3, 0.1)
            cut = rng.uniform(-0.25, 0.25)
            fringe = rounded(
                [
                    (-0.4, low + 0.2),
                    (-0.44, -0.3),
                    (0, -0.62),
                    (0.44, -0.3),
                    (0.4, low + 0.2),
                    (0.3, -0.25),
                    (cut, -0.36),
                    (-0.3, -0.2),
                ]
            )
            self._lay(Shape(((fringe,),)), self._hair, strands, relief=0.3)
            if rng.random() < 0.35:  # a lock over the shoulder
                side = rng.choice([-1, 1])
                lock = strip(
                    [(side * 0.36, -0.1), (side * 0.45, 0.7), (side * 0.4, rng.uniform(1.2, 2.2))],
                    [0.1, 0.16, 0.05],
                )
                self._lay(Shape(((lock,),)), self._hair, strands, relief=0.3)

    def _paint_arm(
        self, side: int, fabric: Callable[[Box], Texture], identity: int, sleeve: float
    ) -> None:
        rng, arm = self.rng, self.body.arms[side]
        thick = rng.uniform(0.85, 1.15) * np.array([0.2, 0.17, 0.1])
        self._limb(arm, [*thick, 0.08])
        if sleeve > 0:
            stop = min(sleeve, 1.0)
            joints = [arm[0], arm[0] + (arm[1] - arm[0]) * stop]
            wide = [0.22, float(np.interp(stop, [0, 1], [0.26, 0.2]))]
            if sleeve > 1:
                joints.append(arm[1] + (arm[2] - arm[1]) * (sleeve - 1))
                wide.append(0.14)
            parts = limb(joints, np.array(wide) * rng.uniform(1.0, 1.5))
            if sleeve < 1:  # an open end is cut straight
                parts = ((_cut(parts[0][0], joints[0], joints[1]),),)
            self._lay(Shape(parts), fabric, identity, relief=0.4)
        if rng.random() < 0.15:  # a phone or another thing in the hand
            x, y = arm[3]
            thing = rounded(
                [
                    (x - 0.17, y - 0.3),
                    (x + 0.17, y - 0.3),
                    (x + 0.17, y + 0.3),
                    (x - 0.17, y + 0.3),
                ],
                rounds=1,
            )
            texture = self._fabric([thing])
            self._lay(Shape(((thing,),)), texture, self.board.new_object(), relief=0.1)

    def _bag(self) -> None:
        rng = self.rng
        x, y = float(rng.choice([-1, 1]) * rng.uniform(0.6, 1.1)), float(rng.uniform(2.6, 3.6))
        w, h = rng.uniform(0.35, 0.6), rng.uniform(0.3, 0.6)
        body = rounded([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)], rounds=2)
        strap = strip(
            [(x - w * 0.8, y - h), (x * -0.3, SHOULDER), (x * -0.4, SHOULDER - 0.05)],
            0.05 * np.ones(3),
        )
        texture = self._fabric([body, strap])
        flap = (curve([(x - w, y - h * 0.1), (x, y + h * 0.2), (x + w, y - h * 0.1)]),)
        self._lay(Shape(((strap,), (body,)), flap), texture, self.board.new_object(), relief=0.3)

    def _hair(self, box: Box) -> Texture:
        return materials.hair(self.rng, box.h, box.w)


def people(
    board: Board, rng: np.random.Generator, photos: PhotoPool, *, feather: float, crowd: bool
) -> None:
    """A person, in a ``crowd`` up to three, whole or cut by the border as photographers cut."""
    h, w = board.h, board.w
    count = int(rng.choice([1, 2, 3], p=[0.8, 0.15, 0.05])) if crowd and w > 0.7 * h else 1
    for i in range(count):
        view = rng.random()
        if view < 0.3 or count > 1:  # whole
            head, top = h / rng.uniform(7.6, 9), h * rng.uniform(0.06, 0.12)
        elif view < 0.75:  # to the knees, the head perhaps cut off
            head, top = h / rng.uniform(4.3, 6), h * rng.uniform(-0.12, 0.1)
        else:  # the trunk alone
            head, top = h / rng.uniform(2.8, 4), -h * rng.uniform(0.1, 0.3)
        x = w * ((i + 0.5) / count + rng.normal(0, 0.06 / count))
        Person(
            board, rng, photos, head=float(head), centre=(float(x), float(top)), feather=feather
        ).paint()


def _cut(piece: Curve, start: NDArray[np.float32], end: NDArray[np.float32]) -> Curve:
    """``piece`` without what lies beyond ``end``, seen from ``start``."""
    axis = (end - start) / (np.linalg.norm(end - start) + 1e-6)
    beyond = np.clip((piece - end) @ axis, 0, None)
    return (piece - beyond[:, None] * axis).astype(np.float32)
