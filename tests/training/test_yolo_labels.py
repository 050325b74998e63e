"""Labels of a user's own pictures: formats, keyholes, and errors that name file and remedy."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from markcut.contracts import KINDS
from training.errors import TrainingError
from training.yolo.labels import LabelledPicture, read_folder

WIDTH, HEIGHT = 80, 60


def add_picture(
    folder: Path, name: str = "photo.png", *, size: tuple[int, int] | None = None
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size or (WIDTH, HEIGHT), (200, 190, 180)).save(folder / name)


def yolo(folder: Path, text: str, name: str = "photo.txt") -> list[LabelledPicture]:
    add_picture(folder)
    (folder / name).write_text(text)
    return read_folder(folder)


def labelme(folder: Path, shapes: Any, **more: Any) -> list[LabelledPicture]:
    add_picture(folder)
    (folder / "photo.json").write_text(json.dumps({"shapes": shapes} | more))
    return read_folder(folder)


SQUARE = [[20, 10], [40, 10], [40, 30], [20, 30]]


def test_yolo_polygon_becomes_ink(tmp_path: Path) -> None:
    (picture,) = yolo(tmp_path, "1 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5\n\n")
    (mark,) = picture.marks
    assert KINDS[mark.kind] == "circle"
    ink = mark.ink(HEIGHT, WIDTH)
    assert ink[15:30, 20:40].all()
    assert ink.sum() == pytest.approx(15 * 20, rel=0.1)


def test_keyhole_leaves_the_hole_open(tmp_path: Path) -> None:
    outer = [(10, 10), (70, 10), (70, 50), (10, 50), (10, 10)]
    inner = [(25, 20), (25, 40), (55, 40), (55, 20), (25, 20)]
    points = " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in [*outer, *inner])
    ink = yolo(tmp_path, f"1 {points}")[0].marks[0].ink(HEIGHT, WIDTH)
    assert ink[15, 40]
    assert ink[30, 15]
    assert not ink[30, 40]


def test_empty_label_file_says_that_nothing_is_drawn(tmp_path: Path) -> None:
    assert yolo(tmp_path, "")[0].marks == ()


def test_labels_folder_beside_images_and_other_class_order(tmp_path: Path) -> None:
    add_picture(tmp_path / "images")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "photo.txt").write_text("1 0.1 0.1 0.4 0.1 0.4 0.4")
    (tmp_path / "data.yaml").write_text("names: [tick, dot]\n")
    assert KINDS[read_folder(tmp_path)[0].marks[0].kind] == "dot"
    (tmp_path / "data.yaml").write_text("names: {0: tick, 1: arrow}\n")
    assert KINDS[read_folder(tmp_path)[0].marks[0].kind] == "arrow"


def test_pictures_without_labels_are_left_out(tmp_path: Path) -> None:
    add_picture(tmp_path, "unlabelled.png")
    assert [p.path.name for p in yolo(tmp_path, "")] == ["photo.png"]


def test_labelme_polygons_and_groups(tmp_path: Path) -> None:
    other = (np.array(SQUARE) + [30, 20]).tolist()
    shapes = [
        {"label": "cross", "points": SQUARE, "shape_type": "polygon", "group_id": 3},
        {"label": "cross", "points": other, "shape_type": "polygon", "group_id": 3},
        {"label": "dot", "points": [[1, 1], [6, 6]], "shape_type": "rectangle"},
        {"label": "dot", "points": SQUARE, "group_id": None},
    ]
    (picture,) = labelme(tmp_path, shapes, imageHeight=HEIGHT, imageWidth=WIDTH)
    assert [KINDS[m.kind] for m in picture.marks] == ["cross", "dot", "dot"]
    assert picture.marks[0].ink(HEIGHT, WIDTH).sum() == pytest.approx(800, rel=0.15)


def mask_shape(patch: np.ndarray, x: int, y: int, **fields: Any) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(patch.astype(np.uint8)).save(buffer, "PNG")
    height, width = patch.shape
    return {
        "label": "circle",
        "shape_type": "mask",
        "points": [[x, y], [x + width - 1, y + height - 1]],
        "mask": base64.b64encode(buffer.getvalue()).decode(),
        **fields,
    }


def test_masks_are_read_to_the_pixel_and_objects_passed_by(tmp_path: Path) -> None:
    """What ``markcut extract --format labelme`` writes can be corrected and learned from."""
    patch = np.random.default_rng(0).random((20, 30)) > 0.5
    shapes = [
        mask_shape(np.ones((5, 5)), 2, 2, label="object", group_id=0),
        mask_shape(patch, 12, 7, group_id=0),
    ]
    (picture,) = labelme(tmp_path, shapes)
    (mark,) = picture.marks
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[7:27, 12:42] = patch
    assert KINDS[mark.kind] == "circle"
    assert (mark.ink(HEIGHT, WIDTH) == expected).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9 0.1 0.1 0.2 0.1 0.2 0.2", r"photo.txt, line 1: unknown class 9, expected 0..6"),
        ("0.5 0.1 0.1 0.2 0.1 0.2 0.2", "unknown class 0.5"),
        ("1 0.5 0.5 0.2 0.2", "line 1: this is a box, expected a polygon"),
        ("1 0.1 0.1 0.2 0.1", "this is a box"),
        ("1 0.1 0.1 0.2 0.1 0.2", "got 6 numbers"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2\narrow 1 2", "line 2: expected numbers"),
        ("1 10 10 20 10 20 20", "parts of the picture's side"),
        ("1 nan 0.1 0.2 0.1 0.2 0.2", "parts of the picture's side"),
    ],
)
def test_wrong_yolo_lines_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        yolo(tmp_path, text)


@pytest.mark.parametrize(
    ("shapes", "more", "message"),
    [
        (
            [{"label": "star", "points": SQUARE}],
            {},
            "shape 1: unknown label 'star', expected one of arrow",
        ),
        ([{"points": SQUARE}], {}, "unknown label None"),
        ([{"label": "dot", "points": SQUARE[:2]}], {}, "got 2 points"),
        ([{"label": "dot"}], {}, "points are missing"),
        ([{"label": "dot", "points": SQUARE, "shape_type": "circle"}], {}, "shape_type 'circle'"),
        ([mask_shape(np.ones((3, 4)), 1, 1, mask="AAAA")], {}, "shape 1: no mask"),
        ([mask_shape(np.ones((3, 4)), 1, 1, points=[[0, 0], [9, 9]])], {}, "4 x 3 pixels"),
        ({"a": 1}, {}, "no labelme file"),
        ([7], {}, "expected an object"),
        ([], {"imageHeight": 5, "imageWidth": 6}, "made for a picture of height, width"),
    ],
)
def test_wrong_labelme_files_are_named(
    tmp_path: Path, shapes: Any, more: dict[str, int], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        labelme(tmp_path, shapes, **more)


def test_other_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is no folder"):
        read_folder(tmp_path / "absent")
    with pytest.raises(TrainingError, match="no labelled picture below"):
        read_folder(tmp_path)
    (tmp_path / "data.yaml").write_text("classes: 3")
    with pytest.raises(TrainingError, match="names of classes"):
        yolo(tmp_path, "")
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "photo.json").write_text("{")
    with pytest.raises(TrainingError, match="no labelme file"):
        read_folder(tmp_path)
    (tmp_path / "photo.json").unlink()
    (tmp_path / "photo.png").write_bytes(b"no picture")
    with pytest.raises(TrainingError, match=r"photo.png: cannot be read"):
        read_folder(tmp_path)
