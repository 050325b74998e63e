"""The client for event loops: the same calls as :class:`Client`; over gRPC no thread waits."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from types import TracebackType

from markcut_client.calls import Call, Result, extract_call, prompt_call
from markcut_client.client import Outcome
from markcut_client.errors import InferenceError, ParameterError, PictureError
from markcut_client.in_order import in_thread, map_in_tasks
from markcut_client.parameters import check_concurrency, check_timeout, request_parameters
from markcut_client.pictures import PictureLike, check_several
from markcut_client.prompted import Prompted
from markcut_client.prompts import Boxes, Earlier, Labels, Points, prompt_inputs
from markcut_client.results import Extraction
from markcut_client.transports import AsyncTransport, ServerOptions, open_async_transport
from markcut_client.transports.address import SharedMemory

__all__ = ["AsyncClient"]


class AsyncClient:
    """As :class:`Client`, whose options these are, in the event loop of its first request::

        async with AsyncClient("grpc://localhost:8001") as client:
            async for outcome in client.extract_many(paths, concurrency=8):
                ...

    Cancelling a task that waits cancels its request; gRPC tells the server. The embedded engine
    works in threads of its own, where a request ends when it ends.
    """

    def __init__(
        self,
        transport: str | AsyncTransport,
        *,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        headers_in_plain: bool = False,
        root_certificates: str | os.PathLike[str] | None = None,
        shared_memory: SharedMemory = "auto",
    ) -> None:
        self._timeout = check_timeout(timeout)
        options = ServerOptions(headers or {}, headers_in_plain, root_certificates, shared_memory)
        if isinstance(transport, str):
            transport = open_async_transport(transport, options)
        elif not isinstance(transport, AsyncTransport):
            raise ParameterError(
                f"transport: got {type(transport).__name__}, expected an address such as "
                "'grpc://localhost:8001' or an AsyncTransport"
            )
        elif options != ServerOptions():
            raise ParameterError("transport: got an open one, whose options are settled already")
        self._transport = transport

    async def extract(
        self,
        picture: PictureLike,
        *,
        seed: int | None = None,
        max_marks: int | None = None,
        mark_threshold: float | None = None,
        points_per_mark: int | None = None,
        prompt: str | None = None,
        timeout: float | None = None,
    ) -> Extraction:
        """As :meth:`Client.extract`."""
        parameters = request_parameters(
            seed=seed,
            max_marks=max_marks,
            mark_threshold=mark_threshold,
            points_per_mark=points_per_mark,
            prompt=prompt,
        )
        seconds = self._seconds(timeout)
        return await self._answer(await in_thread(extract_call, picture, parameters, seconds))

    def extract_many(
        self,
        pictures: Iterable[PictureLike],
        *,
        concurrency: int = 4,
        seed: int | None = None,
        max_marks: int | None = None,
        mark_threshold: float | None = None,
        points_per_mark: int | None = None,
        prompt: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """As :meth:`Client.extract_many`."""
        parameters = request_parameters(
            seed=seed,
            max_marks=max_marks,
            mark_threshold=mark_threshold,
            points_per_mark=points_per_mark,
            prompt=prompt,
        )
        seconds = self._seconds(timeout)

        async def outcome(picture: PictureLike) -> Outcome:
            try:
                call = await in_thread(extract_call, picture, parameters, seconds)
                return await self._answer(call)
            except (PictureError, InferenceError) as error:
                return error

        return map_in_tasks(
            outcome, check_several(pictures), concurrency=check_concurrency(concurrency)
        )

    async def prompt(
        self,
        picture: PictureLike,
        *,
        points: Points | None = None,
        labels: Labels | None = None,
        boxes: Boxes | None = None,
        earlier: Earlier | None = None,
        timeout: float | None = None,
    ) -> Prompted:
        """As :meth:`Client.prompt`."""
        prompts = prompt_inputs(points=points, labels=labels, boxes=boxes, earlier=earlier)
        seconds = self._seconds(timeout)
        return await self._answer(await in_thread(prompt_call, picture, prompts, seconds))

    async def _answer(self, call: Call[Result]) -> Result:
        with call.naming_the_picture():
            outputs = await self._transport.infer(call.request)
        return call.read(outputs)

    def _seconds(self, timeout: float | None) -> float | None:
        return self._timeout if timeout is None else check_timeout(timeout)

    async def close(self) -> None:
        """Close the transport; a second call does nothing."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
