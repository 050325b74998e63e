"""What TensorRT leaves to its caller: memory, copies, a stream and graphs on one NVIDIA GPU.

The driver's own library is called through ctypes. It comes with every driver, on a Jetson too,
under one name for all CUDA versions, so no package and no toolkit has to be installed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref, c_char, c_char_p, c_int, c_size_t, c_uint64, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut.errors import RunnerError, RuntimeUnavailable

LIBRARY = "libcuda.so.1"

_SM_MAJOR, _SM_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may go on allocating
_REMEDY = "run this where an NVIDIA GPU and its driver are, or ask for the runtime 'onnxruntime'"


class Cuda:
    """The first GPU's primary context, which TensorRT uses too.

    Every thread calls :meth:`enter` before anything else. Addresses and handles are plain
    numbers, as TensorRT takes them. Raises :class:`RuntimeUnavailable` where there is no driver
    or no GPU, :class:`RunnerError` for a call that fails.
    """

    def __init__(self) -> None:
        try:
            self._library = _load()
        except OSError:
            raise RuntimeUnavailable(
                f"device: got 'cuda', but there is no NVIDIA driver here ({LIBRARY}); {_REMEDY}"
            ) from None
        status = self._library.cuInit(0)
        if status:
            what = "no NVIDIA GPU here" if status == _NO_DEVICE else self._named(status)
            raise RuntimeUnavailable(f"device: got 'cuda', but there is {what}; {_REMEDY}")
        device, context, driver = c_int(), c_void_p(), c_int()
        self._call("cuDeviceGet", byref(device), 0)
        self._device = device
        name = (c_char * 128)()
        self._call("cuDeviceGetName", name, len(name), device)
        self.name: str = name.value.decode(errors="replace")
        self.sm: str = f"{self._attribute(_SM_MAJOR)}.{self._attribute(_SM_MINOR)}"
        self._call("cuDriverGetVersion", byref(driver))
        self.driver: str = f"{driver.value // 1000}.{driver.value % 1000 // 10}"
        self._call("cuDevicePrimaryCtxRetain", byref(context), device)
        self._context = context
        self.enter()

    def close(self) -> None:
        """Let go of the context; what was allocated must be freed before.

        It is no longer the calling thread's: the driver leaves a context that nobody holds any
        more where it is, and whatever uses the GPU next in this thread would fail on it.
        """
        self._call("cuCtxSetCurrent", c_void_p())
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def enter(self) -> None:
        """Make this GPU the calling thread's."""
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size: int) -> int:
        """The address of ``size`` bytes on the GPU."""
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        self._call("cuMemFree_v2", c_uint64(address))

    def allocate_host(self, size: int) -> tuple[int, NDArray[np.uint8]]:
        """The address of ``size`` bytes that the GPU copies without a detour, and their view."""
        address = c_void_p()
        self._call("cuMemHostAlloc", byref(address), c_size_t(size), 0)
        held = address.value or 0
        return held, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(held))

    def free_host(self, address: int) -> None:
        self._call("cuMemFreeHost", c_void_p(address))

    def stream(self) -> int:
        """A new stream that waits for no other."""
        stream = c_void_p()
        self._call("cuStreamCreate", byref(stream), _NON_BLOCKING)
        return stream.value or 0

    def destroy_stream(self, stream: int) -> None:
        self._call("cuStreamDestroy_v2", c_void_p(stream))

    def wait(self, stream: int) -> None:
        self._call("cuStreamSynchronize", c_void_p(stream))

    def to_device(self, device: int, host: int, size: int, stream: int) -> None:
        """Copy ``size`` bytes from ``host`` to ``device``, once it is the stream's turn."""
        arguments = (c_uint64(device), c_void_p(host), c_size_t(size), c_void_p(stream))
        self._call("cuMemcpyHtoDAsync_v2", *arguments)

    def to_host(self, host: int, device: int, size: int, stream: int) -> None:
        """Copy ``size`` bytes from ``device`` to ``host``, once it is the stream's turn."""
        arguments = (c_void_p(host), c_uint64(device), c_size_t(size), c_void_p(stream))
        self._call("cuMemcpyDtoHAsync_v2", *arguments)

    def record(self, work: Callable[[], None], stream: int) -> int:
        """A graph of what ``work`` gives to the stream, to be launched; nothing of it runs yet."""
        self._call("cuStreamBeginCapture_v2", c_void_p(stream), _THREAD_LOCAL)
        graph, launchable = c_void_p(), c_void_p()
        try:
            work()
        finally:
            status = self._library.cuStreamEndCapture(c_void_p(stream), byref(graph))
        if status:
            raise RunnerError(f"CUDA: cuStreamEndCapture failed ({self._named(status)})")
        try:
            self._call("cuGraphInstantiateWithFlags", byref(launchable), graph, c_uint64(0))
        finally:
            self._call("cuGraphDestroy", graph)
        return launchable.value or 0

    def launch(self, graph: int, stream: int) -> None:
        self._call("cuGraphLaunch", c_void_p(graph), c_void_p(stream))

    def destroy_graph(self, graph: int) -> None:
        self._call("cuGraphExecDestroy", c_void_p(graph))

    def _attribute(self, which: int) -> int:
        value = c_int()
        self._call("cuDeviceGetAttribute", byref(value), which, self._device)
        return value.value

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise RunnerError(f"CUDA: {name} failed ({self._named(status)})")

    def _named(self, status: int) -> str:
        name = c_char_p()
        self._library.cuGetErrorName(status, byref(name))
        return (name.value or b"an unknown error").decode()


def _load() -> Any:
    return ctypes.CDLL(LIBRARY)
