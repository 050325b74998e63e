"""The files of a run: their names, and which of them are written together."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from markcut_client.cutouts import Background
from markcut_client.errors import OutputError
from markcut_client.outputs import CocoAnnotations, labelme, png
from markcut_client.prompted import Prompted
from markcut_client.render import overlay
from markcut_client.results import Extraction, Segmented
from markcut_client.whole_files import InTheWayError, make_writable, write_together

Format = Literal["json", "coco", "labelme"]
FORMATS: tuple[Format, ...] = ("json", "coco", "labelme")

COCO_FILE = "annotations.json"

_COCO_EVERY_S = 5.0  # the file of the whole run, while it goes on
_COCO_PAUSE = 20.0  # times what writing it took: large ones are written less often
_LONGEST_STEM = 180  # bytes; file systems allow 255 for a name
_PNG_OF = re.compile(r"(?P<stem>.+)_(?P<part>\d+|overlay)\.png", re.DOTALL)


class OutputFolder:
    """Writes the results of ``pictures``, whose paths are given before the first is processed.

    A picture's files carry its stem; of pictures with equal stems the second gets ``-2`` and so
    on. Everything that can go wrong is looked for here, at once: raises :class:`OutputError`
    where the folder cannot be written, where a file is in the way and
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
        self._overwrite = overwrite
        self._coco = CocoAnnotations()
        self._has_coco_file: bool | None = None  # whether it is this run's; None: not tried yet
        self._coco_due = 0.0  # when it is written next, by the monotonic clock
        make_writable(folder)
        self._leftovers = self._refuse_or_list(pictures)

    def write(self, index: int, extraction: Extraction) -> None:
        """Write everything of picture ``index``, or nothing.

        Raises :class:`~markcut_client.whole_files.InTheWayError` where only this picture's files
        cannot be written, and another :class:`OutputError` where no picture's can.
        """
        if self._format == "coco" and self._has_coco_file is None:
            self._claim_coco_file()
        self._write(self._files(self._stems[index], extraction))
        if self._format == "coco":
            self._coco.add(extraction)
            if time.monotonic() >= self._coco_due:  # whatever may end this process
                self._write_coco_file()

    def write_prompted(self, index: int, found: Prompted) -> None:
        """As :meth:`write`, of an answer to prompts."""
        stem = self._stems[index]

        def files() -> Iterator[tuple[str, bytes]]:
            yield f"{stem}.json", _json(found.to_json())
            yield from self._cutouts(stem, found)

        self._write(files())

    def finish(self) -> None:
        """Write what belongs to the run as a whole; nothing where no picture was done."""
        if self._has_coco_file and len(self._coco):
            self._write_coco_file()
        elif self._has_coco_file and not self._overwrite:
            (self.folder / COCO_FILE).unlink(missing_ok=True)

    def leftovers(self) -> list[Path]:
        """Files with a result's name that were there before and that this run did not replace."""
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

    def _refuse_or_list(self, pictures: Sequence[Path]) -> set[str]:
        """Names that this run's results may take and that files have: they may be replaced."""
        there = [
            name
            for name in sorted(os.listdir(self.folder))
            if self._owner(name) and not (self.folder / name).is_dir()
        ]
        sources = {path.resolve() for path in pictures}
        for name in there:
            if (self.folder / name).resolve() in sources:
                raise OutputError(
                    f"{self.folder / name}: a result may take this name, and it is one of the "
                    "pictures; name another folder with --out"
                )
        if there and not self._overwrite:
            more = f" and {len(there) - 1} more" if len(there) > 1 else ""
            raise OutputError(
                f"{self.folder / there[0]}{more}: there already, under names that results may "
                "take; pass --overwrite to replace them or name another folder with --out"
            )
        return set(there)

    def _files(self, stem: str, extraction: Extraction) -> Iterator[tuple[str, bytes]]:
        if self._format == "labelme":
            yield f"{stem}.json", _json(labelme(extraction, folder=self.folder))
        elif self._format == "json":
            yield f"{stem}.json", _json(extraction.to_json())
        yield from self._cutouts(stem, extraction)
        if self._with_overlay:
            yield f"{stem}_overlay.png", png(overlay(extraction))

    def _cutouts(self, stem: str, objects: Iterable[Segmented]) -> Iterator[tuple[str, bytes]]:
        for index, one in enumerate(objects):
            if one.area:
                yield f"{stem}_{index}.png", png(one.cutout(background=self._background))

    def _write(self, files: Iterable[tuple[str, bytes]]) -> None:
        self._leftovers -= set(write_together(self.folder, files, overwrite=self._overwrite))

    def _claim_coco_file(self) -> None:
        """Take its name before any picture's files, so that two runs do not share a folder.

        One that may be replaced stays what it is until there is something to say.
        """
        self._has_coco_file = False
        try:
            if not self._overwrite:
                self._write_coco_file()
            elif (self.folder / COCO_FILE).is_dir():
                raise OutputError(f"{self.folder / COCO_FILE}: a folder has this name")
        except InTheWayError as error:
            raise OutputError(str(error)) from None  # no picture could do without
        self._has_coco_file, self._coco_due = True, 0.0  # with the first picture it says something

    def _write_coco_file(self) -> None:
        start = time.monotonic()
        overwrite = self._overwrite or bool(self._has_coco_file)
        files = [(COCO_FILE, _json(self._coco.to_json()))]
        self._leftovers -= set(write_together(self.folder, files, overwrite=overwrite))
        end = time.monotonic()
        self._coco_due = end + max(_COCO_EVERY_S, _COCO_PAUSE * (end - start))


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode() + b"\n"


def distinct_stems(pictures: Sequence[Path]) -> list[str]:
    """A stem per picture, distinct where a file system ignores case, too."""
    taken: set[str] = set()
    stems = []
    for picture in pictures:
        cut = os.fsencode(picture.stem)[:_LONGEST_STEM]
        plain = cut.decode(sys.getfilesystemencoding(), errors="ignore")
        plain = plain or "picture"
        stem, count = plain, 1
        while stem.casefold() in taken:
            count += 1
            stem = f"{plain}-{count}"
        taken.add(stem.casefold())
        stems.append(stem)
    return stems
