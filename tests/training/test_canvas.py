"""Canvases: the same seed gives the same picture, and the truth fits what it shows."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.scenes.layouts import LAYOUTS, make_canvas
from training.scenes.photos import PhotoFolderError, PhotoPool
from training.scenes.scene import Canvas


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> PhotoPool:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for k in range(12):
        small = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        Image.fromarray(small).resize((160, 120)).save(folder / f"photo_{k}.png")
    return PhotoPool.load(folder, max_side=128)


def draw(
    seed: int, photos: PhotoPool, size: tuple[int, int] = (256, 224), layout: str | None = None
) -> Canvas:
    return make_canvas(np.random.default_rng(seed), size=size, photos=photos, layout=layout)


def sizes(instances: NDArray[np.int32]) -> dict[int, int]:
    names, counts = np.unique(instances, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_seed_gives_the_same_canvas(layout: str, photos: PhotoPool) -> None:
    one, two = draw(7, photos, layout=layout), draw(7, photos, layout=layout)
    np.testing.assert_array_equal(one.picture, two.picture)
    np.testing.assert_array_equal(one.instances, two.instances)
    assert (one.markable, one.photos) == (two.markable, two.photos)
    assert not np.array_equal(one.picture, draw(8, photos, layout=layout).picture)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(180, 180), (405, 187), (96, 300)])
def test_markable_objects_are_big_enough(
    layout: str, size: tuple[int, int], photos: PhotoPool
) -> None:
    for seed in range(2):
        canvas = draw(seed, photos, size=size, layout=layout)
        assert canvas.layout == layout
        assert (canvas.picture.shape, canvas.picture.dtype) == ((*size, 3), np.uint8)
        assert (canvas.instances.shape, canvas.instances.dtype) == (size, np.int32)
        seen = sizes(canvas.instances)
        least = max(150, 0.003 * canvas.instances.size)
        assert all(seen.get(k, 0) >= least for k in canvas.markable)
        assert len(set(canvas.markable)) == len(canvas.markable)


def test_layouts_hold_objects_that_somebody_can_mark(photos: PhotoPool) -> None:
    for layout in LAYOUTS:
        found = sum(len(draw(seed, photos, layout=layout).markable) for seed in range(3))
        assert (found == 0) == (layout == "photo")


@pytest.mark.parametrize("layout", ["collage", "screenshot"])
def test_objects_lie_inside_the_photos(layout: str, photos: PhotoPool) -> None:
    for seed in range(3):
        canvas = draw(seed, photos, size=(420, 300), layout=layout)
        assert canvas.photos
        outside = canvas.instances.copy()
        for x0, y0, x1, y1 in canvas.photos:
            assert 0 <= x0 < x1 <= 300
            assert 0 <= y0 < y1 <= 420
            ids = np.unique(canvas.instances[y0:y1, x0:x1])
            elsewhere = canvas.instances.copy()
            elsewhere[y0:y1, x0:x1] = 0
            assert not np.isin(ids[ids > 0], elsewhere).any()  # no id in two photos
            outside[y0:y1, x0:x1] = 0
        assert not outside.any()


@pytest.mark.parametrize("size", [(32, 32), (33, 700), (1200, 900)])
def test_any_size_works(size: tuple[int, int], photos: PhotoPool) -> None:
    for seed, layout in enumerate(LAYOUTS):
        assert draw(seed, photos, size=size, layout=layout).picture.shape == (*size, 3)


def test_an_empty_pool_works() -> None:
    empty = PhotoPool((), max_side=64)
    for seed in range(8):
        draw(seed, empty)


@pytest.mark.parametrize(("size", "layout"), [((31, 200), None), ((64, 64), "poster")])
def test_wrong_arguments_are_named(
    size: tuple[int, int], layout: str | None, photos: PhotoPool
) -> None:
    with pytest.raises(ValueError, match="size: got" if layout is None else "layout: got"):
        draw(0, photos, size=size, layout=layout)


def test_no_photo_is_in_both_halves(photos: PhotoPool, tmp_path: Path) -> None:
    folder = photos.paths[0].parent
    halves = [PhotoPool.load(folder, split=s).paths for s in ("train", "held_out")]
    assert not set(halves[0]) & set(halves[1])
    assert set(halves[0]) | set(halves[1]) == set(PhotoPool.load(folder).paths)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert [p.name for p in PhotoPool.load(tmp_path).paths if p.parent == tmp_path] == ["a.png"]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoFolderError, match="holds no picture"):
        PhotoPool.load(tmp_path)
    with pytest.raises(PhotoFolderError, match="no folder"):
        PhotoPool.load(tmp_path / "missing")


def test_a_pickled_pool_draws_the_same(photos: PhotoPool) -> None:
    photos[0]
    copy = pickle.loads(pickle.dumps(photos))
    np.testing.assert_array_equal(draw(5, photos).picture, draw(5, copy).picture)
