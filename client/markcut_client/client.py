"""The client: one face, whatever transport lies behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType

import numpy as np

from markcut_client import wire
from markcut_client.errors import InferenceError, ParameterError, PictureError
from markcut_client.parameters import request_parameters
from markcut_client.pictures import PictureLike, encode
from markcut_client.results import Extraction, read_answer
from markcut_client.transports import Parameter, Transport, open_transport

__all__ = ["Client"]


class Client:
    """Finds the marked objects of pictures.

    ``transport`` is an address (see :func:`open_transport`) or an open transport, which the
    client then owns::

        with Client("embedded:artifacts/demo") as client:
            for found in client.extract("photo.jpg"):
                found.cutout().save(f"{found.mark.kind}.png")
    """

    def __init__(self, transport: str | Transport) -> None:
        if isinstance(transport, str):
            transport = open_transport(transport)
        elif not isinstance(transport, Transport):
            raise ParameterError(
                f"transport: got {type(transport).__name__}, expected an address such as "
                "'embedded:artifacts/demo' or a Transport"
            )
        self._transport = transport

    def extract(
        self,
        picture: PictureLike,
        *,
        seed: int | None = None,
        max_marks: int | None = None,
        mark_threshold: float | None = None,
        points_per_mark: int | None = None,
        prompt: str | None = None,
    ) -> Extraction:
        """The marked objects of one picture.

        ``picture`` is a path, the bytes of an encoded JPEG, PNG, WebP or BMP, a PIL image or a
        uint8 array (h, w, 3), RGB. What is None the bundle decides: ``seed`` makes the point
        sampler's random choices repeat (same seed, same answer), ``max_marks`` (1 or more) keeps
        the best marks, ``mark_threshold`` (0..1) is the lowest confidence of a mark,
        ``points_per_mark`` (1 or more) the number of prompts per mark, ``prompt`` one of the
        bundle's texts for what a mark is.

        Raises :class:`PictureError`, :class:`ParameterError`, :class:`InferenceError`,
        :class:`AnswerError` and :class:`TransportError`; no mark is no error.
        """
        parameters = request_parameters(
            seed=seed,
            max_marks=max_marks,
            mark_threshold=mark_threshold,
            points_per_mark=points_per_mark,
            prompt=prompt,
        )
        return self._extract(picture, parameters)

    def extract_many(
        self,
        pictures: Iterable[PictureLike],
        *,
        seed: int | None = None,
        max_marks: int | None = None,
        mark_threshold: float | None = None,
        points_per_mark: int | None = None,
        prompt: str | None = None,
    ) -> Iterator[Extraction | PictureError | InferenceError]:
        """The extraction of every picture, in their order, each as soon as it is there.

        For a picture that cannot be used, or on which the engine failed, its error comes in its
        place and the next picture follows. Everything else raises as in :meth:`extract`, whose
        options these are; wrong options raise at the call, before the first picture.
        """
        parameters = request_parameters(
            seed=seed,
            max_marks=max_marks,
            mark_threshold=mark_threshold,
            points_per_mark=points_per_mark,
            prompt=prompt,
        )
        return self._extract_each(pictures, parameters)

    def _extract_each(
        self, pictures: Iterable[PictureLike], parameters: Mapping[str, Parameter]
    ) -> Iterator[Extraction | PictureError | InferenceError]:
        for picture in pictures:
            outcome: Extraction | PictureError | InferenceError
            try:
                outcome = self._extract(picture, parameters)
            except (PictureError, InferenceError) as error:
                outcome = error
            yield outcome

    def _extract(self, picture: PictureLike, parameters: Mapping[str, Parameter]) -> Extraction:
        encoded = encode(picture)
        image = np.frombuffer(encoded.data, np.uint8)
        try:
            outputs = self._transport.infer({wire.IMAGE.name: image}, parameters)
        except (PictureError, InferenceError) as error:
            raise type(error)(f"{encoded}: {_without_field(error)}") from error
        return read_answer(encoded, outputs)

    def close(self) -> None:
        """Close the transport; a second call does nothing."""
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


def _without_field(error: Exception) -> str:
    """The engine names the tensor; to the caller it is the picture, whose name stands before."""
    return str(error).removeprefix(f"{wire.IMAGE.name}: ")
