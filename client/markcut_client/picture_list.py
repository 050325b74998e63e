"""Paths on the command line to the pictures they mean."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from markcut_client.errors import ParameterError
from markcut_client.pictures import SUFFIXES


def list_pictures(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, folders as the pictures within, sorted by name; none twice.

    A folder's subfolders and hidden files are left out. Raises :class:`ParameterError` for a path
    where nothing is, a folder that cannot be listed, and when no picture comes of it all.
    """
    found: dict[Path, Path] = {}
    searched = []
    for path in paths:
        if path.is_dir():
            searched.append(str(path))
            pictures = _within(path)
        elif path.exists():
            pictures = [path]
        else:
            raise ParameterError(f"{path}: there is no such file or folder")
        for picture in pictures:
            found.setdefault(picture.resolve(), picture)
    if not found:
        raise ParameterError(
            f"{', '.join(searched)}: no picture in there; looked for names ending in "
            f"{', '.join(SUFFIXES)}"
        )
    return list(found.values())


def _within(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ParameterError(f"{folder}: cannot be listed ({error.strerror})") from None
    return [
        folder / name
        for name in names
        if not name.startswith(".")
        and name.lower().endswith(SUFFIXES)
        and (folder / name).is_file()
    ]
