"""The engine in this very process."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from markcut_client.errors import InferenceError, ParameterError, PictureError, TransportError
from markcut_client.transports.base import Request, Transport
from markcut_client.transports.no_earlier import lacks_size, with_size
from markcut_client.wire import IMAGE, PROMPTED_OBJECT, Array

_INSTALL = 'in the checkout of Markcut, run: pip install -e ".[onnxruntime]"'


class EmbeddedTransport(Transport):
    """Runs the bundle in ``folder`` with the package ``markcut``, imported here and now.

    ``runtime`` is ``"auto"``, ``"onnxruntime"``, ``"openvino"`` or ``"tensorrt"``; ``device``
    is ``"cpu"`` or ``"cuda"``, None what the runtime usually runs on; ``threads`` limits the CPU
    threads, None uses all; ``precision`` is that of the arithmetic, None as the bundle's graphs
    are typed. Raises :class:`TransportError` where the engine is not installed or
    the bundle cannot be used, or not so, :class:`ParameterError` for a wrong ``runtime``,
    ``threads`` or ``precision``.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        runtime: str = "auto",
        device: str | None = None,
        threads: int | None = None,
        precision: str | None = None,
    ) -> None:
        if not os.fspath(folder):
            raise TransportError("embedded: got no folder, expected embedded:DIR with a bundle's")
        pipeline = import_engine("markcut.pipeline")
        self._errors = import_engine("markcut.errors")
        try:
            self._pipeline = pipeline.Pipeline.open(
                folder, runtime=runtime, device=device, threads=threads, precision=precision
            )
        except self._errors.InvalidInput as error:
            raise ParameterError(str(error)) from error
        except self._errors.MarkcutError as error:
            raise TransportError(str(error)) from error

    def infer(self, request: Request) -> Mapping[str, Array]:
        """As :meth:`Transport.infer`; the engine cannot be interrupted, so it takes no timeout."""
        engine = self._pipeline
        if engine is None:
            raise TransportError("embedded: it is closed; open a new client")
        if request.timeout is not None:
            raise ParameterError(
                "timeout: the engine in this process cannot be interrupted; leave it out, or use "
                "a server"
            )
        prompted = request.model == PROMPTED_OBJECT.name
        ask = engine.prompt if prompted else engine.infer
        inputs = request.inputs
        if lacks_size(inputs):
            inputs = with_size(inputs, (engine.manifest.sizes["S"] // 4,) * 2)
        try:
            outputs: Mapping[str, Array] = ask(inputs, request.parameters)
        except self._errors.InvalidInput as error:
            kind = PictureError if error.field == IMAGE.name else ParameterError
            raise kind(str(error)) from error
        except (self._errors.MarkcutError, MemoryError) as error:
            raise InferenceError(str(error) or "the memory did not suffice") from error
        return outputs

    def close(self) -> None:
        """As :meth:`Transport.close`."""
        engine, self._pipeline = self._pipeline, None
        if engine is not None:
            engine.close()


def import_engine(module: str) -> Any:
    """The engine's ``module``; :class:`TransportError` says how to install what is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        if missing == "markcut":
            raise TransportError(
                f"the engine (package markcut) is not installed; {_INSTALL}"
            ) from None
        raise TransportError(
            f"the engine needs the package {missing}, which is not installed; {_INSTALL}"
        ) from None
