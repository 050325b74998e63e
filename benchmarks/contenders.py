"""What the latency benchmark times: a contender is opened in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from markcut.contracts import MARKED_OBJECT, STAGES

_IMAGE = MARKED_OBJECT.inputs[0].name
_MARK_KINDS = MARKED_OBJECT.outputs[0].name
_STAGE_MS = MARKED_OBJECT.outputs[-1].name


@dataclass(frozen=True)
class Reply:
    """What a contender says about one picture: marks found, milliseconds by stage."""

    marks: int
    stage_ms: Mapping[str, float]


class Contender(Protocol):
    """A way to answer pictures; must be picklable, since it is opened in another process."""

    @property
    def name(self) -> str:
        """Its column in the table."""

    def open(self) -> AbstractContextManager[Callable[[bytes], Reply]]:
        """Load everything; what comes answers one encoded picture per call."""


@dataclass(frozen=True)
class Embedded:
    """The pipeline in one process, on one runtime."""

    bundle: Path
    runtime: str
    threads: int | None

    @property
    def name(self) -> str:
        return self.runtime

    @contextmanager
    def open(self) -> Iterator[Callable[[bytes], Reply]]:
        from markcut.pipeline import Pipeline

        with Pipeline.open(self.bundle, runtime=self.runtime, threads=self.threads) as pipeline:

            def answer(picture: bytes) -> Reply:
                outputs = pipeline.infer({_IMAGE: np.frombuffer(picture, np.uint8)})
                stage_ms = zip(STAGES, outputs[_STAGE_MS].tolist(), strict=True)
                return Reply(len(outputs[_MARK_KINDS]), dict(stage_ms))

            yield answer
