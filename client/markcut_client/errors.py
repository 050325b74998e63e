"""Every error that the client raises on purpose.

::

    ClientError
     |-- PictureError (also a ValueError)     this picture cannot be used
     |-- ParameterError (also a ValueError)   an option, or the kind of an argument, is wrong
     |-- TransportError                       nobody answers: address, bundle, engine or network
     |-- InferenceError                       this request failed, the next may not
     |    |-- OverloadedError                 the server has too much to do at the moment
     |    `-- DeadlineError                   no answer within the time that was given
     |-- AnswerError                          the answer is not what the contract says
     `-- OutputError                          results cannot be written

Each message is one sentence or two: what came, what was wanted, what to do about it.
"""

from __future__ import annotations

__all__ = [
    "AnswerError",
    "ClientError",
    "DeadlineError",
    "InferenceError",
    "OutputError",
    "OverloadedError",
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


class OverloadedError(InferenceError):
    """The server's queue is full, also at the second and third try: later it may not be."""


class DeadlineError(InferenceError):
    """No answer came in the time that the caller gave; the server was told to stop, over gRPC."""


class AnswerError(ClientError):
    """An answer came that breaks the wire contract: client and server do not fit together."""


class OutputError(ClientError):
    """A result cannot be written: unwritable folder, file in the way, disk full."""
