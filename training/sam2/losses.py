"""Losses of the SAM2 trainer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_CROSS, _DICE, _IOU, _ALL_MASKS = 1.0, 1.0, 1.0, 0.05
_LEAST_AREA = 0.02


@dataclass(frozen=True)
class MaskLoss:
    total: Tensor
    single_iou: float  # mean IoU of mask 0
    best_iou: float  # mean IoU of the best of masks 1..3
    picked_iou: float  # mean IoU of the mask with the highest predicted IoU


def balanced_cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean of the cross-entropy inside and of that outside; ``[..., h, w] -> [...]``.

    Objects are small: with plain means, "nothing" is where a fresh network goes and stays.
    """
    cross = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    inside = (cross * wanted).sum((-2, -1)) / wanted.sum((-2, -1)).clamp_min(1)
    outside = (cross * (1 - wanted)).sum((-2, -1)) / (1 - wanted).sum((-2, -1)).clamp_min(1)
    return (inside + outside) / 2


def exact_cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of all pixels, in parts of twice the object's area; ``[..., h, w] -> [...]``.

    An object below a hundredth of the picture counts as one.
    """
    cross = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    h, w = wanted.shape[-2:]
    return cross.sum((-2, -1)) / (2 * wanted.sum((-2, -1))).clamp_min(_LEAST_AREA * h * w)


def mask_loss(
    logits: Tensor,
    predicted_iou: Tensor | None,
    target: Tensor,
    valid: Tensor,
    *,
    exact: bool = False,
) -> MaskLoss:
    """Cross-entropy and dice, of masks 1..3 the best one's (Segment Anything), IoU regression.

    ``logits [B, K, 4, h, w]``, ``predicted_iou [B, K, 4]``, ``target [B, K, h, w]``,
    ``valid [B, K]``. Mask 0 answers every prompt, and all three masks learn a little so that none
    dies. Source: Kirillov et al., Segment Anything, 2023, appendix A.

    ``exact`` counts every pixel alike. The balanced cross-entropy that a fresh network needs makes
    masks too large (a pixel inside a small object weighs more than one beside it): trained with it
    to the end, the demo's masks had 1.46 times the area of their objects.
    """
    wanted = target[:, :, None].expand_as(logits)
    probability = logits.sigmoid()
    cross = (exact_cross_entropy if exact else balanced_cross_entropy)(logits, wanted)
    overlap = (probability * wanted).sum((-2, -1))
    dice = 1 - (2 * overlap + 1) / (probability.sum((-2, -1)) + wanted.sum((-2, -1)) + 1)
    each = _CROSS * cross + _DICE * dice  # [B, K, 4]
    with torch.no_grad():
        hard, truth = logits > 0, wanted > 0.5
        union = (hard | truth).sum((-2, -1)).clamp_min(1)
        iou = (hard & truth).sum((-2, -1)) / union
    several = each[..., 1:]
    per_prompt = each[..., 0] + several.min(-1).values + _ALL_MASKS * several.sum(-1)
    if predicted_iou is not None:
        per_prompt = per_prompt + _IOU * (predicted_iou - iou).square().sum(-1)
    weight = valid.float()
    count = weight.sum().clamp_min(1)
    quality = iou if predicted_iou is None else predicted_iou
    picked = iou.gather(-1, quality.argmax(-1, keepdim=True)).squeeze(-1)

    def mean(values: Tensor) -> float:
        return float((values * weight).sum() / count)

    return MaskLoss(
        (per_prompt * weight).sum() / count,
        single_iou=mean(iou[..., 0]),
        best_iou=mean(iou[..., 1:].max(-1).values),
        picked_iou=mean(picked),
    )


def embedding_loss(embedding: Tensor, bias: Tensor, instances: Tensor, anchors: Tensor) -> Tensor:
    """Pixels of the anchor's object near the anchor in embedding space, all others far.

    ``embedding [B, E, h, w]``, ``instances [B, s, s]``, ``anchors [B, A, 2]`` xy px of ``s``.
    Same-object logit = bias - squared distance; cross-entropy and dice per anchor, so that a small
    object counts as much as a large one. The dense teacher of a sparse task: every pixel of every
    object learns from every picture. (Pairwise form of De Brabandere et al., Semantic Instance
    Segmentation with a Discriminative Loss Function, 2017.)
    """
    _, e, h, w = embedding.shape
    stride = instances.shape[-1] // h
    centre = stride // 2
    labels = instances[:, centre::stride, centre::stride][:, :h, :w].flatten(1)  # [B, hw]
    cells = (anchors // stride).clamp(max=h - 1)
    index = cells[..., 1] * w + cells[..., 0]  # [B, A]
    flat = embedding.float().flatten(2)  # [B, E, hw]
    mine = flat.gather(2, index[:, None].expand(-1, e, -1))  # [B, E, A]
    distance = (
        mine.square().sum(1)[:, :, None]
        + flat.square().sum(1)[:, None]
        - 2 * torch.einsum("bea,bep->bap", mine, flat)
    )
    logits = bias - distance
    anchor_label = labels.gather(1, index)
    same = (labels[:, None] == anchor_label[:, :, None]).float()
    cross = balanced_cross_entropy(logits[..., None], same[..., None])
    probability = logits.sigmoid()
    dice = 1 - (2 * (probability * same).sum(-1) + 1) / (probability.sum(-1) + same.sum(-1) + 1)
    weight = torch.where(anchor_label > 0, 1.0, 0.3)
    return ((cross + dice) * weight).sum() / weight.sum()


def border_loss(logits: Tensor, instances: Tensor) -> Tensor:
    """Where one object ends and another begins: ``logits [B, 1, h, w]``, ``instances [B, s, s]``.

    A cell is border when its pixels belong to several objects.
    """
    stride = instances.shape[-1] // logits.shape[-1]
    labels = instances[:, None].float()
    border = F.max_pool2d(labels, stride) != -F.max_pool2d(-labels, stride)
    return balanced_cross_entropy(logits.float(), border.float()).mean()
