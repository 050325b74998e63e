"""The seam that every transport implements, waiting in a thread or in an event loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from markcut_client.wire import Array

Parameter = int | float | str
"""A request parameter's value."""


@dataclass(frozen=True, eq=False)
class Request:
    """What to ask: tensors by the names of ``wire.MODELS[model]``, and the parameters given.

    ``timeout`` is in seconds and covers everything until the answer is here, retries included;
    None leaves it to the transport. It begins at ``began``, a time of ``time.monotonic``, so that
    waiting for a thread counts; None: when a transport is asked.
    """

    model: str
    inputs: Mapping[str, Array]
    parameters: Mapping[str, Parameter]
    timeout: float | None = None
    began: float | None = None


class Transport(ABC):
    """Takes the tensors of a request to an engine and brings back those of the answer.

    Names, dtypes and dims are the wire contract's (see ``wire``), whatever lies between. Several
    threads may call :meth:`infer` at once.
    """

    @abstractmethod
    def infer(self, request: Request) -> Mapping[str, Array]:
        """The answer's tensors by name.

        Raises :class:`PictureError` or :class:`ParameterError` for a wrong request (where the
        engine names the field ``image``, or another one), :class:`InferenceError` and its kin
        where this request failed and the next may not, :class:`TransportError` where nobody
        answers.
        """

    def cancel(self, request: Request) -> None:  # noqa: B027 (most have nothing to do here)
        """Make another thread's ``infer(request)`` end soon, where the transport can do that."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the transport holds; a second call does nothing."""


class AsyncTransport(ABC):
    """As :class:`Transport`; cancelling the awaiting task cancels the request."""

    @abstractmethod
    async def infer(self, request: Request) -> Mapping[str, Array]:
        """As :meth:`Transport.infer`."""

    @abstractmethod
    async def close(self) -> None:
        """As :meth:`Transport.close`."""
