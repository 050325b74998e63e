"""Many extractions on one picture: overlays with their cut-outs, for a first look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath

import numpy as np
from PIL import Image, ImageDraw

from markcut_client import drawing
from markcut_client.drawing import Colour
from markcut_client.errors import ParameterError
from markcut_client.render import overlay
from markcut_client.results import Extraction

__all__ = ["arrange", "card", "sheet"]

_CARD = 640  # width of a card, pixels
_OVERLAY = (420, 400)  # most that an overlay takes of it: width, height
_LOW = 150  # least height of a card's pictures
_TILE = 230  # most that a cut-out takes
_MOST = 6  # cut-outs on one card
_PAD = 14
_GAP = 18
_TEXT_SIZE = 15
_PAPER: Colour = (234, 237, 242)
_WHITE: Colour = (255, 255, 255)
_RIM: Colour = (212, 217, 225)
_TEXT: Colour = (38, 42, 51)
_FAINT: Colour = (128, 134, 146)
_CHECKS: tuple[Colour, Colour] = ((240, 242, 246), (218, 223, 231))
_CHECK = 9


def sheet(extractions: Iterable[Extraction], *, columns: int | None = None) -> Image.Image:
    """Overlays and cut-outs of all ``extractions`` as one RGB image.

    ``columns`` of cards, 640 pixels wide, stand side by side; by default as many as make the
    sheet about square. Raises :class:`ParameterError` without any extraction.
    """
    return arrange([card(extraction) for extraction in extractions], columns=columns)


def card(extraction: Extraction) -> Image.Image:
    """One picture's part of a sheet: its overlay, its cut-outs and a line of text."""
    picture = _overlay(extraction)
    height = max(picture.height, _LOW)
    face = Image.new("RGB", (_CARD, height + 2 * _PAD + 2 * _TEXT_SIZE), _WHITE)
    face.paste(picture, (_PAD, _PAD), drawing.rounded(picture.size, 6))
    left = picture.width + 2 * _PAD
    _lay_out_cutouts(face, extraction, (left, _PAD, _CARD - _PAD, _PAD + height))
    _write_caption(face, extraction)
    return face


def arrange(cards: Sequence[Image.Image], *, columns: int | None = None) -> Image.Image:
    """Cards in columns of about equal height."""
    if not cards:
        raise ParameterError("sheet: got no extraction, expected at least one")
    if columns is None:
        total = sum(face.height + _GAP for face in cards)
        columns = round((total / (_CARD + _GAP)) ** 0.5)
    columns = min(max(1, columns), len(cards))
    heights = [_GAP] * columns
    places = []
    for face in cards:
        column = int(np.argmin(heights))
        places.append((_GAP + column * (_CARD + _GAP), heights[column]))
        heights[column] += face.height + _GAP
    paper = Image.new("RGB", (_GAP + columns * (_CARD + _GAP), max(heights)), _PAPER)
    for face, (x, y) in zip(cards, places, strict=True):
        rim = drawing.rounded((face.width + 2, face.height + 2), 11)
        drawing.stamp(paper, rim, _RIM, (x - 1, y - 1))
        paper.paste(face, (x, y), drawing.rounded(face.size, 10))
    return paper


def _overlay(extraction: Extraction) -> Image.Image:
    """The overlay in the size it has on a card, drawn at twice that for finer lines."""
    fit = min(_OVERLAY[0] / extraction.width, _OVERLAY[1] / extraction.height)
    size = (max(1, round(extraction.width * fit)), max(1, round(extraction.height * fit)))
    twice = overlay(extraction, side=2 * max(size), emphasis=1.7)
    return twice.resize(size, Image.Resampling.LANCZOS)


def _lay_out_cutouts(
    face: Image.Image, extraction: Extraction, room: tuple[int, int, int, int]
) -> None:
    """Tiles as large as ``room`` (xyxy) allows, in the arrangement that makes them largest."""
    cutouts = [found for found in extraction if found.area]
    if not cutouts:
        text = "no mark found" if not extraction else "no object found"
        at = ((room[0] + room[2]) / 2, (room[1] + room[3]) / 2)
        ImageDraw.Draw(face).text(
            at, text, fill=_FAINT, font=drawing.font(_TEXT_SIZE + 2), anchor="mm"
        )
        return
    width, height, gap = room[2] - room[0], room[3] - room[1], 8
    shown = cutouts[:_MOST]

    def side_with(columns: int) -> int:
        rows = -(-len(shown) // columns)
        return min(
            _TILE, (width - (columns - 1) * gap) // columns, (height - (rows - 1) * gap) // rows
        )

    columns = max(range(1, len(shown) + 1), key=side_with)
    side = side_with(columns)
    left = room[0] + (width - columns * (side + gap) + gap) // 2
    for index, found in enumerate(shown):
        row, column = divmod(index, columns)
        at = (left + column * (side + gap), room[1] + row * (side + gap))
        tile = _tile(found.cutout(background="transparent"), side)
        face.paste(tile, at, drawing.rounded(tile.size, 6))


def _tile(cutout: Image.Image, side: int) -> Image.Image:
    """A cut-out in the middle of a chequered square."""
    steps = np.arange(side) // _CHECK
    dark = (steps[:, None] + steps[None, :]) % 2
    tile = Image.fromarray(np.array(_CHECKS, np.uint8)[dark])
    room = side - 12
    fit = min(room / cutout.width, room / cutout.height, 3.0)
    size = (max(1, round(cutout.width * fit)), max(1, round(cutout.height * fit)))
    small = cutout.resize(size, Image.Resampling.LANCZOS)
    tile.paste(small, ((side - size[0]) // 2, (side - size[1]) // 2), small)
    return tile


def _write_caption(face: Image.Image, extraction: Extraction) -> None:
    name = PurePath(extraction.picture).name or "picture"
    count = len(extraction)
    facts = f"{extraction.width} x {extraction.height}   "
    facts += f"{count} object{'' if count == 1 else 's'}   {extraction.stage_ms['total']:.0f} ms"
    more = count - _MOST
    if more > 0:
        facts += f"   ({more} not shown)"
    canvas = ImageDraw.Draw(face)
    font = drawing.font(_TEXT_SIZE)
    base = face.height - _PAD
    canvas.text((_CARD - _PAD, base), facts, fill=_FAINT, font=font, anchor="rs")
    room = _CARD - 3 * _PAD - drawing.text_size(facts, _TEXT_SIZE)[0]
    while len(name) > 4 and drawing.text_size(name, _TEXT_SIZE)[0] > room:
        name = name[:-4] + "..."
    canvas.text((_PAD, base), name, fill=_TEXT, font=font, anchor="ls")
