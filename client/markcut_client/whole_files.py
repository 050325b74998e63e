"""Files that appear whole or not at all, alone or several together."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from markcut_client.errors import OutputError


class InTheWayError(OutputError):
    """A file cannot get its name, while others of the same folder still may."""


def write_whole(path: Path, data: bytes, *, overwrite: bool) -> None:
    """Write ``data`` to ``path``: nobody ever sees half a file; see :func:`write_together`."""
    write_together(path.parent, [(path.name, data)], overwrite=overwrite)


def write_together(
    folder: Path, files: Iterable[tuple[str, bytes]], *, overwrite: bool
) -> list[str]:
    """Write ``files``, names and contents, into ``folder``: all of them or none; their names.

    They are written under names that nobody looks for, and get their own one after the other.
    Without ``overwrite`` none replaces another, also where two processes write at once: who has
    the first name has them all; with it, what was there before is there again where one of them
    cannot get its name. Raises :class:`InTheWayError` where a name cannot be had, and
    another :class:`OutputError` where nothing can be written.
    """
    staged: list[tuple[Path, Path]] = []
    kept: dict[Path, Path] = {}  # what was there before, under a name that nobody looks for
    placed: list[Path] = []
    try:
        for name, data in files:
            part = _part_in(folder)
            staged.append((part, folder / name))
            _stage(part, folder / name, data)
        for _, path in staged:
            if path.is_dir():  # known before the first file of an earlier run is replaced
                raise InTheWayError(f"{path}: cannot be written (a folder has this name)")
        for _, path in staged:
            if overwrite and os.path.lexists(path):
                kept[path] = _part_in(folder)
                _keep(path, kept[path])
        for part, path in staged:
            _place(part, path, overwrite=overwrite)
            placed.append(path)
    except BaseException:
        for path in placed:
            if path not in kept:
                with contextlib.suppress(OSError):
                    path.unlink()
        for path, before in kept.items():
            with contextlib.suppress(OSError):
                before.replace(path)
        raise
    finally:
        for part in (*(part for part, _ in staged), *kept.values()):
            with contextlib.suppress(OSError):
                part.unlink()
    return [path.name for path in placed]


def check_writable_file(path: Path, *, overwrite: bool) -> None:
    """Raise :class:`OutputError` where ``path`` could not be written later."""
    try:
        if path.is_dir():
            raise OutputError(f"{path}: got a folder, expected a file's name")
        if path.exists() and not overwrite:
            raise OutputError(f"{path}: there already; pass --overwrite or name another file")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    make_writable(path.parent)


def make_writable(folder: Path) -> None:
    """Make ``folder`` if need be, and prove that files can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = _part_in(folder)
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{folder}: cannot be written ({reason}); name another folder") from None


def _part_in(folder: Path) -> Path:
    """A name of its own: processes of two containers may have equal numbers."""
    return folder / f".{secrets.token_hex(8)}.part"


def _stage(part: Path, path: Path, data: bytes) -> None:
    try:
        with open(part, "xb") as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


def _keep(path: Path, part: Path) -> None:
    """Name what is at ``path`` ``part`` as well, or where there are no links, instead."""
    try:
        try:
            os.link(path, part, follow_symlinks=False)
        except (OSError, NotImplementedError):
            path.rename(part)
    except OSError as error:
        raise InTheWayError(f"{path}: cannot be written ({error.strerror})") from None


def _place(part: Path, path: Path, *, overwrite: bool) -> None:
    try:
        if overwrite:
            part.replace(path)
        else:
            _place_new(part, path)
    except FileExistsError:
        raise InTheWayError(
            f"{path}: there already, another run wrote it meanwhile; pass --overwrite to replace "
            "it or name another --out"
        ) from None
    except OSError as error:
        raise InTheWayError(f"{path}: cannot be written ({error.strerror})") from None


def _place_new(part: Path, path: Path) -> None:
    """Name ``part`` ``path``; raises FileExistsError where that is there."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except (OSError, AttributeError, NotImplementedError):  # a file system without links
        with open(path, "xb"):
            pass
        try:
            part.replace(path)  # which nobody else replaces: it is this process's
        except BaseException:
            path.unlink(missing_ok=True)
            raise
