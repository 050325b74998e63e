"""The seam of the latency laboratory: a contender is opened in a process of its own and asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from markcut.contracts import MARKED_OBJECT, PROMPTED_OBJECT, STAGES
from markcut.point_sampler import FOREGROUND

Array = NDArray[Any]
Points = Sequence[tuple[float, float]]
"""One click per object, xy in pixels of the upright picture."""

Opened = TypeVar("Opened", covariant=True)

_IMAGE = MARKED_OBJECT.inputs[0].name
_KINDS, _SCORES, _BOXES, _INK, _COORDS, _LABELS, _OBJECTS, _, _, _SIZE, _STAGE_MS = (
    tensor.name for tensor in MARKED_OBJECT.outputs
)
_PROMPTS = PROMPTED_OBJECT.inputs[1:]


@dataclass(frozen=True)
class Reply:
    """What a contender says about one picture.

    ``stage_ms`` are milliseconds by stage; ``ink`` and ``objects`` COCO's run lengths of every
    mark's ink and object at the picture's ``size`` (height, width); ``points`` a click inside of
    every object.
    """

    marks: int
    stage_ms: Mapping[str, float]
    ink: tuple[bytes, ...] = ()
    objects: tuple[bytes, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    size: tuple[int, int] = (0, 0)


class Contender(Protocol[Opened]):
    """Something to time; must be picklable, since it is opened in another process."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def processes(self) -> tuple[int, ...]:
        """Ids of processes that work for it beside the one that it is opened in."""

    def open(self) -> AbstractContextManager[Opened]:
        """Load everything."""


class Engine(Protocol):
    """The whole chain, however it is run."""

    def answer(self, picture: bytes) -> Reply:
        """The marked objects of one encoded picture."""

    def segment(self, picture: bytes, points: Points) -> tuple[bytes, ...]:
        """The masks that SAM2 gives for one click per object, at the picture's size."""


class WireEngine:
    """An engine behind the wire contract: ``ask(model, inputs)`` gives an ensemble's outputs.

    ``plane`` is what stands for "no earlier mask": the logits' size, or (1, 1) where the
    transport knows it.
    """

    def __init__(
        self, ask: Callable[[str, Mapping[str, Array]], Mapping[str, Array]], plane: tuple[int, int]
    ) -> None:
        self._ask = ask
        self._plane = plane

    def answer(self, picture: bytes) -> Reply:
        outputs = self._ask(MARKED_OBJECT.name, {_IMAGE: np.frombuffer(picture, np.uint8)})
        height, width = outputs[_SIZE].tolist()
        return Reply(
            marks=len(outputs[_KINDS]),
            stage_ms=dict(zip(STAGES, outputs[_STAGE_MS].tolist(), strict=True)),
            ink=tuple(outputs[_INK].tolist()),
            objects=tuple(outputs[_OBJECTS].tolist()),
            points=tuple((float(x), float(y)) for x, y in outputs[_COORDS][:, 0].tolist()),
            size=(height, width),
        )

    def segment(self, picture: bytes, points: Points) -> tuple[bytes, ...]:
        rows = len(points)
        values = (
            np.array(points, np.float32).reshape(rows, 1, 2),
            np.full((rows, 1), FOREGROUND, np.int32),
            np.full((rows, 4), np.nan, np.float32),
            np.full((rows, *self._plane), np.nan, np.float32),
        )
        prompts = {tensor.name: value for tensor, value in zip(_PROMPTS, values, strict=True)}
        given: dict[str, Array] = {_IMAGE: np.frombuffer(picture, np.uint8), **prompts}
        outputs = self._ask(PROMPTED_OBJECT.name, given)
        return tuple(outputs[PROMPTED_OBJECT.outputs[0].name].tolist())


@dataclass(frozen=True)
class OnRunner:
    """What runs on one of our runtimes, in one precision (None: as the bundle is).

    ``label`` stands in place of the precision where the bundle itself has another one; ``device``
    None is what the runtime usually runs on.
    """

    bundle: Path
    runtime: str
    threads: int | None
    precision: str | None = None
    label: str = ""
    device: str | None = None

    @property
    def name(self) -> str:
        return f"{self.runtime} {self.label or self.precision or 'fp32'}"

    @property
    def processes(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True)
class Embedded(OnRunner):
    """The pipeline in one process."""

    @contextmanager
    def open(self) -> Iterator[Engine]:
        from benchmarks.pipelines import open_pipeline

        with open_pipeline(
            self.bundle, runtime=self.runtime, device=self.device, threads=self.threads,
            precision=self.precision,
        ) as pipeline:  # fmt: skip
            side = pipeline.manifest.sizes["S"] // 4
            asks = {MARKED_OBJECT.name: pipeline.infer, PROMPTED_OBJECT.name: pipeline.prompt}
            yield WireEngine(lambda model, inputs: asks[model](inputs), (side, side))
