"""Keeps a server answering: looks after its processes, asks it now and then, starts it again.

Triton 24.10 neither restarts a step's process that died nor calls itself unready then, so
somebody outside has to look.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from serving.errors import ServingError
from serving.probe import ProbeError, probe
from serving.server import HOST, TritonServer

_LOOK_S = 0.5  # between two looks at the processes
_ANSWER_S = 60.0  # a probe may wait behind other people's requests
_BUSY_S = 300.0  # of no room for a single probe: then it is no crowd but something stuck
_HOPELESS = 3  # starts in a row that led to no answer
_LASTING_S = 60.0  # a run that ends sooner makes the next one wait
_LONGEST_PAUSE_S = 30.0
_BROKEN_DRAIN_S = 5.0  # a server with a dead step cannot finish much


def supervise(
    server: TritonServer,
    *,
    started: Callable[[float], None],
    starting_s: float,
    probe_s: float,
    port: int,
) -> None:
    """Run ``server`` until SIGTERM or SIGINT; ``started`` hears how long every start took.

    A server that answered is started again however often it ends, after a pause that doubles as
    long as it does not last. Raises :class:`ServingError` when the first start fails, or several
    in a row.
    """
    with _told_to_stop() as stop:
        unanswered = short = 0
        ever = False
        while True:
            try:
                seconds = server.start(timeout=starting_s, stop=stop)
            except ServingError as error:
                if not ever:
                    raise
                fault: str | None = str(error)
                unanswered += 1
            else:
                if seconds is None:
                    break
                ever, unanswered = True, 0
                began = time.monotonic()
                started(seconds)
                fault = _watch(server, stop, probe_s=probe_s, port=port)
                if fault is None:
                    break
                short = 0 if time.monotonic() - began > _LASTING_S else short + 1
            server.stop(drain=_BROKEN_DRAIN_S)
            if unanswered == _HOPELESS:
                raise ServingError(f"the server failed {unanswered} times in a row, last: {fault}")
            print(f"serving: {fault}; starting it again", file=sys.stderr, flush=True)
            if short > 1 and stop.wait(min(2.0 ** (short - 2), _LONGEST_PAUSE_S)):
                break
        server.stop()


def _watch(server: TritonServer, stop: threading.Event, *, probe_s: float, port: int) -> str | None:
    """Until something is wrong, then what; None when told to stop."""
    asking = _Asking(port)
    due = time.monotonic() + probe_s
    while not stop.wait(_LOOK_S):
        fault = server.fault() or asking.fault
        if fault:
            return fault
        if time.monotonic() >= due and asking.ask():
            due = time.monotonic() + probe_s
    return None


class _Asking:
    """Probes beside the watch: a slow answer must not keep us from seeing a dead process."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._thread: threading.Thread | None = None
        self._answered = time.monotonic()
        self.fault: str | None = None

    def ask(self) -> bool:
        """Begin a probe; False while the last one is still waiting."""
        if self._thread is not None and self._thread.is_alive():
            return False
        self._thread = threading.Thread(target=self._probe, daemon=True)
        self._thread.start()
        return True

    def _probe(self) -> None:
        try:
            answered = probe(HOST, self._port, timeout=_ANSWER_S)
        except ProbeError as error:
            self.fault = str(error)
            return
        now = time.monotonic()
        if answered:
            self._answered = now
        elif now - self._answered > _BUSY_S:
            self.fault = f"no probe found room for {_BUSY_S:.0f} s"


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Set by SIGTERM, SIGINT and SIGHUP, which do nothing else meanwhile."""
    stop = threading.Event()

    def told(number: int, frame: FrameType | None) -> None:
        stop.set()

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, told) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
