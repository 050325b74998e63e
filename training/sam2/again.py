"""A training step asks twice: the answer given back as a mask, with a click at its fault."""

from __future__ import annotations

import torch
from torch import Tensor

_CLICKED = 0.5  # share of the second questions that also click where the first answer was wrong
_TRUSTED = 0.7  # share that give back the answer with the highest predicted IoU, others any
_LIMIT = 32.0  # SAM2ImagePredictor clamps the logits that it hands out
_CELL = 4  # px of the view


def once_more(
    points: Tensor, labels: Tensor, logits: Tensor, predicted_iou: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The next ``points``, ``labels`` and ``masks [B, K, 1, h, w]`` after answers to the first.

    ``points [B, K, P, 2]`` px, ``labels [B, K, P]``, ``logits [B, K, 4, h, w]``, ``predicted_iou
    [B, K, 4]``, ``targets [B, K, h, w]`` 0..1. A click needs a free place among the P (label -1)
    and a cell that the answer has wrong: a positive one where the object was missed, else a
    negative one. Source: Kirillov et al., Segment Anything, 2023, appendix A.
    """
    trusted = torch.rand_like(predicted_iou[..., 0]) < _TRUSTED
    any_one = torch.randint_like(labels[..., 0], logits.shape[2])
    index = torch.where(trusted, predicted_iou.argmax(-1), any_one.long())
    masks = logits.gather(2, index[..., None, None, None].expand(-1, -1, 1, *logits.shape[3:]))
    masks = masks.clamp(-_LIMIT, _LIMIT)

    wanted = targets > 0.5
    wrong = ((masks[:, :, 0] > 0) != wanted).flatten(2)
    free = labels == -1
    clicked = wrong.any(-1) & free.any(-1) & (torch.rand_like(predicted_iou[..., 0]) < _CLICKED)
    if not bool(clicked.any()):
        return points, labels, masks
    cell = torch.multinomial(wrong[clicked].float(), 1).squeeze(-1)
    width = logits.shape[-1]
    where = torch.stack([cell % width, cell // width], -1).to(points.dtype)
    slot = free[clicked].int().argmax(-1)
    rows = torch.arange(len(slot), device=slot.device)
    new_points, new_labels = points[clicked], labels[clicked]
    new_points[rows, slot] = (where + 0.5) * _CELL
    new_labels[rows, slot] = wanted.flatten(2)[clicked][rows, cell].to(labels.dtype)
    points, labels = points.clone(), labels.clone()
    points[clicked], labels[clicked] = new_points, new_labels
    return points, labels, masks
