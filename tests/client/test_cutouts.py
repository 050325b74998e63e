from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from markcut_client import Client, MarkedObject, ParameterError


@pytest.fixture
def found(transport: Any, answer: Callable[..., Any]) -> MarkedObject:
    """A red disc on green, mask a pixel too large: its rim is the background's."""
    height, width = 60, 80
    ys, xs = np.mgrid[:height, :width]
    distance = np.hypot(xs + 0.5 - width / 2, ys + 0.5 - height / 2)
    picture = np.where((distance < 17)[..., None], (200, 20, 20), (20, 220, 20)).astype(np.uint8)
    return Client(transport).extract(picture)[0]  # the mask's radius is 18


def test_sizes_and_modes(found: MarkedObject) -> None:
    x, y, width, height = found.bbox
    assert found.cutout().size == (width, height)
    assert found.cutout(margin=5).size == (width + 10, height + 10)
    assert found.cutout(margin=1000).size == (80, 60)  # never beyond the picture
    assert found.cutout().mode == "RGB"
    assert found.cutout(background="transparent").mode == "RGBA"
    original = np.asarray(found.cutout(background="original", margin=2))
    wanted = found.source.pixels[y - 2 : y + height + 2, x - 2 : x + width + 2]
    assert np.array_equal(original, wanted)


@pytest.mark.parametrize("background", ["white", (0, 0, 0), (10, 30, 30)])
def test_on_a_colour(found: MarkedObject, background: Any) -> None:
    cutout = np.asarray(found.cutout(background=background, margin=6)).astype(int)
    colour = (255, 255, 255) if background == "white" else background
    assert cutout[0, 0].tolist() == list(colour)
    assert cutout[cutout.shape[0] // 2, cutout.shape[1] // 2].tolist() == [200, 20, 20]
    # no halo: the disc and its new background hold as much green as blue, the old one much more
    assert np.abs(cutout[..., 1] - cutout[..., 2]).max() < 12


def test_edges_are_smooth(found: MarkedObject) -> None:
    alpha = np.asarray(found.cutout(background="transparent", margin=4))[..., 3].astype(int)
    assert alpha[0, 0] == 0
    assert alpha.max() == 255
    soft = (alpha > 0) & (alpha < 255)
    perimeter = 2 * np.pi * 18
    assert perimeter < soft.sum() < 4 * perimeter
    assert abs(alpha.sum() / 255 - found.area) < 0.05 * found.area


def test_nothing_of_the_background_stays_in_the_file(found: MarkedObject) -> None:
    rgba = np.asarray(found.cutout(background="transparent", margin=6))
    assert (rgba[rgba[..., 3] == 0][:, :3] == 255).all()


def test_object_at_the_picture_s_edge_has_no_seam(
    transport: Any, answer: Callable[..., Any]
) -> None:
    outputs = answer(20, 30)
    whole = bytes([*b"0", *b"hb0"])  # 600 pixels, all inside
    outputs["object_masks"][0] = whole
    transport.infer = lambda *_: outputs
    found = Client(transport).extract(np.full((20, 30, 3), 7, np.uint8))[0]
    assert found.area == 600
    assert (np.asarray(found.cutout(margin=3)) == 7).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "blue"}, "background: got 'blue', expected 'white'"),
        ({"background": (1, 2)}, "background: got"),
        ({"background": np.array([1, 2])}, r"background: got \[1, 2\], expected"),
        ({"background": np.array(7)}, "background: got 7, expected"),
        ({"background": np.zeros((3, 9), int)}, r"background: got \[\[0, 0"),
        ({"background": np.array([0.5, 0, 0])}, r"background: got \[0.5, 0"),
        ({"background": [[1], [2, 3], 4]}, "background: got"),
        ({"background": b"abc"}, "background: got b'abc'"),
        ({"background": None}, "background: got None"),
        ({"background": (0, 0, 256)}, "background: got"),
        ({"margin": -1}, "margin: got -1"),
        ({"margin": 1.5}, "margin: got 1.5"),
    ],
)
def test_wrong_options(found: MarkedObject, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        found.cutout(**options)


@pytest.mark.parametrize("kind", [tuple, list, np.array, lambda values: np.array(values, np.uint8)])
def test_ways_to_write_a_colour(found: MarkedObject, kind: Callable[[Any], Any]) -> None:
    for values in ([0, 128, 255], np.array([0, 128, 255])):
        margin: Any = np.int64(3)
        cutout = found.cutout(background=kind(values), margin=margin)
        assert cutout.getpixel((0, 0)) == (0, 128, 255)


def test_empty_mask(transport: Any, answer: Callable[..., Any]) -> None:
    outputs = answer(20, 30)
    outputs["object_masks"][0] = b"hb0"  # 600 pixels, all outside
    transport.infer = lambda *_: outputs
    found = Client(transport).extract(Image.new("RGB", (30, 20)))[0]
    assert found.bbox == (0, 0, 0, 0)
    with pytest.raises(ParameterError, match="the object's mask is empty"):
        found.cutout()
