"""Paths on the command line to the pictures they mean."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from markcut_client.errors import ParameterError
from markcut_client.pictures import OTHER_SUFFIXES, SUFFIXES


def path_argument(text: str) -> Path:
    """A path on the command line; an empty one, of an unset variable say, is not the folder."""
    if not text:
        raise argparse.ArgumentTypeError("got nothing, expected a path")
    return Path(text)


def list_pictures(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, folders as the pictures within, sorted by name; no path twice.

    A folder's subfolders and hidden files are left out. Raises :class:`ParameterError` for a path
    where nothing is, a folder that cannot be listed, and when no picture comes of it all.
    """
    found: dict[str, Path] = {}
    searched = []
    for path in paths:
        try:
            os.stat(path)
        except FileNotFoundError:
            raise ParameterError(f"{path}: there is no such file or folder") from None
        except OSError as error:
            raise ParameterError(f"{path}: cannot be read ({error.strerror})") from None
        if path.is_dir():
            searched.append(str(path))
            pictures = _within(path, SUFFIXES)
        else:
            pictures = [path]
        for picture in pictures:
            # a link among the folders changes where .. leads to
            found.setdefault(os.path.join(os.path.realpath(picture.parent), picture.name), picture)
    if not found:
        raise ParameterError(
            f"{', '.join(searched)}: no picture in there; looked for names ending in "
            f"{', '.join(SUFFIXES)}"
            + ("; subfolders are not searched" if any(map(_has_subfolder, searched)) else "")
        )
    return list(found.values())


def list_others(paths: Iterable[Path]) -> list[Path]:
    """Pictures in the folders among ``paths`` that :func:`list_pictures` passes over."""
    folders = (path for path in paths if os.path.isdir(path))
    return [other for path in folders for other in _within(path, OTHER_SUFFIXES)]


def _has_subfolder(folder: str) -> bool:
    return any(path.is_dir() and not path.name.startswith(".") for path in Path(folder).iterdir())


def _within(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ParameterError(f"{folder}: cannot be listed ({error.strerror})") from None
    return [
        folder / name
        for name in names
        if not name.startswith(".")
        and name.lower().endswith(suffixes)
        and (folder / name).is_file()
    ]
