"""The transports' messages as the KServe v2 REST protocol with binary tensors, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np

from markcut_client import wire
from markcut_client.transports import tensors
from markcut_client.transports.messages import (
    Describe,
    Description,
    Failure,
    Infer,
    Register,
    Reply,
    Unregister,
)
from markcut_client.transports.tensors import BrokenAnswer
from markcut_client.wire import Array

HEADER_LENGTH = "Inference-Header-Content-Length"

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ALREADY_EXISTS",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class HttpRequest:
    """One request; ``body`` is sent in pieces, none of which was copied."""

    method: str
    path: str
    body: tuple[bytes | memoryview, ...] = ()
    header_length: int | None = None


def encode(message: Infer | Register | Unregister | Describe) -> HttpRequest:
    """``message`` as a request."""
    if isinstance(message, Infer):
        return _infer(message)
    if isinstance(message, Describe):
        return HttpRequest("GET", f"/v2/models/{quote(message.model)}" if message.model else "/v2")
    name = message.region.name if isinstance(message, Register) else message.name
    path = f"/v2/systemsharedmemory/region/{quote(name)}/"
    if isinstance(message, Unregister):
        return HttpRequest("POST", path + "unregister")
    told = {"key": message.region.key, "offset": 0, "byte_size": message.region.size}
    return HttpRequest("POST", path + "register", (json.dumps(told).encode(),))


def decode(
    message: Infer | Register | Unregister | Describe,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
) -> Reply:
    """What the response to ``message`` says."""
    if status != 200:
        return _failure(status, headers, body)
    try:
        if isinstance(message, Infer):
            return _outputs(headers.get(HEADER_LENGTH), body)
        if isinstance(message, Describe):
            return _description(message, _object(body))
    except BrokenAnswer as error:
        return Failure("INTERNAL", str(error), broken=True)
    return None


def _infer(message: Infer) -> HttpRequest:
    request, region = message.request, message.region
    pieces: list[bytes | memoryview] = []
    inputs = []
    for name, array in message.inputs.items():
        told: dict[str, Any]
        if name == wire.IMAGE.name and region is not None:
            told = {
                "shared_memory_region": region.name, "shared_memory_byte_size": array.nbytes,
            }  # fmt: skip
        else:
            piece = tensors.raw(array)
            pieces.append(piece)
            told = {"binary_data_size": len(piece)}
        inputs.append(
            {
                "name": name,
                "datatype": tensors.datatype(array),
                "shape": list(array.shape),
                "parameters": told,
            }
        )
    parameters = {name: tensors.parameter(value) for name, value in request.parameters.items()}
    header = json.dumps(
        {"inputs": inputs, "parameters": {**parameters, "binary_data_output": True}}
    ).encode()
    path = f"/v2/models/{quote(request.model)}/infer"
    return HttpRequest("POST", path, (header, *pieces), len(header))


def _outputs(header_length: str | None, body: bytes) -> dict[str, Array]:
    length = len(body)
    if header_length is not None:
        if not header_length.isdecimal() or int(header_length) > len(body):
            raise BrokenAnswer(f"{HEADER_LENGTH}: {header_length[:20]!r} of {len(body)} bytes")
        length = int(header_length)
    told = _object(body[:length]).get("outputs")
    rest = memoryview(body)[length:]
    if not isinstance(told, list) or not all(isinstance(tensor, dict) for tensor in told):
        raise BrokenAnswer("it holds no list of outputs")
    outputs = {}
    for tensor in told:
        name, datatype = str(tensor.get("name")), str(tensor.get("datatype"))
        shape = tensor.get("shape")
        if not isinstance(shape, list):
            raise BrokenAnswer(f"{name}: no shape")
        parameters = tensor.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            outputs[name] = _plain(name, datatype, shape, tensor.get("data"))
            continue
        if not isinstance(size, int) or not 0 <= size <= len(rest):
            raise BrokenAnswer(f"{name}: {size!r} bytes of {len(rest)}")
        outputs[name] = tensors.read(name, datatype, shape, rest[:size])
        rest = rest[size:]
    if rest:
        raise BrokenAnswer(f"{len(rest)} bytes that belong to no tensor")
    return outputs


def _plain(name: str, datatype: str, shape: Sequence[int], data: object) -> Array:
    """A tensor that stands in the JSON itself: some servers write empty ones like this."""
    dtype = wire.DTYPES.get(datatype)
    try:
        if dtype is None or not isinstance(data, list):
            raise ValueError("neither binary nor a list")
        if datatype == "BYTES":
            array = np.empty(len(data), object)
            array[:] = [text.encode() for text in data]
        else:
            array = np.array(data, dtype)
        return array.reshape(shape)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise BrokenAnswer(f"{name}: {error}") from None


def _description(message: Describe, told: Mapping[str, Any]) -> Description:
    versions = told.get("versions", []) if message.model else [told.get("version", "")]
    if not isinstance(versions, list):
        raise BrokenAnswer("versions: no list")
    inputs = {}
    for tensor in told.get("inputs") or () if message.model else ():
        try:
            inputs[str(tensor["name"])] = tuple(int(size) for size in tensor["shape"])
        except (TypeError, KeyError, ValueError):
            raise BrokenAnswer("inputs: no names and shapes") from None
    return Description(str(told.get("name")), True, tuple(map(str, versions)), inputs)


def _failure(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """Triton says why in JSON; gateways in HTML, in text or not at all."""
    if 300 <= status < 400 and "Location" in headers:
        return Failure("UNIMPLEMENTED", f"it redirects to {headers['Location'][:200]}")
    try:
        text = str(_object(body)["error"])
    except (BrokenAnswer, KeyError):
        text = " ".join(_TAG.sub(" ", body[:2000].decode("utf-8", "replace")).split())
    name = _STATUSES.get(status, "INTERNAL" if status >= 400 else "UNIMPLEMENTED")
    if status == 413:
        text = f"too large: {text}"
    if status == 429:
        text = f"too many requests: {text}"
    return Failure(name, text or f"HTTP status {status}")


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise BrokenAnswer("it is not JSON") from None
    if not isinstance(told, dict):
        raise BrokenAnswer("it is not a JSON object")
    return told
