"""What Triton's Python backend does around a step: tensors to arrays, errors to answers.

Every ``model.py`` of a model repository hands its work to :func:`open_model`. Triton's own module
``pb_utils`` exists inside a server only, so it comes as an argument.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut import steps
from markcut.bundle import Bundle, load_bundle
from markcut.clock import Clock
from markcut.contracts import (
    KINDS,
    MASK_SELECTION,
    MODELS,
    POINT_SAMPLER,
    PREPROCESS,
    PROMPT_PREPROCESS,
    PROMPT_SELECTION,
    SAM2_DECODER,
    SAM2_ENCODER,
    SPAN,
    STEPS,
    YOLO11_SEG,
    ModelSpec,
    span_inputs,
)
from markcut.errors import InvalidInput, RunnerError
from markcut.feature_cache import FeatureCache
from markcut.runners import Runner, open_runner

Array = NDArray[Any]
Work = Callable[[dict[str, Array], dict[str, object]], Sequence[Array]]

# what clients and servers put among a request's parameters for themselves
_FOREIGN = frozenset(
    ("sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers",
     "binary_data_output", "triton_enable_empty_final_response", "triton_final_response")
)  # fmt: skip
_WHOLE = ("seed", "max_marks", "points_per_mark")
_FRACTIONS = ("mark_threshold",)
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")  # as JSON spells numbers, or nearly so
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


class Refused(Exception):
    """Another model of the server would not answer; ``code`` is Triton's."""

    def __init__(self, message: str, code: Any) -> None:
        super().__init__(message)
        self.code = code


class TritonModel:
    """One instance of a Python model: answers requests with ``work``, one after the other.

    ``spec`` names the inputs and outputs of ``work``, ``optional`` further inputs that a
    configuration may leave out.
    """

    def __init__(
        self,
        pb_utils: Any,
        spec: ModelSpec,
        work: Work,
        *,
        optional: Sequence[str] = (),
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._triton = pb_utils
        self._spec = spec
        self._work = work
        self._inputs = [*(tensor.name for tensor in spec.inputs), *optional]
        self.finalize = close

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request. A caller's mistake is INVALID_ARGUMENT, with its sentence."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        codes = self._triton.TritonError
        # no look at request.is_cancelled(): a quick refusal of what was cancelled is what crashes
        # Triton 24.10 (8 of 19 tries with it, 0 of 40 without)
        try:
            outputs = self._work(self._arrays(request), wire_parameters(request.parameters()))
        except InvalidInput as error:
            return self._refuse(str(error), codes.INVALID_ARG)
        except Refused as error:
            return self._refuse(f"{self._spec.name}: {error}", error.code)
        except RunnerError as error:
            return self._refuse(str(error), codes.INTERNAL)
        except Exception as error:  # a bug: its traceback is for the log, not for the caller
            self._log(error)
            return self._refuse(
                f"{self._spec.name}: failed on this request ({type(error).__name__}); "
                "the server's log says where",
                codes.INTERNAL,
            )
        return self._triton.InferenceResponse(
            output_tensors=[
                self._triton.Tensor(tensor.name, np.ascontiguousarray(array))
                for tensor, array in zip(self._spec.outputs, outputs, strict=True)
            ]
        )

    def _arrays(self, request: Any) -> dict[str, Array]:
        given = ((n, self._triton.get_input_tensor_by_name(request, n)) for n in self._inputs)
        return {name: tensor.as_numpy() for name, tensor in given if tensor is not None}

    def _refuse(self, message: str, code: Any) -> Any:
        return self._triton.InferenceResponse(error=self._triton.TritonError(message, code))

    def _log(self, error: Exception) -> None:
        import traceback

        lines = traceback.format_exception(type(error), error, error.__traceback__)
        self._triton.Logger.log_error("".join(lines))


def open_model(arguments: Mapping[str, str], pb_utils: Any) -> TritonModel:
    """The model that ``arguments``, those of ``initialize``, name: a step or a network.

    The version folder holds the bundle's manifest, its prompts' vectors and, for a network, its
    ONNX file; all of it is verified before use.
    """
    name = arguments["model_name"]
    folder = Path(arguments["model_repository"]) / arguments["model_version"]
    if name in MODELS:
        return _network(name, folder, json.loads(arguments["model_config"]), pb_utils)
    bundle = load_bundle(folder, models=())
    spec = STEPS[name]
    work = _works(bundle, pb_utils)[name]
    if spec is MASK_SELECTION:
        work = _counted(work, _Counters(pb_utils))
    return TritonModel(pb_utils, spec, work, optional=[t.name for t in span_inputs(spec)])


def wire_parameters(text: str) -> dict[str, object]:
    """A request's parameters from Triton's JSON, with numbers as numbers.

    Not every client can send every type, so a number may come as text. What clients and servers
    add for themselves is left out; anything else that is unknown stays, to be refused.
    """
    given: dict[str, object] = json.loads(text) if text else {}
    kept = {name: value for name, value in given.items() if name not in _FOREIGN}
    for names, number, spelling in ((_WHOLE, int, _INTEGER), (_FRACTIONS, float, _DECIMAL)):
        for name in names:
            value = kept.get(name)
            if isinstance(value, str) and spelling.fullmatch(value):
                kept[name] = number(value)  # others are refused with all that are no numbers
    return kept


def _works(bundle: Bundle, pb_utils: Any) -> dict[str, Work]:
    detect, segment = (functools.partial(ask, pb_utils) for ask in (_detect, _segment))
    functions: dict[str, Callable[..., Sequence[Array]]] = {
        PREPROCESS.name: steps.preprocess,
        POINT_SAMPLER.name: functools.partial(steps.point_sampler, detect=detect),
        MASK_SELECTION.name: functools.partial(steps.mask_selection, segment=segment),
        PROMPT_PREPROCESS.name: steps.prompt_preprocess,
        PROMPT_SELECTION.name: steps.prompt_selection,
    }
    return {name: functools.partial(step, bundle=bundle) for name, step in functions.items()}


def _detect(pb_utils: Any, view: Array) -> dict[str, Array]:
    """YOLO, wherever in this server it runs, on one view (1, 640, 640, 3)."""
    pixels = pb_utils.Tensor(YOLO11_SEG.inputs[0].name, view)
    return _as_arrays(_ask(pb_utils, YOLO11_SEG, [pixels], in_memory=True))


def _segment(
    pb_utils: Any, view: Array, prompts: Sequence[Array], clock: Clock
) -> dict[str, Array]:
    """SAM2 on one view (1, S, S, 3); its features stay where the encoder leaves them."""
    pixels = pb_utils.Tensor(SAM2_ENCODER.inputs[0].name, view)
    with clock.stage(SAM2_ENCODER.name):
        features = _ask(pb_utils, SAM2_ENCODER, [pixels])
    names = [tensor.name for tensor in SAM2_DECODER.inputs[len(features) :]]
    given = [pb_utils.Tensor(n, array) for n, array in zip(names, prompts, strict=True)]
    with clock.stage(SAM2_DECODER.name):
        return _as_arrays(_ask(pb_utils, SAM2_DECODER, [*features, *given], in_memory=True))


def _ask(
    pb_utils: Any, spec: ModelSpec, inputs: Sequence[Any], *, in_memory: bool = False
) -> list[Any]:
    """The outputs of another model of this server, Triton's tensors in their order.

    ``in_memory`` asks for them where arrays can be made of them.
    """
    names = [tensor.name for tensor in spec.outputs]
    memory = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0)
    request = pb_utils.InferenceRequest(
        model_name=spec.name,
        requested_output_names=names,
        inputs=list(inputs),
        **({"preferred_memory": memory} if in_memory else {}),
    )
    response = request.exec()
    if response.has_error():
        error = response.error()
        raise Refused(f"{spec.name} refused: {error.message()}", error.code())
    return [pb_utils.get_output_tensor_by_name(response, name) for name in names]


