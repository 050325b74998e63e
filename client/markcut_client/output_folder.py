"""The files of a run: their names, and writing them whole or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from markcut_client.cutouts import Background
from markcut_client.errors import OutputError
from markcut_client.outputs import CocoAnnotations, labelme, png
from markcut_client.render import overlay
from markcut_client.results import Extraction

Format = Literal["json", "coco", "labelme"]
FORMATS: tuple[Format, ...] = ("json", "coco", "labelme")

COCO_FILE = "annotations.json"

_LONGEST_STEM = 180  # bytes; file systems allow 255 for a name
_PNG_OF = re.compile(r"(?P<stem>.+)_(?P<part>\d+|overlay)\.png", re.DOTALL)


class OutputFolder:
    """Writes the results of ``pictures``, whose paths are given before the first is processed.

    A picture's files carry its stem; of pictures with equal stems the second gets ``-2`` and so
    on. Everything that can go wrong is looked for here, at once: raises :class:`OutputError`
    where the folder cannot be written, where a file of an earlier run is in the way and
    ``overwrite`` is not set, and where a result would replace one of the pictures.
    """

    def __init__(
        self,
        folder: Path,
        pictures: Sequence[Path],
        *,
        format: Format = "json",
        background: Background = "white",
        with_overlay: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.folder = folder
        self._format = format
        self._background = background
        self._with_overlay = with_overlay
        self._stems = distinct_stems(pictures)
        self._folded = {stem.casefold() for stem in self._stems}
        self._coco = CocoAnnotations()
        make_writable(folder)
        self._leftovers = self._refuse_or_list(pictures, overwrite)

    def write(self, index: int, extraction: Extraction) -> None:
        """Write everything of picture ``index``."""
        stem = self._stems[index]
        for k, found in enumerate(extraction):
            if found.area:
                self._write_png(f"{stem}_{k}.png", found.cutout(background=self._background))
        if self._with_overlay:
            self._write_png(f"{stem}_overlay.png", overlay(extraction))
        if self._format == "coco":
            self._coco.add(extraction)
        elif self._format == "labelme":
            self._write_json(f"{stem}.json", labelme(extraction, folder=self.folder))
        else:
            self._write_json(f"{stem}.json", extraction.to_json())

    def finish(self) -> None:
        """Write what belongs to the run as a whole."""
        if self._format == "coco":
            self._write_json(COCO_FILE, self._coco.to_json())

    def leftovers(self) -> list[Path]:
        """Files with a result's name that an earlier run left and this one did not replace."""
        return [self.folder / name for name in sorted(self._leftovers)]

    def owns(self, path: Path) -> bool:
        """Whether ``path`` is, or may become, one of the results."""
        return path.resolve().parent == self.folder.resolve() and bool(self._owner(path.name))

    def _owner(self, name: str) -> str:
        """The stem, folded, whose results may be called ``name``; empty where none may."""
        if self._format == "coco" and name.casefold() == COCO_FILE:
            return COCO_FILE
        if self._format != "coco" and name.endswith(".json"):
            stem = name[: -len(".json")].casefold()
            return stem if stem in self._folded else ""
        match = _PNG_OF.fullmatch(name)
        if match and (match["part"] != "overlay" or self._with_overlay):
            stem = match["stem"].casefold()
            return stem if stem in self._folded else ""
        return ""

    def _refuse_or_list(self, pictures: Sequence[Path], overwrite: bool) -> set[str]:
        """Names of an earlier run's files, which this run may replace."""
        there = [name for name in sorted(os.listdir(self.folder)) if self._owner(name)]
        sources = {path.resolve() for path in pictures}
        for name in there:
            if (self.folder / name).resolve() in sources:
                raise OutputError(
                    f"{self.folder / name}: a result may take this name, and it is one of the "
                    "pictures; name another folder with --out"
                )
        if there and not overwrite:
            more = f" and {len(there) - 1} more" if len(there) > 1 else ""
            raise OutputError(
                f"{self.folder / there[0]}{more}: there already, from an earlier run; "
                "pass --overwrite to replace them or name another folder with --out"
            )
        return set(there)

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        text = json.dumps(content, indent=1, allow_nan=False)
        self._write(name, text.encode() + b"\n")

    def _write_png(self, name: str, image: Image.Image) -> None:
        self._write(name, png(image))

    def _write(self, name: str, data: bytes) -> None:
        write_whole(self.folder / name, data)
        self._leftovers.discard(name)


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it: nobody ever sees half a file."""
    part = path.with_name(f".{os.getpid()}.part")
    try:
        try:
            with open(part, "wb") as file:
                file.write(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


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
        probe = folder / f".{os.getpid()}.part"
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{folder}: cannot be written ({reason}); name another folder") from None


def distinct_stems(pictures: Sequence[Path]) -> list[str]:
    """A stem per picture, distinct where a file system ignores case, too."""
    taken: set[str] = set()
    stems = []
    for picture in pictures:
        plain = os.fsencode(picture.stem)[:_LONGEST_STEM].decode(errors="ignore")
        plain = plain or "picture"
        stem, count = plain, 1
        while stem.casefold() in taken:
            count += 1
            stem = f"{plain}-{count}"
        taken.add(stem.casefold())
        stems.append(stem)
    return stems
