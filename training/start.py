"""What all trainers do alike: the pictures set apart, and the run itself."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from training.arguments import bf16_pays, recorded
from training.errors import TrainingError

if TYPE_CHECKING:
    import torch

    from training.feed import Recipe
    from training.loop import Task
    from training.scenes.photos import PhotoPool

Labelled = TypeVar("Labelled")

_DONE, _STOPPED = 0, 1
_KEPT_BACK = 10  # one labelled picture of so many is measured on, not learned from


@dataclass(frozen=True)
class Manner:
    """How a network likes to be trained: learning rates from nothing and from ``--weights``."""

    rate: float
    tuning_rate: float
    clip_norm: float = 5.0
    evaluate_every_s: float = 600.0


def photo_pools(photos: Path | None) -> tuple[PhotoPool, PhotoPool]:
    """The photos to learn from and those to measure on; TrainingError for a folder without any."""
    from training.scenes.photos import PhotoFolderError, PhotoPool

    try:
        return PhotoPool.load(photos, split="train"), PhotoPool.load(photos, split="held_out")
    except PhotoFolderError as error:
        raise TrainingError(f"--{error}") from error


def set_apart(
    labelled: Sequence[Labelled], folder: Path
) -> tuple[tuple[Labelled, ...], tuple[Labelled, ...]]:
    """What of ``--data`` is learned from and, none of it twice, what is measured on."""
    if len(labelled) < 2:
        raise TrainingError(
            f"--data: {len(labelled)} labelled pictures in {folder}, expected 2 or more: one is "
            "kept back to measure on"
        )
    kept_back = set(range(0, len(labelled), _KEPT_BACK) if len(labelled) >= _KEPT_BACK else (0,))
    learned, measured = (
        tuple(one for index, one in enumerate(labelled) if (index in kept_back) == wanted)
        for wanted in (False, True)
    )
    return learned, measured


def start(
    args: argparse.Namespace,
    task: Task,
    recipe: Recipe[Any, Any],
    manner: Manner,
    *,
    device: torch.device,
    more: Mapping[str, Any] | None = None,
) -> int:
    """Train as ``args`` ask; the exit status: 0 done, 1 stopped early.

    ``more`` is recorded beside the common arguments, and must not change when the run goes on.
    """
    from training.feed import Feed
    from training.loop import train

    usual = manner.rate if args.weights is None else manner.tuning_rate
    done = train(
        task,
        Feed(recipe, seed=args.seed, workers=args.workers, replay=args.replay),
        out=args.out,
        minutes=args.minutes,
        device=device,
        learning_rate=args.learning_rate or usual,
        resume=args.resume,
        evaluate_every_s=manner.evaluate_every_s,
        seed=args.seed,
        bf16=bf16_pays(device),
        clip_norm=manner.clip_norm,
        recipe={**recorded(args), **(more or {})},
    )
    return _DONE if done else _STOPPED
