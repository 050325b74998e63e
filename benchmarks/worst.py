"""The sheet of the worst cases: what was drawn, what is true, what was answered."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.judging import Found, MarkOutcome, PictureOutcome
from benchmarks.matching import Box, Mask, Region
from markcut_client.results import Extraction, MarkedObject
from markcut_client.wire import FOREGROUND
from training.scenes import Scene, SceneMark

_TILE = 260
_GAP = 8
_CAPTION = 34
_COLUMNS = 2
_PAPER, _TEXT, _TITLE = (24, 24, 28), (226, 226, 230), (255, 220, 120)
_OBJECT, _INK, _POINT = (60, 255, 120), (255, 60, 220), (255, 255, 255)
_LEAST_CROP = 96  # pixels of a picture that a tile shows at least

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Card:
    """Three tiles beside each other and two lines of text; the lowest ``order`` is the worst."""

    order: float
    picture: Image.Image


class Shelf:
    """The worst cards of one sort, at most ``room`` of them."""

    def __init__(self, title: str, *, room: int) -> None:
        self.title = title
        self.cards: list[Card] = []
        self._room = room

    def offer(self, order: float, draw: Callable[[], Image.Image]) -> None:
        """Keep the card that ``draw`` makes if it is among the worst; else it is not drawn."""
        if len(self.cards) == self._room and order >= self.cards[-1].order:
            return
        self.cards.append(Card(order, draw()))
        self.cards.sort(key=lambda card: card.order)
        del self.cards[self._room :]


class WorstCases:
    """Collects the worst cases of a run; holds small pictures only."""

    def __init__(self) -> None:
        self._wrong = Shelf("found marks, lowest object IoU first", room=20)
        self._missed = Shelf("missed marks, most ink first", room=8)
        self._false = Shelf("false marks, highest score first", room=8)

    def offer(self, scene: Scene, extraction: Extraction | None, outcome: PictureOutcome) -> None:
        """Take in one picture's cases."""
        answers = () if extraction is None else extraction.objects
        head = f"{outcome.size} {outcome.width} x {outcome.height}, seed {outcome.seed}"
        for mark, drawn in zip(outcome.marks, scene.marks, strict=True):
            found = mark.found
            if found is None:
                ink = -float(np.count_nonzero(drawn.ink)) / drawn.ink.size
                lines = (head, f"{mark.kind}, {mark.stroke_width:.0f} px wide: missed")
                self._missed.offer(ink, _drawer(scene, drawn, None, lines))
            else:
                answer = answers[found.index]
                lines = (head + f": IoU {found.object_iou:.2f}", _numbers(mark, found, answer))
                self._wrong.offer(found.object_iou, _drawer(scene, drawn, answer, lines))
        for false in outcome.false_marks:
            answer = answers[false.index]
            lines = (head, f"called {false.kind} with score {answer.mark.score:.2f}")
            self._false.offer(-answer.mark.score, _drawer(scene, None, answer, lines))

    def png(self) -> bytes:
        """The sheet as a PNG file."""
        buffer = io.BytesIO()
        _arranged([self._wrong, self._missed, self._false]).save(buffer, "PNG", compress_level=3)
        return buffer.getvalue()


def _numbers(mark: MarkOutcome, found: Found, answer: MarkedObject) -> str:
    kind = mark.kind if mark.kind == found.kind else f"{mark.kind} called {found.kind}"
    point = "on the object" if found.point_hit else "OFF"
    return f"{kind}, ink {found.ink_iou:.2f}, point {point}; {answer.reason}"


def _drawer(
    scene: Scene, drawn: SceneMark | None, answer: MarkedObject | None, lines: Iterable[str]
) -> Callable[[], Image.Image]:
    return lambda: _card(scene, drawn, answer, list(lines))


