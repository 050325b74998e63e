"""A contender in a process of its own, which works only when it is asked to."""

from __future__ import annotations

import multiprocessing
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.contenders import Contender, Reply
from benchmarks.errors import BenchmarkError

_PATIENCE = 30.0  # seconds for a process to end by itself


@dataclass(frozen=True)
class Sample:
    """One call: milliseconds by the stopwatch around it, and what was answered."""

    call_ms: float
    reply: Reply


class Seat:
    """Opens ``contender`` in a new process; BenchmarkError in its words where that fails.

    A process of its own keeps runtimes from sharing threads and makes memory countable.
    """

    def __init__(self, contender: Contender) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = contender.name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(contender, theirs), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._receive()
        except BaseException:
            self.close()
            raise

    def time(self, picture: bytes, *, calls: int) -> list[Sample]:
        """``calls`` answers to ``picture``, one after another."""
        self._send((picture, calls))
        samples: list[Sample] = self._receive()
        return samples

    def peak_memory(self) -> int:
        """The most bytes that the process ever held in memory."""
        self._send(None)
        peak: int = self._receive()
        return peak

    def close(self) -> None:
        """End the process; a second call does nothing."""
        self._connection.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Seat:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, message: tuple[bytes, int] | None) -> None:
        try:
            self._connection.send(message)
        except OSError:
            raise self._dead() from None

    def _receive(self) -> Any:
        try:
            good, content = self._connection.recv()
        except (EOFError, OSError):
            raise self._dead() from None
        if not good:
            raise BenchmarkError(f"{self.name}: {content}")
        return content

    def _dead(self) -> BenchmarkError:
        self._process.join(_PATIENCE)
        return BenchmarkError(
            f"{self.name}: its process ended with status {self._process.exitcode}"
        )


def serve(contender: Contender, connection: Connection) -> None:
    """The other end: open, say so, then answer until the connection is closed."""
    try:
        with contender.open() as answer:
            connection.send((True, None))
            while True:
                message = connection.recv()
                if message is None:
                    connection.send((True, _peak_memory()))
                else:
                    picture, calls = message
                    connection.send((True, [_timed(answer, picture) for _ in range(calls)]))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass
    except Exception as error:
        connection.send((False, str(error) or repr(error)))


def _timed(answer: Callable[[bytes], Reply], picture: bytes) -> Sample:
    start = time.perf_counter()
    reply = answer(picture)
    return Sample((time.perf_counter() - start) * 1000, reply)


def _peak_memory() -> int:
    """Bytes. Linux keeps a new process's ``ru_maxrss`` from its parent, so that comes last."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        status = ""
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    if found:
        return int(found.group(1)) << 10
    import resource  # not everywhere

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
