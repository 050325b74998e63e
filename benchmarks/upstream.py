"""What people use instead: the upstream projects' own calls, chained as the original system did.

CLIPSeg through transformers' processor and model, ultralytics' ``predict`` on the whole picture
and on crops, ``SAM2ImagePredictor`` with one click per mark. What lies between the networks
(where YOLO and SAM2 look nearer, merging, sampling points) is Markcut's own, so that both do
the same work and only the networks differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import Engine, Points, Reply
from benchmarks.upstream_networks import (
    UpstreamClipseg,
    UpstreamSam2,
    UpstreamYolo,
    quiet_ultralytics,
)
from markcut import rle
from markcut.belief_weights import Weights
from markcut.chain import WEAK, WINDOWS
from markcut.clock import Clock
from markcut.contracts import CLIPSEG, SAM2_DECODER, SAM2_ENCODER, STAGES, YOLO11_SEG
from markcut.geometry import Picture, Window
from markcut.images import decode
from markcut.looks import Detection
from markcut.marks import Mark, crop_windows, merge
from markcut.mask_selection import Selection
from markcut.nearer import nearer_looks, whole
from markcut.parameters import Parameters
from markcut.point_sampler import FOREGROUND, Prompts, sample_prompts


@dataclass(frozen=True)
class Checkpoints:
    """What the networks are loaded from, as ``python -m export bundle`` takes it."""

    clipseg: str
    yolo: str
    sam2: str
    sam2_config: str | None = None


@dataclass(frozen=True)
class Upstream:
    """The upstream chain in PyTorch: eager or compiled, fp32 or bf16 by autocast."""

    checkpoints: Checkpoints
    prompt: str
    asked: Parameters
    defaults: Mapping[str, float]
    weights: Weights | None
    threads: int | None
    bf16: bool = False
    compiled: bool = False
    device: str = "cpu"

    @property
    def name(self) -> str:
        how = "compile" if self.compiled else "eager"
        return f"upstream {how} {'bf16' if self.bf16 else 'fp32'}"

    @property
    def processes(self) -> tuple[int, ...]:
        return ()

    @contextmanager
    def open(self) -> Iterator[Engine]:
        with self.without_networks() as engine:
            _ = engine.clipseg, engine.yolo, engine.sam2
            yield engine

    @contextmanager
    def without_networks(self) -> Iterator[UpstreamEngine]:
        """An engine whose networks load when they are first used."""
        with quiet_ultralytics():
            import torch

            if self.threads:
                torch.set_num_threads(self.threads)
            yield UpstreamEngine(self)


class UpstreamEngine:
    """The chain over three networks."""

    def __init__(self, contender: Upstream) -> None:
        import torch

        self._contender = contender
        self._asked, self._defaults = contender.asked, contender.defaults
        self._weights = contender.weights
        self._torch = torch

    @cached_property
    def clipseg(self) -> UpstreamClipseg:
        contender = self._contender
        source = contender.checkpoints.clipseg
        found = UpstreamClipseg(source, contender.prompt, device=contender.device)
        if contender.compiled:
            found.model.compile()
        return found

    @cached_property
    def yolo(self) -> UpstreamYolo:
        from export.yolo11_checkpoint import read_checkpoint

        contender = self._contender
        # ultralytics runs whatever code is in a file: this looks first
        read_checkpoint(Path(contender.checkpoints.yolo))
        return UpstreamYolo(
            contender.checkpoints.yolo, device=contender.device, compiled=contender.compiled
        )

    @cached_property
    def sam2(self) -> UpstreamSam2:
        from export.sam2 import load  # runs no code from checkpoints; builds sam2's own model

        files = self._contender.checkpoints
        model: Any = load(files.sam2, config=files.sam2_config).model
        found = UpstreamSam2(model.to(self._contender.device))
        if self._contender.compiled:
            found.predictor.model.image_encoder.compile()
            found.predictor.model.sam_mask_decoder.compile()
        return found

    def answer(self, picture: bytes) -> Reply:
        clock = Clock()
        with self._torch.inference_mode(), self.precision():
            with clock.stage("decode"):
                pixels = decode(np.frombuffer(picture, np.uint8))
            height, width = pixels.shape[:2]
            with clock.stage(CLIPSEG.name):
                heat = self.clipseg.heat(pixels)
            marks = self._marks(pixels, heat, clock)
            with clock.stage("point_sampler"):
                prompts = sample_prompts(
                    pixels,
                    marks,
                    seed=self._asked.seed,
                    points_per_mark=self._asked.points_per_mark,
                )
                points = _clicks(prompts, len(marks))
            objects: tuple[bytes, ...] = ()
            if marks:
                masks = self._objects(pixels, points, clock)
                windows = [whole(height, width)] * len(marks)
                for look in nearer_looks(
                    marks, prompts, [_selection(mask) for mask in masks],
                    height=height, width=width, defaults=self._defaults,
                ):  # fmt: skip
                    asked = [points[index] for index in look.marks]
                    found = self._objects(pixels, asked, clock, look.window)
                    for index, mask in zip(look.marks, found, strict=True):
                        if mask.any():  # as `markcut.chain.find_objects` goes about it
                            masks[index], windows[index] = mask, look.window
                objects = _encoded(masks, windows, (height, width), clock)
        with clock.stage("encode"):
            ink = tuple(rle.encode(m.ink, m.origin, height=height, width=width) for m in marks)
        stage_ms = dict(zip(STAGES, clock.milliseconds().tolist(), strict=True))
        return Reply(len(marks), stage_ms, ink, objects, points, (height, width))

    def segment(self, picture: bytes, points: Points) -> tuple[bytes, ...]:
        with self._torch.inference_mode(), self.precision():
            pixels = decode(np.frombuffer(picture, np.uint8))
            height, width = pixels.shape[:2]
            masks = self._objects(pixels, points, Clock())
            windows = [whole(height, width)] * len(masks)
            return _encoded(masks, windows, (height, width), Clock())

    def _marks(self, pixels: Picture, heat: NDArray[np.float32], clock: Clock) -> list[Mark]:
        height, width = pixels.shape[:2]
        threshold = self._asked.mark_threshold * WEAK
        with clock.stage(YOLO11_SEG.name):
            seen = self.yolo.detect(pixels, (0, 0, width, height), threshold)
        with clock.stage("marks"):
            windows = crop_windows(
                heat, seen, height=height, width=width,
                heat_threshold=self._defaults["heat_threshold"],
                max_windows=int(self._defaults.get("max_windows", WINDOWS)),
            )  # fmt: skip
        nearer: list[Detection] = []
        for window in windows:
            with clock.stage("yolo11_seg_crops"):
                nearer += self.yolo.detect(pixels, window, threshold)
        with clock.stage("marks"):
            return merge(
                pixels, seen, nearer, heat, windows=windows, weights=self._weights,
                threshold=self._asked.mark_threshold, max_marks=self._asked.max_marks,
            )  # fmt: skip

    def _objects(
        self, pixels: Picture, points: Points, clock: Clock, window: Window | None = None
    ) -> list[NDArray[np.bool_]]:
        """The masks of ``window``, by default the whole picture."""
        x0, y0, x1, y1 = window or (0, 0, pixels.shape[1], pixels.shape[0])
        with clock.stage(SAM2_ENCODER.name):
            self.sam2.look(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
        with clock.stage(SAM2_DECODER.name):
            return [self.sam2.click((x - x0, y - y0)) for x, y in points]

    def precision(self) -> AbstractContextManager[Any]:
        """In which to call the networks."""
        if not self._contender.bf16:
            return nullcontext()
        return self._torch.autocast(self._contender.device, dtype=self._torch.bfloat16)


def _clicks(prompts: Prompts, marks: int) -> tuple[tuple[float, float], ...]:
    """One point per mark: the first of its likeliest hypothesis."""
    found = []
    for index in range(marks):
        row = int(np.flatnonzero(prompts.owners == index)[0])
        at = int(np.flatnonzero(prompts.labels[row] == FOREGROUND)[0])
        x, y = prompts.coords[row, at].tolist()
        found.append((x, y))
    return tuple(found)


def _encoded(
    masks: Sequence[NDArray[np.bool_]],
    windows: Sequence[Window],
    size: tuple[int, int],
    clock: Clock,
) -> tuple[bytes, ...]:
    """Run lengths, at the picture's ``size`` (height, width), of masks of ``windows``."""
    height, width = size
    with clock.stage("encode"):
        return tuple(
            rle.encode(mask, window[:2], height=height, width=width)
            for mask, window in zip(masks, windows, strict=True)
        )


def _selection(mask: NDArray[np.bool_]) -> Selection:
    """``mask`` (h, w) as the first look's answer: where it is, is all that is asked of it."""
    x, y, columns, rows = cv2.boundingRect(mask.view(np.uint8))
    return Selection(mask[y : y + rows, x : x + columns], (x, y), score=0, row=0, reason="")
