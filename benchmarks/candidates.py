"""What a bundle's two networks of marks take for one, whether somebody drew it or not."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.matching import Region, match_ink
from markcut.belief import Clues
from markcut.belief_weights import CLUES, Weights
from markcut.bundle import load_bundle
from markcut.chain import Outputs, find_marks, preprocess
from markcut.clock import Clock
from markcut.contracts import CLIPSEG, KINDS, YOLO11_SEG
from markcut.parameters import MAX_MARKS, parse_parameters
from markcut.runners import open_runner
from training.scenes import Scene

_NOTHING = (0.0,) * len(CLUES)
# weights under which everything is sure, so that nothing is left out
_ALL = Weights(_NOTHING, _NOTHING, ((0.0,) * (len(CLUES) + len(KINDS) + 1),), (0.0, 20.0))


@dataclass(frozen=True)
class Candidate:
    """What may be a mark, and whether it is one."""

    clues: Clues
    drawn: bool


@dataclass(frozen=True)
class Seen:
    """The candidates of one picture, and how many marks are drawn on it."""

    candidates: tuple[Candidate, ...]
    marks: int


class Looker:
    """Looks for marks with a bundle's CLIPSeg and YOLO; close it, or use it in ``with``."""

    def __init__(self, bundle: Path, *, runtime: str, threads: int | None) -> None:
        loaded = load_bundle(bundle)
        self.defaults = loaded.manifest.defaults
        self._asked = parse_parameters(
            {"max_marks": MAX_MARKS}, defaults=self.defaults, prompts=loaded.manifest.prompts
        )
        self._cond = loaded.cond(self._asked.prompt)[None]
        self._runners = {
            spec.name: open_runner(
                loaded.spec(spec.name), loaded.onnx[spec.name],
                runtime=runtime, threads=threads, fixed={"B": 1},
            )
            for spec in (CLIPSEG, YOLO11_SEG)
        }  # fmt: skip

    def look(self, scene: Scene) -> Seen:
        """All that the chain weighs on the scene's picture."""
        file = io.BytesIO()
        Image.fromarray(scene.picture).save(file, "BMP")
        clock = Clock()
        views = preprocess(np.frombuffer(file.getvalue(), np.uint8), clock)
        heat = self._runners[CLIPSEG.name].infer(
            dict(zip([t.name for t in CLIPSEG.inputs], (views.clipseg, self._cond), strict=True))
        )
        marks = find_marks(
            views.picture,
            heat[CLIPSEG.outputs[0].name],
            self._yolo(views.yolo11_seg),
            self._yolo,
            self._asked,
            self.defaults,
            _ALL,
            clock,
        )
        height, width = views.picture.shape[:2]
        pairs = match_ink(
            [Region(mark.ink) for mark in scene.marks],
            [Region(mark.full_ink(height, width)) for mark in marks],
        )
        drawn = {answer for _, answer, _ in pairs}
        known = [mark.clues for mark in marks]
        candidates = [Candidate(c, i in drawn) for i, c in enumerate(known) if c is not None]
        return Seen(tuple(candidates), len(scene.marks))

    def close(self) -> None:
        """Give the networks back."""
        for runner in self._runners.values():
            runner.close()

    def __enter__(self) -> Looker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _yolo(self, view: NDArray[np.uint8]) -> Outputs:
        return self._runners[YOLO11_SEG.name].infer({YOLO11_SEG.inputs[0].name: view})
