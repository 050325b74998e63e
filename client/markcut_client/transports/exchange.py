"""The conversation with a server, without the waiting.

Generators yield steps and are sent the replies; who runs them decides how to wait: a thread, an
event loop or a test. So everything that is not a socket is written once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from markcut_client import wire
from markcut_client.errors import TransportError
from markcut_client.transports.address import Address, ServerOptions
from markcut_client.transports.base import Request
from markcut_client.transports.messages import (
    Describe,
    Description,
    Failure,
    Infer,
    Pause,
    Register,
    Reply,
    Send,
    Step,
    Unregister,
)
from markcut_client.transports.no_earlier import lacks_size, with_size
from markcut_client.transports.retries import Attempts, RetryBudget
from markcut_client.transports.shared_memory import PAYS_FROM, Segment, Segments
from markcut_client.transports.statuses import (
    error_of,
    is_about_shared_memory,
    may_pass,
    sentence,
    was_judged,
    was_lost,
    was_out_of_reach,
    was_reached,
)
from markcut_client.wire import Array

DEFAULT_TIMEOUT = 60.0
"""Seconds that a request may take where nobody said otherwise."""

_REGISTER_TIMEOUT = 2.0
_FAREWELL_TIMEOUT = 1.0
_FAREWELLS_TIMEOUT = 5.0  # all of them, when a transport is closed
_FORGET_AT_ONCE = 4  # what one request may wait for

Result = TypeVar("Result")
Steps = Generator[Step, Reply, Result]


@dataclass(frozen=True)
class ServerReport:
    """What a server says of itself: its own description, and those of the models asked for."""

    server: Description
    models: Mapping[str, Description]


class _Deadline:
    def __init__(self, seconds: float, began: float | None = None) -> None:
        self.seconds = seconds
        self._end = (time.monotonic() if began is None else began) + seconds

    @property
    def left(self) -> float:
        return max(0.0, self._end - time.monotonic())


class Exchange:
    """What one transport says to ``address``; its generators may run at the same time."""

    def __init__(self, address: Address, options: ServerOptions) -> None:
        self.address = address
        self._mode = options.shared_memory
        self._segments = Segments(enabled=self._mode != "off" and address.is_loopback)
        self._budget = RetryBudget()
        self._plane: tuple[int, ...] | None = None  # of an earlier mask, as the server wants it

    @property
    def shared_memory(self) -> str:
        """Whether pictures go through shared memory, and why not: for people."""
        if self._segments.refusal:
            return f"off: {self._segments.refusal}"
        if self._mode == "off":
            return "off: not asked for"
        if not self.address.is_loopback:
            return "off: the server is on another host"
        if self._segments.count:
            return "on"
        return "not used so far" + (
            f" (pictures under {PAYS_FROM >> 20} MiB go as bytes)" if self._mode == "auto" else ""
        )

    def infer(self, request: Request) -> Steps[Mapping[str, Array]]:
        """Ask until there is an answer, no time, or no hope."""
        seconds = DEFAULT_TIMEOUT if request.timeout is None else request.timeout
        deadline = _Deadline(seconds, request.began)
        attempts = Attempts(self._budget)
        if not deadline.left:  # it waited too long for its turn
            late = Failure("DEADLINE_EXCEEDED", "")
            raise error_of(late, self.address, timeout=seconds)
        inputs = yield from self._complete(request, deadline)
        image = inputs[wire.IMAGE.name]
        may_share = True
        while True:
            segment = (yield from self._place(image, deadline)) if may_share else None
            reply = yield from self._ask(request, inputs, segment, deadline)
            if not isinstance(reply, Failure):
                self._budget.answered()
                return reply
            if segment is not None and is_about_shared_memory(reply):
                may_share = False  # the server was restarted, say: it no longer knows the region
                continue
            delay = None
            if may_pass(reply):
                delay = attempts.delay(
                    deadline.left, reached=was_reached(reply), lost=was_lost(reply)
                )
            if delay is None:
                self._plane = None  # another bundle may be there next time
                raise error_of(reply, self.address, timeout=seconds)
            yield Pause(delay)

    def _complete(self, request: Request, deadline: _Deadline) -> Steps[Mapping[str, Array]]:
        """The inputs as this server wants them, which is asked once."""
        if not lacks_size(request.inputs):
            return request.inputs
        if self._plane is None:
            reply = yield Send(Describe(request.model), deadline.left)
            if not isinstance(reply, Description):
                return request.inputs  # why there is no answer, the request itself will tell
            self._plane = reply.inputs.get(wire.EARLIER_LOGITS.name, ())[1:]
        return with_size(request.inputs, self._plane)

    def _ask(
        self,
        request: Request,
        inputs: Mapping[str, Array],
        segment: Segment | None,
        deadline: _Deadline,
    ) -> Steps[Mapping[str, Array] | Failure]:
        answered = False
        try:
            region = None if segment is None else segment.region
            reply = yield Send(Infer(request, inputs, region), deadline.left)
            answered = not isinstance(reply, Failure) or was_judged(reply)
        finally:  # a cancelled request ends here as well
            if segment is not None:
                (self._segments.give_back if answered else self._segments.retire)(segment)
        if not isinstance(reply, Mapping | Failure):
            return Failure("INTERNAL", "the reply is of another kind", broken=True)
        return reply

    def _place(self, image: Array, deadline: _Deadline) -> Steps[Segment | None]:
        """A segment that holds ``image`` and that the server knows; None: send the bytes."""
        pays = self._mode == "on" or image.nbytes >= PAYS_FROM
        if not (self._segments.usable and pays):
            self._insist()
            return None
        yield from self._forget(self._segments.to_forget(_FORGET_AT_ONCE), deadline)
        segment = self._segments.take(image.nbytes)
        if segment is None:
            segment = yield from self._create(image.nbytes, deadline)
        if segment is None:
            self._insist()
            return None
        segment.fill(image)
        return segment

    def _forget(self, names: list[str], deadline: _Deadline) -> Steps[None]:
        """Have the server unmap what nobody needs; what it still reads is kept for later."""
        waiting, kept = deque(names), []
        try:
            while waiting:
                timeout = min(_FAREWELL_TIMEOUT, deadline.left)
                reply = yield Send(Unregister(waiting[0]), timeout)
                if isinstance(reply, Failure):
                    if was_out_of_reach(reply):
                        return
                    kept.append(waiting[0])
                waiting.popleft()
        finally:  # a cancelled request ends here as well
            self._segments.keep_for_later([*waiting, *kept])

    def _insist(self) -> None:
        """Raise where the caller wants shared memory and nothing else."""
        if self._mode == "on" and self._segments.refusal:
            raise TransportError(
                f"{self.address}: no shared memory ({self._segments.refusal}); start the server "
                "with --allow-client-shm=true if it knows that option, or use 'auto'"
            )

    def _create(self, size: int, deadline: _Deadline) -> Steps[Segment | None]:
        try:
            with self._segments.create(size) as segment:
                reply: Reply = Failure("CANCELLED", "")
                try:
                    timeout = min(_REGISTER_TIMEOUT, deadline.left)
                    reply = yield Send(Register(segment.region), timeout)
                finally:  # a cancelled request ends here as well
                    if isinstance(reply, Failure):
                        self._segments.retire(segment)
        except OSError as error:
            self._segments.refuse(f"no memory for it ({error.strerror or error})")
            return None
        if not isinstance(reply, Failure):
            return segment
        if not was_out_of_reach(reply):
            self._segments.refuse(f"the server refuses it ({sentence(reply.text)})")
        return None

    def describe(self, models: tuple[str, ...], timeout: float) -> Steps[ServerReport]:
        """Ask the server about itself and ``models``; raises as :meth:`infer` does."""
        deadline = _Deadline(timeout)
        server = yield from self._describe("", deadline)
        described = {}
        for model in models:
            described[model] = yield from self._describe(model, deadline)
        return ServerReport(server, described)

    def _describe(self, model: str, deadline: _Deadline) -> Steps[Description]:
        reply = yield Send(Describe(model), deadline.left)
        if isinstance(reply, Failure):
            if model and reply.status in ("NOT_FOUND", "INVALID_ARGUMENT", "UNAVAILABLE"):
                return Description(model, ready=False, versions=())
            raise error_of(reply, self.address, timeout=deadline.seconds)
        if not isinstance(reply, Description):
            broken = Failure("INTERNAL", "no description", broken=True)
            raise error_of(broken, self.address, timeout=deadline.seconds)
        return reply

    def farewell(self) -> Steps[None]:
        """Let the server forget what it maps for this transport, if it still listens."""
        self._segments.close()
        yield from self._forget(self._segments.to_forget(), _Deadline(_FAREWELLS_TIMEOUT))


def run(steps: Steps[Result], send: Callable[[Send], Reply]) -> Result:
    """Run ``steps`` in this thread."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                time.sleep(step.seconds)
            step = steps.send(send(step) if isinstance(step, Send) else None)
    except StopIteration as end:
        result: Result = end.value
        return result
    finally:
        steps.close()


async def run_async(steps: Steps[Result], send: Callable[[Send], Awaitable[Reply]]) -> Result:
    """Run ``steps`` in this event loop."""
    import asyncio

    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            step = steps.send(await send(step) if isinstance(step, Send) else None)
    except StopIteration as end:
        result: Result = end.value
        return result
    finally:
        steps.close()
