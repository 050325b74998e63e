"""A CUDA driver without a GPU: ``libcuda``'s functions over this process's own memory.

Strict where the real one is: work goes through streams, a capturing stream runs nothing, threads
must have entered a context, what is freed must have been allocated, and :attr:`held` counts what
was not given back.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

Work = Callable[[], None]


class FakeDriver:
    """What ``ctypes.CDLL("libcuda.so.1")`` gives, for one GPU called ``name``."""

    def __init__(self, *, name: str = "Orin", sm: str = "8.7", devices: int = 1) -> None:
        self.name, self.sm, self.devices = name, sm, devices
        self.memory: dict[int, Any] = {}
        self.streams: dict[int, list[Work] | None] = {}  # what is captured, or None
        self.graphs: dict[int, list[Work]] = {}
        self.launches = 0
        self.retained = 0
        self.refuse_capture = False
        self._entered = threading.local()
        self._next = 1000

    @property
    def held(self) -> int:
        """Memory, streams, graphs and contexts that nobody gave back."""
        return len(self.memory) + len(self.streams) + len(self.graphs) + self.retained

    @property
    def stale(self) -> bool:
        """Whether this thread is still in a context that everybody has let go of."""
        return getattr(self._entered, "yes", False) and not self.retained

    def enqueue(self, stream: int, work: Work) -> None:
        """Do ``work``, or keep it while ``stream`` captures; for the fake TensorRT too."""
        self._require_context()
        captured = self.streams[stream]
        if captured is None:
            work()
        else:
            captured.append(work)

    def cuInit(self, flags: int) -> int:  # noqa: N802
        assert flags == 0
        return 0 if self.devices else 100

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = ordinal
        return 0 if ordinal < self.devices else 101

    def cuDeviceGetName(self, buffer: Any, size: int, device: Any) -> int:  # noqa: N802
        buffer.value = self.name.encode()[: size - 1]
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        value._obj.value = int(self.sm.split(".")[{75: 0, 76: 1}[attribute]])
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 12060
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:  # noqa: N802
        context._obj.value = 77
        self.retained += 1
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, device: Any) -> int:  # noqa: N802
        self.retained -= 1
        return 0

    def cuCtxSetCurrent(self, context: Any) -> int:  # noqa: N802
        self._entered.yes = context.value == 77
        return 0

    def cuMemAlloc_v2(self, address: Any, size: Any) -> int:  # noqa: N802
        return self._allocate(address, size)

    def cuMemHostAlloc(self, address: Any, size: Any, flags: int) -> int:  # noqa: N802
        return self._allocate(address, size)

    def cuMemFree_v2(self, address: Any) -> int:  # noqa: N802
        return 0 if self.memory.pop(address.value, None) is not None else 1

    def cuMemFreeHost(self, address: Any) -> int:  # noqa: N802
        return self.cuMemFree_v2(address)

    def cuStreamCreate(self, stream: Any, flags: int) -> int:  # noqa: N802
        stream._obj.value = self._handle()
        self.streams[stream._obj.value] = None
        return 0

    def cuStreamDestroy_v2(self, stream: Any) -> int:  # noqa: N802
        del self.streams[stream.value]
        return 0

    def cuStreamSynchronize(self, stream: Any) -> int:  # noqa: N802
        return 0 if self.streams[stream.value] is None else 900

    def cuMemcpyHtoDAsync_v2(self, to: Any, source: Any, size: Any, stream: Any) -> int:  # noqa: N802
        return self._copy(to.value, source.value, size.value, stream.value)

    def cuMemcpyDtoHAsync_v2(self, to: Any, source: Any, size: Any, stream: Any) -> int:  # noqa: N802
        return self._copy(to.value, source.value, size.value, stream.value)

    def cuStreamBeginCapture_v2(self, stream: Any, mode: int) -> int:  # noqa: N802
        self.streams[stream.value] = []
        return 0

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:  # noqa: N802
        captured, self.streams[stream.value] = self.streams[stream.value], None
        if self.refuse_capture:
            return 901
        graph._obj.value = self._handle()
        self.graphs[graph._obj.value] = captured or []
        return 0

    def cuGraphInstantiateWithFlags(self, made: Any, graph: Any, flags: Any) -> int:  # noqa: N802
        made._obj.value = self._handle()
        self.graphs[made._obj.value] = self.graphs[graph.value]
        return 0

    def cuGraphLaunch(self, graph: Any, stream: Any) -> int:  # noqa: N802
        self.launches += 1
        for work in self.graphs[graph.value]:
            self.enqueue(stream.value, work)
        return 0

    def cuGraphDestroy(self, graph: Any) -> int:  # noqa: N802
        del self.graphs[graph.value]
        return 0

    def cuGraphExecDestroy(self, graph: Any) -> int:  # noqa: N802
        del self.graphs[graph.value]
        return 0

    def cuGetErrorName(self, status: int, name: Any) -> int:  # noqa: N802
        name._obj.value = f"CUDA_ERROR_{status}".encode()
        return 0

    def _allocate(self, address: Any, size: Any) -> int:
        self._require_context()
        buffer = (ctypes.c_uint8 * size.value)()
        address._obj.value = ctypes.addressof(buffer)
        self.memory[ctypes.addressof(buffer)] = buffer
        return 0

    def _copy(self, to: int, source: int, size: int, stream: int) -> int:
        for place in (to, source):
            if place not in self.memory or len(self.memory[place]) < size:
                return 700

        def move() -> None:
            ctypes.memmove(to, source, size)

        self.enqueue(stream, move)
        return 0

    def _handle(self) -> int:
        self._next += 8
        return self._next

    def _require_context(self) -> None:
        assert getattr(self._entered, "yes", False), "this thread has no context"
