"""Tensors as the KServe v2 protocol carries them: a data type, a shape and raw bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np

from markcut_client import wire
from markcut_client.transports.base import Parameter
from markcut_client.wire import Array

_NAMES = {dtype: name for name, dtype in wire.DTYPES.items() if name != "BYTES"}


class BrokenAnswer(Exception):
    """What came is not the protocol; its text says what is wrong."""


def datatype(array: Array) -> str:
    """The protocol's name of ``array``'s data type."""
    return _NAMES[array.dtype]


def raw(array: Array) -> memoryview:
    """The bytes of ``array``, copied only where they are not in order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def parameter(value: Parameter) -> int | str:
    """A request parameter as every server takes it: floats go as text that gives the same bits."""
    return repr(float(value)) if isinstance(value, float) else value


def read(name: str, datatype: str, shape: Sequence[int], data: memoryview) -> Array:
    """The array of an answer's tensor, read-only; BYTES become objects of ``bytes``.

    Raises :class:`BrokenAnswer` where the bytes are not those of that type and shape.
    """
    dtype = wire.DTYPES.get(datatype)
    if dtype is None:
        raise BrokenAnswer(f"{name}: data type {datatype!r}")
    if any(not isinstance(size, int) or not 0 <= size < 1 << 31 for size in shape):
        raise BrokenAnswer(f"{name}: shape {list(shape)}")
    count = math.prod(shape)
    array: Array
    if datatype == "BYTES":
        strings = _strings(name, count, data)
        array = np.empty(count, object)
        array[:] = strings
    elif count * dtype.itemsize != len(data):
        raise BrokenAnswer(f"{name}: {len(data)} bytes for {datatype} {list(shape)}")
    else:
        array = np.frombuffer(data, dtype)
    return array.reshape(tuple(shape))


def _strings(name: str, count: int, data: memoryview) -> list[bytes]:
    """``count`` strings, each after its length in four bytes, lowest first."""
    strings = []
    at = 0
    if count > len(data) // 4:
        raise BrokenAnswer(f"{name}: {len(data)} bytes for {count} strings")
    for _ in range(count):
        if at + 4 > len(data):
            raise BrokenAnswer(f"{name}: the strings end early")
        (length,) = struct.unpack_from("<I", data, at)
        at += 4
        if at + length > len(data):
            raise BrokenAnswer(f"{name}: the strings end early")
        strings.append(bytes(data[at : at + length]))
        at += length
    if at != len(data):
        raise BrokenAnswer(f"{name}: {len(data) - at} bytes more than {count} strings")
    return strings
