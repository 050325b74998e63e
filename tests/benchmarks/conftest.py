"""Hand-made scenes, and an engine that answers whatever a test wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from markcut import rle
from markcut_client import Client, wire
from markcut_client.results import Extraction
from markcut_client.transports import Request, Transport
from training.scenes import Mask, Scene, SceneMark

HEIGHT, WIDTH = 60, 100


def rectangle(x0: int, y0: int, x1: int, y1: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


LEFT, RIGHT = rectangle(5, 5, 45, 55), rectangle(55, 5, 95, 55)
LINE, DOT = rectangle(10, 30, 40, 34), rectangle(70, 25, 76, 31)


@dataclass(frozen=True)
class Said:
    """One row of an answer."""

    kind: str
    ink: Mask
    object: Mask
    points: Sequence[tuple[float, float]]
    score: float = 0.9


def make_answer(rows: Sequence[Said]) -> dict[str, NDArray[Any]]:
    most = max((len(row.points) for row in rows), default=1)
    coords = np.zeros((len(rows), most, 2), np.float32)
    labels = np.full((len(rows), most), wire.PADDING, np.int32)
    for number, row in enumerate(rows):
        coords[number, : len(row.points)] = np.reshape(row.points, (-1, 2))
        labels[number, : len(row.points)] = wire.FOREGROUND
    values: dict[wire.Tensor, NDArray[Any]] = {
        wire.MARK_KINDS: np.array([wire.KINDS.index(row.kind) for row in rows], np.int32),
        wire.MARK_SCORES: np.array([row.score for row in rows], np.float32),
        wire.MARK_BOXES: np.zeros((len(rows), 4), np.float32),
        wire.MARK_MASKS: _blobs([_encoded(row.ink) for row in rows]),
        wire.POINT_COORDS: coords,
        wire.POINT_LABELS: labels,
        wire.OBJECT_MASKS: _blobs([_encoded(row.object) for row in rows]),
        wire.OBJECT_SCORES: np.ones(len(rows), np.float32),
        wire.OBJECT_REASONS: _blobs([b"because"] * len(rows)),
        wire.PICTURE_SIZE: np.array([HEIGHT, WIDTH], np.int32),
        wire.STAGE_MS: np.zeros(len(wire.STAGES), np.float32),
    }
    return {tensor.name: value for tensor, value in values.items()}


def _encoded(mask: Mask) -> bytes:
    return rle.encode(mask, (0, 0), height=HEIGHT, width=WIDTH)


def _blobs(values: list[bytes]) -> NDArray[np.object_]:
    held = np.empty(len(values), np.object_)
    held[:] = values
    return held


class FakeEngine(Transport):
    """Answers the next request with the next of ``answers``; an exception is raised."""

    def __init__(self, *answers: Sequence[Said] | Exception) -> None:
        self._answers = list(answers)

    def infer(self, request: Request) -> Mapping[str, NDArray[Any]]:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return make_answer(answer)

    def close(self) -> None:
        pass


def make_scene(*, marked: bool = True, seed: int = 7) -> Scene:
    """A line that means the left object and a dot that means the right one."""
    instances = LEFT.astype(np.int32) + 2 * RIGHT
    marks = (SceneMark("line", LINE, 1, width=3.0), SceneMark("dot", DOT, 2, width=6.0))
    picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    picture[LEFT | RIGHT] = 160
    return Scene(
        picture=picture, clean=picture, instances=instances, marks=marks if marked else (),
        markable=(1, 2), layout="plain", seed=seed,
    )  # fmt: skip


class World:
    """All of this module that tests need: pictures, answers, engines."""

    left, right, line, dot = LEFT, RIGHT, LINE, DOT
    right_line = Said("line", LINE, LEFT, [(25.5, 20.5)])
    right_dot = Said("dot", DOT, RIGHT, [(73.5, 45.5)])
    rectangle = staticmethod(rectangle)
    said = Said
    engine = FakeEngine
    scene = staticmethod(make_scene)

    @staticmethod
    def extract(*rows: Said) -> Extraction:
        """What a client makes of an answer with these rows."""
        return Client(FakeEngine(rows)).extract(make_scene().picture)


@pytest.fixture(scope="session")
def world() -> type[World]:
    return World
