"""``python -m training``: makes scenes, and trains the three models on them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from export.dispatch import dispatch
from training.errors import TrainingError

COMMANDS = {
    "scenes": (
        "training.scenes.command",
        "write synthetic marked scenes with their truth, and a contact sheet",
    ),
    "yolo": ("training.yolo.command", "train the segmenter of marks (YOLO11-seg)"),
    "clipseg": ("training.clipseg.command", "train the heat map of drawn places (CLIPSeg)"),
    "sam2": ("training.sam2.command", "train the masks of the objects meant (SAM2)"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 stopped early, 2 wrong use."""
    description = "Scenes and demo checkpoints of Markcut."
    return dispatch("training", description, COMMANDS, arguments, (TrainingError,))


if __name__ == "__main__":
    sys.exit(main())
