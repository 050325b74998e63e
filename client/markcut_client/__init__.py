"""Client of Markcut: which object did the person mark?

::

    from markcut_client import Client
    with Client("embedded:artifacts/demo") as client:
        for found in client.extract("photo.jpg"):
            print(found.mark.kind, found.area)
            found.cutout(background="white").save("cutout.png")
"""

from __future__ import annotations

from markcut_client.client import Client
from markcut_client.contact_sheet import sheet
from markcut_client.errors import (
    AnswerError,
    ClientError,
    InferenceError,
    OutputError,
    ParameterError,
    PictureError,
    TransportError,
)
from markcut_client.masks import Rle
from markcut_client.render import overlay
from markcut_client.results import Extraction, Mark, MarkedObject
from markcut_client.transports import EmbeddedTransport, Transport, open_transport

__version__ = "0.1.0"

__all__ = [
    "AnswerError",
    "Client",
    "ClientError",
    "EmbeddedTransport",
    "Extraction",
    "InferenceError",
    "Mark",
    "MarkedObject",
    "OutputError",
    "ParameterError",
    "PictureError",
    "Rle",
    "Transport",
    "TransportError",
    "__version__",
    "open_transport",
    "overlay",
    "sheet",
]
