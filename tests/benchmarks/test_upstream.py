"""The upstream chain over networks that are given, and transformers' Sam2 beside sam2's own."""

from __future__ import annotations

import importlib.util
import io
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

torch = pytest.importorskip("torch")
for package in ("sam2", "transformers", "ultralytics"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: make setup", allow_module_level=True)

from benchmarks.equality import mean_iou  # noqa: E402
from benchmarks.errors import BenchmarkError  # noqa: E402
from benchmarks.peers import UltralyticsExport  # noqa: E402
from benchmarks.transformers_sam2 import Clicking, convert  # noqa: E402
from benchmarks.upstream import Checkpoints, Upstream, UpstreamEngine  # noqa: E402
from benchmarks.upstream_networks import UpstreamSam2  # noqa: E402
from export.errors import ExportError  # noqa: E402
from markcut import rle  # noqa: E402
from markcut.contracts import KINDS, STAGES  # noqa: E402
from markcut.looks import Detection  # noqa: E402
from markcut.parameters import Parameters  # noqa: E402
from tests.export.tiny import build_sam2, reduced_sam2  # noqa: E402

HEIGHT, WIDTH = 480, 640
LOOP = (200, 150, 320, 270)  # xyxy of a drawn circle


class GivenClipseg:
    def heat(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.zeros((352, 352), np.float32)


class GivenYolo:
    """Sees one ring wherever it looks at all of the picture."""

    def detect(
        self, pixels: NDArray[np.uint8], window: tuple[int, int, int, int], threshold: float
    ) -> list[Detection]:
        if window != (0, 0, WIDTH, HEIGHT):
            return []
        x0, y0, x1, y1 = LOOP
        ys, xs = np.mgrid[: y1 - y0, : x1 - x0] - 59.5
        prob = (np.abs(np.hypot(xs, ys) - 55) < 4).astype(np.float32)
        box = np.array(LOOP, np.float32)
        return [Detection(KINDS.index("circle"), 0.95, box, prob, LOOP, window)]


class GivenSam2:
    def look(self, pixels: NDArray[np.uint8]) -> None:
        pass

    def click(self, point: tuple[float, float]) -> NDArray[np.bool_]:
        mask = np.zeros((HEIGHT, WIDTH), np.bool_)
        mask[int(point[1]) - 5 : int(point[1]) + 5, int(point[0]) - 5 : int(point[0]) + 5] = True
        return mask


@pytest.mark.parametrize("bf16", [False, True])
def test_the_upstream_chain_clicks_into_what_is_marked(bf16: bool) -> None:
    defaults = {"mark_threshold": 0.3, "heat_threshold": 0.5}
    contender = Upstream(
        Checkpoints("", "", ""), "annotated", Parameters(0.3), defaults, None, None, bf16=bf16
    )
    engine = UpstreamEngine(contender)
    vars(engine).update(clipseg=GivenClipseg(), yolo=GivenYolo(), sam2=GivenSam2())
    pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    reply = engine.answer(buffer.getvalue())
    assert (reply.marks, reply.size, len(reply.ink)) == (1, (HEIGHT, WIDTH), 1)
    ((x, y),) = reply.points
    assert LOOP[0] < x < LOOP[2]
    assert LOOP[1] < y < LOOP[3]
    assert set(reply.stage_ms) == set(STAGES)
    assert engine.segment(buffer.getvalue(), reply.points) == reply.objects


def test_both_answer_a_click_alike() -> None:
    model = build_sam2(reduced_sam2())
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    pixels[20:60, 30:80] //= 4
    with torch.inference_mode():
        said = Clicking(*convert(model))(pixels, (50.0, 40.0))
        upstream = UpstreamSam2(model)
        upstream.look(pixels)
        mask = upstream.click((50.0, 40.0))
    assert 0 < mask.mean() < 1
    wanted = rle.encode(mask, (0, 0), height=90, width=120)
    assert mean_iou(said.masks, [wanted], size=said.size) > 0.99
    assert list(said.ms) == ["sam2_encoder", "sam2_decoder"]


def test_what_transformers_cannot_do_is_refused() -> None:
    model = build_sam2(reduced_sam2(neck={"fpn_interp_model": "bilinear"}))
    with pytest.raises(BenchmarkError, match="joins its levels bilinear"):
        convert(model)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    class Intruder:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "broken_in"),)

    torch.save({"model": Intruder()}, tmp_path / "marks.pt")
    files = Checkpoints("", str(tmp_path / "marks.pt"), "")
    contender = Upstream(files, "annotated", Parameters(0.3), {}, None, None)
    with contender.without_networks() as engine, pytest.raises(ExportError, match="could run code"):
        _ = engine.yolo
    with pytest.raises(ExportError, match="could run code"):
        UltralyticsExport(str(tmp_path / "marks.pt"), "onnx").open().__enter__()
    assert not (tmp_path / "broken_in").exists()
