"""``python -m training sam2``: train the reduced SAM2, or fine-tune one on one's own masks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train a SAM2 (image path: points, boxes, earlier masks) on generated marked scenes, or "
        "fine-tune one with --weights on your own pictures with --data. Writes model.pt and "
        "sam2.yaml in the published format, curve.jsonl and recipe.json."
    )
    parser.add_argument("--out", type=Path, default=Path("runs/sam2"), help="default: %(default)s")
    parser.add_argument("--photos", type=Path, help="folder of photos for the scenes' backgrounds")
    parser.add_argument(
        "--data", type=Path, help="your own data instead of scenes: name.jpg beside name.mask.png"
    )
    parser.add_argument("--config", type=Path, help="a SAM2 YAML (default: the reduced demo size)")
    parser.add_argument("--weights", type=Path, help="start from this model.pt (published format)")
    parser.add_argument("--minutes", type=float, default=120.0, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=4, help="pictures a step (%(default)s)")
    parser.add_argument("--prompts", type=int, default=8, help="prompts a picture (%(default)s)")
    parser.add_argument("--early-side", type=int, default=256, help="side of the first views, px")
    parser.add_argument(
        "--grow-at",
        type=float,
        default=0.85,
        help="part of the time with small views (%(default)s)",
    )
    parser.add_argument(
        "--dense-until",
        type=float,
        default=0.4,
        help="part of the time before prompts and the decoder's transformer join (%(default)s)",
    )
    parser.add_argument("--learning-rate", type=float, default=8e-4, help="default: %(default)s")
    parser.add_argument("--embedding-weight", type=float, default=1.0, help="default: %(default)s")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="torch threads (default: all cores)")
    parser.add_argument("--workers", type=int, default=1, help="scene processes (%(default)s)")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="steps a third faster after some minutes of torch.compile (needs a C++ compiler)",
    )
    parser.add_argument("--fp32", action="store_true", help="no bf16 autocast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="ignore an earlier run in --out")


def run(args: argparse.Namespace) -> int:
    import numpy as np
    import torch

    from training.feed import Feed
    from training.loop import CHECKPOINT, TrainingError, train
    from training.sam2 import data
    from training.sam2.initialise import initialise
    from training.sam2.model import DEMO_CONFIG, build
    from training.sam2.task import Sam2Task
    from training.scenes.photos import PhotoPool
    from training.seeds import HELD_OUT_SEEDS

    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    config = args.config or DEMO_CONFIG
    sam = build(config)
    if not args.weights:
        initialise(sam)
    final_side = int(sam.image_size)  # type: ignore[arg-type]
    if args.weights:
        try:
            state = torch.load(args.weights, map_location="cpu", weights_only=True)
            sam.load_state_dict(state["model"])
        except Exception as error:
            print(
                f"--weights {args.weights}: not a checkpoint of {config} ({error})", file=sys.stderr
            )
            return 2
    try:
        if args.data:
            items: data.SceneItems | data.FolderItems = data.FolderItems.find(args.data, final_side)
            held_out_items = items
        else:
            items = data.SceneItems(PhotoPool.load(args.photos, split="train"), final_side)
            held_out_items = data.SceneItems(
                PhotoPool.load(args.photos, split="held_out"), final_side
            )
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    whole = data.Views(final_side, final_side, prompts=6, grow_at=0.0)
    rng = np.random.default_rng(11)
    held_out = [
        data.collate([whole(held_out_items(HELD_OUT_SEEDS[4 * i + j]), rng, 1.0) for j in range(4)])
        for i in range(12)
    ]
    task = Sam2Task(
        sam,
        config=config,
        held_out=held_out,
        final_side=final_side,
        embedding_weight=args.embedding_weight,
        compiled=args.compile,
    )
    views = data.Views(args.early_side, final_side, args.prompts, args.grow_at, args.dense_until)
    if args.fresh:
        (args.out / CHECKPOINT).unlink(missing_ok=True)
    try:
        done = train(
            task,
            Feed(
                data.recipe(items, views, args.batch),
                seed=args.seed,
                workers=args.workers,
                replay=4.0,
            ),
            out=args.out,
            minutes=args.minutes,
            device=args.device,
            learning_rate=args.learning_rate,
            evaluate_every_s=900.0,
            seed=args.seed,
            bf16=not args.fp32,
            clip_norm=1.0,
            recipe={
                k: str(v)
                for k, v in vars(args).items()
                if k not in ("out", "photos", "data", "func")
            },
        )
    except TrainingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if done else 130
