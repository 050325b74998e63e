"""The transports' messages as tritonclient's protobufs, and back."""

from __future__ import annotations

from typing import Any

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
from markcut_client.wire import Array

# what this side says of an answer that it does not take
_BROKEN = ("Exception deserializing response", "Received message larger than max")


class GrpcCodec:
    """Encodes and decodes; imports tritonclient when the first is made."""

    def __init__(self) -> None:
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        self._pb = service_pb2
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub

    def encode(self, message: Infer | Register | Unregister | Describe) -> tuple[str, Any]:
        """The stub's method and its request."""
        pb = self._pb
        if isinstance(message, Infer):
            return "ModelInfer", self._infer(message)
        if isinstance(message, Register):
            region = message.region
            return "SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(
                name=region.name, key=region.key, offset=0, byte_size=region.size
            )
        if isinstance(message, Unregister):
            return "SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(
                name=message.name
            )
        if message.model:
            return "ModelMetadata", pb.ModelMetadataRequest(name=message.model)
        return "ServerMetadata", pb.ServerMetadataRequest()

    def decode(self, message: Infer | Register | Unregister | Describe, response: Any) -> Reply:
        """What ``response`` to ``message`` says."""
        if isinstance(message, Describe):
            # metadata is served for what is ready alone
            versions = response.versions if message.model else (response.version,)
            inputs = response.inputs if message.model else ()
            return Description(
                response.name, True, tuple(versions), {t.name: tuple(t.shape) for t in inputs}
            )
        if not isinstance(message, Infer):
            return None
        try:
            return _outputs(response)
        except tensors.BrokenAnswer as error:
            return Failure("INTERNAL", str(error), broken=True)

    @staticmethod
    def failure(error: Any) -> Failure:
        """Why a call ended without a response."""
        text = error.details() or "no reason given"
        status = error.code().name
        broken = any(words in text for words in _BROKEN) and not text.startswith("SERVER")
        return Failure(status, text, broken=broken)

    def _infer(self, message: Infer) -> Any:
        request, region = message.request, message.region
        body = self._pb.ModelInferRequest(model_name=request.model)
        for name, value in request.parameters.items():
            plain = tensors.parameter(value)
            if isinstance(plain, str):
                body.parameters[name].string_param = plain
            else:
                body.parameters[name].int64_param = plain
        for name, array in message.inputs.items():
            tensor = body.inputs.add(name=name, datatype=tensors.datatype(array), shape=array.shape)
            if name == wire.IMAGE.name and region is not None:
                tensor.parameters["shared_memory_region"].string_param = region.name
                tensor.parameters["shared_memory_byte_size"].int64_param = array.nbytes
            else:
                body.raw_input_contents.append(tensors.raw(array).tobytes())
        return body


def _outputs(response: Any) -> dict[str, Array]:
    if len(response.outputs) != len(response.raw_output_contents):
        raise tensors.BrokenAnswer(
            f"{len(response.outputs)} tensors and the bytes of {len(response.raw_output_contents)}"
        )
    return {
        tensor.name: tensors.read(
            tensor.name, tensor.datatype, list(tensor.shape), memoryview(data)
        )
        for tensor, data in zip(response.outputs, response.raw_output_contents, strict=True)
    }