def _card(
    scene: Scene, drawn: SceneMark | None, answer: MarkedObject | None, lines: list[str]
) -> Image.Image:
    truth = [] if drawn is None else [(scene.object_mask(drawn), _OBJECT), (drawn.ink, _INK)]
    answered = [] if answer is None else [(answer.mask, _OBJECT), (answer.mark.mask, _INK)]
    window = _window([mask for mask, _ in truth + answered], scene.picture.shape[:2])
    tiles = [_Tile(scene.picture, window) for _ in range(3)]
    for tile, masks in zip(tiles[1:], (truth, answered), strict=True):
        for mask, colour in masks:
            tile.outline(mask, colour)
    if answer is not None:
        for x, y in answer.points[answer.point_labels == FOREGROUND]:
            tiles[2].point(float(x), float(y))
    card = Image.new("RGB", (3 * _TILE + 2 * 4, _TILE + _CAPTION), _PAPER)
    for column, tile in enumerate(tiles):
        card.paste(Image.fromarray(tile.pixels), (column * (_TILE + 4), 0))
    pen, font = ImageDraw.Draw(card), ImageFont.load_default(12)
    for row, line in enumerate(lines):
        pen.text((2, _TILE + 2 + 15 * row), line[:128], fill=_TEXT, font=font)
    return card


class _Tile:
    """A part of a picture on a square, and drawing on it in the picture's coordinates."""

    def __init__(self, picture: Picture, window: Box) -> None:
        self._window = window
        x0, y0, x1, y1 = window
        self._scale = _TILE / max(x1 - x0, y1 - y0)
        self.pixels = np.full((_TILE, _TILE, 3), _PAPER, np.uint8)
        part = self._fitted(picture[y0:y1, x0:x1])
        self.pixels[: part.shape[0], : part.shape[1]] = part

    def outline(self, mask: Mask, colour: tuple[int, int, int]) -> None:
        x0, y0, x1, y1 = self._window
        cover = self._fitted(mask[y0:y1, x0:x1].astype(np.uint8) * 255)
        inside = (cover > 100).astype(np.uint8)
        contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(self.pixels, contours, -1, colour, 1)

    def point(self, x: float, y: float) -> None:
        at = (
            round((x - self._window[0]) * self._scale),
            round((y - self._window[1]) * self._scale),
        )
        cv2.circle(self.pixels, at, 4, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(self.pixels, at, 3, _POINT, -1, cv2.LINE_AA)

    def _fitted(self, part: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = tuple(max(1, round(side * self._scale)) for side in part.shape[1::-1])
        how = cv2.INTER_AREA if self._scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(part, size, interpolation=how), np.uint8)


def _window(masks: list[Mask], shape: tuple[int, int]) -> Box:
    """A square around all ``masks`` with a margin, cut off at the borders of ``shape`` (h, w)."""
    boxes = [box for mask in masks if (box := Region(mask).box) != (0, 0, 0, 0)]
    corners = np.array(boxes or [(0, 0, shape[1], shape[0])], np.float64)
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    side = max(1.3 * float((high - low).max()), _LEAST_CROP)
    start = np.clip((low + high - side) / 2, 0, None).astype(int)
    end = np.minimum(np.ceil((low + high + side) / 2).astype(int), shape[::-1])
    return (int(start[0]), int(start[1]), int(end[0]), int(end[1]))


def _arranged(shelves: list[Shelf]) -> Image.Image:
    font = ImageFont.load_default(16)
    step = (3 * _TILE + 2 * 4 + 3 * _GAP, _TILE + _CAPTION + _GAP)
    rows = [-(-len(shelf.cards) // _COLUMNS) for shelf in shelves]
    height = _GAP + sum(32 + max(1, count) * step[1] if count else 56 for count in rows)
    sheet = Image.new("RGB", (_GAP + _COLUMNS * step[0], height), _PAPER)
    pen, y = ImageDraw.Draw(sheet), _GAP
    for shelf, count in zip(shelves, rows, strict=True):
        pen.text((_GAP, y), shelf.title, fill=_TITLE, font=font)
        if not count:
            pen.text((_GAP, y + 26), "none", fill=_TEXT, font=font)
        y += 32
        for number, card in enumerate(shelf.cards):
            row, column = divmod(number, _COLUMNS)
            sheet.paste(card.picture, (_GAP + column * step[0], y + row * step[1]))
        y += count * step[1] if count else 24
    return sheet
