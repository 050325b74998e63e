"""A step or two of each trainer: it trains, and what it saves loads with the upstream packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from markcut.contracts import KINDS  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.loop import train  # noqa: E402
from training.plates import Plate, cut, erase, mark_from_mask, reduced  # noqa: E402

CIRCLE, TICK = KINDS.index("circle"), KINDS.index("tick")


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def plate(height: int = 200, width: int = 300, *, with_clean: bool = True) -> Plate:
    """A grey picture with a red ring and a blue bar."""
    clean = np.full((height, width, 3), 150, np.uint8)
    ys, xs = np.mgrid[:height, :width]
    distance = np.hypot(ys - height * 0.4, xs - width * 0.3)
    ring = abs(distance - height * 0.2) < 4
    bar = (abs(ys - height * 0.8) < 4) & (abs(xs - width * 0.7) < 40)
    picture = clean.copy()
    picture[ring], picture[bar] = (220, 20, 20), (20, 20, 220)
    marks = [
        mark_from_mask(kind, ink, clean=clean if with_clean else None, width=8)
        for kind, ink in ((CIRCLE, ring), (TICK, bar))
    ]
    return Plate(picture, tuple(m for m in marks if m is not None), whole=True)


def test_cut_moves_marks_and_erase_takes_them_off() -> None:
    whole = plate()
    part = cut(whole, (-10, 20, 160, 190))
    (ring,) = part.marks
    x0, y0, x1, y1 = ring.box
    assert (part.picture[y0:y1, x0:x1][ring.ink] == (220, 20, 20)).all()
    assert ring.area == whole.marks[0].area
    empty = erase(whole, [False, True])
    assert [m.kind for m in empty.marks] == [TICK]
    assert not (empty.picture == (220, 20, 20)).all(2).any()
    assert (empty.picture == (20, 20, 220)).all(2).any()
    unlabelled = erase(plate(with_clean=False), [False, False])
    assert not unlabelled.marks
    assert (unlabelled.picture == (220, 20, 20)).all(2).any()


def test_big_pictures_are_kept_small_and_as_native_crops() -> None:
    whole, *crops = reduced(plate(2000, 3000), np.random.default_rng(0))
    assert max(whole.picture.shape) == 1280
    assert len(whole.marks) == 2
    assert crops
    assert all(max(c.picture.shape) <= 1300 for c in crops)
    assert {m.kind for c in crops for m in c.marks} == {CIRCLE, TICK}


def yolo_views() -> Any:
    from training.yolo.views import letterboxed

    return {"whole": [letterboxed(plate(), 320)]}


def yolo_batches() -> Iterator[Any]:
    from training.yolo.views import collate, random_view

    rng = np.random.default_rng(0)
    while True:
        yield collate([random_view([plate()], rng, side=320) for _ in range(2)])


def test_letterboxed_view_is_labelled_where_the_ink_is() -> None:
    from training.yolo.views import letterboxed

    view = letterboxed(plate(), 320)
    scale, top = 320 / 300, (320 - 200 * 320 / 300) / 2
    ring = np.array([90 - 44, 80 - 44, 90 + 44, 80 + 44]) * scale + [0, top, 0, top]
    assert view.boxes[0] == pytest.approx(ring, abs=2)
    assert view.masks.shape == (2, 80, 80)
    cells = view.masks[0] > 127
    red = view.picture.reshape(80, 4, 80, 4, 3).astype(int).mean((1, 3))
    assert (red[cells][:, 0] > red[cells][:, 2]).mean() > 0.95


def test_yolo_trains_and_ultralytics_loads_what_it_saves(tmp_path: Path) -> None:
    ultralytics = pytest.importorskip("ultralytics")
    from training.yolo.task import FILE, YoloTask, build_model

    device = torch.device("cpu")
    task = YoloTask(build_model(), device=device, held_out=yolo_views)
    options: dict[str, Any] = {"minutes": 0.01, "learning_rate": 1e-3, "bf16": True}
    assert train(task, yolo_batches(), out=tmp_path, **options)
    loaded = ultralytics.YOLO(tmp_path / FILE)
    assert tuple(loaded.names[i] for i in range(7)) == KINDS
    result = loaded.predict(plate().picture, imgsz=320, verbose=False, save=False)
    assert len(result) == 1
    again = build_model(tmp_path / FILE)
    kept = task.model.state_dict()
    assert again.state_dict().keys() == kept.keys()
    with pytest.raises(TrainingError, match="no ultralytics checkpoint"):
        build_model(tmp_path / "recipe.json")


def clipseg_batches() -> Iterator[Any]:
    from training.clipseg.views import collate, random_view

    rng = np.random.default_rng(0)
    while True:
        yield collate([random_view([plate()], rng) for _ in range(2)])


def test_clipseg_trains_and_transformers_loads_what_it_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("open_clip")
    from training.clipseg import task as clipseg
    from training.clipseg.config import demo_config
    from training.clipseg.evaluation import marked
    from training.clipseg.prompts import PROMPTS
    from training.clipseg.tokenizer import load_tokenizer

    config = demo_config()
    config.vision_config.hidden_size, config.vision_config.num_attention_heads = 32, 2
    config.vision_config.num_hidden_layers, config.extract_layers = 2, [0, 1]
    config.vision_config.intermediate_size, config.reduce_dim = 64, 16
    monkeypatch.setattr(clipseg, "demo_config", lambda: config)
    task = clipseg.ClipsegTask(
        clipseg.build_model(), device=torch.device("cpu"), held_out=lambda: [marked(plate())]
    )
    assert train(task, clipseg_batches(), out=tmp_path, minutes=0.01, learning_rate=1e-3)
    loaded = transformers.CLIPSegForImageSegmentation.from_pretrained(tmp_path).float().eval()
    tokens = load_tokenizer(tmp_path)(list(PROMPTS), padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = loaded(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            pixel_values=torch.zeros(len(PROMPTS), 3, 352, 352),
        ).logits
    assert logits.shape == (len(PROMPTS), 352, 352)
    again = clipseg.build_model(tmp_path)
    assert next(again.parameters()).dtype == torch.float32
    with pytest.raises(TrainingError, match="no folder of a CLIPSeg"):
        clipseg.build_model(tmp_path / "absent")


def test_tokenizer_is_clips_own() -> None:
    open_clip = pytest.importorskip("open_clip")
    pytest.importorskip("transformers")
    from training.clipseg.tokenizer import load_tokenizer

    texts = ["annotated", "a drawn circle", "naïve café 東京, it's 42!"]
    theirs = [[t for t in row if t] for row in open_clip.tokenize(texts).tolist()]
    assert load_tokenizer()(texts).input_ids == theirs


def test_pairs_of_picture_and_mask(tmp_path: Path) -> None:
    from training.clipseg.source import PairPlates, read_pairs

    with pytest.raises(TrainingError, match="no pair below"):
        read_pairs(tmp_path)
    Image.new("RGB", (40, 30), (9, 9, 9)).save(tmp_path / "a.jpg")
    with pytest.raises(
        TrainingError, match=r"a.jpg: no mask beside it, expected a.mask.png or a.png"
    ):
        read_pairs(tmp_path)
    Image.new("L", (40, 31)).save(tmp_path / "a.png")
    with pytest.raises(TrainingError, match="height, width"):
        read_pairs(tmp_path)
    mask = np.zeros((30, 40), np.uint8)
    mask[10:20, 5:9] = 255
    Image.fromarray(mask).save(tmp_path / "a.png")
    (whole,) = PairPlates(tuple(read_pairs(tmp_path)))(0)
    assert whole.marks[0].box == (5, 10, 9, 20)
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).unlink()
    Image.new("RGB", (40, 30), (9, 9, 9)).save(tmp_path / "a.png")
    Image.fromarray(mask // 255).save(tmp_path / "a.mask.png")  # ink is 1 here
    (whole,) = PairPlates(tuple(read_pairs(tmp_path)))(0)
    assert whole.marks[0].box == (5, 10, 9, 20)
