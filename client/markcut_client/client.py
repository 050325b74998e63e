"""The client: one face, whatever transport lies behind it."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterable, Mapping
from types import TracebackType

from markcut_client.calls import Call, Result, extract_call, prompt_call
from markcut_client.errors import InferenceError, ParameterError, PictureError, TransportError
from markcut_client.in_order import map_in_threads
from markcut_client.parameters import check_concurrency, check_timeout, request_parameters
from markcut_client.pictures import PictureLike, check_several
from markcut_client.prompted import Prompted
from markcut_client.prompts import Boxes, Earlier, Labels, Points, prompt_inputs
from markcut_client.results import Extraction
from markcut_client.transports import (
    Parameter,
    Request,
    ServerOptions,
    Transport,
    open_transport,
)
from markcut_client.transports.address import SharedMemory

__all__ = ["Client"]

Outcome = Extraction | PictureError | InferenceError


class Client:
    """Finds the marked objects of pictures; several threads may use one at once, one process.

    ``transport`` is an address (see :func:`open_transport`) or an open transport, which the
    client then owns::

        with Client("grpc://localhost:8001", timeout=10) as client:
            for found in client.extract("photo.jpg"):
                found.cutout().save(f"{found.mark.kind}.png")

    ``timeout`` is in seconds, for every call that names no other; servers have 60 by default, and
    the embedded engine takes none. The other options are for the addresses of servers, see
    :class:`ServerOptions`.
    """

    def __init__(
        self,
        transport: str | Transport,
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
            transport = open_transport(transport, options)
        elif not isinstance(transport, Transport):
            raise ParameterError(
                f"transport: got {type(transport).__name__}, expected an address such as "
                "'embedded:artifacts/demo' or a Transport"
            )
        elif options != ServerOptions():
            raise ParameterError("transport: got an open one, whose options are settled already")
        self._transport = transport
        self._process = os.getpid()

    def extract(
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
        """The marked objects of one picture.

        ``picture`` is a path, the bytes of an encoded JPEG, PNG, WebP or BMP, a PIL image or a
        uint8 array (h, w, 3), RGB. What is None the bundle decides: ``seed`` makes the point
        sampler's random choices repeat (same seed, same answer), ``max_marks`` (1 to 32) keeps
        the surest marks, ``mark_threshold`` (0..1) is the lowest confidence of a mark,
        ``points_per_mark`` (1 to 6) the most foreground points of one prompt, ``prompt`` one of
        the bundle's texts for what a mark is.

        Raises :class:`PictureError`, :class:`ParameterError`, :class:`InferenceError` (of a
        server also :class:`OverloadedError` and :class:`DeadlineError`), :class:`AnswerError` and
        :class:`TransportError`; no mark is no error.
        """
        parameters = request_parameters(
            seed=seed,
            max_marks=max_marks,
            mark_threshold=mark_threshold,
            points_per_mark=points_per_mark,
            prompt=prompt,
        )
        return self._answer(extract_call(picture, parameters, self._seconds(timeout)))

    def extract_many(
        self,
        pictures: Iterable[PictureLike],
        *,
        concurrency: int = 1,
        seed: int | None = None,
        max_marks: int | None = None,
        mark_threshold: float | None = None,
        points_per_mark: int | None = None,
        prompt: str | None = None,
        timeout: float | None = None,
    ) -> Generator[Outcome, None, None]:
        """The extraction of every picture, in their order, each as soon as it is there.

        ``concurrency`` requests are under way at once, so that a server is never idle. For a
        picture that cannot be used, on which the engine failed or for which the time did not
        suffice, its error comes in its place and the next picture follows. Everything else
        raises as in :meth:`extract`, whose options these are; wrong options raise at the call,
        before the first picture. Who stops iterating ends what is under way.
        """
        parameters = request_parameters(
            seed=seed,
            max_marks=max_marks,
            mark_threshold=mark_threshold,
            points_per_mark=points_per_mark,
            prompt=prompt,
        )
        return self._extract_each(
            check_several(pictures),
            check_concurrency(concurrency),
            parameters,
            self._seconds(timeout),
        )

    def prompt(
        self,
        picture: PictureLike,
        *,
        points: Points | None = None,
        labels: Labels | None = None,
        boxes: Boxes | None = None,
        earlier: Earlier | None = None,
        timeout: float | None = None,
    ) -> Prompted:
        """The objects that points and boxes of yours mean; no mark is looked for.

        One object: ``points`` (P, 2), xy in pixels of the upright picture, ``labels`` (P,) with 1
        for on the object (the default) and 0 for not, ``boxes`` (4,) xyxy. Several: the same with
        one more axis in front, or sequences with an entry per object, None for nothing.
        ``earlier`` holds objects of an earlier answer on the same picture, to be refined::

            first = client.prompt("photo.jpg", points=[(410, 300)])
            better = client.prompt(
                "photo.jpg", points=[(410, 300), (80, 90)], labels=[1, 0], earlier=first
            )

        Raises as :meth:`extract`.
        """
        prompts = prompt_inputs(points=points, labels=labels, boxes=boxes, earlier=earlier)
        return self._answer(prompt_call(picture, prompts, self._seconds(timeout)))

    def _extract_each(
        self,
        pictures: Iterable[PictureLike],
        concurrency: int,
        parameters: Mapping[str, Parameter],
        timeout: float | None,
    ) -> Generator[Outcome, None, None]:
        under_way: set[Request] = set()
        left = threading.Event()

        def outcome(picture: PictureLike) -> Outcome:
            try:
                call = extract_call(picture, parameters, timeout)
                under_way.add(call.request)
                if left.is_set():  # abandon() came before this request was known
                    self._transport.cancel(call.request)
                try:
                    return self._answer(call)
                finally:
                    under_way.discard(call.request)
            except (PictureError, InferenceError) as error:
                return error

        def abandon() -> None:
            left.set()
            for request in tuple(under_way):
                self._transport.cancel(request)

        return map_in_threads(outcome, pictures, concurrency=concurrency, abandon=abandon)

    def _answer(self, call: Call[Result]) -> Result:
        if os.getpid() != self._process:
            # threads are missing here, and answers on shared connections reach the wrong reader
            raise TransportError(
                "this client was opened in another process, of which this one is a fork; open one "
                "in each process"
            )
        with call.naming_the_picture():
            outputs = self._transport.infer(call.request)
        return call.read(outputs)

    def _seconds(self, timeout: float | None) -> float | None:
        return self._timeout if timeout is None else check_timeout(timeout)

    def close(self) -> None:
        """Close the transport; a second call does nothing, nor does one in a forked process."""
        if os.getpid() == self._process:
            self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
