"""An extraction drawn onto its picture, to be looked at by people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance

from markcut_client import drawing, wire
from markcut_client.drawing import Box, Colour
from markcut_client.errors import ParameterError
from markcut_client.results import Extraction, MarkedObject

__all__ = ["overlay"]

_SIDES = (1000, 2400)  # a smaller picture is enlarged, a larger one reduced: for the eye
_WHITE: Colour = (255, 255, 255)
_DARK: Colour = (24, 27, 33)
_COLOURS: tuple[Colour, ...] = (
    (0, 194, 255),
    (255, 92, 214),
    (124, 226, 58),
    (255, 170, 31),
    (150, 112, 255),
    (0, 214, 170),
    (255, 107, 87),
    (246, 226, 60),
)
_LABEL_SIDES = 1.9  # heights of a letter that a label is wider than its text
_TOO_CLOSE = 120.0  # RGB distance under which an outline would look like the ink


@dataclass(frozen=True)
class _Scale:
    """From pixels of the picture to pixels of the view, and the sizes of what is drawn there."""

    size: tuple[int, int]  # the view's width, height
    x: float
    y: float
    line: float  # width of outlines
    radius: float  # of points
    text: int  # height of letters

    @classmethod
    def of(cls, extraction: Extraction, side: int | None, emphasis: float) -> _Scale:
        longest = max(extraction.width, extraction.height)
        target = min(max(longest, _SIDES[0]), _SIDES[1]) if side is None else side
        scale = target / longest
        width = max(1, round(extraction.width * scale))
        height = max(1, round(extraction.height * scale))
        unit = emphasis * min(target / 1000, min(width, height) / 300)
        return cls(
            size=(width, height),
            x=width / extraction.width,
            y=height / extraction.height,
            line=max(2.6 * unit, 1.8),
            radius=max(9.0 * unit, 5.0),
            text=max(round(22 * unit), 13),
        )

    def box(self, xyxy: Sequence[float]) -> Box:
        x0, y0, x1, y1 = xyxy
        return (round(x0 * self.x), round(y0 * self.y), round(x1 * self.x), round(y1 * self.y))


def overlay(
    extraction: Extraction, *, side: int | None = None, emphasis: float = 1.0
) -> Image.Image:
    """The picture with every object in a colour of its own, as an RGB image.

    An object is tinted and outlined and the rest of the picture dimmed; the mark's ink is
    hatched in white; a disc with + or - stands where the engine was prompted; a label names the
    mark's kind and confidence. The longest side is ``side`` pixels, by default the picture's own,
    but at least 1000 and at most 2400: lines and letters need room. ``emphasis`` makes lines and
    letters that many times bolder, for a picture that will be shown small.
    """
    if side is not None and (isinstance(side, bool) or not isinstance(side, int) or side < 1):
        raise ParameterError(f"side: got {side!r}, expected whole pixels, 1 or more")
    scale = _Scale.of(extraction, side, emphasis)
    view = Image.fromarray(extraction.pixels).resize(scale.size, Image.Resampling.LANCZOS)
    if not extraction:
        return view
    colours = _choose_colours(extraction)
    drawn_on = view
    view = _tint(view, extraction, colours, scale)
    for found in extraction:
        _hatch_ink(view, drawn_on, found, scale)
    for found, colour in zip(extraction, colours, strict=True):
        _draw_points(view, found, colour, scale)
    _draw_labels(view, extraction, colours, scale)
    return view


def _choose_colours(extraction: Extraction) -> list[Colour]:
    """One colour per object, in a fixed order, leaving out what looks like the mark's own ink."""
    chosen: list[Colour] = []
    for found in extraction:
        x0, y0, x1, y1 = _box_of(found.mark.segmentation.bbox)
        ink = extraction.pixels[y0:y1, x0:x1][found.mark.mask[y0:y1, x0:x1]]
        mean = ink.mean(axis=0) if len(ink) else np.zeros(3)
        free = [colour for colour in _COLOURS if colour not in chosen[-len(_COLOURS) + 1 :]]
        fitting = [c for c in free if np.linalg.norm(np.subtract(c, mean)) > _TOO_CLOSE]
        chosen.append((fitting or free)[0])
    return chosen


def _tint(
    view: Image.Image, extraction: Extraction, colours: Sequence[Colour], scale: _Scale
) -> Image.Image:
    sigma = max(1.3, 0.55 * scale.x, 0.5 * scale.line)
    softs = [
        drawing.softened(found.mask, _box_of(found.bbox), scale.size, sigma)
        for found in extraction
        if found.area
    ]
    objects = Image.new("L", scale.size)
    for soft, at in softs:
        window = (*at, at[0] + soft.width, at[1] + soft.height)
        objects.paste(ImageChops.lighter(objects.crop(window), soft), at)
    dimmed = ImageEnhance.Brightness(ImageEnhance.Color(view).enhance(0.4)).enhance(0.78)
    view = Image.composite(view, dimmed, objects)
    colours = [c for c, found in zip(colours, extraction, strict=True) if found.area]
    for (soft, at), colour in zip(softs, colours, strict=True):
        drawing.stamp(view, soft, colour, at, by=0.2)
    for (soft, at), colour in zip(softs, colours, strict=True):
        drawing.stamp(view, drawing.band(soft, sigma, scale.line * 1.9), _WHITE, at, by=0.85)
        drawing.stamp(view, drawing.band(soft, sigma, scale.line), colour, at)
    return view


