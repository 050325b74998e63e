"""What a stopped training needs to go on: weights, averages, optimisers, and where it stood."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from training.errors import TrainingError
from training.files import replacing


class WeightAverage:
    """Exponential moving average of a model's weights and floating-point buffers."""

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, *, step: int) -> None:
        decay = min(self._decay, (1.0 + step) / (10.0 + step))
        mine, theirs = [], []
        for own, other in zip(
            self.model.state_dict().values(), model.state_dict().values(), strict=True
        ):
            if own.is_floating_point():
                mine.append(own)
                theirs.append(other.detach().to(own.dtype))
            else:
                own.copy_(other)
        torch._foreach_lerp_(mine, theirs, 1.0 - decay)


@dataclass
class Position:
    """How far training is: seconds, optimiser steps, and batches drawn."""

    elapsed_s: float = 0.0
    step: int = 0
    batches: int = 0


def save_checkpoint(
    path: Path,
    name: str,
    model: nn.Module,
    average: WeightAverage,
    optimizers: Sequence[torch.optim.Optimizer],
    position: Position,
) -> None:
    """Write everything that training goes on from, atomically."""
    state = {
        "name": name,
        "model": model.state_dict(),
        "ema": average.model.state_dict(),
        "optimizers": [o.state_dict() for o in optimizers],
        "position": vars(position),
        "rng": torch.get_rng_state(),
    }
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(
    path: Path,
    name: str,
    model: nn.Module,
    average: WeightAverage,
    optimizers: Sequence[torch.optim.Optimizer],
    device: torch.device,
) -> Position:
    """Load what save_checkpoint wrote into all of them; TrainingError when it does not fit."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        if state["name"] != name:
            raise ValueError(f"it is a checkpoint of {state['name']}")
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["ema"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["rng"].cpu())
        return Position(**state["position"])
    except Exception as error:
        raise TrainingError(
            f"{path} does not fit this training of {name} ({error}); train into another "
            "--out, or start over there with --fresh"
        ) from error
