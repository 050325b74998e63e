"""``python -m training sam2``: train the reduced SAM2, or fine-tune one on one's own masks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.arguments import add_common, check_common, start_torch
from training.errors import TrainingError
from training.start import Manner, photo_pools, set_apart, start

if TYPE_CHECKING:
    from training.sam2.data import SceneItems
    from training.sam2.folder import FolderItems

_EXPLANATION = """
Writes model.pt and sam2.yaml in the published format. It learns what points, boxes and earlier
masks mean from generated marked scenes, or with --data DIR from your pictures: NAME.jpg (or .png)
beside NAME.mask.png, where 0 is background and k is object k.

Example: python -m training sam2 --data my_pictures --weights checkpoints/demo/sam2/model.pt
  --out runs/mine --minutes 20
"""
_MANNER = Manner(rate=8e-4, tuning_rate=4e-4, clip_norm=1.0, evaluate_every_s=900.0)
_GROW_AT, _DENSE_UNTIL, _EMBEDDING_WEIGHT = 0.85, 0.4, 1.0
_TUNING_EMBEDDING_WEIGHT = 0.2  # weights that segment need no more than a reminder
_HELD_OUT_BATCHES = 12  # of four


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``sam2``."""
    parser.epilog = _EXPLANATION
    add_common(parser, name="sam2", minutes=120, batch=4)
    parser.add_argument("--data", type=Path, metavar="DIR", help="your own pictures, see below")
    parser.add_argument("--config", type=Path, help="a SAM2 YAML (default: the reduced demo size)")
    parser.add_argument("--weights", type=Path, help="start from this model.pt (published format)")
    parser.add_argument("--prompts", type=int, default=8, help="prompts a picture (%(default)s)")
    parser.add_argument("--early-side", type=int, default=256, help="side of the first views, px")
    parser.add_argument(
        "--grow-at",
        type=float,
        help="part of the time with small views and masks that need not be exact "
        f"(default: {_GROW_AT}, with --weights 0)",
    )
    parser.add_argument(
        "--dense-until",
        type=float,
        help="part of the time before prompts and the decoder's transformer join "
        f"(default: {_DENSE_UNTIL}, with --weights 0)",
    )
    parser.add_argument(
        "--embedding-weight",
        type=float,
        help="of the losses that need no prompt "
        f"(default: {_EMBEDDING_WEIGHT}, with --weights {_TUNING_EMBEDDING_WEIGHT})",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="steps a third faster after some minutes of torch.compile (needs a C++ compiler)",
    )


def run(args: argparse.Namespace) -> int:
    """Train; 0 when done, 1 when stopped early. TrainingError for what cannot work."""
    check_common(args)
    import numpy as np
    import torch

    from training.sam2 import data
    from training.sam2.model import DEMO_CONFIG
    from training.sam2.task import Sam2Task
    from training.seeds import HELD_OUT_SEEDS

    device = start_torch(args)
    torch.manual_seed(args.seed)
    config = args.config or DEMO_CONFIG
    sam = _model(config, args.weights)
    tuning = args.weights is not None

    def chosen(given: float | None, fresh: float, tuned: float) -> float:
        return given if given is not None else tuned if tuning else fresh

    grow_at = chosen(args.grow_at, _GROW_AT, 0.0)
    dense_until = chosen(args.dense_until, _DENSE_UNTIL, 0.0)
    weight = chosen(args.embedding_weight, _EMBEDDING_WEIGHT, _TUNING_EMBEDDING_WEIGHT)
    side = int(sam.image_size)
    learned, kept_back = _items(args, side)
    whole = data.Views(side, side, prompts=6, grow_at=0.0)
    rng = np.random.default_rng(11)
    held_out = [
        data.collate([whole(kept_back(HELD_OUT_SEEDS[4 * i + j]), rng, 1.0) for j in range(4)])
        for i in range(_HELD_OUT_BATCHES)
    ]
    task = Sam2Task(
        sam,
        config=config,
        device=device,
        held_out=held_out,
        embedding_weight=weight,
        compiled=args.compile,
    )
    views = data.Views(args.early_side, side, args.prompts, grow_at, dense_until)
    steering = {
        "prompts": args.prompts,
        "early_side": args.early_side,
        "grow_at": grow_at,
        "dense_until": dense_until,
    }
    return start(
        args,
        task,
        data.recipe(learned, views, args.batch),
        _MANNER,
        device=device,
        more={**steering, "embedding_weight": weight},
    )


def _model(config: Path, weights: Path | None) -> Any:
    """The SAM2 of ``config``, with ``weights`` or freshly initialised."""
    import torch

    from training.sam2.initialise import initialise
    from training.sam2.model import build

    sam: Any = build(config)
    if weights is None:
        initialise(sam)
        return sam
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        sam.load_state_dict(state["model"])
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"--weights: {weights} is not a checkpoint of {config} ({reason}); give the YAML that "
            "belongs to it with --config"
        ) from error
    return sam


def _items(
    args: argparse.Namespace, side: int
) -> tuple[SceneItems, SceneItems] | tuple[FolderItems, FolderItems]:
    """What to learn from and what to measure on."""
    from training.sam2.data import SceneItems
    from training.sam2.folder import FolderItems, find_pairs

    if args.data is None:
        photos, other_photos = photo_pools(args.photos)
        return SceneItems(photos, side), SceneItems(other_photos, side)
    learned, measured = set_apart(find_pairs(args.data), args.data)
    return FolderItems(learned, side), FolderItems(measured, side)
