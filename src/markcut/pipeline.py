"""The whole chain in one process: encoded picture in, the ensemble's answer out.

Thin on purpose. Every stage is a function or a model that runs the same way elsewhere; what is
here is their order, what runs beside what, and the time each takes.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut.answer import build_answer
from markcut.bundle import Bundle, load_bundle
from markcut.contracts import (
    CLIPSEG,
    CLIPSEG_SIDE,
    MARKED_OBJECT,
    MODELS,
    SAM2_DECODER,
    SAM2_ENCODER,
    STAGES,
    YOLO11_SEG,
    YOLO_SIDE,
    ModelSpec,
)
from markcut.errors import InvalidInput, RunnerError
from markcut.geometry import Picture, Placement, letterbox, stretch
from markcut.images import decode
from markcut.manifest import Manifest
from markcut.marks import Detection, Mark, crop_windows, detections, merge
from markcut.mask_selection import Selection, select_masks
from markcut.parameters import Parameters, parse_parameters
from markcut.point_sampler import Prompts, decoder_feeds, sample_prompts
from markcut.runners import Runner, RunnerInfo, open_runner

Array = NDArray[Any]

_WEAK = 0.4  # of the mark threshold: from here on a detection is worth a nearer look
_WINDOWS = 6  # nearer looks at one picture, unless the bundle says otherwise
_IMAGE = MARKED_OBJECT.inputs[0].name


class _Clock:
    """Milliseconds of every stage of one request; stages may run in several threads."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spent[name] += (time.perf_counter() - start) * 1000

    def milliseconds(self) -> NDArray[np.float32]:
        return np.array([self._spent[name] for name in STAGES], np.float32)


