"""Runners that stand between another one and who asks it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from markcut.contracts import ModelSpec
from markcut.runners import Array, Runner, RunnerInfo, Value


class Around:
    """A :class:`~markcut.runners.Runner` that hands everything on; subclasses listen in."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def spec(self) -> ModelSpec:
        return self._runner.spec

    @property
    def info(self) -> RunnerInfo:
        return self._runner.info

    def infer(self, feeds: Mapping[str, Value]) -> dict[str, Array]:
        return self._runner.infer(feeds)

    def close(self) -> None:
        self._runner.close()


class Remembering(Around):
    """An encoder that computes the features of a picture once, 16 MB for SAM2's at 1024."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        self._known: dict[bytes, dict[str, Array]] = {}

    def infer(self, feeds: Mapping[str, Value]) -> dict[str, Array]:
        arrays = [np.asarray(value) for value in feeds.values()]
        key = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).digest()
        if key not in self._known:
            self._known[key] = super().infer(feeds)
        return dict(self._known[key])
