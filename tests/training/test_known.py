"""Scenes of photos whose objects are known, and of what was cut out of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from training.scenes import generate
from training.scenes.board import Board
from training.scenes.known import lay_cut_out, photo_with_objects
from training.scenes.photos import PhotoFolderError, PhotoPool
from training.scenes.scene import Mask, Picture

RED, BLUE = (220, 20, 30), (20, 40, 230)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of a red disc and a blue box that its border cuts, and one without known objects."""
    folder = tmp_path_factory.mktemp("photos")
    picture, mask = Image.new("RGB", (400, 300), (200, 205, 190)), Image.new("L", (400, 300))
    for draw, colours in ((ImageDraw.Draw(picture), (RED, BLUE)), (ImageDraw.Draw(mask), (1, 2))):
        draw.ellipse((60, 80, 180, 200), fill=colours[0])
        draw.rectangle((300, 100, 400, 260), fill=colours[1])
    picture.save(folder / "known.jpg", quality=95)
    mask.save(folder / "known.mask.png")
    Image.new("RGB", (300, 300), (90, 120, 90)).save(folder / "other.jpg")
    return folder


@pytest.fixture(scope="module")
def pool(folder: Path) -> PhotoPool:
    return PhotoPool((folder / "known.jpg", folder / "other.jpg"), max_side=768)


def is_red(picture: Picture) -> Mask:
    return np.asarray((picture[..., 0] > 120) & (picture[..., 1:].max(axis=2) < 100))


def is_blue(picture: Picture) -> Mask:
    return np.asarray((picture[..., 2] > 120) & (picture[..., :2].max(axis=2) < 100))


def test_a_mask_beside_a_photo_is_no_photo_and_tells_its_objects(folder: Path) -> None:
    pool = PhotoPool.load(folder)
    assert [p.name for p in pool.paths if p.parent == folder] == ["known.jpg", "other.jpg"]
    assert [pool.paths[k].name for k in pool.known] == ["known.jpg"]
    assert np.unique(pool.objects(pool.known[0])).tolist() == [0, 1, 2]


def test_a_mask_beside_a_photo_that_repeats_another_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("known.jpg", "known.mask.png"):
        shutil.copy(folder / name, tmp_path)
    shutil.copy(folder / "known.jpg", tmp_path / "again.jpg")
    with pytest.raises(PhotoFolderError, match=r"known\.mask\.png would be lost.*again\.mask\.png"):
        PhotoPool.load(tmp_path)
    (tmp_path / "known.mask.png").rename(tmp_path / "again.mask.png")
    pool = PhotoPool.load(tmp_path)
    assert [pool.paths[k].name for k in pool.known] == ["again.jpg"]


def test_objects_follow_a_photo_that_was_scaled_down(folder: Path) -> None:
    small = PhotoPool((folder / "known.jpg",), max_side=100)
    assert small.objects(0).shape == small[0].shape[:2]
    assert np.mean((small.objects(0) == 1) == is_red(small[0])) > 0.98


@pytest.mark.parametrize("size", [(240, 320), (600, 300), (64, 700)])
def test_a_part_of_a_photo_shows_its_objects_where_they_are(
    size: tuple[int, int], pool: PhotoPool
) -> None:
    for seed in range(6):
        board = photo_with_objects(np.random.default_rng(seed), *size, pool)
        assert board.picture.shape == (*size, 3)
        named, seen = board.instances > 0, is_red(board.picture) | is_blue(board.picture)
        assert named.any()
        assert np.mean(named == seen) > 0.97


def test_a_small_object_is_not_enlarged_beyond_what_a_photo_shows(tmp_path: Path) -> None:
    mask = np.zeros((300, 400), np.uint8)
    mask[100:130, 200:230] = 1
    Image.fromarray(mask).save(tmp_path / "small.mask.png")
    Image.new("RGB", (400, 300)).save(tmp_path / "small.png")
    pool = PhotoPool((tmp_path / "small.png",), max_side=768)
    for seed in range(10):
        board = photo_with_objects(np.random.default_rng(seed), 480, 640, pool)
        assert 0 < np.ptp(np.flatnonzero(board.instances.any(axis=0))) < 4 * 30 + 4


def test_of_what_is_markable_enough_is_to_be_seen(pool: PhotoPool) -> None:
    for seed in range(40):
        board = photo_with_objects(np.random.default_rng(seed), 90, 120, pool)
        for k in board.markable():
            assert np.count_nonzero(board.instances == k) >= 150


def test_a_cut_out_is_the_object_alone_and_whole(pool: PhotoPool) -> None:
    for seed in range(8):
        board = Board(np.full((300, 300, 3), 235, np.uint8))
        rng = np.random.default_rng(seed)
        turn = float(rng.uniform(0, 6.28))
        assert lay_cut_out(board, rng, pool, centre=(150, 140), size=50.0, turn=turn, feather=0.5)
        named = board.instances > 0
        assert abs(np.count_nonzero(named) / (np.pi * 50**2) - 1) < 0.06  # never the cut box
        ys, xs = np.nonzero(named)
        assert abs(xs.mean() - 150) < 2
        assert abs(ys.mean() - 140) < 2
        assert is_red(board.picture)[named].mean() > 0.93
        assert not is_red(board.picture)[~named].mean() > 0.01
        assert len(board.markable()) == 1


def test_a_cut_out_beyond_the_border_leaves_nothing(pool: PhotoPool) -> None:
    board = Board(np.full((100, 100, 3), 235, np.uint8))
    rng = np.random.default_rng(0)
    assert not lay_cut_out(board, rng, pool, centre=(-500, 50), size=20.0, turn=0.0, feather=0.5)
    assert not board.markable()


def test_marks_mean_known_objects(pool: PhotoPool) -> None:
    scenes = [
        generate(seed, photos=pool, size=(300, 400), marks=1, layout="photo") for seed in range(12)
    ]
    marked = [s for s in scenes if s.marks]
    assert len(marked) >= 6  # some photos are shown without what is known of them
    for scene in marked:
        assert scene.object_mask(scene.marks[0]).sum() >= 150


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (Image.new("RGB", (400, 300)), "expected one"),
        (Image.new("L", (300, 400)), r"height, width \(400, 300\)"),
        (None, "cannot be read"),
    ],
)
def test_a_mask_that_cannot_be_is_named(
    mask: Image.Image | None, message: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes((folder / "known.jpg").read_bytes())
    if mask is None:
        (tmp_path / "a.mask.png").write_bytes(b"no picture")
    else:
        mask.save(tmp_path / "a.mask.png")
    with pytest.raises(PhotoFolderError, match=message):
        PhotoPool.load(tmp_path)