def _hatch_ink(
    view: Image.Image, drawn_on: Image.Image, found: MarkedObject, scale: _Scale
) -> None:
    if not found.mark.segmentation.area:
        return
    sigma = max(0.8, 0.4 * scale.x)
    box = _box_of(found.mark.segmentation.bbox)
    soft, at = drawing.softened(found.mark.mask, box, scale.size, sigma)
    window = (*at, at[0] + soft.width, at[1] + soft.height)
    view.paste(drawn_on.crop(window), at, soft)  # neither dimmed nor tinted
    pattern = drawing.stripes(soft.size, at, period=scale.line * 4)
    drawing.stamp(view, ImageChops.multiply(soft, pattern), _WHITE, at, by=0.55)
    drawing.stamp(view, drawing.band(soft, sigma, max(1.0, scale.line * 0.4)), _WHITE, at, by=0.9)


def _draw_points(view: Image.Image, found: MarkedObject, colour: Colour, scale: _Scale) -> None:
    rings = (
        (drawing.disc(scale.radius * 1.25), _DARK, 0.55),
        (drawing.disc(scale.radius), _WHITE, 1.0),
    )
    for (x, y), label in zip(found.points.tolist(), found.point_labels.tolist(), strict=True):
        sign = "+" if label == wire.FOREGROUND else "-"
        inner = colour if label == wire.FOREGROUND else _DARK
        layers = (
            *rings,
            (drawing.disc(scale.radius * 0.8), inner, 1.0),
            (drawing.disc(scale.radius, sign=sign), _WHITE, 1.0),
        )
        for opacity, fill, by in layers:
            corner = (
                round(x * scale.x - opacity.width / 2),
                round(y * scale.y - opacity.height / 2),
            )
            drawing.stamp(view, opacity, fill, corner, by=by)


def _draw_labels(
    view: Image.Image, extraction: Extraction, colours: Sequence[Colour], scale: _Scale
) -> None:
    marks = [scale.box(found.mark.box) for found in extraction]
    objects = [scale.box(_box_of(found.bbox)) for found in extraction]
    hides = [(box, 1.0) for box in marks] + [(box, 0.3) for box in objects]
    reach = scale.radius * 1.3
    for found in extraction:
        for x, y in (found.points * (scale.x, scale.y)).tolist():
            point = (int(x - reach), int(y - reach), int(x + reach), int(y + reach))
            hides.append((point, 2.0))
    for index, (found, colour) in enumerate(zip(extraction, colours, strict=True)):
        text = f"{found.mark.kind} {found.mark.score:.2f}"
        width, height = drawing.text_size(text, scale.text)
        size = (width + round(scale.text * _LABEL_SIDES), height + round(scale.text * 0.35))
        places = [
            place
            for box in (marks[index], objects[index])
            for place in _places(box, size, view.size, gap=round(scale.line * 2))
        ]
        costs = [
            sum(_overlap(place, box) * weight for box, weight in hides) / (size[0] * size[1])
            + 0.02 * order
            for order, place in enumerate(places)
        ]
        box = places[int(np.argmin(costs))]
        hides.append((box, 10.0))
        _draw_label(view, text, colour, box, scale)


def _draw_label(view: Image.Image, text: str, colour: Colour, box: Box, scale: _Scale) -> None:
    size = (box[2] - box[0], box[3] - box[1])
    rim = max(1, round(scale.text * 0.08))
    outer = drawing.rounded((size[0] + 2 * rim, size[1] + 2 * rim), size[1] / 2)
    drawing.stamp(view, outer, _WHITE, (box[0] - rim, box[1] - rim))
    drawing.stamp(view, drawing.rounded(size, size[1] / 2), _DARK, box[:2])
    dot = drawing.disc(scale.text * 0.28)
    at = (box[0] + round(scale.text * 0.8) - dot.width // 2, (box[1] + box[3] - dot.height) // 2)
    drawing.stamp(view, dot, colour, at)
    ImageDraw.Draw(view).text(
        (box[0] + scale.text * 1.3, (box[1] + box[3]) / 2 + scale.text * 0.34),
        text,
        fill=_WHITE,
        font=drawing.font(scale.text),
        anchor="ls",
    )


def _places(box: Box, size: tuple[int, int], view: tuple[int, int], *, gap: int) -> list[Box]:
    """Where a label of ``size`` may stand next to ``box``, the best places first."""
    width, height = size
    x0, y0, x1, y1 = box
    middle = (x0 + x1 - width) // 2
    corners = (
        (middle, y0 - gap - height),
        (middle, y1 + gap),
        (x1 + gap, (y0 + y1 - height) // 2),
        (x0 - gap - width, (y0 + y1 - height) // 2),
        (x0, y0 - gap - height),
        (x1 - width, y0 - gap - height),
        (x0, y1 + gap),
        (x1 - width, y1 + gap),
    )
    places = []
    for x, y in corners:
        left = min(max(x, gap), max(view[0] - gap - width, 0))
        top = min(max(y, gap), max(view[1] - gap - height, 0))
        places.append((left, top, left + width, top + height))
    return places


def _overlap(a: Box, b: Box) -> int:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def _box_of(bbox: tuple[int, int, int, int]) -> Box:
    x, y, width, height = bbox
    return (x, y, x + width, y + height)
