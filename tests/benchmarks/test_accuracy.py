from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import accuracy, accuracy_report
from benchmarks.__main__ import main
from benchmarks.accuracy import Evaluation, evaluate
from benchmarks.errors import BenchmarkError
from benchmarks.held_out import (
    GENERATED,
    SIZES,
    Plan,
    Size,
    held_out_objects,
    held_out_photos,
    plans,
)
from benchmarks.plots import plot
from markcut_client import Client, InferenceError
from training.scenes import Scene
from training.scenes.photos import PhotoPool

NO_PHOTOS = PhotoPool((), max_side=64)


@dataclass(frozen=True)
class Given:
    """A plan whose scene is there already; an exception is raised."""

    made: Scene | Exception
    size: Size = SIZES[0]
    seed: int = 5

    def make(self, photos: PhotoPool) -> Scene:
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


@pytest.fixture(scope="module")
def evaluation(world: Any) -> Evaluation:
    engine = world.engine(
        [world.right_line, world.said("dot", world.dot, world.left, [(73.5, 28.5)])],
        [world.said("cross", world.dot, world.right, [(73.5, 45.5)])],
        [world.right_line],
        InferenceError("out of memory"),
    )
    given: list[Any] = [Given(world.scene()) for _ in range(2)]
    given += [Given(world.scene(marked=False)), Given(RuntimeError("no canvas"))]
    given += [Given(world.scene(), size=SIZES[2])]
    return evaluate(Client(engine), given, NO_PHOTOS, objects=NO_PHOTOS)


def test_every_picture_counts_and_failures_are_named(evaluation: Evaluation) -> None:
    assert [picture.size for picture in evaluation.pictures] == ["small"] * 3 + ["large"]
    found = [[mark.found is not None for mark in p.marks] for p in evaluation.pictures]
    assert found == [[True, True], [False, True], [], [False, False]]
    assert [len(p.false_marks) for p in evaluation.pictures] == [0, 0, 1, 0]
    made, failed = evaluation.failures
    assert "left out" in made
    assert "no canvas" in made
    assert failed.startswith("large scene 5: ")
    assert failed.endswith("out of memory")


def test_nothing_made_is_an_error(world: Any) -> None:
    given: list[Any] = [Given(RuntimeError("no canvas"))]
    with pytest.raises(BenchmarkError, match="no canvas"):
        evaluate(Client(world.engine()), given, NO_PHOTOS, objects=NO_PHOTOS)


def test_summary_is_json_and_has_the_groups_that_are_there(evaluation: Evaluation) -> None:
    summary = json.loads(json.dumps(accuracy_report.summary(evaluation.pictures)))
    assert set(summary["by_size"]) == {"small", "large"}
    assert summary["by_size"]["small"]["recall"]["value"] == 0.75
    assert summary["by_size"]["small"]["false_per_unmarked"] == 1.0
    assert summary["by_size"]["large"]["object_iou"] is None
    assert summary["by_size"]["large"]["end_to_end_iou"] == {"mean": 0.0, "median": 0.0}
    assert summary["by_size_and_stroke_width"]["small"]["under 4 px"]["recall"]["value"] == 0.5
    assert summary["by_kind"]["dot"]["kind_accuracy"]["value"] == 0.5


def test_the_sheet_shows_the_cases(evaluation: Evaluation) -> None:
    sheet = np.asarray(Image.open(io.BytesIO(evaluation.worst)).convert("RGB"))
    assert (sheet == (60, 255, 120)).all(axis=2).any()  # an object's outline
    assert (sheet == (255, 60, 220)).all(axis=2).any()  # ink's


def test_every_size_has_its_row_and_its_colour(evaluation: Evaluation) -> None:
    pictures = [replace(evaluation.pictures[0], size=size.name) for size in SIZES]
    summary = accuracy_report.summary(pictures)
    assert list(summary["by_size"]) == [size.name for size in SIZES]
    assert plot(pictures, summary["confusion"]).startswith(b"\x89PNG")


