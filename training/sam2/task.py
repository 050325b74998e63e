"""What the training loop needs to train SAM2's image path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.optimizers import adamw
from training.sam2.again import once_more
from training.sam2.data import Batch, Stage
from training.sam2.losses import border_loss, embedding_loss, mask_loss
from training.sam2.model import ImagePath, save

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_EMBEDDING = 16
_ROUTING, _SECOND = 0.5, 0.5


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
        device: torch.device,
        held_out: Sequence[Batch],
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
        self._device = device
        self._held_out = held_out
        self._embedding_weight = embedding_weight

    def optimizers(self, learning_rate: float) -> Sequence[torch.optim.Optimizer]:
        return adamw(self.model, learning_rate)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        batch = batch.to(self._device)
        features = self._encode(normalised(batch.pixels))
        total, figures = self._dense_loss(features, batch)
        total = self._embedding_weight * total
        targets = batch.targets.float() / 255
        tokens = None
        if batch.stage < Stage.EXACT:
            loss, tokens, shown = self._direct_loss(features, batch, targets)
            total, figures = total + loss, figures | shown
        if batch.stage > Stage.DENSE:
            loss, shown = self._prompted_loss(features, batch, targets, tokens)
            total, figures = total + loss, figures | shown
        return total, figures

    def _direct_loss(
        self, features: list[Tensor], batch: Batch, targets: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Masks without the decoder's transformer; also the tokens that stood in for it."""
        anchors = batch.anchors[:, : targets.shape[1]]
        logits, tokens = self.model.path.decode_directly(features, anchors, self.model.router)
        with torch.autocast(self._device.type, enabled=False):
            masks = mask_loss(logits, None, targets, batch.valid)
        return masks.total, tokens, {"direct": masks.best_iou}

    def _prompted_loss(
        self, features: list[Tensor], batch: Batch, targets: Tensor, tokens: Tensor | None
    ) -> tuple[Tensor, dict[str, float]]:
        """Masks of the whole decoder, which ``tokens`` teach where to look as long as they come.

        Exact masks are answered twice, the second time with the first answer as mask prompt
        (Segment Anything, appendix A), because that is what mending a mask gives the decoder.
        """
        free = (int(self.model.path.sam.image_size) - batch.pixels.shape[-1]) // 16
        x, y = torch.randint(free + 1, (2,)).tolist()
        exact = batch.stage is Stage.EXACT
        logits, iou, answers = self._decode(
            features, batch.points, batch.labels, batch.masks, batch.use_mask, corner=(x, y)
        )
        with torch.autocast(self._device.type, enabled=False):
            masks = mask_loss(logits, iou, targets, batch.valid, exact=exact)
        total = masks.total
        figures = {
            "single": masks.single_iou,
            "best": masks.best_iou,
            "picked": masks.picked_iou,
        }
        if exact:
            given = once_more(batch.points, batch.labels, logits.detach(), iou.detach(), targets)
            logits, iou, _ = self._decode(
                features, *given, torch.ones_like(batch.use_mask), corner=(x, y)
            )
            with torch.autocast(self._device.type, enabled=False):
                again = mask_loss(logits, iou, targets, batch.valid, exact=True)
            total, figures["again"] = total + _SECOND * again.total, again.picked_iou
        if tokens is None:
            return total, figures
        routing = (answers - tokens.detach()[:, :, None]).square().mean((-2, -1))
        routing = routing[batch.valid].mean() if batch.valid.any() else routing.sum() * 0
        figures["routing"] = float(routing.detach())
        return total + _ROUTING * routing, figures

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
        """Mean IoU at the picture's full side over held-out scenes, per kind of answer.

        ``again``: the answer picked of those to the first one as mask prompt."""
        assert isinstance(model, Heads)
        found: dict[str, list[Tensor]] = {"single": [], "best": [], "picked": [], "again": []}
        for kept in self._held_out:
            batch = kept.to(self._device)
            features = model.path.encode(normalised(batch.pixels))
            iou, picked, mask = _judged(model.path, features, batch, batch.masks, batch.use_mask)
            found["single"].append(iou[:, 0])
            found["best"].append(iou[:, 1:].max(-1).values)
            found["picked"].append(picked)
            every = torch.ones_like(batch.use_mask)
            found["again"].append(_judged(model.path, features, batch, mask, every)[1])
        figures = {}
        for name, values in found.items():
            joined = torch.cat(values)
            figures[f"{name}_mean_iou"] = float(joined.mean())
            figures[f"{name}_median_iou"] = float(joined.median())
        return figures

    def save(self, folder: Path, model: nn.Module) -> None:
        assert isinstance(model, Heads)
        save(model.path.sam, self._config, folder)


def _judged(
    path: ImagePath, features: list[Tensor], batch: Batch, masks: Tensor, use_mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """IoU of all four answers and of the picked one, valid prompts only; the picked ones' logits.

    ``[V, 4]``, ``[V]`` and, of all prompts, ``[B, K, 1, s/4, s/4]``."""
    logits, predicted, _ = path.decode(features, batch.points, batch.labels, masks, use_mask)
    side = batch.pixels.shape[-1]
    truth = batch.instances[:, None] == batch.chosen[:, :, None, None]
    truth = truth[batch.valid][:, None]
    full = F.interpolate(logits[batch.valid], (side, side), mode="bilinear") > 0
    iou = (full & truth).sum((-2, -1)) / (full | truth).sum((-2, -1)).clamp_min(1)
    picked = predicted.argmax(-1)
    index = picked[..., None, None, None].expand(-1, -1, 1, *logits.shape[3:])
    return (
        iou,
        iou.gather(1, picked[batch.valid][:, None])[:, 0],
        logits.gather(2, index),
    )


def normalised(pixels: Tensor) -> Tensor:
    """uint8 RGB ``[B, 3, s, s]`` -> SAM2's input (ImageNet mean and deviation)."""
    mean, std = (
        torch.tensor(v, device=pixels.device).view(1, 3, 1, 1) * 255 for v in (_MEAN, _STD)
    )
    return (pixels.float() - mean) / std
