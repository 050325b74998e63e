"""YOLO11-seg: an ultralytics ``.pt`` -> one graph from picture to boxes, classes and ink masks.

Suppression and mask assembly are inside, from operations that every runtime has: two fixed top-k
selections, gathers, an IoU matrix and products. The first selection keeps 256 anchors by their
best class, so boxes are decoded for these alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.checkpoints import sha256_of
from export.graph import Arrays, Case, Graph, Loaded, Picture, PixelInput
from export.pictures import letterboxed
from export.yolo11_checkpoint import read_checkpoint
from markcut.contracts import YOLO11_SEG, YOLO_MASK_SIDE, YOLO_SIDE, YOLO_TOP_K
from markcut.manifest import Checkpoint

CANDIDATES = 256
"""Anchors that go into the suppression: the best by score."""

IOU_LIMIT = 0.6
"""Of two boxes that overlap more than this, of whatever class, the one with less score goes."""

ROUNDS = 9
"""Rounds of suppression: exact for chains of up to nine boxes, each over the next."""

_SMALLER = 2.0**-9  # exact, and areas of boxes that fp16 can hold: in pixels they reach 400,000


def load(file: str) -> Loaded:
    """The checkpoint ``file`` as ultralytics writes it, read without running code from it.

    Batch norms are fused into the convolutions before them, as ultralytics does for inference.
    Raises :class:`ExportError` (see :func:`read_checkpoint`).
    """
    path = Path(file)
    return Loaded(
        model=read_checkpoint(path),
        origin=Checkpoint(name=path.name, sha256=sha256_of(path)),
        sizes={},
        graphs=lambda model: [graph(model)],
    )


def graph(model: Any) -> Graph:
    """The graph of ``model``, a fused ``SegmentationModel``."""
    (pixels,) = (t.name for t in YOLO11_SEG.inputs)
    normalise = PixelInput((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def cases(pictures: Sequence[Picture]) -> Iterator[Case]:
        views = np.stack([letterboxed(p, YOLO_SIDE) for p in pictures])
        for k in range(len(views)):
            yield Case("one picture", {pixels: views[k : k + 1]})
        yield Case("all pictures", {pixels: views})

    def reference(feeds: Arrays) -> Arrays:
        outputs = _reference(model, normalise(torch.from_numpy(feeds[pixels])))
        return dict(zip((t.name for t in YOLO11_SEG.outputs), outputs, strict=True))

    return Graph(
        spec=YOLO11_SEG,
        module=Yolo11Seg(model, normalise),
        reference=reference,
        cases=cases,
        align=_align,
    )


class Yolo11Seg(nn.Module):
    """uint8 ``[B, 640, 640, 3]`` -> boxes, scores, class ids and masks of the 32 best."""

    anchors: Tensor
    distances: Tensor
    better: Tensor

    def __init__(self, model: Any, pixels: PixelInput) -> None:
        super().__init__()
        self.pixels = pixels
        self.body, self.head, self.saved = model.model[:-1], model.model[-1], set(model.save)
        sides = [round(YOLO_SIDE / float(stride)) for stride in self.head.stride]
        self.cells = [side * side for side in sides]
        self.bins = self.head.reg_max
        anchors = [_anchors(side, YOLO_SIDE / side) for side in sides]
        self.register_buffer("anchors", torch.cat(anchors))  # xy and stride, pixels
        self.register_buffer("distances", torch.arange(self.bins, dtype=torch.float32)[:, None])
        better = torch.ones(CANDIDATES, CANDIDATES).triu(1)  # row better than column
        self.register_buffer("better", better)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        features = self._features(self.pixels(pixel_values))
        head = self.head
        logits = self._levels(head.cv3, features, head.nc)
        best, anchor = logits.amax(1).topk(CANDIDATES)
        boxes = self._boxes(self._levels(head.cv2, features, 4 * self.bins), anchor)
        kept = self._kept(boxes)
        scores, row = (best.sigmoid() * kept).topk(YOLO_TOP_K)
        anchor = anchor.gather(1, row)
        coefficients = _pick(self._levels(head.cv4, features, head.nm), anchor)
        prototypes = head.proto(features[0]).reshape(-1, head.nm, YOLO_MASK_SIDE**2)
        masks = (coefficients.transpose(1, 2) @ prototypes).sigmoid()
        return (
            _pick(boxes.transpose(1, 2), row).transpose(1, 2),
            scores,
            _pick(logits, anchor).argmax(1).int(),
            masks.reshape(-1, YOLO_TOP_K, YOLO_MASK_SIDE, YOLO_MASK_SIDE),
        )

    def _features(self, x: Tensor) -> list[Tensor]:
        outputs: list[Tensor] = []
        for layer in self.body:
            sources = layer.f if isinstance(layer.f, list) else [layer.f]
            inputs = [x if source == -1 else outputs[source] for source in sources]
            x = layer(inputs if isinstance(layer.f, list) else inputs[0])
            outputs.append(x)
        return [outputs[source] for source in self.head.f]

    def _levels(self, branch: Any, features: list[Tensor], channels: int) -> Tensor:
        """One branch of the head on all levels: ``[B, channels, anchors]``."""
        levels = zip(branch, features, self.cells, strict=True)
        return torch.cat([part(x).reshape(-1, channels, cells) for part, x, cells in levels], 2)

    def _boxes(self, sides: Tensor, anchor: Tensor) -> Tensor:
        """xyxy ``[B, k, 4]`` of the chosen anchors: each side is an expected distance."""
        sides = _pick(sides, anchor).reshape(-1, 4, self.bins, CANDIDATES).softmax(2)
        # left, top, right, bottom; a product with a vector would do, but ONNX Runtime gets it wrong
        # behind a transposition (1.31: it fuses both)
        reach = (sides * self.distances).sum(2).transpose(1, 2)
        x, y, stride = nn.functional.embedding(anchor, self.anchors).split(1, 2)
        centre = torch.cat([x, y], 2)
        return torch.cat([centre - reach[..., :2] * stride, centre + reach[..., 2:] * stride], 2)

    def _kept(self, boxes: Tensor) -> Tensor:
        """1 for boxes ``[B, k, 4]``, best first, that survive greedy suppression, else 0.

        Cluster-NMS (Zheng et al., 2020): every round asks which boxes are covered by one that was
        still standing after the last. It never takes more rounds than the longest chain.
        """
        x0, y0, x1, y1 = (boxes * _SMALLER).split(1, 2)
        area = (x1 - x0) * (y1 - y0)
        width = torch.minimum(x1, x1.transpose(1, 2)) - torch.maximum(x0, x0.transpose(1, 2))
        height = torch.minimum(y1, y1.transpose(1, 2)) - torch.maximum(y0, y0.transpose(1, 2))
        both = width.relu() * height.relu()
        # IoU > limit without a division: empty boxes have no IoU
        covers = (both > IOU_LIMIT * (area + area.transpose(1, 2) - both)).float() * self.better
        kept: Tensor = (covers.sum(1, keepdim=True) < 0.5).float()
        for _ in range(ROUNDS - 1):
            kept = (kept @ covers < 0.5).float()
        return kept.squeeze(1)


def _align(got: Arrays, wanted: Arrays) -> tuple[Arrays, Arrays]:
    """``got`` in the order of ``wanted``: rows with nearly equal scores may come either way round.

    Rows are paired by kind, box and score. Rows whose score decides between in and out by less
    than rounding are left out, as are boxes and masks of rows without a score.
    """
    names = [t.name for t in YOLO11_SEG.outputs]
    boxes, scores, kinds, masks = range(4)
    ours, theirs = [[np.array(a[name]) for name in names] for a in (got, wanted)]
    for one, other in zip(
        zip(*ours, strict=True), zip(*theirs, strict=True), strict=True
    ):  # one picture's rows; views into the copies above
        last = other[scores].min()
        unsure = last + 1e-5 if last > 0 else 0.0
        for rows in (one, other):
            rows[scores][rows[scores] <= unsure] = 0
        distance = (
            np.abs(one[boxes][:, None] - other[boxes]).max(2) / YOLO_SIDE
            + np.abs(one[scores][:, None] - other[scores])
            + 0.01 * (one[kinds][:, None] != other[kinds])
            + (one[scores] == 0)[:, None]
        )
        order = np.full(YOLO_TOP_K, -1)
        for row in np.flatnonzero(other[scores]):
            order[row] = distance[:, row].argmin()
            distance[order[row]] = np.inf
        left = np.setdiff1d(np.arange(YOLO_TOP_K), order)
        order[order < 0] = left
        for part in one:
            part[...] = part[order]
        for part in (boxes, kinds, masks):
            one[part][other[scores] == 0] = 0
            other[part][other[scores] == 0] = 0
    return dict(zip(names, ours, strict=True)), dict(zip(names, theirs, strict=True))


def _pick(x: Tensor, index: Tensor) -> Tensor:
    """Columns ``index [B, k]`` of ``x [B, C, n]``: ``[B, C, k]``."""
    return x.gather(2, index.unsqueeze(1).repeat(1, x.shape[1], 1))


def _anchors(side: int, stride: float) -> Tensor:
    """Centres of the cells and their stride, ``[side * side, 3]`` in pixels, row by row."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    xy = (torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride
    return torch.cat([xy, torch.full((side * side, 1), stride)], 1)


def _reference(model: Any, pixels: Tensor) -> list[Any]:
    """The same answer by ultralytics' own forward and suppression, padded to the contract."""
    from ultralytics.utils.nms import non_max_suppression

    decoded, prototypes = model(pixels)[0]
    classes = len(model.names)
    _, anchor = decoded[:, 4 : 4 + classes].amax(1).topk(CANDIDATES)
    found = non_max_suppression(
        decoded.gather(2, anchor.unsqueeze(1).expand(-1, decoded.shape[1], -1)),
        conf_thres=0.0,
        iou_thres=IOU_LIMIT,
        agnostic=True,
        max_det=YOLO_TOP_K,
        nc=classes,
    )
    padded = torch.stack([nn.functional.pad(f, (0, 0, 0, YOLO_TOP_K - len(f))) for f in found])
    boxes, scores, kinds, coefficients = padded.split([4, 1, 1, padded.shape[2] - 6], 2)
    masks = torch.einsum("bkc,bchw->bkhw", coefficients, prototypes).sigmoid()
    outputs = boxes, scores[..., 0], kinds[..., 0].int(), masks
    return [output.numpy() for output in outputs]
