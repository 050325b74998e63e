"""TensorRT behind the runner seam: an engine that was built for this machine, and nothing else.

One API serves TensorRT 8.5 to 11. Memory is handled through the CUDA driver itself
(:mod:`~markcut.runners.tensorrt_cuda`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from markcut.contracts import ModelSpec
from markcut.errors import InvalidInput, RunnerError, RuntimeUnavailable
from markcut.runners.base import Array, RunnerInfo, Value, check_feeds, check_graph, one_line
from markcut.runners.tensorrt_cuda import Cuda
from markcut.runners.tensorrt_package import import_tensorrt, logger_of, what_it_said
from markcut.runners.tensorrt_profile import OpenProfile, Shapes
from markcut.runners.tensorrt_sidecar import (
    VERSION_COMPATIBLE,
    Sidecar,
    read_engine,
    remedy,
    sha256,
)

DEVICE = "cuda"

_TYPES = {
    "FLOAT": "float32", "HALF": "float16", "INT32": "int32", "INT64": "int64", "UINT8": "uint8",
}  # fmt: skip


def open_engine(
    spec: ModelSpec,
    onnx: bytes,
    *,
    engines: Path | None,
    device: str = DEVICE,
    precision: str | None = None,
    fixed: Mapping[str, int] | None = None,
) -> TensorRTRunner:
    """The runner of the engine that lies in ``engines`` for ``onnx``, the bundle's own graph.

    Nothing is deserialised before it is proved to belong to this graph, this TensorRT and this
    GPU. ``precision`` asks for an engine that was built in it.
    """
    if device != DEVICE:
        raise RuntimeUnavailable(
            f"device: got {device!r}, but TensorRT runs on {DEVICE!r} alone; ask for that, "
            "or for another runtime"
        )
    if engines is None:
        raise InvalidInput("engines", "got nothing, expected the folder with the TensorRT engines")
    import_tensorrt()
    plan, sidecar = read_engine(engines, spec.name, sha256(onnx))
    if precision not in (None, sidecar.precision):
        raise RuntimeUnavailable(
            f"precision: got {precision!r}, but the engine in {engines} was built in "
            f"{sidecar.precision}; ask for that, or {remedy(engines)} --precision {precision}"
        )
    return TensorRTRunner(spec, plan, sidecar, fixed=fixed, where=engines)


class TensorRTRunner:
    """A :class:`~markcut.runners.Runner` over one engine, whose bytes somebody has vouched for.

    Feeds go to the tightest optimisation profile that holds them. More rows than the largest
    profile has run in several parts, which no output depends on; any other size beyond it raises
    :class:`RunnerError`. Calls from several threads take turns. ``where`` is the engine's folder,
    for messages.
    """

    def __init__(
        self,
        spec: ModelSpec,
        plan: bytes,
        sidecar: Sidecar,
        *,
        fixed: Mapping[str, int] | None = None,
        where: Path = Path("engines"),
    ) -> None:
        package = import_tensorrt()
        self._where = where
        self._spec = spec.resolve(fixed or {})
        self._lock = threading.Lock()
        self._open: dict[int, OpenProfile] = {}
        self._cuda = cuda = Cuda()
        misfit = sidecar.misfit(tensorrt=package.version, gpu=cuda.name, sm=cuda.sm)
        if misfit:
            cuda.close()
            raise RuntimeUnavailable(f"{spec.name}: the engine does not fit: {misfit}; "
                                     f"{remedy(where)}")  # fmt: skip
        trt = package.module
        self._logger = logger_of(package)
        try:
            self._runtime = trt.Runtime(self._logger)
            if VERSION_COMPATIBLE in sidecar.flags:
                self._runtime.engine_host_code_allowed = True  # it brings its own runtime along
            if sidecar.dla >= 0:
                self._runtime.DLA_core = sidecar.dla
            self._engine: Any = self._runtime.deserialize_cuda_engine(plan)
        except Exception as error:  # pybind's own kinds
            self._engine, said = None, one_line(error)
        else:
            said = what_it_said(self._logger)
        if self._engine is None:
            cuda.close()
            raise RunnerError(f"{spec.name}: TensorRT cannot load the engine ({said})")
        try:
            check_graph(self._spec, *_interface(trt, self._engine))
            self._profiles = self._ranges()
        except BaseException:
            self.close()
            raise
        self._info = RunnerInfo(
            runtime="tensorrt",
            version=package.version,
            device=cuda.name if sidecar.dla < 0 else f"{cuda.name}, DLA {sidecar.dla}",
            precision=sidecar.precision,
            threads=0,
        )

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def info(self) -> RunnerInfo:
        return self._info

    def infer(self, feeds: Mapping[str, Value]) -> dict[str, Array]:
        checked = check_feeds(self._spec, feeds)
        with self._lock:
            if self._engine is None:
                raise RunnerError(f"{self._spec.name}: the runner is closed; open another one")
            self._cuda.enter()
            parts = [self._run(part) for part in self._parts(checked)]
        if len(parts) == 1:
            return parts[0]
        return {t.name: np.concatenate([p[t.name] for p in parts]) for t in self._spec.outputs}

    def close(self) -> None:
        with self._lock:
            if self._engine is None:
                return
            self._cuda.enter()
            for opened in self._open.values():
                opened.close()
            self._open, self._engine, self._runtime = {}, None, None
            self._cuda.close()

    def _ranges(self) -> dict[int, tuple[Shapes, Shapes]]:
        """Least and largest input shapes of every profile by its index, the tightest first."""
        found = {}
        for index in range(self._engine.num_optimization_profiles):
            shapes = [
                [tuple(dims) for dims in self._engine.get_tensor_profile_shape(t.name, index)]
                for t in self._spec.inputs
            ]
            found[index] = (tuple(s[0] for s in shapes), tuple(s[2] for s in shapes))
        return dict(sorted(found.items(), key=lambda item: _volume(item[1][1])))

    def _parts(self, feeds: dict[str, Array]) -> Iterator[dict[str, Array]]:
        """``feeds``, or its rows in as many parts as the largest profile asks for."""
        rows = self._spec.outputs[0].dims[0]
        split = {t.name for t in self._spec.inputs if isinstance(rows, str) and t.dims[0] == rows}
        if not split:
            yield feeds
            return
        count = next(len(feeds[name]) for name in feeds if name in split)
        most = max(self._most_rows(largest, split) for _, largest in self._profiles.values())
        for start in range(0, count, most):
            yield {
                name: array[start : start + most] if name in split else array
                for name, array in feeds.items()
            }

    def _most_rows(self, largest: Shapes, split: set[str]) -> int:
        sizes = zip(self._spec.inputs, largest, strict=True)
        return min(shape[0] for tensor, shape in sizes if tensor.name in split)

    def _run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        shapes = tuple(array.shape for array in feeds.values())
        fitting = (
            index
            for index, (least, largest) in self._profiles.items()
            if _within(least, shapes, largest)
        )
        index = next(fitting, None)
        if index is None:
            raise self._beyond(shapes)
        if index not in self._open:
            largest = self._profiles[index][1]
            self._open[index] = OpenProfile(
                self._cuda, self._engine, self._spec, index=index, largest=largest
            )
        return self._open[index].run(feeds)

    def _beyond(self, shapes: Shapes) -> RunnerError:
        ranges = list(self._profiles.values())
        for tensor, *sizes in zip(self._spec.inputs, shapes, *ranges[-1], strict=True):
            shape, least, largest = sizes
            if not _within((least,), (shape,), (largest,)):
                return RunnerError(
                    f"{self._spec.name}.{tensor.name}: got {shape}, but the engine was built for "
                    f"{least} to {largest}; ask for less, or {remedy(self._where)}"
                )
        return RunnerError(f"{self._spec.name}: no profile of the engine holds {shapes}")


def _interface(trt: Any, engine: Any) -> tuple[list[Any], list[Any]]:
    """Inputs and outputs of ``engine`` as ``check_graph`` takes them."""
    sides: tuple[list[Any], list[Any]] = ([], [])
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind = engine.get_tensor_dtype(name).name
        dims = tuple("?" if size < 0 else size for size in engine.get_tensor_shape(name))
        side = sides[0 if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else 1]
        side.append((name, _TYPES.get(kind, kind.lower()), dims))
    return sides


def _within(least: Shapes, shapes: Shapes, largest: Shapes) -> bool:
    return all(
        low <= size <= high
        for three in zip(least, shapes, largest, strict=True)
        for low, size, high in zip(*three, strict=True)
    )


def _volume(shapes: Shapes) -> int:
    return sum(int(np.prod(shape)) for shape in shapes)
