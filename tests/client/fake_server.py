"""A server of the KServe v2 protocol in this process, over gRPC and over HTTP, that obeys tests.

It is written against the protocol and tritonclient's own messages, not against the client's code.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

Tensors = dict[str, NDArray[Any]]
Pair = tuple[Path, Path]  # PEM files: a private key, and the certificate that belongs to it

_DTYPES = {"UINT8": np.uint8, "INT32": np.int32, "FP32": np.float32}
_HTTP = {
    "INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "NOT_FOUND": 404, "INTERNAL": 500,
    "UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 429,
}  # fmt: skip


class Refused(Exception):
    """What a server answers instead: a gRPC status's name and a text."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass
class Engine:
    """What both servers ask; tests set its attributes and look at what it saw."""

    answer: Callable[..., Tensors]
    before: Callable[[int], None] = lambda number: None  # gets 1, 2, ...; may raise Refused
    change: Callable[[Tensors], Tensors] = lambda outputs: outputs
    accepts_shared_memory: bool = True
    ready: bool = True
    input_shapes: dict[str, list[int]] = field(
        default_factory=lambda: {"image": [-1], "earlier_logits": [-1, 8, 8]}
    )
    requests: list[tuple[str, Tensors, dict[str, Any]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    regions: dict[str, np.memmap] = field(default_factory=dict)
    reading: set[str] = field(default_factory=set)  # regions that it does not forget
    shared: int = 0  # pictures that came through shared memory
    cancelled: threading.Event = field(default_factory=threading.Event)
    most_at_once: int = 0
    _at_once: int = 0
    _number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def register(self, name: str, key: str, size: int) -> None:
        if not self.accepts_shared_memory:
            raise Refused("INVALID_ARGUMENT", "client shared memory is not allowed")
        self.regions[name] = np.memmap(Path("/dev/shm") / key.lstrip("/"), np.uint8, "r", 0, size)

    def unregister(self, name: str) -> None:
        if name in self.reading:
            raise Refused("INVALID_ARGUMENT", f"region '{name}' is currently in use")
        self.regions.pop(name, None)

    def shared_input(self, region: str, size: int) -> NDArray[np.uint8]:
        if region not in self.regions:
            raise Refused("NOT_FOUND", f"Unable to find shared memory region: '{region}'")
        self.shared += 1
        return np.array(self.regions[region][:size])

    def infer(self, model: str, inputs: Tensors, parameters: dict[str, Any]) -> Tensors:
        with self._lock:
            self.requests.append((model, inputs, parameters))
            self._number += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            number = self._number
        try:
            self.before(number)
            try:
                with Image.open(io.BytesIO(inputs["image"].tobytes())) as opened:
                    width, height = opened.size
            except (OSError, ModuleNotFoundError):  # as in conftest
                raise Refused(
                    "INVALID_ARGUMENT",
                    "in ensemble 'marked_object', image: got no picture, expected one",
                ) from None
            if model == "prompted_object":
                return self.change(_prompted(inputs, height, width))
            # so that tests can tell whose answer came
            outputs = self.answer(height, width)
            outputs["stage_ms"] = np.full(12, inputs["image"].sum() % 65521, np.float32)
            return self.change(outputs)
        finally:
            with self._lock:
                self._at_once -= 1


def _prompted(inputs: Tensors, height: int, width: int) -> Tensors:
    """Of every object everything, except below its first point; refined logits count up."""
    count = len(inputs["point_coords"])
    earlier = inputs["earlier_logits"]
    assert earlier.shape[0] == count
    logits = np.zeros((count, 8, 8), np.float32)
    if earlier.shape[1:] == (8, 8):
        logits = np.where(np.isnan(earlier), 0, earlier + 1).astype(np.float32)
    masks = np.empty(count, object)
    masks[:] = [_full(height * width)] * count
    return {
        "object_masks": masks,
        "object_scores": np.linspace(0.9, 0.8, count, dtype=np.float32),
        "mask_logits": logits,
        "picture_size": np.array([height, width], np.int32),
        "stage_ms": np.zeros(12, np.float32),
    }


def _full(pixels: int) -> bytes:
    """COCO's run lengths 0, pixels."""
    groups = []
    value = pixels
    while True:
        bits = value & 31
        value >>= 5
        more = not (value == 0 and not bits & 16)
        groups.append(bits | (32 if more else 0))
        if not more:
            return bytes([48, *(48 + group for group in groups)])


def raw(array: NDArray[Any]) -> tuple[str, bytes]:
    if array.dtype == object:
        return "BYTES", b"".join(struct.pack("<I", len(text)) + text for text in array)
    names = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
    return names.get(array.dtype, "FP64"), array.tobytes()


class GrpcServicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ServerMetadataResponse(name="triton", version="2.51.0")

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        if not self.engine.ready:
            context.abort(grpc.StatusCode.UNAVAILABLE, f"Request for unknown model: {request.name}")
        response = pb.ModelMetadataResponse(name=request.name, versions=["1"])
        for name, shape in self.engine.input_shapes.items():
            response.inputs.add(name=name, datatype="FP32", shape=shape)
        return response

    def SystemSharedMemoryRegister(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            self.engine.register(request.name, request.key, request.byte_size)
        except Refused as refused:
            context.abort(grpc.StatusCode[refused.status], refused.text)
        return pb.SystemSharedMemoryRegisterResponse()

    def SystemSharedMemoryUnregister(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            self.engine.unregister(request.name)
        except Refused as refused:
            context.abort(grpc.StatusCode[refused.status], refused.text)
        return pb.SystemSharedMemoryUnregisterResponse()

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.engine.headers.append(dict(context.invocation_metadata()))
        done = threading.Event()
        context.add_callback(lambda: None if done.is_set() else self.engine.cancelled.set())
        pieces = iter(request.raw_input_contents)
        inputs: Tensors = {}
        try:
            for tensor in request.inputs:
                if "shared_memory_region" in tensor.parameters:
                    inputs[tensor.name] = self.engine.shared_input(
                        tensor.parameters["shared_memory_region"].string_param,
                        tensor.parameters["shared_memory_byte_size"].int64_param,
                    )
                else:
                    array = np.frombuffer(next(pieces), _DTYPES[tensor.datatype])
                    inputs[tensor.name] = array.reshape(list(tensor.shape))
            parameters = {
                name: getattr(value, value.WhichOneof("parameter_choice"))
                for name, value in request.parameters.items()
            }
            outputs = self.engine.infer(request.model_name, inputs, parameters)
        except Refused as refused:
            done.set()
            context.abort(grpc.StatusCode[refused.status], refused.text)
        response = pb.ModelInferResponse(model_name=request.model_name)
        for name, array in outputs.items():
            datatype, data = raw(array)
            response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            response.raw_output_contents.append(data)
        done.set()
        return response


class HttpHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Engine

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v2":
            self._json(200, {"name": "triton", "version": "2.51.0"})
        elif not self.engine.ready:
            self._json(400, {"error": "Request for unknown model"})
        else:
            inputs = [{"name": n, "shape": s} for n, s in self.engine.input_shapes.items()]
            name = self.path.split("/")[-1]
            self._json(200, {"name": name, "versions": ["1"], "inputs": inputs})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            if self.path.startswith("/v2/systemsharedmemory/"):
                *_, name, verb = self.path.split("/")
                if verb == "register":
                    told = json.loads(body)
                    self.engine.register(name, told["key"], told["byte_size"])
                else:
                    self.engine.unregister(name)
                self._json(200, {})
                return
            self.engine.headers.append({k.lower(): v for k, v in self.headers.items()})
            model = self.path.split("/")[-2]
            outputs = self.engine.infer(model, *self._read(body))
        except Refused as refused:
            self._json(_HTTP[refused.status], {"error": refused.text})
            return
        told, pieces = [], []
        for name, array in outputs.items():
            datatype, data = raw(array)
            told.append(
                {"name": name, "datatype": datatype, "shape": list(array.shape),
                 "parameters": {"binary_data_size": len(data)}}
            )  # fmt: skip
            pieces.append(data)
        header = json.dumps({"model_name": model, "outputs": told}).encode()
        self._send(200, b"".join([header, *pieces]), length=len(header))

    def _read(self, body: bytes) -> tuple[Tensors, dict[str, Any]]:
        length = int(self.headers["Inference-Header-Content-Length"])
        header, rest = json.loads(body[:length]), body[length:]
        inputs: Tensors = {}
        for tensor in header["inputs"]:
            told = tensor["parameters"]
            if "shared_memory_region" in told:
                inputs[tensor["name"]] = self.engine.shared_input(
                    told["shared_memory_region"], told["shared_memory_byte_size"]
                )
                continue
            size = told["binary_data_size"]
            array = np.frombuffer(rest[:size], _DTYPES[tensor["datatype"]])
            inputs[tensor["name"]] = array.reshape(tensor["shape"])
            rest = rest[size:]
        assert not rest
        assert header["parameters"].pop("binary_data_output") is True
        return inputs, header["parameters"]

    def _json(self, status: int, told: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(told).encode())

    def _send(self, status: int, body: bytes, *, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if length is not None:
            self.send_header("Inference-Header-Content-Length", str(length))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:  # the client went away
            self.close_connection = True


class GrpcServer:
    def __init__(self, engine: Engine, *, port: int = 0, tls: Pair | None = None) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        options.append(("grpc.so_reuseport", 0))
        self._server = grpc.server(ThreadPoolExecutor(16), options=options)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
            GrpcServicer(engine), self._server
        )
        at = f"127.0.0.1:{port}"
        if tls is None:
            self.port = self._server.add_insecure_port(at)
            self.url = f"grpc://127.0.0.1:{self.port}"
        else:
            pair = (tls[0].read_bytes(), tls[1].read_bytes())
            self.port = self._server.add_secure_port(at, grpc.ssl_server_credentials([pair]))
            self.url = f"grpcs://localhost:{self.port}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(grace=None).wait(5)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def handle_error(self, *_: Any) -> None:
        pass


class HttpServer:
    def __init__(self, engine: Engine, *, port: int = 0, tls: Pair | None = None) -> None:
        handler = type("Handler", (HttpHandler,), {"engine": engine})
        self._server = _Quiet(("127.0.0.1", port), handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls[1], tls[0])
            # the handshake belongs into the handler's thread: here it would hold up everybody
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.url = f"https://localhost:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in self._server.connections:  # those that are kept alive
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


def wait_until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)
