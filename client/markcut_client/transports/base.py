"""The seam that every transport implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from markcut_client.wire import Array

Parameter = int | float | str
"""A request parameter's value."""


class Transport(ABC):
    """Takes the tensors of a request to an engine and brings back those of the answer.

    Names, dtypes and dims are the wire contract's (see ``wire``), whatever lies between.
    """

    @abstractmethod
    def infer(
        self, inputs: Mapping[str, Array], parameters: Mapping[str, Parameter]
    ) -> Mapping[str, Array]:
        """The answer's tensors by name.

        Raises :class:`PictureError` or :class:`ParameterError` for a wrong request (where the
        engine names the field ``image``, or another one), :class:`InferenceError` where this
        request failed and the next may not, :class:`TransportError` where nobody answers.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what the transport holds; a second call does nothing."""
