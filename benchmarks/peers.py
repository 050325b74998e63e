"""What others offer for a single network: upstream's own PyTorch, and other people's exports."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import Contender
from benchmarks.networks import SURE, Network, Said, boxes, hot, since
from benchmarks.transformers_sam2 import TransformersSam2
from benchmarks.upstream import Upstream
from benchmarks.upstream_networks import UpstreamYolo, quiet_ultralytics
from markcut import rle
from markcut.contracts import CLIPSEG, SAM2_DECODER, SAM2_ENCODER, YOLO11_SEG
from markcut.geometry import Picture

_OPSET = 18


@dataclass(frozen=True)
class UpstreamNetwork:
    """One family of an upstream contender."""

    upstream: Upstream
    family: str

    @property
    def name(self) -> str:
        return self.upstream.name

    @property
    def processes(self) -> tuple[int, ...]:
        return ()

    @contextmanager
    def open(self) -> Iterator[Network]:
        import torch

        with self.upstream.without_networks() as engine:

            def clipseg(pixels: Picture, point: tuple[float, float]) -> Said:
                start = time.perf_counter()
                heat = engine.clipseg.heat(pixels)
                return hot(heat, {CLIPSEG.name: since(start)})

            def sam2(pixels: Picture, point: tuple[float, float]) -> Said:
                start = time.perf_counter()
                engine.sam2.look(pixels)
                ms = {SAM2_ENCODER.name: since(start)}
                start = time.perf_counter()
                mask = engine.sam2.click(point)
                ms[SAM2_DECODER.name] = since(start)
                return _masked(mask, ms)

            def yolo(pixels: Picture, point: tuple[float, float]) -> Said:
                return _yolo(engine.yolo)(pixels, point)

            chosen = {"clipseg": clipseg, "yolo11_seg": yolo, "sam2": sam2}[self.family]

            def call(pixels: Picture, point: tuple[float, float]) -> Said:
                with torch.inference_mode(), engine.precision():
                    return chosen(pixels, point)

            yield call


@dataclass(frozen=True)
class UltralyticsExport:
    """ultralytics' own export of its YOLO, run by its own ``predict``."""

    checkpoint: str
    format: str  # onnx or openvino

    @property
    def name(self) -> str:
        return f"ultralytics {self.format}"

    @property
    def processes(self) -> tuple[int, ...]:
        return ()

    @contextmanager
    def open(self) -> Iterator[Network]:
        with (
            tempfile.TemporaryDirectory(prefix="markcut-export-") as folder,
            quiet_ultralytics(),
        ):
            from ultralytics.models import YOLO

            from export.yolo11_checkpoint import read_checkpoint

            copy = Path(folder) / "marks.pt"  # exports are written beside the checkpoint
            shutil.copyfile(self.checkpoint, copy)
            read_checkpoint(copy)  # before ultralytics, which runs whatever code is in a file
            exported = YOLO(str(copy), task="segment").export(format=self.format, imgsz=640)
            yield _yolo(UpstreamYolo(str(exported)))


@dataclass(frozen=True)
class Samexporter:
    """SAM2 as samexporter exports it and runs it, on ONNX Runtime's CPU provider."""

    sam2: str
    config: str | None

    @property
    def name(self) -> str:
        return "samexporter onnxruntime"

    @property
    def processes(self) -> tuple[int, ...]:
        return ()

    @contextmanager
    def open(self) -> Iterator[Network]:
        from samexporter.sam2_onnx import SegmentAnything2ONNX

        with tempfile.TemporaryDirectory(prefix="markcut-samexporter-") as folder:
            encoder, decoder = Path(folder) / "encoder.onnx", Path(folder) / "decoder.onnx"
            side = _samexport(self.sam2, self.config, encoder, decoder)
            model: Any = SegmentAnything2ONNX(
                str(encoder), str(decoder), providers=["CPUExecutionProvider"]
            )

        def sam2(pixels: Picture, point: tuple[float, float]) -> Said:
            start = time.perf_counter()
            features = model.encode(np.ascontiguousarray(pixels[..., ::-1]))
            ms = {SAM2_ENCODER.name: since(start)}
            start = time.perf_counter()
            height, width = pixels.shape[:2]
            x, y = point[0] - width / side / 2, point[1] - height / side / 2
            prompt = [{"type": "point", "data": [x, y], "label": 1}]
            mask = model.predict_masks(features, prompt)[0, 0] > 0
            ms[SAM2_DECODER.name] = since(start)
            return _masked(mask, ms)

        yield sam2


