"""``python -m training yolo``: train the finder of marks, or fine-tune it on one's own pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from training.arguments import add_common, check_common, start_torch
from training.start import Manner, photo_pools, set_apart, start

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
_MANNER = Manner(rate=2e-3, tuning_rate=5e-4)
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
    learned, held_out, count = _sources(args)
    from training.yolo.source import HeldOut, recipe
    from training.yolo.task import YoloTask, build_model

    device = start_torch(args)
    task = YoloTask(build_model(args.weights), device=device, held_out=HeldOut(held_out, count))
    plates = recipe(learned, batch=args.batch, tuning=args.weights is not None)
    return start(args, task, plates, _MANNER, device=device)


def _sources(
    args: argparse.Namespace,
) -> tuple[ScenePlates | FolderPlates, ScenePlates | FolderPlates, int]:
    """What to learn from, what to measure on (no picture in common), and how many of these."""
    from training.yolo.labels import read_folder
    from training.yolo.source import BARE, FolderPlates, ScenePlates

    if args.data is None:
        photos, other_photos = photo_pools(args.photos)
        return ScenePlates(photos, bare=BARE), ScenePlates(other_photos), _HELD_OUT_SCENES
    learned, measured = set_apart(read_folder(args.data), args.data)
    return FolderPlates(learned), FolderPlates(measured), min(_HELD_OUT_SCENES, len(measured))
