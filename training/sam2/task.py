"""What the training loop needs to train SAM2's image path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.optimizers import adamw
from training.sam2.data import Batch
from training.sam2.losses import border_loss, embedding_loss, mask_loss
from training.sam2.model import ImagePath, save

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_EMBEDDING = 16
_ROUTING = 0.5


class Heads(nn.Module):
    """A SAM2 with heads that teach its feature maps densely; only the SAM2 is saved."""

    def __init__(self, sam: nn.Module, d_model: int) -> None:
        super().__init__()
        self.path = ImagePath(sam)
        self.embeddings = nn.ModuleList(nn.Conv2d(d_model, _EMBEDDING, 1) for _ in range(2))
        self.border = nn.Conv2d(d_model, 1, 1)
        self.router = nn.Linear(d_model, d_model)
        self.biases = nn.Parameter(torch.ones(2))


class Sam2Task:
    """Clicks, boxes and masks -> mask and IoU losses, with the embedding loss beside them."""

    name = "sam2"

    def __init__(
        self,
        sam: nn.Module,
        *,
        config: Path,
        held_out: Sequence[Batch],
        final_side: int,
        embedding_weight: float,
        compiled: bool = False,
    ) -> None:
        d_model: int = sam.hidden_dim  # type: ignore[assignment]
        self.model = Heads(sam, d_model)
        # functions beside the modules: averaged copies of the model must not run through them
        self._encode, self._decode = self.model.path.encode, self.model.path.decode
        if compiled:
            self._encode, self._decode = torch.compile(self._encode), torch.compile(self._decode)
        self._config = config
        self._held_out = held_out
        self._final_side = final_side
        self._embedding_weight = embedding_weight

    def optimizers(self, learning_rate: float) -> Sequence[torch.optim.Optimizer]:
        return adamw(self.model, learning_rate)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        model = self.model
        features = self._encode(normalised(batch.pixels))
        dense, figures = self._dense_loss(features, batch)
        total = self._embedding_weight * dense
        with torch.autocast("cpu", enabled=False):
            targets = batch.targets.float() / 255
        count = targets.shape[1]
        direct, tokens = model.path.decode_directly(
            features, batch.anchors[:, :count], model.router
        )
        with torch.autocast("cpu", enabled=False):
            masks = mask_loss(direct, None, targets, batch.valid)
        total = total + masks.total
        figures |= {"direct": masks.best_iou}
        if batch.prompted:
            free = (int(model.path.sam.image_size) - batch.pixels.shape[-1]) // 16
            corner = torch.randint(free + 1, (2,)).tolist()
            logits, iou, answers = self._decode(
                features,
                batch.points,
                batch.labels,
                batch.masks,
                batch.use_mask,
                corner=(corner[0], corner[1]),
            )
            with torch.autocast("cpu", enabled=False):
                masks = mask_loss(logits, iou, targets, batch.valid)
                routing = (answers - tokens.detach()[:, :, None]).square().mean((-2, -1))
                routing = routing[batch.valid].mean() if batch.valid.any() else routing.sum() * 0
            total = total + masks.total + _ROUTING * routing
            figures |= {
                "single": masks.single_iou,
                "best": masks.best_iou,
                "picked": masks.picked_iou,
                "routing": float(routing.detach()),
            }
        return total, figures

    def _dense_loss(
        self, features: Sequence[Tensor], batch: Batch
    ) -> tuple[Tensor, dict[str, float]]:
        """What every pixel can learn without a prompt: its object's other pixels, and borders."""
        model = self.model
        fine, coarse = (
            embedding_loss(head(feature), bias, batch.instances, batch.anchors)
            for head, bias, feature in zip(
                model.embeddings, model.biases, features[::2], strict=True
            )
        )
        border = border_loss(model.border(features[0]), batch.instances)
        figures = {"fine": float(fine.detach()), "coarse": float(coarse.detach())}
        return fine + 0.5 * coarse + border, figures | {"border": float(border.detach())}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Mean IoU at the picture's full side over held-out scenes, per kind of answer."""
        assert isinstance(model, Heads)
        found: dict[str, list[Tensor]] = {"single": [], "best": [], "picked": []}
        for batch in self._held_out:
            features = model.path.encode(normalised(batch.pixels))
            logits, predicted, _ = model.path.decode(
                features, batch.points, batch.labels, batch.masks, batch.use_mask
            )
            side = batch.pixels.shape[-1]
            full = F.interpolate(logits.flatten(0, 1), (side, side), mode="bilinear") > 0
            truth = batch.instances[:, None] == batch.chosen[:, :, None, None]
            truth = truth.flatten(0, 1)[:, None]
            iou = (full & truth).sum((-2, -1)) / (full | truth).sum((-2, -1)).clamp_min(1)
            iou = iou[batch.valid.flatten()]
            best = predicted.flatten(0, 1)[batch.valid.flatten()].argmax(-1, keepdim=True)
            found["single"].append(iou[:, 0])
            found["best"].append(iou[:, 1:].max(-1).values)
            found["picked"].append(iou.gather(1, best)[:, 0])
        figures = {}
        for name, values in found.items():
            joined = torch.cat(values)
            figures[f"{name}_mean_iou"] = float(joined.mean())
            figures[f"{name}_median_iou"] = float(joined.median())
        return figures

    def save(self, folder: Path, model: nn.Module) -> None:
        assert isinstance(model, Heads)
        save(model.path.sam, self._config, folder)


def normalised(pixels: Tensor) -> Tensor:
    """uint8 RGB ``[B, 3, s, s]`` -> SAM2's input (ImageNet mean and deviation)."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) * 255 for v in (_MEAN, _STD))
    return (pixels.float() - mean) / std
