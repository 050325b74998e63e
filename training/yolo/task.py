"""The yolo11n-seg as the training loop sees it: model, loss, optimisers, file format."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics import __version__ as ultralytics_version
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import SegmentationModel, load_checkpoint
from ultralytics.utils import DEFAULT_CFG_DICT

from markcut.contracts import KINDS
from training.errors import TrainingError
from training.files import replacing
from training.optimizers import adamw
from training.yolo.evaluation import detect, figures
from training.yolo.views import View

FILE = "yolo11n-seg-marks.pt"
_SETTINGS = {"task": "segment", "overlap_mask": False, "mask_ratio": 4, "imgsz": 640}


def build_model(weights: Path | None = None) -> Any:
    """A SegmentationModel (yolo11n-seg) for the seven kinds of marks.

    ``weights`` is an ultralytics ``.pt``: one of marks is taken whole; of any other yolo11n-seg
    (80 classes of everyday objects, say) all layers that fit. Raises TrainingError when it cannot
    be read or nothing in it fits.
    """
    network: Any = SegmentationModel
    model = network("yolo11n-seg.yaml", ch=3, nc=len(KINDS), verbose=False)
    model.names = dict(enumerate(KINDS))
    model.args = get_cfg(overrides=_SETTINGS)
    if weights is None:
        return model
    try:
        read: Any = load_checkpoint
        given, _ = read(str(weights))
        theirs = given.float().state_dict()
    except Exception as error:
        raise TrainingError(
            f"--weights: {weights} is no ultralytics checkpoint ({error}); expected a .pt file "
            "that YOLO(...) loads"
        ) from error
    own = model.state_dict()
    fitting = {n: v for n, v in theirs.items() if n in own and own[n].shape == v.shape}
    if len(fitting) < len(own) // 2:
        raise TrainingError(
            f"--weights: {weights} has {len(fitting)} of the {len(own)} tensors of a yolo11n-seg; "
            "expected a yolo11n-seg checkpoint"
        )
    model.load_state_dict(fitting, strict=False)
    return model


def save_model(path: Path, model: nn.Module) -> None:
    """Write ``model`` as ultralytics does, in 16 bit: ``YOLO(path)`` loads it."""
    half: Any = copy.deepcopy(model).cpu().eval()
    half.criterion = None  # of the loss: no part of a model file
    half = half.to(memory_format=torch.contiguous_format).half()
    content = {
        "epoch": -1,
        "best_fitness": None,
        "model": half,
        "ema": None,
        "updates": None,
        "optimizer": None,
        "train_args": {**DEFAULT_CFG_DICT, **_SETTINGS},
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "version": ultralytics_version,
        "license": "AGPL-3.0 (https://ultralytics.com/license)",
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


class YoloTask:
    """Trains a SegmentationModel with ultralytics' own loss on views of marked pictures.

    ``held_out`` makes the named sets of views that ``evaluate`` measures; it is called once, at
    the first evaluation.
    """

    name = "yolo"

    def __init__(
        self,
        model: Any,
        *,
        device: torch.device,
        held_out: Callable[[], dict[str, Sequence[View]]],
    ) -> None:
        self.model: Any = model.to(memory_format=torch.channels_last)
        self._device = device
        self._make_held_out = held_out
        self._held_out: dict[str, Sequence[View]] | None = None

    def optimizers(self, learning_rate: float) -> Sequence[torch.optim.Optimizer]:
        """AdamW: ahead of Muon over 80 steps on equal batches; longer was not compared."""
        return adamw(self.model, learning_rate)

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        batch = {n: v.to(self._device, non_blocking=True) for n, v in batch.items()}
        pixels = batch["img"].float().div_(255).contiguous(memory_format=torch.channels_last)
        predictions = self.model(pixels)
        predictions = {n: _as_float(v) for n, v in predictions.items()}
        batch["masks"] = batch["masks"].float() / 255
        with torch.autocast(self._device.type, enabled=False):
            parts, shown = self.model.loss(batch, predictions)
        loss = parts.sum() / len(pixels)
        names = {"box_loss": "box", "seg_loss": "mask", "cls_loss": "kind", "dfl_loss": "edges"}
        return loss, {names[n]: float(v) for n, v in shown.items() if n in names}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        if self._held_out is None:
            self._held_out = self._make_held_out()
        result: dict[str, float] = {}
        for name, views in self._held_out.items():
            found = [f for v in views for f in detect(model, [v.picture], device=self._device)]
            result |= {f"{name}_{n}": v for n, v in figures(views, found).items()}
        return result

    def save(self, folder: Path, model: nn.Module) -> None:
        save_model(folder / FILE, model)


def _as_float(value: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
    return value.float() if isinstance(value, Tensor) else [v.float() for v in value]
