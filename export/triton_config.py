"""The configuration of every model of the Triton repository, from the contracts.

Only what differs between flavours is decided here: who runs the networks, on what, and how requests
wait. Names, types and dims are the contracts'.

No model has Triton's response cache. It works for a step of an ensemble (seen with 24.10: the
second look at a picture cost no encoder), but it remembers errors as well: after one cancelled
request the decoder got no features of that picture any more, and the failed ensembles were never
let go. Where a Python backend runs the encoder, it remembers its last pictures itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from export.pbtxt import Enum, Value
from export.triton_warmup import warmup
from markcut.contracts import (
    CLIPSEG,
    MARKED_OBJECT,
    MASK_SELECTION,
    MODELS,
    POINT_SAMPLER,
    PREPROCESS,
    PROMPT_PREPROCESS,
    PROMPT_SELECTION,
    PROMPTED_OBJECT,
    SAM2_DECODER,
    SAM2_ENCODER,
    SPAN,
    SPANS,
    STEPS,
    VIEWS,
    YOLO11_SEG,
    ModelSpec,
    Tensor,
    span_inputs,
)

Config = dict[str, Value]

RUNNERS = ("onnxruntime", "tensorrt", "python")

CHAINS: Mapping[str, tuple[ModelSpec, ...]] = {
    MARKED_OBJECT.name: (
        PREPROCESS, CLIPSEG, YOLO11_SEG, POINT_SAMPLER, SAM2_ENCODER, SAM2_DECODER, MASK_SELECTION,
    ),
    PROMPTED_OBJECT.name: (PROMPT_PREPROCESS, SAM2_ENCODER, SAM2_DECODER, PROMPT_SELECTION),
}  # fmt: skip
"""The steps of each ensemble. One starts as soon as its inputs are there, whatever the order."""

BATCH = 8
"""Pictures that one run of a network takes together, on a GPU."""

_TRITON_TYPES = {"BYTES": "STRING"}
_WAITING = 64  # requests that may wait before a network; the next one is turned away
_ACCEPTED = 32  # pictures that may wait for decoding
_PATIENCE_US = 10_000_000  # a request that has waited so long is turned away
_GATHER_US = 500  # the first picture of a batch waits so long for others


@dataclass(frozen=True)
class Flavour:
    """Who runs the networks and on what.

    ``runner`` is one of :data:`RUNNERS`, ``device`` cpu or gpu. ``runtime``, ``threads``
    (0: the runtime's own choice) and ``precision`` of the arithmetic (``auto``: as the graphs are
    typed) are for networks on a CPU.
    """

    runner: str
    device: str
    runtime: str = "auto"
    threads: int = 0
    precision: str = "auto"

    @property
    def in_python(self) -> bool:
        return self.runner == "python"


def configurations(sizes: Mapping[str, int], flavour: Flavour) -> dict[str, Config]:
    """Every model's configuration by its name; ``sizes`` are the bundle's S, C and D."""
    configs = {name: _ensemble(name, sizes, flavour) for name in CHAINS}
    for spec in STEPS.values():
        configs[spec.name] = _step(spec.resolve(sizes), flavour)
    for spec in MODELS.values():
        configs[spec.name] = _network(spec.resolve(sizes), flavour)
    return configs


# --- ensembles ---------------------------------------------------------------------------------


def _ensemble(name: str, sizes: Mapping[str, int], flavour: Flavour) -> Config:
    spec = {s.name: s for s in (MARKED_OBJECT, PROMPTED_OBJECT)}[name].resolve(sizes)
    made = {tensor.name: tensor.name for tensor in spec.inputs}  # by whom what was made last
    steps: list[Value] = []
    for model in CHAINS[name]:
        last = model is CHAINS[name][-1]
        steps.append(
            {
                "model_name": model.name,
                "model_version": -1,
                "input_map": _map(
                    (t.name, _source(model, t, made)) for t in _taken(model, flavour)
                ),
                "output_map": _map(
                    (t.name, t.name if last else _wire(model, t)) for t in _given(model, flavour)
                ),
            }
        )
        for tensor in _given(model, flavour):
            made[SPANS[model.name] if tensor is SPAN else tensor.name] = _wire(model, tensor)
    return {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": 0,
        "input": [_tensor(t) for t in spec.inputs],
        "output": [_tensor(t) for t in spec.outputs],
        "ensemble_scheduling": {"step": steps},
    }


def _taken(model: ModelSpec, flavour: Flavour) -> tuple[Tensor, ...]:
    return (*model.inputs, *(span_inputs(model) if flavour.in_python else ()))


def _given(model: ModelSpec, flavour: Flavour) -> tuple[Tensor, ...]:
    spans = (SPAN,) if flavour.in_python and model.name in MODELS else ()
    return (*model.outputs, *spans)


def _source(model: ModelSpec, tensor: Tensor, made: Mapping[str, str]) -> str:
    views = model.name in VIEWS and tensor is model.inputs[0]
    return made[VIEWS[model.name] if views else tensor.name]


def _wire(model: ModelSpec, tensor: Tensor) -> str:
    """What an output of a step is called on its way through the ensemble."""
    return f"{model.name}.{tensor.name}"


# --- models ------------------------------------------------------------------------------------


def _step(spec: ModelSpec, flavour: Flavour) -> Config:
    inputs = _taken(spec, flavour)
    first = spec.name in (PREPROCESS.name, PROMPT_PREPROCESS.name)
    return {
        "name": spec.name,
        "backend": "python",
        "max_batch_size": 0,
        "version_policy": {"latest": {"num_versions": 1}},
        "input": [_tensor(t) for t in inputs],
        "output": [_tensor(t) for t in spec.outputs],
        # one process each: several pictures at once are worth it where networks are fast
        "instance_group": [
            {"count": 2 if flavour.device == "gpu" else 1, "kind": Enum("KIND_CPU")}
        ],
        **({"dynamic_batching": _queue(_ACCEPTED)} if first else {}),
        "model_warmup": [warmup(spec.name, inputs)],
    }


def _network(spec: ModelSpec, flavour: Flavour) -> Config:
    if flavour.in_python:
        return _python_network(spec, flavour)
    # the decoder's rows are one picture's prompts: those of two pictures cannot share a run
    batched = spec.name != SAM2_DECODER.name and flavour.device == "gpu"
    single = spec if spec.name == SAM2_DECODER.name or batched else _of_one(spec)
    cut = 1 if batched else 0
    tensorrt = flavour.runner == "tensorrt"
    return {
        "name": spec.name,
        "backend": flavour.runner,
        "default_model_filename": weights_file(flavour),
        "max_batch_size": BATCH if batched else 0,
        "version_policy": {"latest": {"num_versions": 1}},
        "input": [_tensor(t, cut) for t in single.inputs],
        "output": [_tensor(t, cut) for t in single.outputs],
        "instance_group": [{"count": 1, "kind": Enum(f"KIND_{flavour.device.upper()}")}],
        # a queue that may overflow inside an ensemble asks for a server from 26.03 on: older ones
        # never answer then, which is why the python runner limits the first step's alone
        "dynamic_batching": _queue(_WAITING, gather=batched),
        **(_tensorrt(batched) if tensorrt else _onnxruntime(flavour)),
        "model_warmup": [warmup(spec.name, single.inputs, cut=cut)],
    }


def _python_network(spec: ModelSpec, flavour: Flavour) -> Config:
    single = spec if spec.name == SAM2_DECODER.name else _of_one(spec)
    return {
        "name": spec.name,
        "backend": "python",
        "max_batch_size": 0,
        "version_policy": {"latest": {"num_versions": 1}},
        "input": [_tensor(t) for t in single.inputs],
        "output": [_tensor(t) for t in (*single.outputs, SPAN)],
        "instance_group": [{"count": 1, "kind": Enum("KIND_CPU")}],
        "parameters": _parameters(
            runtime=flavour.runtime, threads=flavour.threads, precision=flavour.precision
        ),
        "model_warmup": [warmup(spec.name, single.inputs)],
    }


def weights_file(flavour: Flavour) -> str:
    """What a network's file is called in its version folder."""
    return "model.plan" if flavour.runner == "tensorrt" else "model.onnx"