def test_plans_are_disjoint_held_out_and_repeat() -> None:
    from training.seeds import HELD_OUT_SEEDS

    names = [size.name for size in GENERATED]
    planned = [plan for seed in (0, 1, 6_999) for plan in plans(sizes=names, scenes=24, seed=seed)]
    assert len({plan.seed for plan in planned}) == len(planned) == 3 * (24 + 24 + 4)
    assert all(plan.seed - HELD_OUT_SEEDS.start >= 1_000_000 for plan in planned)
    assert all(plan.seed in HELD_OUT_SEEDS for plan in planned)
    assert sum(plan.marks == 0 for plan in planned) == len(planned) // 4
    assert planned[:52] == list(plans(sizes=names, scenes=24, seed=0))
    for plan in planned:
        low, high = plan.size.pixels
        assert 0.99 * low <= plan.height * plan.width <= 1.02 * high
        assert min(plan.height, plan.width) >= 180


def test_a_plan_makes_its_scene() -> None:
    plan = Plan(SIZES[0], seed=3, height=180, width=200, marks=0)
    first, second = plan.make(NO_PHOTOS), plan.make(NO_PHOTOS)
    assert first.picture.shape == (180, 200, 3)
    assert not first.marks
    assert np.array_equal(first.picture, second.picture)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten photos, nine of them with a mask of two objects."""
    rng = np.random.default_rng(0)
    names = np.zeros((120, 160), np.uint8)
    names[20:70, 15:70], names[50:110, 90:150] = 1, 2
    for k in range(10):
        photo = rng.integers(0, 255, (120, 160, 3)).astype(np.uint8)
        Image.fromarray(photo).save(tmp_path / f"still{k}.png")
        if k:
            Image.fromarray(names).save(tmp_path / f"still{k}.mask.png")
    return tmp_path


def test_real_photos_are_held_out_ones_with_known_objects(folder: Path) -> None:
    objects = held_out_objects(folder)
    assert 0 < len(objects) < 9
    assert len(objects.known) == len(objects)
    (plan, *_) = plans(sizes=["real"], scenes=8, seed=3)
    scenes = [p.make(objects) for p in plans(sizes=["real"], scenes=8, seed=3)]
    assert {scene.layout for scene in scenes} == {"photo"}
    assert any(scene.marks for scene in scenes)
    assert plan.size.name == "real"


def test_scenes_are_the_same_with_and_without_masks(folder: Path) -> None:
    plan = next(iter(plans(sizes=["small"], scenes=1, seed=5)))
    before = plan.make(held_out_photos(folder))
    for mask in folder.glob("*.mask.png"):
        mask.unlink()
    assert np.array_equal(before.picture, plan.make(held_out_photos(folder)).picture)


def test_real_photos_without_masks_are_refused(folder: Path) -> None:
    for mask in folder.glob("*.mask.png"):
        mask.unlink()
    with pytest.raises(BenchmarkError, match=r"--sizes: real .* NAME\.mask\.png"):
        held_out_objects(folder)


def test_the_command_writes_everything(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    about = {
        "bundle": {"name": "tiny", "manifest_sha256": "0" * 64},
        "machine": {"cpu": "abacus", "cores": 1, "python": "3.10.0"},
        "packages": {"onnxruntime": "1.18"},
    }
    engine = world.engine([world.right_dot, world.right_line], [])
    monkeypatch.setattr(accuracy, "facts", lambda bundle: dict(about))
    monkeypatch.setattr(accuracy, "EmbeddedTransport", lambda *_, **__: engine)
    monkeypatch.setattr(
        accuracy, "plans", lambda **_: [Given(world.scene()), Given(world.scene(marked=False))]
    )
    out = tmp_path / "new" / "folder"
    words = ["accuracy", "--out", str(out), "--sizes", "small", "--runtime", "onnxruntime"]
    assert main(words) == 0
    *tables, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert result == json.loads((out / "accuracy.json").read_text())
    assert result["all"]["recall"]["value"] == result["all"]["point_hit"]["value"] == 1.0
    assert result["all"]["false_per_unmarked"] == 0.0
    assert "\n".join(tables).strip() in (out / "accuracy.md").read_text()
    assert {path.name for path in out.iterdir()} == {
        "accuracy.json", "accuracy.md", "accuracy.png", "outcomes.json", "worst.png",
    }  # fmt: skip
    for name in ("accuracy.png", "worst.png"):
        Image.open(out / name).verify()
