"""``python -m training yolo``: train the finder of marks, or fine-tune it on one's own pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from training.arguments import add_common, bf16_pays, check_common, recorded, start_torch
from training.errors import TrainingError

if TYPE_CHECKING:
    from training.yolo.source import FolderPlates, ScenePlates

_EXPLANATION = """
Writes yolo11n-seg-marks.pt into --out, in ultralytics' own format: YOLO("...pt") loads it.

Without --data it learns from generated scenes and needs no labels. --data DIR takes your pictures
instead: every picture with NAME.txt (YOLO-seg: class and polygon per line, coordinates 0..1) or
NAME.json (labelme polygons) beside it, or with images/ and labels/ folders. The kinds are arrow,
circle, cross, dot, line, tick, other (classes 0 to 6 in this order; data.yaml may name another
order). The polygon follows the ink, not the object; polygons of one mark share labelme's group_id.

Example: python -m training yolo --data my_pictures --weights checkpoints/demo/yolo11n-seg-marks.pt
  --out runs/mine --minutes 20
"""
_RATE = 2e-3
_TUNING_RATE = 5e-4
_HELD_OUT_SCENES = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``yolo``."""
    parser.epilog = _EXPLANATION
    add_common(parser, name="yolo", minutes=75, batch=16)
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="your own labelled pictures, see below"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="start from this ultralytics .pt (of marks, or any yolo11n-seg) instead of nothing",
    )


def run(args: argparse.Namespace) -> int:
    """Train; 0 when done, 1 when stopped early. TrainingError for what cannot work."""
    check_common(args)
    return 0 if _train(args) else 1


def _train(args: argparse.Namespace) -> bool:
    learned, held_out = _sources(args)
    from training.feed import Feed
    from training.loop import train
    from training.yolo.source import HeldOut, recipe
    from training.yolo.task import YoloTask, build_model

    device = start_torch(args)
    model = build_model(args.weights)
    count = _HELD_OUT_SCENES
    if args.data is not None:
        count = min(count, len(held_out.pictures))  # type: ignore[union-attr]
    task = YoloTask(model, device=device, held_out=HeldOut(held_out, count))
    feed = Feed(
        recipe(learned, batch=args.batch, tuning=args.weights is not None),
        seed=args.seed,
        workers=args.workers,
        replay=args.replay,
    )
    return train(
        task,
        feed,
        out=args.out,
        minutes=args.minutes,
        device=device,
        learning_rate=args.learning_rate or (_RATE if args.weights is None else _TUNING_RATE),
        resume=args.resume,
        seed=args.seed,
        bf16=bf16_pays(device),
        recipe=recorded(args),
    )


def _sources(
    args: argparse.Namespace,
) -> tuple[ScenePlates, ScenePlates] | tuple[FolderPlates, FolderPlates]:
    """What to learn from and what to measure on, without a picture in common."""
    from training.scenes.photos import PhotoFolderError, PhotoPool
    from training.yolo.labels import read_folder
    from training.yolo.source import BARE, FolderPlates, ScenePlates

    if args.data is None:
        try:
            pools = [PhotoPool.load(args.photos, split=s) for s in ("train", "held_out")]
        except PhotoFolderError as error:
            raise TrainingError(f"--{error}") from error
        return ScenePlates(pools[0], bare=BARE), ScenePlates(pools[1])
    pictures = read_folder(args.data)
    if len(pictures) < 2:
        raise TrainingError(f"--data: one labelled picture below {args.data}, expected 2 or more")
    kept_back = pictures[::10] if len(pictures) >= 10 else pictures[:1]
    learned = [p for p in pictures if p not in kept_back]
    return FolderPlates(tuple(learned)), FolderPlates(tuple(kept_back))