def _of_one(spec: ModelSpec) -> ModelSpec:
    sizes = {"B": 1}
    return spec.resolve(sizes)


def _queue(limit: int, *, gather: bool = False) -> Config:
    policy: Config = {
        "timeout_action": Enum("REJECT"),
        "default_timeout_microseconds": _PATIENCE_US,
        "allow_timeout_override": True,
        "max_queue_size": limit,
    }
    delay: Config = {"max_queue_delay_microseconds": _GATHER_US} if gather else {}
    return {**delay, "default_queue_policy": policy}


def _onnxruntime(flavour: Flavour) -> Config:
    if flavour.device == "cpu":
        return {
            "parameters": _parameters(
                intra_op_thread_count=flavour.threads, inter_op_thread_count=1, execution_mode=0
            )
        }
    # without TF32, so that fp32 means fp32 as in the embedded runner
    cuda: Value = {"name": "cuda", "parameters": [{"key": "use_tf32", "value": "0"}]}
    return {
        "optimization": {
            "execution_accelerators": {"gpu_execution_accelerator": [cuda]},
            "input_pinned_memory": {"enable": True},
            "output_pinned_memory": {"enable": True},
        }
    }


def _tensorrt(batched: bool) -> Config:
    # a graph is captured per batch size, so it pays where shapes are static: not for prompts
    return {
        "optimization": {
            "cuda": {"graphs": batched, "busy_wait_events": True, "output_copy_stream": True},
            "input_pinned_memory": {"enable": True},
            "output_pinned_memory": {"enable": True},
        }
    }


def _parameters(**values: str | int) -> list[Value]:
    return [{"key": key, "value": {"string_value": str(value)}} for key, value in values.items()]


def _map(pairs: Iterable[tuple[str, str]]) -> list[Value]:
    return [{"key": key, "value": value} for key, value in pairs]


def _tensor(tensor: Tensor, cut: int = 0) -> Config:
    dims: list[Value] = [d if isinstance(d, int) else -1 for d in tensor.dims[cut:]]
    kind = _TRITON_TYPES.get(tensor.dtype, tensor.dtype)
    return {"name": tensor.name, "data_type": Enum(f"TYPE_{kind}"), "dims": dims}