class Pipeline:
    """Finds the marked objects of one picture after another; safe to call from several threads.

    :meth:`open` is the usual way to one. ``runners`` holds a runner for every model of
    ``contracts.MODELS``, ``bundle`` is what they came from (its ONNX bytes are not needed).
    """

    def __init__(self, bundle: Bundle, runners: Mapping[str, Runner]) -> None:
        self._bundle = dataclasses.replace(bundle, onnx={})
        self._runners = dict(runners)
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="markcut")
        self._closed = False

    @classmethod
    def open(
        cls, bundle_dir: str | os.PathLike[str], *, runtime: str = "auto",
        threads: int | None = None,
    ) -> Pipeline:  # fmt: skip
        """Load and verify the bundle in ``bundle_dir`` and open its four models.

        ``runtime`` is ``"auto"``, ``"onnxruntime"`` or ``"openvino"``; ``threads`` limits the CPU
        threads of every model. Raises :class:`~markcut.errors.BundleError`,
        :class:`~markcut.errors.RunnerError` or :class:`~markcut.errors.InvalidInput`.
        """
        bundle = load_bundle(bundle_dir)
        runners: dict[str, Runner] = {}
        try:
            for name in MODELS:
                # pictures come one at a time, so everything but the prompts can be static
                fixed = {"B": 1} if name != SAM2_DECODER.name else None
                runners[name] = open_runner(
                    bundle.spec(name), bundle.onnx[name],
                    runtime=runtime, threads=threads, fixed=fixed,
                )  # fmt: skip
        except BaseException:
            for runner in runners.values():
                runner.close()
            raise
        return cls(bundle, runners)

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        return self._bundle.manifest

    @property
    def runners(self) -> dict[str, RunnerInfo]:
        """What runs every model, by the model's name."""
        return {name: runner.info for name, runner in self._runners.items()}

    def close(self) -> None:
        """Give everything back; :meth:`infer` raises RunnerError from now on."""
        self._closed = True
        self._pool.shutdown()
        for runner in self._runners.values():
            runner.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def infer(
        self, inputs: Mapping[str, Array], parameters: Mapping[str, object] | None = None
    ) -> dict[str, Array]:
        """The outputs of ``contracts.MARKED_OBJECT`` for its inputs.

        ``inputs`` is ``{"image": uint8 (length,)}``, one encoded picture; ``parameters`` may hold
        ``seed``, ``max_marks``, ``mark_threshold``, ``points_per_mark`` and ``prompt``. The same
        arguments give the same bytes, ``stage_ms`` apart. A picture without a mark is a success
        with no rows. What cannot be used raises :class:`~markcut.errors.InvalidInput`.
        """
        if self._closed:
            raise RunnerError("the pipeline is closed; open it again")
        asked = parse_parameters(
            parameters or {}, defaults=self.manifest.defaults, prompts=self.manifest.prompts
        )
        clock = _Clock()
        with clock.stage("total"):
            with clock.stage("decode"):
                picture = decode(_only_image(inputs))
            marks, features = self._look(picture, asked, clock)
            with clock.stage("point_sampler"):
                prompts = sample_prompts(
                    picture, marks, seed=asked.seed, points_per_mark=asked.points_per_mark
                )
            height, width = picture.shape[:2]
            selections: list[Selection] = []
            if marks:
                outputs = self._prompt(features, prompts, (height, width), clock)
                with clock.stage("mask_selection"):
                    selections = select_masks(outputs, prompts, marks, height=height, width=width)
            with clock.stage("encode"):
                answer = build_answer(marks, prompts, selections, height=height, width=width)
        answer.append(clock.milliseconds())
        return {
            tensor.name: array for tensor, array in zip(MARKED_OBJECT.outputs, answer, strict=True)
        }

    def _look(
        self, picture: Picture, asked: Parameters, clock: _Clock
    ) -> tuple[list[Mark], dict[str, Array]]:
        """The picture's marks, and SAM2's features of it."""
        height, width = picture.shape[:2]
        defaults = self.manifest.defaults
        with clock.stage("preprocess"):
            encoder_pixels, _ = stretch(picture, self.manifest.sizes["S"])
            clipseg_pixels, _ = stretch(picture, CLIPSEG_SIDE)
            yolo_pixels, placement = letterbox(picture, YOLO_SIDE)
        cond = self._bundle.cond(asked.prompt)[None]
        heating = self._pool.submit(
            self._run, CLIPSEG, [clipseg_pixels[None], cond], CLIPSEG.name, clock
        )
        encoding = self._pool.submit(
            self._run, SAM2_ENCODER, [encoder_pixels[None]], SAM2_ENCODER.name, clock
        )
        weak = asked.mark_threshold * _WEAK
        whole = self._detect(yolo_pixels, placement, weak, YOLO11_SEG.name, clock)
        windows = crop_windows(
            heating.result()[CLIPSEG.outputs[0].name][0],
            whole,
            height=height,
            width=width,
            heat_threshold=defaults["heat_threshold"],
            max_windows=int(defaults.get("max_windows", _WINDOWS)),
        )
        crops: list[Detection] = []
        for window in windows:
            with clock.stage("preprocess"):
                yolo_pixels, placement = letterbox(picture, YOLO_SIDE, window=window)
            crops += self._detect(yolo_pixels, placement, weak, "yolo11_seg_crops", clock)
        with clock.stage("point_sampler"):
            marks = merge(
                picture, whole, crops, threshold=asked.mark_threshold, max_marks=asked.max_marks
            )
        return marks, encoding.result()

    def _detect(
        self, pixels: Picture, placement: Placement, threshold: float, stage: str, clock: _Clock
    ) -> list[Detection]:
        outputs = self._run(YOLO11_SEG, [pixels[None]], stage, clock)
        only = {name: array[0] for name, array in outputs.items()}
        return detections(only, placement, threshold=threshold)

    def _prompt(
        self,
        features: Mapping[str, Array],
        prompts: Prompts,
        size: tuple[int, int],
        clock: _Clock,
    ) -> dict[str, Array]:
        """The decoder's masks for all prompts at once."""
        side = self.manifest.sizes["S"]
        feeds = [features[tensor.name] for tensor in SAM2_ENCODER.outputs]
        feeds += decoder_feeds(prompts, side, height=size[0], width=size[1])
        return self._run(SAM2_DECODER, feeds, SAM2_DECODER.name, clock)

    def _run(
        self, spec: ModelSpec, feeds: Sequence[Array], stage: str, clock: _Clock
    ) -> dict[str, Array]:
        """One model on ``feeds``, which are in the order of its inputs."""
        names = [tensor.name for tensor in spec.inputs]
        with clock.stage(stage):
            return self._runners[spec.name].infer(dict(zip(names, feeds, strict=True)))


def _only_image(inputs: Mapping[str, Array]) -> Array:
    for name in inputs:
        if name != _IMAGE:
            raise InvalidInput(str(name), f"got an unknown input, expected only {_IMAGE!r}")
    if _IMAGE not in inputs:
        raise InvalidInput(_IMAGE, "got nothing, expected uint8 (length,): an encoded picture")
    return inputs[_IMAGE]
