"""A transport that waits in threads, for an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from markcut_client.errors import TransportError
from markcut_client.transports.base import AsyncTransport, Request, Transport
from markcut_client.wire import Array

_THREADS = 64  # as many requests as can be under way; they are made when needed


class ThreadedTransport(AsyncTransport):
    """``transport``, which it then owns, with a thread for every request under way."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="markcut-client")
        self._closed = False

    async def infer(self, request: Request) -> Mapping[str, Array]:
        """As :meth:`Transport.infer`."""
        if self._closed:
            raise TransportError("the client is closed; open a new one")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, self._transport.infer, request)
        except asyncio.CancelledError:
            self._transport.cancel(request)
            raise

    async def close(self) -> None:
        """As :meth:`Transport.close`; the embedded engine ends what it is at first."""
        self._closed = True
        await asyncio.to_thread(self._transport.close)
        self._pool.shutdown(wait=False)
