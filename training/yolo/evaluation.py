"""How well a yolo11-seg finds marks on views that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.yolo.views import View

if TYPE_CHECKING:
    import torch

_CONFIDENCE = 0.3
_BOX_IOU = 0.5


@dataclass(frozen=True)
class Detections:
    """What a network found in one view, best first."""

    boxes: NDArray[np.float32]  # (n, 4) xyxy, pixels
    scores: NDArray[np.float32]  # (n,)
    kinds: NDArray[np.int64]  # (n,)
    masks: NDArray[np.bool_]  # (n, side / 4, side / 4)


def detect(
    model: torch.nn.Module, pictures: Sequence[NDArray[np.uint8]], *, device: torch.device | str
) -> list[Detections]:
    """Run ``model`` (evaluation mode) on RGB pictures (side, side, 3) of one size."""
    import torch
    from ultralytics.utils.nms import non_max_suppression

    batch = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        (outputs, protos), _ = model(batch)
    kinds = outputs.shape[1] - 4 - protos.shape[1]
    found = non_max_suppression(
        outputs.float(), _CONFIDENCE, 0.6, agnostic=True, nc=kinds, max_det=32, max_time_img=5.0
    )
    results = []
    for rows, proto in zip(found, protos.float(), strict=True):
        logits = torch.einsum("nc,chw->nhw", rows[:, 6:], proto)
        boxes = rows[:, :4].cpu().numpy()
        masks = _inside((logits > 0).cpu().numpy(), boxes / 4)
        scores, classes = rows[:, 4].cpu().numpy(), rows[:, 5].long().cpu().numpy()
        results.append(Detections(boxes, scores, classes, masks))
    return results


def _inside(masks: NDArray[np.bool_], boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Masks without what lies outside their boxes (grown by half a cell)."""
    ys, xs = np.mgrid[: masks.shape[1], : masks.shape[2]] + 0.5
    x0, y0, x1, y1 = (boxes[:, i, None, None] for i in range(4))
    inside = (xs > x0 - 0.5) & (xs < x1 + 0.5) & (ys > y0 - 0.5) & (ys < y1 + 0.5)
    kept: NDArray[np.bool_] = masks & inside
    return kept


def box_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of every box of ``a`` (n, 4) with every box of ``b`` (m, 4), xyxy: (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(2)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (a, b)]
    return np.asarray(common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9))


def figures(views: Sequence[View], found: Sequence[Detections]) -> dict[str, float]:
    """Recall, false marks per view, kind accuracy and mask IoU of the marks that were found."""
    marks = false = hits = right = 0
    overlaps: list[float] = []
    for view, detections in zip(views, found, strict=True):
        iou = box_iou(detections.boxes, view.boxes)
        taken: set[int] = set()
        for row, kind, mask in zip(iou, detections.kinds, detections.masks, strict=True):
            free = [i for i in np.argsort(-row) if i not in taken and row[i] > _BOX_IOU]
            if not free:
                false += 1
                continue
            best = int(free[0])
            taken.add(best)
            hits += 1
            right += int(kind == view.kinds[best])
            truth = view.masks[best] > 127
            overlaps.append((mask & truth).sum() / max(1, (mask | truth).sum()))
        marks += len(view.kinds)
    return {
        "recall": hits / max(1, marks),
        "false_per_view": false / max(1, len(views)),
        "kind_accuracy": right / max(1, hits),
        "mask_iou": float(np.mean(overlaps)) if overlaps else 0.0,
    }
