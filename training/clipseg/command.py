"""``python -m training clipseg``: train the heat map of drawn places, or fine-tune it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from training.arguments import add_common, check_common, start_torch
from training.start import Manner, photo_pools, set_apart, start

if TYPE_CHECKING:
    from training.clipseg.source import PairPlates, ScenePlates

_EXPLANATION = """
Writes a folder that CLIPSegForImageSegmentation.from_pretrained(...) loads: config.json,
model.safetensors (16 bit), preprocessor_config.json and, but for --no-tokenizer, CLIP's vocabulary.

Without --data it learns from generated scenes, for the texts "annotated", "a drawn mark" (every
mark) and "a drawn circle", "... arrow", "... tick", "... cross", "... dot", "... line", "a scrawl".
--data DIR takes your pictures instead: NAME.jpg (or .jpeg, .png, .webp, .bmp) with NAME.mask.png
beside it (or NAME.png), an ink mask of the same size, white where something is drawn. Kinds are not
told, so only the first two texts are trained: start from --weights of a folder that knows them all.

Example: python -m training clipseg --data my_pictures --weights checkpoints/demo/clipseg
  --out runs/mine --minutes 20
"""
_MANNER = Manner(rate=1e-3, tuning_rate=2e-4, clip_norm=1.0)
_HELD_OUT_SCENES = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``clipseg``."""
    parser.epilog = _EXPLANATION
    add_common(parser, name="clipseg", minutes=35, batch=16)
    parser.add_argument("--data", type=Path, metavar="DIR", help="your own pictures, see below")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="DIR",
        help="start from this folder (config.json, model.safetensors) instead of nothing; "
        "a published CLIPSeg works as well",
    )
    parser.add_argument(
        "--no-tokenizer",
        dest="tokenizer",
        action="store_false",
        help="leave the vocabulary out of --out; the export rebuilds it",
    )


def run(args: argparse.Namespace) -> int:
    """Train; 0 when done, 1 when stopped early. TrainingError for what cannot work."""
    check_common(args)
    learned, held_out, count = _sources(args)
    from training.clipseg.source import HeldOut, recipe
    from training.clipseg.task import ClipsegTask, build_model

    device = start_torch(args)
    task = ClipsegTask(
        build_model(args.weights),
        device=device,
        held_out=HeldOut(held_out, count),
        tokenizer=args.tokenizer,
    )
    plates = recipe(learned, batch=args.batch, tuning=args.weights is not None)
    return start(args, task, plates, _MANNER, device=device)


def _sources(
    args: argparse.Namespace,
) -> tuple[ScenePlates | PairPlates, ScenePlates | PairPlates, int]:
    """What to learn from, what to measure on (no picture in common), and how many of these."""
    from training.clipseg.source import PairPlates, ScenePlates, read_pairs

    if args.data is None:
        photos, other_photos = photo_pools(args.photos)
        return ScenePlates(photos), ScenePlates(other_photos), _HELD_OUT_SCENES
    learned, measured = set_apart(read_pairs(args.data), args.data)
    return PairPlates(learned), PairPlates(measured), len(measured)
