"""How near the networks come to what the machine can do: operations against its matrix rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.seats import open_seats
from benchmarks.single_networks import PROMPTS, Networks, OpenNetworks, Running
from markcut.contracts import MODELS
from markcut.runners.openvino_package import import_openvino

_SIDE = 2048  # of the matrices whose product is timed
_FAMILIES = ("fp32", "bf16")


def measure(
    contenders: Iterable[Networks],
    *,
    threads: int | None,
    calls: int,
    seconds: float,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The part ``roofline`` of the report: rates in TFLOP/s, and by contender every network.

    ``fraction`` is a network's rate over the best that any library reached with matrices of the
    same data type.
    """
    result: dict[str, Any] = {"rates": {}, "networks": {}, "refused": {}}
    with ExitStack() as stack:
        rating, refused = open_seats([MatrixRates(threads)], enter=stack.enter_context)
        result["refused"].update(refused)
        for one in rating:
            result["rates"] = one.perform(rates)
            advance()
    best = {kind: max(by.values()) for kind, by in result["rates"].items() if by}
    with ExitStack() as stack:
        seats, refused = open_seats(contenders, enter=stack.enter_context)
        result["refused"].update(refused)
        gigaflop: dict[str, float] = {}
        if seats:
            gigaflop = seats[0].perform(count_operations)
        for place in seats:
            kind = place.name.rpartition(" ")[2]
            rows = {}
            for name in MODELS:
                spent = place.perform(Running(name, 1, calls, seconds))
                row: dict[str, float | None] = {"ms": spent["median"]}
                if name in gigaflop:
                    rate = gigaflop[name] / spent["median"]  # GFLOP per ms: TFLOP/s
                    row["gflop"], row["tflops"] = gigaflop[name], round(rate, 4)
                    row["fraction"] = round(rate / best[kind], 3) if kind in best else None
                rows[name] = row
                advance()
            result["networks"][place.name] = rows
    return result


def count_operations(networks: OpenNetworks) -> dict[str, float]:
    """GFLOP (2 per multiply and add) of every network for one picture, of matrix products alone.

    Convolutions and matrix products as the graph has them, one picture and the decoder's usual
    rows; {} where OpenVINO, which knows every shape, is not installed.
    """
    try:
        ov = import_openvino()
    except ImportError:
        return {}
    core = ov.Core()
    found = {}
    sizes = {"B": 1, "N": PROMPTS, "P": 3}
    for name in MODELS:
        model = core.read_model(networks.bundle.onnx[name], b"")
        spec = networks.bundle.spec(name).resolve(sizes)
        model.reshape({t.name: list(t.dims) for t in spec.inputs})
        found[name] = round(sum(map(_operations, model.get_ordered_ops())) / 1e9, 3)
    return found


def _operations(op: Any) -> int:
    """Of one operation with static shapes; 0 for what is no product."""
    kind = op.get_type_name()
    if kind == "MatMul":
        inner = list(op.input(0).get_shape())
        depth = inner[-2] if op.get_attributes().get("transpose_a") else inner[-1]
        return 2 * int(np.prod(op.output(0).get_shape())) * int(depth)
    weights = {"Convolution": 1, "GroupConvolution": 2, "ConvolutionBackpropData": 1}
    if kind not in (*weights, "GroupConvolutionBackpropData"):
        return 0
    kernel = list(op.input(1).get_shape())
    if kind == "Convolution":  # out, in, y, x
        return 2 * int(np.prod(op.output(0).get_shape())) * int(np.prod(kernel[1:]))
    if kind == "GroupConvolution":  # groups, out, in, y, x
        return 2 * int(np.prod(op.output(0).get_shape())) * int(np.prod(kernel[2:]))
    # backwards every input value meets the whole kernel of its channel
    at = 1 if kind == "ConvolutionBackpropData" else 2
    return 2 * int(np.prod(op.input(0).get_shape())) * int(np.prod(kernel[at:]))


@dataclass(frozen=True)
class MatrixRates:
    """A process in which nothing but matrices are multiplied."""

    threads: int | None

    @property
    def name(self) -> str:
        return "matrix rates"

    @property
    def processes(self) -> tuple[int, ...]:
        return ()

    @contextmanager
    def open(self) -> Iterator[int | None]:
        yield self.threads


def rates(threads: int | None) -> dict[str, dict[str, float]]:
    """TFLOP/s of a large matrix product by data type and library, the best of several."""
    found: dict[str, dict[str, float]] = {}
    for kind in _FAMILIES:
        by = {}
        for library, product in (("openvino", _in_openvino), ("torch", _in_torch)):
            try:
                run = product(kind, threads)
            except (ImportError, RuntimeError):
                continue
            by[library] = round(2 * _SIDE**3 / _shortest(run) / 1e12, 4)
        found[kind] = by
    return found


def _shortest(run: Callable[[], object], *, calls: int = 8, seconds: float = 4.0) -> float:
    run()
    spent: list[float] = []
    began = time.perf_counter()
    while len(spent) < calls and (not spent or time.perf_counter() - began < seconds):
        start = time.perf_counter()
        run()
        spent.append(time.perf_counter() - start)
    return min(spent)


def _in_openvino(kind: str, threads: int | None) -> Callable[[], object]:
    ov = import_openvino()
    ops = ov.opset13

    weight = np.random.default_rng(0).standard_normal((_SIDE, _SIDE), np.float32)
    given = ops.parameter([_SIDE, _SIDE], np.float32)
    model = ov.Model([ops.matmul(given, ops.constant(weight), False, False)], [given])
    hint = {"fp32": "f32", "bf16": "bf16"}[kind]
    compiled = ov.Core().compile_model(
        model, "CPU",
        {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY",
         "INFERENCE_NUM_THREADS": threads or 0, "ENABLE_CPU_PINNING": False},
    )  # fmt: skip
    if compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() != hint:
        raise RuntimeError(f"no {kind} on this processor")
    request = compiled.create_infer_request()
    feeds: Sequence[Any] = [weight]
    return lambda: request.infer(feeds, share_inputs=True, share_outputs=True)


def _in_torch(kind: str, threads: int | None) -> Callable[[], object]:
    import torch

    if threads:
        torch.set_num_threads(threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[kind]
    left, right = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
    return lambda: left @ right
