"""``python -m training``: makes scenes, and trains the three models on them."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from training.errors import TrainingError

COMMANDS = {
    "scenes": "write synthetic marked scenes with their truth, and a contact sheet",
    "yolo": "train the segmenter of marks (YOLO11-seg)",
    "clipseg": "train the heat map of drawn places (CLIPSeg)",
    "sam2": "train the masks of the objects meant (SAM2)",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    os.environ["YOLO_AUTOINSTALL"] = "false"  # ultralytics would install what it misses
    os.environ["YOLO_OFFLINE"] = "true"  # and report what it is used for
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Scenes and demo checkpoints of Markcut."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in words if not word.startswith("-")), None)
    run = None
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        if name != chosen:
            continue
        try:  # only the chosen command is imported: the others may need packages that are absent
            module = importlib.import_module(f"training.{name}.command")
        except ModuleNotFoundError as error:
            text = f"training {name}: no module {error.name!r}; `make setup` installs what it needs"
            print(text, file=sys.stderr)
            return 2
        module.add_arguments(command)
        run = module.run
    options = parser.parse_args(words)
    if run is None:
        parser.error("no command")
    try:
        return int(run(options))
    except TrainingError as error:
        print(f"training {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"training {options.command}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
