"""One call of a client: what to ask for a picture, and what its answer means.

Nothing here waits, so clients in threads and in event loops share it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from markcut_client import wire
from markcut_client.errors import InferenceError, PictureError
from markcut_client.pictures import EncodedPicture, PictureLike, encode
from markcut_client.prompted import Prompted, read_prompted
from markcut_client.results import Extraction, read_answer
from markcut_client.transports import Parameter, Request

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Call(Generic[Result]):
    """A request about one picture, and how to read its answer."""

    encoded: EncodedPicture
    request: Request
    reader: Callable[[EncodedPicture, Mapping[str, wire.Array]], Result]

    def read(self, outputs: Mapping[str, wire.Array]) -> Result:
        """The result in ``outputs``; raises :class:`AnswerError`."""
        return self.reader(self.encoded, outputs)

    @contextlib.contextmanager
    def naming_the_picture(self) -> Iterator[None]:
        """Errors about the picture leave with its name in front."""
        try:
            yield
        except (PictureError, InferenceError) as error:
            # the engine names the tensor; to the caller it is the picture, whose name stands before
            problem = str(error).removeprefix(f"{wire.IMAGE.name}: ")
            raise type(error)(f"{self.encoded}: {problem}") from error


def extract_call(
    picture: PictureLike, parameters: Mapping[str, Parameter], timeout: float | None
) -> Call[Extraction]:
    """The call that finds ``picture``'s marked objects; raises as :func:`pictures.encode`."""
    encoded = encode(picture)
    inputs, began = _image(encoded), time.monotonic()
    request = Request(wire.MARKED_OBJECT.name, inputs, parameters, timeout, began)
    return Call(encoded, request, read_answer)


def prompt_call(
    picture: PictureLike, prompts: Mapping[str, wire.Array], timeout: float | None
) -> Call[Prompted]:
    """The call that answers ``prompts``, made by :func:`prompts.prompt_inputs`."""
    encoded = encode(picture)
    inputs, began = {**_image(encoded), **prompts}, time.monotonic()
    request = Request(wire.PROMPTED_OBJECT.name, inputs, {}, timeout, began)
    return Call(encoded, request, read_prompted)


def _image(encoded: EncodedPicture) -> dict[str, wire.Array]:
    return {wire.IMAGE.name: np.frombuffer(encoded.data, np.uint8)}
