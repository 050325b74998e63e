"""A server by gRPC, waited for in a thread or in an event loop."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from markcut_client.errors import TransportError
from markcut_client.transports.address import Address, ServerOptions
from markcut_client.transports.base import AsyncTransport, Request
from markcut_client.transports.exchange import Exchange, ServerReport, run_async
from markcut_client.transports.grpc_codec import GrpcCodec
from markcut_client.transports.messages import MAX_ANSWER, Failure, Infer, Reply, Send
from markcut_client.transports.server import ServerTransport, closed_error
from markcut_client.wire import Array

_MAX_REQUEST = (1 << 31) - 1
_CHANNEL: Mapping[str, int] = {
    # naming one option replaces all defaults, so all that matter are here
    "grpc.max_send_message_length": _MAX_REQUEST,
    "grpc.max_receive_message_length": MAX_ANSWER,
    # a dead peer is noticed during a call; none between calls, which servers take for an attack
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.keepalive_permit_without_calls": 0,
    "grpc.http2.max_pings_without_data": 2,
    # a server that comes back is found again within a second or so
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 10_000,  # in truth: how long connecting may take
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.enable_retries": 0,  # the exchange retries, and says when
}


class GrpcTransport(ServerTransport):
    """Asks the server at ``address``; nothing is sent before the first request."""

    def __init__(self, address: Address, options: ServerOptions) -> None:
        import grpc  # type: ignore[import-untyped]

        super().__init__(address, options)
        self._codec = GrpcCodec()
        options = options.checked(address)
        self._metadata = tuple(options.headers.items())
        self._channel = _open(grpc, address, options)
        self._stub = self._codec.stub(self._channel)
        self._grpc = grpc
        self._lock = threading.Lock()
        self._calls: dict[int, Any] = {}

    def _send(self, step: Send) -> Reply:
        method, body = self._codec.encode(step.message)
        try:
            call = getattr(self._stub, method).future(
                body, timeout=step.timeout, metadata=self._metadata
            )
        except ValueError:  # the channel was closed by another thread
            return Failure("CANCELLED", "the client was closed")
        request = step.message.request if isinstance(step.message, Infer) else None
        with self._lock:
            self._calls[id(request)] = call
        if request in self._cancelled:  # between the look before this try and the line above
            call.cancel()
        try:
            return self._codec.decode(step.message, call.result())
        except self._grpc.FutureCancelledError:
            return Failure("CANCELLED", "by this client")
        except self._grpc.RpcError as error:
            return self._codec.failure(error)
        except BaseException:  # Ctrl-C: the server need not go on either
            call.cancel()
            raise
        finally:
            with self._lock:
                self._calls.pop(id(request), None)

    def cancel(self, request: Request) -> None:
        """As :meth:`Transport.cancel`; the server is told."""
        super().cancel(request)
        with self._lock:
            call = self._calls.get(id(request))
        if call is not None:
            call.cancel()

    def _disconnect(self) -> None:
        self._channel.close()


class AsyncGrpcTransport(AsyncTransport):
    """As :class:`GrpcTransport`, in the event loop of the first request."""

    def __init__(self, address: Address, options: ServerOptions) -> None:
        import grpc

        self._options = options.checked(address)
        self._options.read_root_certificates()  # whatever is wrong with them is said now
        self._exchange = Exchange(address, self._options)
        self._codec = GrpcCodec()
        self._metadata = tuple(self._options.headers.items())
        self._grpc = grpc
        self._loop: Any = None
        self._channel: Any = None  # grpc ties it to one event loop, which need not run yet
        self._stub: Any = None
        self._closed = False

    @property
    def shared_memory(self) -> str:
        """Whether pictures go through shared memory, and why not: for people."""
        return self._exchange.shared_memory

    async def infer(self, request: Request) -> Mapping[str, Array]:
        """As :meth:`Transport.infer`."""
        if self._closed:
            raise closed_error(self._exchange.address)
        return await run_async(self._exchange.infer(request), self._send)

    async def describe(self, *models: str, timeout: float) -> ServerReport:
        """What the server says of itself and of ``models``; raises as :meth:`infer`."""
        return await run_async(self._exchange.describe(models, timeout), self._send)

    async def _send(self, step: Send) -> Reply:
        self._connect()
        method, body = self._codec.encode(step.message)
        try:
            response = await getattr(self._stub, method)(
                body, timeout=step.timeout, metadata=self._metadata
            )
        except self._grpc.RpcError as error:
            return self._codec.failure(error)
        return self._codec.decode(step.message, response)

    def _connect(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        if self._channel is None:
            self._channel = _open(self._grpc.aio, self._exchange.address, self._options)
            self._stub = self._codec.stub(self._channel)
            self._loop = loop
        elif loop is not self._loop:
            raise TransportError(
                f"{self._exchange.address}: this client belongs to another event loop; open one "
                "in each"
            )

    async def close(self) -> None:
        """As :meth:`Transport.close`; requests under way are cancelled."""
        if not self._closed:
            self._closed = True
            if self._channel is not None:
                await run_async(self._exchange.farewell(), self._send)
                await self._channel.close()


def _open(module: Any, address: Address, options: ServerOptions) -> Any:
    """A channel of ``grpc`` or ``grpc.aio``."""
    import grpc

    arguments = list(_CHANNEL.items())
    if address.is_loopback:
        arguments.append(("grpc.enable_http_proxy", 0))
    if not address.is_encrypted:
        return module.insecure_channel(address.target, options=arguments)
    credentials = grpc.ssl_channel_credentials(options.read_root_certificates())
    return module.secure_channel(address.target, credentials, options=arguments)
