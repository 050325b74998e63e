"""Every error that the client raises on purpose.

::

    ClientError
     |-- PictureError (also a ValueError)     this picture cannot be used
     |-- ParameterError (also a ValueError)   an option, or the kind of an argument, is wrong
     |-- TransportError                       nobody answers: address, bundle, engine or network
     |-- InferenceError                       the engine failed on this picture
     |-- AnswerError                          the answer is not what the contract says
     `-- OutputError                          results cannot be written

Each message is one sentence or two: what came, what was wanted, what to do about it.
"""

from __future__ import annotations

__all__ = [
    "AnswerError",
    "ClientError",
    "InferenceError",
    "OutputError",
    "ParameterError",
    "PictureError",
    "TransportError",
]


class ClientError(Exception):
    """Root of this package's errors: catch it to catch all of them."""


class PictureError(ClientError, ValueError):
    """The picture cannot be read, or is none, or is too big; others may well be fine."""


class ParameterError(ClientError, ValueError):
    """An option is out of its range, unknown to the bundle, or an argument of the wrong kind."""


class TransportError(ClientError):
    """The address, bundle, engine or network is at fault: no picture would get an answer."""


class InferenceError(ClientError):
    """The engine accepted the picture and failed on it; others may well be fine."""


class AnswerError(ClientError):
    """An answer came that breaks the wire contract: client and server do not fit together."""


class OutputError(ClientError):
    """A result cannot be written: unwritable folder, file in the way, disk full."""
