"""Compiled models on disk, so that the next start need not compile them again.

What lies here is read back as a program would be, so it lies in a folder that nobody else can
write to, and every file proves that it is whole and that it was made for exactly this use. A
cache is a convenience: whatever is wrong with it, the model is compiled instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["VARIABLE", "Entry", "describe", "entry", "folder", "refusal"]

VARIABLE = "MARKCUT_CACHE"
"""Names the environment variable with the folder to use; ``off`` turns the cache off."""

MOST_BYTES = 2 << 30
"""What all files together may take; the ones used longest ago go first."""

_SUFFIX, _PART = ".compiled", ".part"
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


def folder() -> Path | None:
    """The user's folder of compiled models, existing or not; None where the cache is off."""
    named = os.environ.get(VARIABLE, "")
    if named == "off":
        return None
    if named:
        return Path(named)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(os.path.expanduser(base)):  # XDG: a relative path is to be ignored
        base = "~/.cache"
    path = Path(os.path.expanduser(base))
    return path / "markcut" if path.is_absolute() else None  # a user without a home


def refusal(path: Path) -> str:
    """Why compiled models may not be read from or written to ``path``, or empty."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return ""  # it is made when it is needed
    except OSError as error:
        return f"it cannot be looked at ({error.strerror})"
    if not stat.S_ISDIR(found.st_mode):
        return "it is no folder"
    return _foreign(found)


def describe() -> str:
    """Where compiled models are kept, or why they are not, in a few words."""
    path = folder()
    if path is None:
        return f"not kept: {VARIABLE} is off, or there is no home folder"
    problem = refusal(path)
    return f"not kept in {path}: {problem}" if problem else str(path)


class Entry:
    """The place of one compiled model; its name says what it was made from and for."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key

    def read(self) -> bytes | None:
        """The compiled model; None where there is none, or it is broken or not the user's."""
        try:
            with open(os.open(self._path, os.O_RDONLY | _NO_FOLLOW), "rb") as file:
                if _foreign(os.fstat(file.fileno())):
                    return None
                digest, blob = file.read(hashlib.sha256().digest_size), file.read()
            if digest != self._digest(blob):
                return None
            os.utime(self._path)  # used just now
        except OSError:
            return None
        return blob

    def write(self, blob: bytes) -> None:
        """Keep ``blob`` for the next start; where that fails nothing is kept."""
        with contextlib.suppress(OSError):
            home = self._path.parent
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            if refusal(home) or len(blob) > MOST_BYTES:
                return
            handle, name = tempfile.mkstemp(f"{_SUFFIX}{_PART}", dir=home)  # the user's alone
            try:
                with open(handle, "wb") as file:
                    file.write(self._digest(blob))
                    file.write(blob)
                os.replace(name, self._path)
            except BaseException:
                os.unlink(name)
                raise
            _make_room(home)

    def _digest(self, blob: bytes) -> bytes:
        found = hashlib.sha256(self._key)
        found.update(blob)
        return found.digest()


def entry(onnx: bytes, facts: Mapping[str, object]) -> Entry | None:
    """Where ``onnx`` compiled under ``facts`` is kept; None where nothing may be.

    ``facts`` must hold everything that decides what compiling makes of the graph: the runtime's
    version, the device's full name and abilities, all settings.
    """
    home = folder()
    if home is None or refusal(home):
        return None
    found = hashlib.sha256(hashlib.sha256(onnx).digest())
    found.update(repr(sorted((name, str(value)) for name, value in facts.items())).encode())
    return Entry(home / (found.hexdigest() + _SUFFIX), found.digest())


def _foreign(found: os.stat_result) -> str:
    if not hasattr(os, "geteuid"):
        return ""  # Windows: the user's profile is guarded by its own rights
    if found.st_uid != os.geteuid():
        return f"it belongs to another user ({found.st_uid})"
    if found.st_mode & _OTHERS:
        return "others can write to it; chmod go-w"
    return ""


def _make_room(home: Path) -> None:
    held = [(path.stat(), path) for path in home.glob(f"*{_SUFFIX}*")]  # what was broken off too
    held.sort(key=lambda one: one[0].st_mtime_ns, reverse=True)
    total = 0
    for found, path in held:
        total += found.st_size
        if total > MOST_BYTES:
            path.unlink(missing_ok=True)
