"""What people bring as a YOLO11-seg: classes of their own, fused layers, parts that do not fit."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export import yolo11_seg
from export.errors import ExportError
from export.fidelity.upstream import UpstreamYolo
from export.yolo11_checkpoint import read_checkpoint
from markcut.contracts import KINDS, YOLO11_SEG, YOLO_SIDE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo() -> Any:
    """The demo checkpoint's model: its detections do not hang on the last bit."""
    file = ROOT / "checkpoints/demo/yolo11n-seg-marks.pt"
    content = torch.load(file, map_location="cpu", weights_only=False)
    return content["model"].float()


def written(folder: Path, model: Any, name: str = "marks.pt") -> Path:
    torch.save({"model": model}, folder / name)
    return folder / name


def with_classes(model: Any, kinds: list[int]) -> Any:
    """As ultralytics would have trained it for ``kinds`` in this order."""
    other = copy.deepcopy(model)
    head = other.model[-1]
    for level in head.cv3:
        level[-1].weight = torch.nn.Parameter(level[-1].weight[kinds].detach())
        level[-1].bias = torch.nn.Parameter(level[-1].bias[kinds].detach())
    head.nc, head.no = len(kinds), head.no - len(KINDS) + len(kinds)
    other.names = {index: KINDS[kind] for index, kind in enumerate(kinds)}
    return other


def answer(file: Path, view: np.ndarray) -> dict[str, np.ndarray]:
    loaded = yolo11_seg.load(str(file))
    with torch.inference_mode():
        outputs = loaded.graphs(loaded.model)[0].module.eval()(torch.from_numpy(view[None]))
    names = [tensor.name for tensor in YOLO11_SEG.outputs]
    return dict(zip(names, (output.numpy() for output in outputs), strict=True))


@pytest.fixture(scope="module")
def view(pictures: list[Any]) -> np.ndarray:
    from export.pictures import letterboxed

    return letterboxed(pictures[0], YOLO_SIDE)


def test_kinds_in_another_order_are_the_same_kinds(
    demo: Any, view: np.ndarray, tmp_path: Path
) -> None:
    wanted = answer(written(tmp_path, demo, "demo.pt"), view)
    got = answer(written(tmp_path, with_classes(demo, [5, 6, 4, 3, 2, 0, 1])), view)
    for name, values in wanted.items():
        np.testing.assert_allclose(got[name], values, atol=1e-3)


def test_a_few_kinds_are_all_that_is_ever_found(
    demo: Any, view: np.ndarray, tmp_path: Path
) -> None:
    kinds = [5, 0, 1]
    file = written(tmp_path, with_classes(demo, kinds))
    _, scores, found, _ = answer(file, view).values()
    assert set(found[scores > 1e-9]) <= set(kinds)
    said = UpstreamYolo(str(file)).predict(view, threshold=0.05, iou=0.6, rect=False)
    assert said
    assert {mark.kind for mark in said} <= set(kinds)
    best = found[0, : len(said)].tolist()
    assert best == [mark.kind for mark in said]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (None, "of no name"),
        ({}, "of no name"),
        ({0: "arrow", "1": "circle"}, "arrow, circle"),
        (["arrow"] * len(KINDS), "arrow, arrow"),
        ([f"a {kind}" for kind in KINDS], "a arrow, a circle"),
        ([*KINDS, "person"], "other, person"),
        ({index + 1: kind for index, kind in enumerate(KINDS)}, "arrow, circle"),
        (list(range(len(KINDS))), "0, 1, 2"),
    ],
)
def test_classes_that_are_no_kinds(demo: Any, tmp_path: Path, names: Any, shown: str) -> None:
    other = copy.deepcopy(demo)
    other.names = names
    with pytest.raises(ExportError, match=f"knows the classes .*{shown}.*, expected arrow, circle"):
        read_checkpoint(written(tmp_path, other))


def test_case_and_blanks_make_no_other_kind(demo: Any, view: np.ndarray, tmp_path: Path) -> None:
    wanted = answer(written(tmp_path, demo, "demo.pt"), view)
    other = copy.deepcopy(demo)
    other.names = {index: f" {kind.title()}" for index, kind in enumerate(KINDS)}
    for name, values in answer(written(tmp_path, other), view).items():
        np.testing.assert_array_equal(values, wanted[name])


def test_a_fused_checkpoint_is_read(demo: Any, view: np.ndarray, tmp_path: Path) -> None:
    fused = copy.deepcopy(demo).eval().fuse(verbose=False)
    wanted = answer(written(tmp_path, demo, "demo.pt"), view)
    for name, values in answer(written(tmp_path, fused), view).items():
        np.testing.assert_allclose(values, wanted[name], atol=1e-3)


def _no_prototypes(model: Any) -> None:
    del model.model[-1].proto


def _other_strides(model: Any) -> None:
    model.model[-1].stride = torch.tensor([4.0, 8.0, 16.0])


def _grey(model: Any) -> None:
    model.model[0].conv = torch.nn.Conv2d(1, 16, 3, 2, 1, bias=False)


def _layer_from_nowhere(model: Any) -> None:
    model.model[5].f = 99


@pytest.mark.parametrize("harm", [_no_prototypes, _other_strides, _grey, _layer_from_nowhere])
def test_a_model_that_does_not_run(demo: Any, tmp_path: Path, harm: Any) -> None:
    other = copy.deepcopy(demo)
    harm(other)
    with pytest.raises(ExportError, match="does not run as the YOLO11-seg that it says it is"):
        read_checkpoint(written(tmp_path, other))


def test_a_model_without_layers(demo: Any, tmp_path: Path) -> None:
    other = copy.deepcopy(demo)
    other.model = torch.nn.Sequential()
    with pytest.raises(ExportError, match="holds no ultralytics model"):
        read_checkpoint(written(tmp_path, other))


def test_torchs_old_format_is_named(tmp_path: Path) -> None:
    file = tmp_path / "marks.pt"
    torch.save({"a": 1}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(ExportError, match=r"torch's format of before 1\.6"):
        read_checkpoint(file)
    assert file.read_bytes().startswith(pickle.dumps(torch.serialization.MAGIC_NUMBER, 2))


@pytest.mark.parametrize("name", ["it's.pt", " marks.pt", "yolov5s.pt", "marks.weights", "marks"])
def test_ultralytics_is_given_the_file_that_was_looked_into(
    demo: Any, tmp_path: Path, name: str
) -> None:
    """It strips quotes and blanks from names, changes some, and downloads what it then misses."""
    decoy = with_classes(demo, [6, 5, 4, 3, 2, 1, 0])
    written(tmp_path, decoy, "its.pt")
    written(tmp_path, decoy, "yolov5su.pt")
    model: Any = UpstreamYolo(str(written(tmp_path, demo, name)))._model
    assert list(model.names.values()) == list(KINDS)
