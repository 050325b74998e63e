"""What a transport and a server say to each other, whichever protocol spells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from markcut_client.transports.base import Request
from markcut_client.wire import Array

MAX_ANSWER = 256 << 20
"""Bytes of the largest answer that is read; what a server sends beyond is refused."""


@dataclass(frozen=True)
class Region:
    """Shared memory as the server knows it; ``key`` is its POSIX name."""

    name: str
    key: str
    size: int


@dataclass(frozen=True)
class Infer:
    """Ask for an answer to ``inputs``: the request's, completed for this server.

    The picture is in ``region`` where there is one.
    """

    request: Request
    inputs: Mapping[str, Array]
    region: Region | None = None


@dataclass(frozen=True)
class Register:
    """Tell the server of shared memory."""

    region: Region


@dataclass(frozen=True)
class Unregister:
    """Let the server forget shared memory."""

    name: str


@dataclass(frozen=True)
class Describe:
    """Ask which versions of a model are ready; without a model, the server itself."""

    model: str = ""


@dataclass(frozen=True)
class Description:
    """A server's or a model's name, whether it is ready, its version or versions.

    ``inputs`` are a model's dims, -1 for free ones.
    """

    name: str
    ready: bool
    versions: tuple[str, ...]
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why there is no answer: ``status`` is the name of a gRPC status, ``text`` the other side's.

    ``broken`` marks what could be read as no answer at all.
    """

    status: str
    text: str
    broken: bool = False


@dataclass(frozen=True)
class Send:
    """A step: send ``message`` and wait ``timeout`` seconds at most for the reply."""

    message: Infer | Register | Unregister | Describe
    timeout: float


@dataclass(frozen=True)
class Pause:
    """A step: do nothing for some time."""

    seconds: float


Step = Send | Pause
Reply = Mapping[str, Array] | Description | Failure | None
"""To Infer tensors, to Describe a description, else None; or a failure."""
