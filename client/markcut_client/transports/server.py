"""What transports to servers have in common when a thread waits for them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from weakref import WeakSet

from markcut_client.errors import TransportError
from markcut_client.transports.address import Address, ServerOptions
from markcut_client.transports.base import Request, Transport
from markcut_client.transports.exchange import Exchange, ServerReport, run
from markcut_client.transports.messages import Failure, Infer, Reply, Send
from markcut_client.wire import Array


class ServerTransport(Transport):
    """Carries an :class:`Exchange` to a server; a protocol adds ``_send``."""

    def __init__(self, address: Address, options: ServerOptions) -> None:
        self._exchange = Exchange(address, options.checked(address))
        self._closed = False
        self._cancelled: WeakSet[Request] = WeakSet()

    @property
    def address(self) -> Address:
        """Where the server is."""
        return self._exchange.address

    @property
    def shared_memory(self) -> str:
        """Whether pictures go through shared memory, and why not: for people."""
        return self._exchange.shared_memory

    def infer(self, request: Request) -> Mapping[str, Array]:
        """As :meth:`Transport.infer`."""
        if self._closed:
            raise closed_error(self.address)
        return run(self._exchange.infer(request), self._send_unless_cancelled)

    def cancel(self, request: Request) -> None:
        """As :meth:`Transport.cancel`: no further try, and none that goes on."""
        self._cancelled.add(request)

    def _send_unless_cancelled(self, step: Send) -> Reply:
        if isinstance(step.message, Infer) and step.message.request in self._cancelled:
            return Failure("CANCELLED", "by this client")
        return self._send(step)

    def describe(self, *models: str, timeout: float) -> ServerReport:
        """What the server says of itself and of ``models``; raises as :meth:`infer`."""
        return run(self._exchange.describe(models, timeout), self._send)

    def close(self) -> None:
        """As :meth:`Transport.close`; the server is told to forget shared memory."""
        if not self._closed:
            self._closed = True
            run(self._exchange.farewell(), self._send)
            self._disconnect()

    @abstractmethod
    def _send(self, step: Send) -> Reply:
        """Send one message and wait for its reply; failures are replies, too."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Close the connections."""


def closed_error(address: Address) -> TransportError:
    """The error of a request after ``close``."""
    return TransportError(f"{address}: the client is closed; open a new one")
