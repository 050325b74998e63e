"""One optimisation profile of an engine, opened: its context, static buffers and CUDA graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut.contracts import ModelSpec, Tensor
from markcut.errors import RunnerError
from markcut.runners.tensorrt_cuda import Cuda

Array = NDArray[Any]
Shapes = tuple[tuple[int, ...], ...]  # of all inputs, in the specification's order

_GRAPHS = 24  # recorded per profile; other shapes are given to the stream call by call


class OpenProfile:
    """Runs feeds whose shapes lie in profile ``index`` of ``engine``; for one thread at a time.

    Every tensor has one place on the GPU and one in host memory that the GPU copies without a
    detour, both of the profile's largest size, so that a recorded graph stays valid. The second
    time that shapes come, copies and network are recorded as one graph, which runs from then on;
    an engine that cannot be recorded goes on without.
    """

    def __init__(
        self, cuda: Cuda, engine: Any, spec: ModelSpec, *, index: int, largest: Shapes
    ) -> None:
        self._cuda, self._spec = cuda, spec
        self._device: dict[str, int] = {}
        self._host: dict[str, tuple[int, NDArray[np.uint8]]] = {}
        self._graphs: dict[Shapes, tuple[int, dict[str, tuple[int, ...]]]] = {}
        self._seen: set[Shapes] = set()
        self._recordable = True
        self._context: Any = None
        self._stream = cuda.stream()
        try:
            self._context = engine.create_execution_context()
            if self._context is None:
                raise self._failed("has no memory for its context")
            self._require(
                self._context.set_optimization_profile_async(index, self._stream),
                f"has no profile {index}",
            )
            cuda.wait(self._stream)
            shapes = self._set_shapes(largest)
            for tensor in (*spec.inputs, *spec.outputs):
                self._place(tensor, shapes[tensor.name])
        except BaseException:
            self.close()
            raise

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for ``feeds``, which are contiguous and in the specification's order."""
        for name, array in feeds.items():
            self._host[name][1][: array.nbytes] = array.reshape(-1).view(np.uint8)
        shapes = tuple(array.shape for array in feeds.values())
        graph, dims = self._graphs.get(shapes, (0, {}))
        if graph:
            self._cuda.launch(graph, self._stream)
        else:
            dims = self._set_shapes(shapes)
            self._enqueue(dims)
        self._cuda.wait(self._stream)
        outputs = {t.name: self._taken(t, dims[t.name]) for t in self._spec.outputs}
        if not graph:
            self._record(shapes, dims)
        return outputs

    def close(self) -> None:
        """Give back all memory; the profile is of no use any more."""
        cuda = self._cuda
        for graph, _ in self._graphs.values():
            cuda.destroy_graph(graph)
        self._context = None
        for address in self._device.values():
            cuda.free(address)
        for address, _ in self._host.values():
            cuda.free_host(address)
        if self._stream:
            cuda.destroy_stream(self._stream)
        self._graphs, self._device, self._host, self._stream = {}, {}, {}, 0

    def _place(self, tensor: Tensor, shape: tuple[int, ...]) -> None:
        size = max(1, int(np.prod(shape)) * tensor.numpy_dtype.itemsize)
        address = self._device[tensor.name] = self._cuda.allocate(size)
        self._host[tensor.name] = self._cuda.allocate_host(size)
        self._require(
            self._context.set_tensor_address(tensor.name, address), f"has no {tensor.name}"
        )

    def _set_shapes(self, shapes: Shapes) -> dict[str, tuple[int, ...]]:
        """Tell the context the inputs' shapes; every tensor's shape by name."""
        for tensor, shape in zip(self._spec.inputs, shapes, strict=True):
            self._require(
                self._context.set_input_shape(tensor.name, shape),
                f"does not take {tensor.name} of shape {shape}",
            )
        tensors = (*self._spec.inputs, *self._spec.outputs)
        return {t.name: tuple(self._context.get_tensor_shape(t.name)) for t in tensors}

    def _enqueue(self, dims: Mapping[str, tuple[int, ...]]) -> None:
        """Copies to the GPU, the network, and copies back, all given to the stream."""
        cuda, stream = self._cuda, self._stream
        for tensor in self._spec.inputs:
            size = _bytes(tensor, dims[tensor.name])
            cuda.to_device(self._device[tensor.name], self._host[tensor.name][0], size, stream)
        self._require(self._context.execute_async_v3(stream), "did not run")
        for tensor in self._spec.outputs:
            size = _bytes(tensor, dims[tensor.name])
            cuda.to_host(self._host[tensor.name][0], self._device[tensor.name], size, stream)

    def _record(self, shapes: Shapes, dims: dict[str, tuple[int, ...]]) -> None:
        if shapes not in self._seen:
            self._seen.add(shapes)
        elif self._recordable and len(self._graphs) < _GRAPHS:
            try:
                graph = self._cuda.record(lambda: self._enqueue(dims), self._stream)
            except RunnerError:
                self._recordable = False  # loops, for instance, cannot be
            else:
                self._graphs[shapes] = (graph, dims)

    def _taken(self, tensor: Tensor, shape: tuple[int, ...]) -> Array:
        held = self._host[tensor.name][1][: _bytes(tensor, shape)]
        return np.array(held.view(tensor.numpy_dtype).reshape(shape))

    def _require(self, done: bool, what: str) -> None:
        if not done:
            raise self._failed(what)

    def _failed(self, what: str) -> RunnerError:
        return RunnerError(f"{self._spec.name}: the TensorRT engine {what}")


def _bytes(tensor: Tensor, shape: tuple[int, ...]) -> int:
    return int(np.prod(shape)) * tensor.numpy_dtype.itemsize
