"""The upstream projects' three networks through their own user-level calls, as they are timed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut.geometry import Picture, Window
from markcut.looks import Detection
from markcut.point_sampler import FOREGROUND

CUDA = "cuda"

_NMS_IOU = 0.6
_MOST = 32
_MARGIN, _SHARE = 12, 0.08  # around a detection's box: pixels of the input, and of its side


class UpstreamClipseg:
    """transformers' processor and model; the text goes through its tower at every call."""

    def __init__(self, source: str, prompt: str, *, device: str = "cpu") -> None:
        import torch
        from transformers import AutoImageProcessor, CLIPSegForImageSegmentation, CLIPSegProcessor
        from transformers.utils import logging

        from export.clipseg_checkpoint import load_tokenizer

        logging.disable_progress_bar()
        model = CLIPSegForImageSegmentation.from_pretrained(source, dtype=torch.float32)
        self.model: Any = model.eval().to(device)
        words = self.model.config.text_config.vocab_size
        tokenizer = load_tokenizer(source, words, flag="--clipseg")
        pictures = AutoImageProcessor.from_pretrained(source)
        self._processor: Any = CLIPSegProcessor(pictures, tokenizer)
        self._prompt = prompt
        self._device = device

    def heat(self, pixels: Picture) -> NDArray[np.float32]:
        """Probabilities (352, 352)."""
        from PIL import Image

        inputs = self._processor(
            text=[self._prompt], images=[Image.fromarray(pixels)], return_tensors="pt"
        )
        logits = self.model(**inputs.to(self._device)).logits
        heat = logits.sigmoid().float().reshape(logits.shape[-2:])
        return np.asarray(heat.cpu().numpy(), np.float32)


class UpstreamYolo:
    """ultralytics' ``predict``."""

    def __init__(self, source: str, *, device: str = "cpu", compiled: bool = False) -> None:
        from ultralytics.models import YOLO

        self._model: Any = YOLO(source, task="segment", verbose=False)
        self._device, self._compiled = device, compiled

    def detect(self, pixels: Picture, window: Window, threshold: float) -> list[Detection]:
        """What it sees in ``window`` (xyxy) of the picture, in the picture's pixels."""
        x0, y0, x1, y1 = window
        crop = np.ascontiguousarray(pixels[y0:y1, x0:x1, ::-1])  # ultralytics takes BGR
        (result,) = self._model.predict(
            crop, imgsz=640, conf=threshold, iou=_NMS_IOU, agnostic_nms=True, max_det=_MOST,
            verbose=False, device=self._device, compile=self._compiled,
            rect=not self._compiled,  # its default; compiled, every other shape costs a compilation
        )  # fmt: skip
        if result.masks is None:
            return []
        result = result.cpu()
        masks = result.masks.data.float().numpy()
        boxes = result.boxes.xyxy.float().numpy()
        scores, kinds = result.boxes.conf.float().tolist(), result.boxes.cls.int().tolist()
        found = zip(masks, boxes, scores, kinds, strict=True)
        return [_detection(*one, window) for one in found]


class UpstreamSam2:
    """``SAM2ImagePredictor`` over ``model``, a ``SAM2Base`` of any side."""

    def __init__(self, model: Any) -> None:
        import torch
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        self._synchronize = torch.cuda.synchronize
        self.predictor: Any = SAM2ImagePredictor(model)
        # it takes for granted that the model's side is 1024
        side = model.image_size
        self.predictor._bb_feat_sizes = [(side // n, side // n) for n in (4, 8, 16)]

    def look(self, pixels: Picture) -> None:
        self.predictor.set_image(pixels)
        if self.predictor.device.type == CUDA:  # else its time would be the first click's
            self._synchronize()

    def click(self, point: tuple[float, float]) -> NDArray[np.bool_]:
        """The best predicted of the three masks for one click, (height, width)."""
        # our points count pixels from their corners, SAM2's from their centres at its own scale
        (height, width), side = self.predictor._orig_hw[0], self.predictor.model.image_size
        half = np.array([width, height]) / side / 2
        masks, predicted, _ = self.predictor.predict(
            point_coords=np.array([point]) - half,
            point_labels=np.array([FOREGROUND]),
            multimask_output=True,
        )
        return np.asarray(masks[int(predicted.argmax())] > 0, np.bool_)


def _detection(
    mask: NDArray[np.float32], box: NDArray[np.float32], score: float, kind: int, window: Window
) -> Detection:
    """``mask`` (mh, mw) covers the letterboxed window, ``box`` is in pixels of the window."""
    rows, columns = mask.shape
    x0, y0, x1, y1 = window
    gain = min(rows / (y1 - y0), columns / (x1 - x0))
    left, top = (columns - (x1 - x0) * gain) / 2, (rows - (y1 - y0) * gain) / 2
    inside = box * gain + np.array([left, top, left, top])
    margin = _MARGIN + _SHARE * float(max(inside[2] - inside[0], inside[3] - inside[1]))
    a, b = np.maximum(np.floor(inside[:2] - margin).astype(int), 0).tolist()
    c = min(columns, int(np.ceil(inside[2] + margin)))
    d = min(rows, int(np.ceil(inside[3] + margin)))
    return Detection(
        kind=kind,
        score=score,
        box=(box + np.array([x0, y0, x0, y0])).astype(np.float32),
        prob=np.ascontiguousarray(mask[b:d, a:c]),
        region=(
            x0 + (a - left) / gain, y0 + (b - top) / gain,
            x0 + (c - left) / gain, y0 + (d - top) / gain,
        ),
        window=window,
    )  # fmt: skip


def cuda_in_torch() -> bool:
    """Whether PyTorch has a CUDA device here."""
    import torch

    return torch.cuda.is_available()


@contextmanager
def quiet_ultralytics() -> Iterator[None]:
    """ultralytics without settings in the home folder and without installing anything."""
    with tempfile.TemporaryDirectory(prefix="markcut-ultralytics-") as folder:
        os.environ.setdefault("YOLO_CONFIG_DIR", folder)
        os.environ["YOLO_AUTOINSTALL"] = "false"
        os.environ["YOLO_OFFLINE"] = "true"
        yield
