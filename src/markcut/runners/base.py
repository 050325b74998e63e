"""The seam between models and inference runtimes: what a runner is, and what it checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from markcut.contracts import Dim, ModelSpec, Tensor
from markcut.errors import RunnerError

Array = NDArray[Any]


class Resident(Protocol):
    """A tensor where the runtime computed it, which on a GPU is the GPU's memory.

    The same runtime's runners on the same device take it as a feed without a copy; ``np.asarray``
    gives the numbers to everybody else.
    """

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array: ...


Value = Array | Resident
"""What a runner is fed."""


@dataclass(frozen=True)
class RunnerInfo:
    """What really runs a model, read back from the runtime rather than repeated from the request.

    ``runtime`` is onnxruntime, openvino or tensorrt, ``device`` the provider or device in use,
    ``precision`` that of the arithmetic (fp32, fp16, bf16), ``threads`` the CPU threads
    (0: the runtime's own choice).
    """

    runtime: str
    version: str
    device: str
    precision: str
    threads: int


class Runner(Protocol):
    """One model, loaded and ready.

    ``infer`` may be called from several threads at once. Feeds are checked against ``spec``
    (symbols that ``open_runner`` fixed are numbers there); outputs are C-contiguous arrays that
    belong to the caller. After ``close`` it raises :class:`RunnerError`.
    """

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def info(self) -> RunnerInfo: ...

    def infer(self, feeds: Mapping[str, Value]) -> dict[str, Array]: ...

    def close(self) -> None: ...


@runtime_checkable
class ResidentRunner(Runner, Protocol):
    """A runner that can leave its outputs on the device."""

    def infer_resident(self, feeds: Mapping[str, Value]) -> Mapping[str, Resident]: ...


def infer_resident(runner: Runner, feeds: Mapping[str, Value]) -> Mapping[str, Value]:
    """As ``runner.infer``, but outputs stay on the device where the runner can leave them there.

    For outputs that are another model's feeds. They may be kept and fed as often as wanted.
    """
    if isinstance(runner, ResidentRunner):
        return runner.infer_resident(feeds)
    return runner.infer(feeds)


def check_feeds(spec: ModelSpec, feeds: Mapping[str, Value]) -> dict[str, Array]:
    """``feeds`` in the specification's order, as C-contiguous arrays, once proved to fit it.

    Raises :class:`RunnerError` that names the tensor: a name missing or unknown, another dtype,
    another rank or size, a symbol with two values (``B`` = 1 here and 2 there), an empty axis.
    """
    checked = check_values(spec, feeds)
    return {name: np.ascontiguousarray(value) for name, value in checked.items()}


def check_values(spec: ModelSpec, feeds: Mapping[str, Value]) -> dict[str, Value]:
    """As :func:`check_feeds`, but what is resident stays it, and arrays as they are."""
    names = [tensor.name for tensor in spec.inputs]
    for name in feeds:
        if name not in names:
            raise RunnerError(f"{spec.name}.{name}: unknown input, expected {', '.join(names)}")
    symbols: dict[str, tuple[int, str]] = {}
    checked: dict[str, Value] = {}
    for tensor in spec.inputs:
        if tensor.name not in feeds:
            raise RunnerError(
                f"{spec.name}.{tensor.name}: missing, expected {describe(tensor)}; "
                f"feed all of {', '.join(names)}"
            )
        value = feeds[tensor.name]
        _check_value(spec.name, tensor, value, symbols)
        checked[tensor.name] = value
    return checked


def _check_value(
    model: str, tensor: Tensor, value: Value, symbols: dict[str, tuple[int, str]]
) -> None:
    where = f"{model}.{tensor.name}"
    if not all(hasattr(value, name) for name in ("dtype", "shape", "__array__")):
        raise RunnerError(
            f"{where}: got {type(value).__name__}, expected a numpy array {describe(tensor)}"
        )
    came = f"{where}: got {value.dtype} {value.shape}, expected {describe(tensor)}"
    if value.dtype != tensor.numpy_dtype:
        raise RunnerError(f"{came}; convert it with .astype({tensor.numpy_dtype.name!r})")
    if len(value.shape) != len(tensor.dims):
        raise RunnerError(f"{came}; give it {len(tensor.dims)} axes")
    for axis, (size, dim) in enumerate(zip(value.shape, tensor.dims, strict=True)):
        if size == 0:
            raise RunnerError(f"{came}; axis {axis} is empty: skip the model when nothing is asked")
        if isinstance(dim, int):
            if size != dim:
                raise RunnerError(f"{came}; axis {axis} must be {dim}")
            continue
        known, first = symbols.setdefault(dim, (size, tensor.name))
        if size != known:
            raise RunnerError(f"{came}; axis {axis} must be {known}, the {dim} of {first}")


def check_graph(
    spec: ModelSpec,
    inputs: Iterable[tuple[str, str, tuple[Dim, ...]]],
    outputs: Iterable[tuple[str, str, tuple[Dim, ...]]],
) -> None:
    """Raise :class:`RunnerError` unless a graph has the specification's inputs and outputs.

    Each of ``inputs`` and ``outputs`` is (name, dtype as numpy names it, dims), where a ``str``
    dim is dynamic. Order is free. A dynamic axis in the graph may serve a static one of the
    specification, but an axis that the specification leaves open must be open in the graph.
    """
    for side, tensors, found in (
        ("input", spec.inputs, {name: (dtype, dims) for name, dtype, dims in inputs}),
        ("output", spec.outputs, {name: (dtype, dims) for name, dtype, dims in outputs}),
    ):
        wanted = [tensor.name for tensor in tensors]
        if set(wanted) != set(found):
            raise RunnerError(
                f"{spec.name}: the graph has the {side}s {', '.join(found) or 'none'}, "
                f"expected {', '.join(wanted)}; export the model again"
            )
        for tensor in tensors:
            dtype, dims = found[tensor.name]
            if dtype != tensor.numpy_dtype.name or not _dims_fit(tensor.dims, dims, side):
                came = f"{dtype} ({', '.join(map(str, dims))})"
                raise RunnerError(
                    f"{spec.name}.{tensor.name}: the graph's {side} is {came}, "
                    f"expected {describe(tensor)}; export the model again"
                )


def _dims_fit(wanted: tuple[Dim, ...], found: tuple[Dim, ...], side: str) -> bool:
    if len(wanted) != len(found):
        return False
    for want, have in zip(wanted, found, strict=True):
        if isinstance(have, str):
            continue
        if isinstance(want, int):
            if want != have:
                return False
        elif side == "input":
            return False
    return True


def one_line(error: Exception) -> str:
    """A runtime's own message, short and on one line, for use inside a sentence of ours."""
    return " ".join(str(error).split())[:300]


def describe(tensor: Tensor) -> str:
    """A tensor's dtype and dims as messages show them: ``float32 (N, P, 2)``."""
    dims = ", ".join(map(str, tensor.dims)) + ("," if len(tensor.dims) == 1 else "")
    return f"{tensor.numpy_dtype.name} ({dims})"
