"""The whole chain in one process: encoded picture in, the ensemble's answer out.

Thin on purpose. Every stage is a function or a model that runs the same way elsewhere; what is
here is their order, what runs beside what, and the time each takes.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut import prompted
from markcut.answer import build_answer
from markcut.bundle import Bundle, load_bundle
from markcut.chain import Views, find_marks, find_objects, only_image, preprocess, unmarked_view
from markcut.clock import Clock
from markcut.contracts import (
    CLIPSEG,
    MARKED_OBJECT,
    MODELS,
    PROMPTED_OBJECT,
    SAM2_DECODER,
    SAM2_ENCODER,
    YOLO11_SEG,
    ModelSpec,
)
from markcut.errors import RunnerError
from markcut.feature_cache import FeatureCache
from markcut.geometry import Picture
from markcut.manifest import Manifest
from markcut.marks import Mark
from markcut.mask_selection import Selection
from markcut.nearer import whole
from markcut.parameters import Parameters, parse_parameters
from markcut.point_sampler import Prompts, decoder_feeds, sample_prompts
from markcut.runners import Runner, RunnerInfo, Value, infer_resident, open_runner
from markcut.runners.tensorrt_sidecar import FOLDER

Array = NDArray[Any]

_VIEW = YOLO11_SEG.inputs[0].name
_SIZE = PROMPTED_OBJECT.outputs[3].name


class Pipeline:
    """Finds the marked objects of one picture after another; safe to call from several threads.

    :meth:`open` is the usual way to one. ``runners`` holds a runner for every model of
    ``contracts.MODELS``, ``bundle`` is what they came from (its ONNX bytes are not needed).
    """

    def __init__(self, bundle: Bundle, runners: Mapping[str, Runner]) -> None:
        self._bundle = dataclasses.replace(bundle, onnx={})
        self._runners = dict(runners)
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="markcut")
        self._features = FeatureCache()
        self._requests = threading.Condition()
        self._under_way = 0
        self._closed = False

    @classmethod
    def open(
        cls, bundle_dir: str | os.PathLike[str], *, runtime: str = "auto",
        device: str | None = None, threads: int | None = None, precision: str | None = None,
    ) -> Pipeline:  # fmt: skip
        """Load and verify the bundle in ``bundle_dir`` and open its four models.

        ``runtime`` is ``"auto"``, ``"onnxruntime"``, ``"openvino"`` or ``"tensorrt"``, which runs
        what ``python -m export engines`` built beside the models; ``device`` is ``"cpu"`` or
        ``"cuda"``, by default the CPU but with TensorRT; ``threads`` limits the CPU
        threads of every model; ``precision`` is that of the arithmetic, which is as the graphs
        are typed unless asked (``"bf16"`` on OpenVINO halves the time of a processor that has
        it). Raises :class:`~markcut.errors.BundleError`,
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
                    runtime=runtime, device=device, threads=threads, precision=precision,
                    fixed=fixed, engines=bundle.folder / FOLDER,
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
        """Give everything back, once the requests under way have ended.

        :meth:`infer` and :meth:`prompt` raise RunnerError from now on.
        """
        with self._requests:
            self._closed = True
            self._requests.wait_for(lambda: self._under_way == 0)
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
        with self._request():
            return self._infer(inputs, parameters or {})

    def _infer(
        self, inputs: Mapping[str, Array], parameters: Mapping[str, object]
    ) -> dict[str, Array]:
        asked = parse_parameters(
            parameters, defaults=self.manifest.defaults, prompts=self.manifest.prompts
        )
        clock = Clock()
        views = preprocess(only_image(inputs), clock)
        marks = self._look(views, asked, clock)
        height, width = views.picture.shape[:2]
        selections: list[Selection] = []
        encoding: Future[Mapping[str, Value]] | None = None
        if marks:  # without any there is nothing to segment
            view = unmarked_view(views.halves, marks, self.manifest.sizes["S"], clock)
            encoding = self._pool.submit(self._encode, view, clock)
        with clock.stage("point_sampler"):
            prompts = sample_prompts(
                views.picture, marks, seed=asked.seed, points_per_mark=asked.points_per_mark
            )
        if encoding is not None:
            selections = self._segment(views.picture, marks, prompts, encoding.result(), clock)
        with clock.stage("encode"):
            answer = build_answer(marks, prompts, selections, height=height, width=width)
        return _named(MARKED_OBJECT, [*answer, clock.milliseconds()])

    def prompt(
        self, inputs: Mapping[str, Array], parameters: Mapping[str, object] | None = None
    ) -> dict[str, Array]:
        """The outputs of ``contracts.PROMPTED_OBJECT`` for its inputs: objects by given prompts.

        A prompt on one of the last pictures takes their features from memory: ``sam2_encoder`` of
        ``stage_ms`` is 0 then. There are no parameters. The result for one object may differ in
        the last digits with the number of points of the others in the same call. What cannot be
        used raises :class:`~markcut.errors.InvalidInput`.
        """
        with self._request():
            prompted.check_parameters(parameters or {})
            return self._segment_prompted(inputs)

    def _segment_prompted(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        clock = Clock()
        key = FeatureCache.key(prompted.encoded(inputs))
        known: Mapping[str, Value] | None = self._features.get(key)
        side = self.manifest.sizes["S"]
        views: list[Array] = []
        if known is None:
            view, (height, width) = prompted.preprocess(inputs, side, clock)
            views.append(view)
        else:
            height, width = np.asarray(known[_SIZE]).tolist()
        prompts = prompted.parse_prompts(inputs, side, height=height, width=width)
        asked = prompted.feeds(prompts, side, height=height, width=width)
        if known is None:  # only now, once the prompts are proved usable
            size = np.array([height, width], np.int32)
            known = {**self._encode(views[0], clock), _SIZE: size}
            self._features.put(key, known)
        outputs = self._prompt(known, asked, clock)
        _, labels, _, has_earlier = asked
        answer = prompted.answer(
            outputs, labels, has_earlier, height=height, width=width, clock=clock
        )
        return _named(PROMPTED_OBJECT, [*answer, clock.milliseconds()])

    @contextmanager
    def _request(self) -> Iterator[None]:
        with self._requests:
            if self._closed:
                raise RunnerError("the pipeline is closed; open it again")
            self._under_way += 1
        try:
            yield
        finally:
            with self._requests:
                self._under_way -= 1
                self._requests.notify_all()

    def _look(self, views: Views, asked: Parameters, clock: Clock) -> list[Mark]:
        """The picture's marks."""
        cond = self._bundle.cond(asked.prompt)[None]
        heating = self._pool.submit(self._run, CLIPSEG, [views.clipseg, cond], clock)
        whole = self._run(YOLO11_SEG, [views.yolo11_seg], clock)
        return find_marks(
            views.picture,
            heating.result()[CLIPSEG.outputs[0].name],
            whole,
            lambda view: self._runners[YOLO11_SEG.name].infer({_VIEW: view}),
            asked,
            self.manifest.defaults,
            self.manifest.belief,
            clock,
        )

    def _segment(
        self,
        picture: Picture,
        marks: Sequence[Mark],
        prompts: Prompts,
        features: Mapping[str, Value],
        clock: Clock,
    ) -> list[Selection]:
        """The object of every mark; ``features`` are the whole picture's."""
        side = self.manifest.sizes["S"]
        height, width = picture.shape[:2]
        feeds = decoder_feeds(prompts, side, window=whole(height, width))
        return find_objects(
            picture,
            self._prompt(features, feeds, clock),
            lambda view, feeds: self._prompt(self._encode(view, clock), feeds, clock),
            marks, prompts, height=height, width=width, side=side,
            defaults=self.manifest.defaults, clock=clock,
        )  # fmt: skip

    def _prompt(
        self, features: Mapping[str, Value], prompts: Sequence[Value], clock: Clock
    ) -> dict[str, Array]:
        """The decoder's masks for all ``prompts``, its last four inputs, at once."""
        feeds = [*(features[tensor.name] for tensor in SAM2_ENCODER.outputs), *prompts]
        return self._run(SAM2_DECODER, feeds, clock)

    def _encode(self, view: Array, clock: Clock) -> Mapping[str, Value]:
        """SAM2's features, which stay where the decoder finds them fastest."""
        with clock.stage(SAM2_ENCODER.name):
            feeds = {SAM2_ENCODER.inputs[0].name: view}
            return infer_resident(self._runners[SAM2_ENCODER.name], feeds)

    def _run(self, spec: ModelSpec, feeds: Sequence[Value], clock: Clock) -> dict[str, Array]:
        """One model on ``feeds``, which are in the order of its inputs."""
        names = [tensor.name for tensor in spec.inputs]
        with clock.stage(spec.name):
            return self._runners[spec.name].infer(dict(zip(names, feeds, strict=True)))


def _named(spec: ModelSpec, answer: Sequence[Array]) -> dict[str, Array]:
    """The outputs of ``spec``, given in its order, by their names."""
    return {tensor.name: array for tensor, array in zip(spec.outputs, answer, strict=True)}
