"""A contender in a process of its own, which works only when it is asked to."""

from __future__ import annotations

import multiprocessing
import re
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmarks.contenders import Contender
from benchmarks.errors import BenchmarkError

Opened = TypeVar("Opened")
Result = TypeVar("Result")

_PATIENCE = 30.0  # seconds for a process to end by itself


class Seat(Generic[Opened]):
    """Opens ``contender`` in a new process; BenchmarkError in its words where that fails.

    A process of its own keeps runtimes from sharing threads and makes memory countable.
    ``opened_s`` are the seconds from the process's start until everything was loaded.
    """

    def __init__(self, contender: Contender[Opened]) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = contender.name
        self._helpers = contender.processes
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(contender, theirs), daemon=True)
        began = time.perf_counter()
        self._process.start()
        theirs.close()
        try:
            self._receive()
        except BaseException:
            self.close()
            raise
        self.opened_s = time.perf_counter() - began

    def perform(self, task: Callable[[Opened], Result]) -> Result:
        """``task(what the contender opened)``, over there; the task must be picklable."""
        try:
            self._connection.send(task)
        except OSError:
            raise self._dead() from None
        result: Result = self._receive()
        return result

    def peak_memory(self) -> int:
        """The most bytes that the processes ever held in memory, summed where there are several."""
        pids = (self._process.pid or 0, *self._helpers)
        return sum(peak_memory(pid) for pid in pids)

    def close(self) -> None:
        """End the process; a second call does nothing."""
        self._connection.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Seat[Opened]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

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


def serve(contender: Contender[Any], connection: Connection) -> None:
    """The other end: open, say so, then do what comes until the connection is closed."""
    sys.stdout = sys.stderr  # ours belongs to the report; some packages print when they work
    try:
        with contender.open() as opened:
            connection.send((True, None))
            while True:
                task = connection.recv()
                connection.send((True, task(opened)))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass
    except Exception as error:
        words = " ".join(str(error).split())[:600] or repr(error)
        connection.send((False, words))


def open_seats(
    contenders: Iterable[Contender[Opened]], *, enter: Callable[[Seat[Opened]], Seat[Opened]]
) -> tuple[list[Seat[Opened]], dict[str, str]]:
    """A seat for each, handed to ``enter`` (an ``ExitStack``'s), and why others cannot be had."""
    seats: list[Seat[Opened]] = []
    refused: dict[str, str] = {}
    for contender in contenders:
        try:
            seats.append(enter(Seat(contender)))
        except BenchmarkError as error:
            refused[contender.name] = reason(contender.name, error)
    return seats, refused


def reason(name: str, error: BenchmarkError) -> str:
    """What ``error`` says, without the contender's name in front."""
    return str(error).removeprefix(f"{name}: ")


def peak_memory(pid: int) -> int:
    """The most bytes that a process ever held in memory; 0 where the system does not say."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    # ru_maxrss would not do: Linux keeps a new process's from its parent
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(found.group(1)) << 10 if found else 0
