"""Optimisers to choose from: AdamW, or Muon for hidden weight matrices with AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn


def adamw(
    model: nn.Module, learning_rate: float, *, weight_decay: float = 0.02
) -> list[torch.optim.Optimizer]:
    """AdamW over the trained parameters; biases and norms are not decayed."""
    return [_adamw(model.named_parameters(), learning_rate, weight_decay)]


def muon_with_adamw(
    model: nn.Module,
    learning_rate: float,
    *,
    muon_rate: float,
    hidden: Callable[[str], bool] = lambda name: True,
    weight_decay: float = 0.02,
) -> list[torch.optim.Optimizer]:
    """Muon (update scaled to AdamW's size) for 2-d weights inside the network, AdamW for the rest.

    ``hidden(name)`` says False for 2-d weights that are no hidden layers: embeddings and the
    like; those stay with AdamW.
    """
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim == 2 and min(parameter.shape) > 1 and hidden(name):
            matrices.append(parameter)
        else:
            rest.append((name, parameter))
    muon = torch.optim.Muon(
        matrices, lr=muon_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, _adamw(rest, learning_rate, weight_decay)]


def _adamw(
    named: Iterable[tuple[str, nn.Parameter]], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for _, parameter in named:
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99))
