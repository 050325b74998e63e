"""Generated scenes: the same for a seed, and true."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from markcut.contracts import KINDS
from training.__main__ import COMMANDS, main
from training.scenes import Scene, SceneMark, generate
from training.scenes.photos import PhotoPool
from training.scenes.polygons import mask_polygon
from training.scenes.strokes import Stroke, bounds, coverage

SIZE = (320, 400)


@pytest.fixture(scope="module")
def photos() -> PhotoPool:
    return PhotoPool.load(None)


@pytest.fixture(scope="module")
def scenes(photos: PhotoPool) -> list[Scene]:
    return [generate(seed, photos=photos, size=SIZE, marks=3) for seed in range(40)]


@pytest.fixture(scope="module")
def marked(scenes: list[Scene]) -> list[tuple[Scene, SceneMark]]:
    return [(scene, mark) for scene in scenes for mark in scene.marks]


def test_equal_seeds_give_equal_scenes(photos: PhotoPool) -> None:
    one, two = (generate(7, photos=photos, size=SIZE, marks=2) for _ in range(2))
    assert np.array_equal(one.picture, two.picture)
    assert np.array_equal(one.clean, two.clean)
    assert [m.kind for m in one.marks] == [m.kind for m in two.marks]
    assert all(np.array_equal(a.ink, b.ink) for a, b in zip(one.marks, two.marks, strict=True))
    assert not np.array_equal(one.picture, generate(8, photos=photos, size=SIZE).picture)


def test_arrays_agree_in_shape_and_type(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.picture.shape == scene.clean.shape == (*SIZE, 3)
        assert scene.picture.dtype == scene.clean.dtype == np.uint8
        assert scene.instances.shape == SIZE
        assert scene.picture.flags.writeable
        assert all(m.ink.shape == SIZE and m.ink.dtype == np.bool_ for m in scene.marks)


def test_every_kind_is_drawn(marked: list[tuple[Scene, SceneMark]]) -> None:
    assert set(Counter(mark.kind for _, mark in marked)) == set(KINDS)


def test_ink_is_visible_and_means_an_object(marked: list[tuple[Scene, SceneMark]]) -> None:
    for scene, mark in marked:
        assert mark.ink.any()
        change = np.abs(scene.picture[mark.ink].astype(int) - scene.clean[mark.ink])
        assert change.max(axis=1).mean() > 10, (scene.seed, mark.kind)
        assert mark.instance in scene.markable
        assert scene.object_mask(mark).any()


def test_nothing_but_ink_changes_far_from_marks(scenes: list[Scene]) -> None:
    for scene in scenes:
        ink = np.zeros(SIZE, np.uint8)
        for mark in scene.marks:
            ink[mark.ink] = 1
        reach = 2 * int(max((m.width for m in scene.marks), default=0) * 3 + 20) + 1
        near = cv2.dilate(ink, np.ones((reach, reach), np.uint8)) > 0
        assert np.array_equal(scene.picture[~near], scene.clean[~near])


def test_marks_of_a_picture_mean_different_objects(scenes: list[Scene]) -> None:
    for scene in scenes:
        meant = [mark.instance for mark in scene.marks]
        assert len(set(meant)) == len(meant)
        inks = sum(mark.ink.astype(int) for mark in scene.marks)
        assert (np.asarray(inks) > 1).sum() <= 0.1 * (np.asarray(inks) > 0).sum()


def test_ink_of_marks_on_objects_lies_on_them(marked: list[tuple[Scene, SceneMark]]) -> None:
    for scene, mark in marked:
        if mark.kind in ("cross", "dot", "line", "tick"):
            assert scene.object_mask(mark)[mark.ink].mean() > 0.4, (scene.seed, mark.kind)


def test_an_arrow_points_at_the_object_first(photos: PhotoPool) -> None:
    seen = 0
    for seed in range(30):
        scene = generate(seed, photos=photos, size=SIZE, marks=2, kinds=["arrow"])
        for mark in scene.marks:
            assert mark.tip is not None
            ys, xs = np.nonzero(mark.ink)
            away = np.array(mark.tip) - (xs.mean(), ys.mean())
            away /= np.hypot(*away)
            # the centre of a bent arrow is beside its axis: any ray of a narrow fan may hit
            assert any(_first_met(scene, mark.tip, away, turn) == mark.instance
                       for turn in np.linspace(-0.5, 0.5, 11))  # fmt: skip
            seen += 1
    assert seen > 10


def _first_met(scene: Scene, tip: tuple[float, float], to: np.ndarray, turn: float) -> int | None:
    c, s = np.cos(turn), np.sin(turn)
    dx, dy = to[0] * c - to[1] * s, to[0] * s + to[1] * c
    for at in range(int(0.06 * np.hypot(*SIZE)) + 4):
        x, y = int(tip[0] + dx * at), int(tip[1] + dy * at)
        if not (0 <= x < SIZE[1] and 0 <= y < SIZE[0]):
            return None
        if scene.instances[y, x]:
            return int(scene.instances[y, x])
    return None


def test_a_circle_holds_most_of_its_object(photos: PhotoPool) -> None:
    seen = 0
    for seed in range(30):
        scene = generate(seed, photos=photos, size=SIZE, marks=2, kinds=["circle"])
        for mark in scene.marks:
            wide = cv2.dilate(mark.ink.astype(np.uint8), np.ones((3, 3), np.uint8))
            contours, _ = cv2.findContours(wide, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            hull = cv2.convexHull(np.concatenate(contours))  # open loops included
            inside = cv2.fillConvexPoly(np.zeros(SIZE, np.uint8), hull, 1) > 0
            assert inside[scene.object_mask(mark)].mean() >= 0.7
            seen += 1
    assert seen > 10


def test_no_marks_when_none_are_asked_for(photos: PhotoPool) -> None:
    scene = generate(3, photos=photos, size=SIZE, marks=0)
    assert scene.marks == ()
    assert np.array_equal(scene.picture, scene.clean)


@pytest.mark.parametrize("size", [(180, 180), (64, 900), (900, 64)])
def test_extreme_sizes(photos: PhotoPool, size: tuple[int, int]) -> None:
    for seed in range(3):
        scene = generate(seed, photos=photos, size=size, marks=6)
        assert scene.picture.shape == (*size, 3)
        assert all(mark.ink.any() for mark in scene.marks)


def test_large_pictures_keep_thin_strokes(photos: PhotoPool) -> None:
    scene = generate(5, photos=photos, size=(3000, 4000), marks=2, stroke_width=(6.0, 6.0))
    assert scene.picture.shape == (3000, 4000, 3)
    assert all(mark.width < 10 for mark in scene.marks)


def test_kinds_can_be_chosen(photos: PhotoPool) -> None:
    scenes = [generate(s, photos=photos, size=SIZE, kinds=["tick"], marks=2) for s in range(8)]
    assert {mark.kind for scene in scenes for mark in scene.marks} == {"tick"}
    with pytest.raises(ValueError, match="kinds: got 'smudge', expected some of arrow"):
        generate(0, photos=photos, size=SIZE, kinds=["smudge"])


def test_a_stroke_covers_about_length_times_width() -> None:
    path = np.array([[20.0, 20.0], [120.0, 60.0]], np.float32)
    for width in (1.5, 4.0, 11.0):
        stroke = Stroke(path, np.full(2, width, np.float32))
        box = bounds([stroke], (100, 160), 0)
        assert box is not None
        area = coverage([stroke], box).sum() / 255
        expected = width * np.hypot(100, 40) + np.pi * width**2 / 4
        assert area == pytest.approx(expected, rel=0.2)


def test_a_polygon_fills_to_its_mask() -> None:
    mask = np.zeros((90, 120), np.uint8)
    cv2.circle(mask, (45, 45), 30, 1, 6)
    cv2.rectangle(mask, (95, 20), (110, 60), 1, -1)
    polygon = np.round(mask_polygon(mask > 0)).astype(np.int32)
    filled = np.zeros_like(mask)
    cv2.fillPoly(filled, [polygon], 1)
    overlap = (filled & mask).sum() / (filled | mask).sum()
    assert overlap > 0.9  # the bridge between ring and box is a pixel wide
    assert mask_polygon(np.zeros((5, 5), np.bool_)).shape == (0, 2)


def test_the_command_writes_pictures_with_their_truth(tmp_path: Path) -> None:
    out, sheet = tmp_path / "scenes", tmp_path / "sheet.png"
    words = ["scenes", "--out", str(out), "--count", "3", "--seed", "5", "--size", "240x200"]
    assert main([*words, "--sheet", str(sheet)]) == 0
    names = sorted(path.stem for path in (out / "images").iterdir())
    assert names == ["000005", "000006", "000007"]
    assert (out / "data.yaml").read_text().count("\n") == len(KINDS) + 3
    assert _read(sheet).shape[1] > 500
    for name in names:
        truth = json.loads((out / "truth" / f"{name}.json").read_text())
        ink, objects = (_read(out / folder / f"{name}.png") for folder in ("ink", "objects"))
        labels = (out / "labels" / f"{name}.txt").read_text().splitlines()
        assert _read(out / "images" / f"{name}.png").shape == (200, 240, 3)
        assert ink.shape == (200, 240)
        assert len(labels) == len(truth["marks"])
        for number, mark in enumerate(truth["marks"], start=1):
            assert (ink == number).any()
            assert (objects == mark["object"]).any()
            numbers = [float(v) for v in labels[number - 1].split()[1:]]
            assert len(numbers) >= 6
            assert min(numbers) >= 0
            assert max(numbers) <= 1
    assert not list(out.rglob(".*"))


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_raw_scenes_bring_the_clean_picture(tmp_path: Path) -> None:
    words = ["scenes", "--out", str(tmp_path), "--count", "1", "--size", "200x200"]
    assert main([*words, "--format", "raw"]) == 0
    assert (tmp_path / "clean" / "000000.png").exists()
    assert not (tmp_path / "labels").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to write: give --out DIR, --sheet FILE or both"),
        (["--out", "x", "--count", "-1"], "--count: got -1, expected 0 or more"),
        (["--out", "x", "--seed", "-1"], "--seed: got -1, expected 0 or more"),
        (["--out", "x", "--size", "big"], "--size: got 'big', expected WIDTHxHEIGHT"),
        (["--out", "x", "--size", "9x9"], "--size: got 9x9, expected 64 px a side to 50 MP"),
        (["--out", "x", "--photos", "/nowhere"], "--photos: /nowhere is not a folder"),
    ],
)
def test_wrong_use_is_said_plainly(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenes", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_command_without_its_packages_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "absent", ("training.absent", "not there"))
    assert main(["absent"]) == 2
    assert (
        "training absent: the Python package 'training.absent' is missing"
        in capsys.readouterr().err
    )


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["scenes", "--out", str(tmp_path / "file"), "--count", "1", "--size", "99x99"]) == 2
    assert "cannot write" in capsys.readouterr().err
