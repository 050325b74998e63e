"""Pictures in memory that a server on the same host can see.

A segment loses its name as soon as the server has mapped it (or refused to), so nothing is left
in /dev/shm however this process ends. The server keeps its mapping until it is told to forget it,
which it does not do while it reads. So the memory itself is given back here, as soon as the
segment is of no more use, or at the end of this process: whoever still maps it sees zeros.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

from markcut_client.transports.messages import Region
from markcut_client.wire import Array

_FOLDER = "/dev/shm"
_SMALLEST = 1 << 20  # bytes of a segment; the next has the next power of two
_MOST_FREE = 256 << 20  # bytes of segments that nobody uses just now
PAYS_FROM = 1 << 20
"""Bytes from which ``"auto"`` uses shared memory: below, a message is as quick."""


@dataclass(eq=False)
class Segment:
    """One piece of shared memory, held by one request at a time."""

    region: Region
    memory: mmap.mmap = field(repr=False)

    def fill(self, data: Array) -> None:
        """Copy ``data``, uint8 (length,), to its beginning."""
        self.memory[: data.nbytes] = data.data

    def let_go(self) -> None:
        """Give the memory back to the system, whoever maps it."""
        with contextlib.suppress(OSError, ValueError):  # no such system, or closed already
            self.memory.madvise(mmap.MADV_REMOVE)
        self.memory.close()


class Segments:
    """The segments of one transport; safe between threads.

    A segment whose request got no answer is not used again: the server may still be reading it.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled and os.path.isdir(_FOLDER)
        self._lock = threading.Lock()
        self._held: set[Segment] = set()  # all that this process maps
        weakref.finalize(self, _let_go, self._held, os.getpid())
        self._free: list[Segment] = []
        self._forget: list[str] = []  # names that the server still maps, and need not
        self._closed = False
        self.refusal = "" if self._enabled or not enabled else f"this system has no {_FOLDER}"

    @property
    def usable(self) -> bool:
        """Whether segments may be had: asked for, and not refused so far."""
        return self._enabled and not self.refusal and not self._closed

    @property
    def count(self) -> int:
        """Segments that the server maps now, as far as is known here."""
        return len(self._held)

    def refuse(self, reason: str) -> None:
        """Shared memory is out of use from now on."""
        self.refusal = reason

    def take(self, size: int) -> Segment | None:
        """A free segment that the server knows, of ``size`` bytes or more."""
        with self._lock:
            fitting = [s for s in self._free if s.region.size >= size]
            if not fitting:
                return None
            best = min(fitting, key=lambda s: s.region.size)
            self._free.remove(best)
            return best

    @contextlib.contextmanager
    def create(self, size: int) -> Iterator[Segment]:
        """A new segment; within the context it has a name, for the server to map it.

        Raises OSError where the memory is not to be had.
        """
        size = max(_SMALLEST, 1 << (size - 1).bit_length())
        name = f"markcut-{os.getpid()}-{secrets.token_hex(8)}"
        path = os.path.join(_FOLDER, name)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            try:
                # takes the memory now: a full /dev/shm must not be found out by a SIGBUS
                os.posix_fallocate(descriptor, 0, size)
                memory = mmap.mmap(descriptor, size)
            finally:
                os.close(descriptor)
            segment = Segment(Region(name, f"/{name}", size), memory)
            with self._lock:
                self._held.add(segment)
            yield segment
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def give_back(self, segment: Segment) -> None:
        """The request was answered; the segment is free for the next one."""
        surplus = [segment]
        with self._lock:
            if not self._closed:
                self._free.append(segment)
                surplus = self._too_much()
        for one in surplus:
            self.retire(one)

    def _too_much(self) -> list[Segment]:
        """Free segments beyond :data:`_MOST_FREE`, largest first, no longer free."""
        self._free.sort(key=lambda segment: segment.region.size)
        surplus = []
        while len(self._free) > 1 and sum(s.region.size for s in self._free) > _MOST_FREE:
            surplus.append(self._free.pop())
        return surplus

    def retire(self, segment: Segment) -> None:
        """The segment is not to be used again; the server shall forget it when there is time."""
        with self._lock:
            self._held.discard(segment)
            self._forget.append(segment.region.name)
        segment.let_go()

    def to_forget(self, most: int | None = None) -> list[str]:
        """Names that the server maps in vain, ``most`` of them; the caller has them then."""
        with self._lock:
            names = self._forget[:most]
            del self._forget[: len(names)]
            return names

    def keep_for_later(self, names: list[str]) -> None:
        """The server could not forget ``names`` now."""
        with self._lock:
            self._forget.extend(names)

    def close(self) -> None:
        """No more segments; those in use are let go as they come back."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for segment in free:
            self.retire(segment)


def _let_go(segments: set[Segment], process: int) -> None:
    if os.getpid() == process:  # and no fork of it, to which they do not belong
        for segment in tuple(segments):
            segment.let_go()