def _as_arrays(tensors: Sequence[Any]) -> dict[str, Array]:
    return {tensor.name(): tensor.as_numpy() for tensor in tensors}


def _network(name: str, folder: Path, config: Mapping[str, Any], pb_utils: Any) -> TritonModel:
    """A network that a runner of ours runs, and that tells when it began and ended."""
    settings = {key: value["string_value"] for key, value in config["parameters"].items()}
    bundle = load_bundle(folder, models=(name,))
    runner: Runner = open_runner(
        bundle.spec(name),
        bundle.onnx[name],
        runtime=settings["runtime"],
        threads=int(settings["threads"]) or None,
        precision=None if settings["precision"] == "auto" else settings["precision"],
        # as the pipeline opens it, so that both give the same bytes
        fixed=None if name == SAM2_DECODER.name else {"B": 1},
    )

    remembered = FeatureCache() if name == SAM2_ENCODER.name else None

    def work(inputs: dict[str, Array], parameters: dict[str, object]) -> list[Array]:
        key = FeatureCache.key(inputs[SAM2_ENCODER.inputs[0].name]) if remembered else b""
        known = remembered.get(key) if remembered else None
        if known is not None:
            return [*map(np.asarray, known.values()), np.zeros(2, np.int64)]
        start = time.monotonic_ns()
        outputs = runner.infer(inputs)
        span = np.array([start, time.monotonic_ns()], np.int64)
        if remembered:
            remembered.put(key, outputs)
        return [*outputs.values(), span]

    spec = MODELS[name]
    spec = ModelSpec(name, spec.inputs, (*spec.outputs, SPAN))
    return TritonModel(pb_utils, spec, work, close=runner.close)


class _Counters:
    """Triton's own metrics, and what only we can count: pictures and their marks by kind."""

    def __init__(self, pb_utils: Any) -> None:
        families = pb_utils.MetricFamily
        pictures = families(
            name="markcut_pictures_total",
            description="Pictures answered, probes too",
            kind=families.COUNTER,
        )
        marks = families(
            name="markcut_marks_total",
            description="Marks found on the pictures answered",
            kind=families.COUNTER,
        )
        self._families = (pictures, marks)
        self._pictures = pictures.Metric(labels={})
        self._marks = [marks.Metric(labels={"kind": kind}) for kind in KINDS]

    def count(self, kinds: Array) -> None:
        self._pictures.increment(1)
        for kind in kinds.tolist():
            self._marks[kind].increment(1)


def _counted(work: Work, counters: _Counters) -> Work:
    def counting(inputs: dict[str, Array], parameters: dict[str, object]) -> Sequence[Array]:
        answer = work(inputs, parameters)
        counters.count(answer[0])
        return answer

    return counting
