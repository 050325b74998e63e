"""Client of Markcut: which object did the person mark?

::

    from markcut_client import Client
    with Client("embedded:artifacts/demo") as client:
        for found in client.extract("photo.jpg"):
            print(found.mark.kind, found.area)
            found.cutout(background="white").save("cutout.png")
"""

from __future__ import annotations

from markcut_client.async_client import AsyncClient
from markcut_client.client import Client
from markcut_client.contact_sheet import sheet
from markcut_client.errors import (
    AnswerError,
    ClientError,
    DeadlineError,
    InferenceError,
    OutputError,
    OverloadedError,
    ParameterError,
    PictureError,
    TransportError,
)
from markcut_client.masks import Rle
from markcut_client.prompted import Prompted, PromptedObject
from markcut_client.render import overlay
from markcut_client.results import Extraction, Mark, MarkedObject
from markcut_client.transports import (
    AsyncTransport,
    EmbeddedTransport,
    Request,
    ServerOptions,
    Transport,
    open_async_transport,
    open_transport,
)

__version__ = "0.1.0"

__all__ = [
    "AnswerError",
    "AsyncClient",
    "AsyncTransport",
    "Client",
    "ClientError",
    "DeadlineError",
    "EmbeddedTransport",
    "Extraction",
    "InferenceError",
    "Mark",
    "MarkedObject",
    "OutputError",
    "OverloadedError",
    "ParameterError",
    "PictureError",
    "Prompted",
    "PromptedObject",
    "Request",
    "Rle",
    "ServerOptions",
    "Transport",
    "TransportError",
    "__version__",
    "open_async_transport",
    "open_transport",
    "overlay",
    "sheet",
]
