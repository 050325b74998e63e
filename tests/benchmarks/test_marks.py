from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import marks
from benchmarks.__main__ import main
from benchmarks.pen import pen_drawn
from markcut.contracts import KINDS
from markcut_client import Client, InferenceError
from training.scenes.photos import PhotoPool


@pytest.fixture
def pool(tmp_path: Path) -> PhotoPool:
    path = tmp_path / "grey.png"
    Image.new("RGB", (320, 240), (128, 128, 128)).save(path)
    return PhotoPool((path,), max_side=1024)


@pytest.mark.parametrize("kind", KINDS)
def test_ink_is_where_the_picture_changed(kind: str) -> None:
    photo = np.full((240, 320, 3), 128, np.uint8)
    for seed in range(20):
        picture, mark = pen_drawn(np.random.default_rng(seed), photo, kind)
        again, _ = pen_drawn(np.random.default_rng(seed), photo, kind)
        assert np.array_equal(picture, again)
        assert (mark.kind, mark.ink.shape) == (kind, (240, 320))
        changed = (picture != photo).any(2)
        assert changed[mark.ink].all()
        assert mark.ink.sum() > 0.6 * changed.sum()
        rows, columns = mark.ink.nonzero()
        assert rows.min() > 0
        assert columns.min() > 0
        assert rows.max() < 239
        assert columns.max() < 319


def test_every_photo_is_asked_about_bare_and_with_every_kind(pool: PhotoPool) -> None:
    made = list(marks.scenes(pool, seed=3))
    assert [[mark.kind for mark in scene.marks] for scene in made] == [[], *([k] for k in KINDS)]
    assert (made[0].picture == 128).all()


def test_false_and_missed_marks_are_counted(pool: PhotoPool, world: Any) -> None:
    said = world.said("dot", world.dot, world.left, [(73.5, 28.5)])
    answers: list[Any] = [[said], *([[]] * 6), InferenceError("out of memory")]
    small = (marks.replace(scene, **_small(scene, world)) for scene in marks.scenes(pool, seed=0))
    evaluation = marks.evaluate(Client(world.engine(*answers)), small)
    found = marks.summary(evaluation.pictures)
    assert found["all"]["false_per_unmarked"] == 1.0
    assert found["all"]["recall"]["value"] == 0.0
    assert found["by_kind"]["dot"]["marks"] == 1
    assert not any("object" in name for name in found["all"])
    assert "out of memory" in evaluation.failures[0]
    about = {"photos": 1, "seed": 0, "runtime": "openvino", **_FACTS}
    assert "| all " in marks.markdown({**found, **about})


def _small(scene: Any, world: Any) -> dict[str, Any]:
    """The same marks in the size of the fake engine's pictures."""
    height, width = world.scene().instances.shape
    part = (slice(0, height), slice(0, width))
    kept = tuple(marks.replace(mark, ink=mark.ink[part]) for mark in scene.marks)
    return {"picture": scene.picture[part], "instances": scene.instances[part], "marks": kept}


_FACTS = {
    "machine": {"cores": 2, "cpu": "some", "python": "3.11"},
    "packages": {},
    "bundle": {"name": "demo", "manifest_sha256": "0" * 64},
}


def test_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["marks", "--photos", str(tmp_path / "none")]) == 2
    assert "--photos" in capsys.readouterr().err
    assert main(["marks", "--photos", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no picture" in capsys.readouterr().err