def peers(
    family: str, upstream: Sequence[Upstream]
) -> tuple[list[Contender[Network]], dict[str, str]]:
    """Everybody else who runs ``family`` here, and why others are missing."""
    found: list[Contender[Network]] = [UpstreamNetwork(one, family) for one in upstream]
    missing: dict[str, str] = {}
    checkpoints = upstream[0].checkpoints if upstream else None
    if checkpoints is None:
        return found, missing
    if upstream[0].device != "cpu":
        others = {"yolo11_seg": "ultralytics' exports", "sam2": "samexporter and transformers"}
        if family in others:
            missing[others[family]] = "they run on the CPU alone here"
        return found, missing
    if family == "yolo11_seg":
        for form, package in (("onnx", "onnxruntime"), ("openvino", "openvino")):
            peer = UltralyticsExport(checkpoints.yolo, form)
            if _installed(package):
                found.append(peer)
            else:
                missing[peer.name] = f"the package {package} is not installed"
    if family == "sam2":
        found.append(
            TransformersSam2(checkpoints.sam2, checkpoints.sam2_config, upstream[0].threads)
        )
        other = Samexporter(checkpoints.sam2, checkpoints.sam2_config)
        if _installed("samexporter"):
            found.append(other)
        else:
            missing[other.name] = (
                "the package samexporter is not installed; it pins other versions of torch and "
                "OpenCV, so: uv pip install --no-deps samexporter"
            )
    return found, missing


def _samexport(sam2: str, config: str | None, encoder: Path, decoder: Path) -> int:
    """samexporter's two graphs of the model; its side.

    With the arguments of its own command, but for the model, which that builds for 1024 px only.
    """
    import torch
    from samexporter.export_sam2 import SAM2ImageDecoder, SAM2ImageEncoder

    from export.sam2 import load

    model: Any = load(sam2, config=config).model
    side = int(model.image_size)
    body = SAM2ImageEncoder(model)
    picture = torch.randn(1, 3, side, side)
    names = ["high_res_feats_0", "high_res_feats_1", "image_embed"]
    with torch.no_grad():
        features = dict(zip(names, body(picture), strict=True))
        torch.onnx.export(
            body, (picture,), str(encoder), opset_version=_OPSET, dynamo=False,
            input_names=["image"], output_names=names,
        )  # fmt: skip
        prompts = {
            "point_coords": torch.randint(0, side, (1, 5, 2)).float(),
            "point_labels": torch.zeros(1, 5),
            "mask_input": torch.randn(1, 1, side // 4, side // 4),
            "has_mask_input": torch.ones(1),
        }
        feeds = {"image_embed": features.pop("image_embed"), **features, **prompts}
        axes = {name: {0: "num_labels"} for name in prompts}
        for name in ("point_coords", "point_labels"):
            axes[name][1] = "num_points"
        torch.onnx.export(
            SAM2ImageDecoder(model, multimask_output=True), tuple(feeds.values()), str(decoder),
            opset_version=_OPSET, dynamo=False, input_names=list(feeds),
            output_names=["masks", "iou_predictions"], dynamic_axes=axes,
        )  # fmt: skip
    return side


def _yolo(model: UpstreamYolo) -> Network:
    def call(pixels: Picture, point: tuple[float, float]) -> Said:
        start = time.perf_counter()
        height, width = pixels.shape[:2]
        found = model.detect(pixels, (0, 0, width, height), SURE)
        return boxes(found, pixels, {YOLO11_SEG.name: since(start)})

    return call


def _masked(mask: Any, ms: dict[str, float]) -> Said:
    height, width = mask.shape
    return Said(ms, (rle.encode(mask, (0, 0), height=height, width=width),), (height, width))


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
