"""``python -m export``: the command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from export.errors import ExportError
from markcut.errors import MarkcutError

COMMANDS = {
    "bundle": ("command", "checkpoints -> ONNX bundle, each graph verified against torch"),
    "precision": (
        "precision.command",
        "fp32 bundle -> the same bundle in fp16, bf16 or int8, proved on masks",
    ),
    "engines": ("tensorrt.command", "bundle -> TensorRT engines for this machine's GPU"),
    "repository": ("repository", "bundle -> model repository of Triton Inference Server"),
    "published": ("published", "every published architecture once through `bundle`, and a table"),
}
"""Every command: its module in this package, which has ``add_arguments`` and ``run``, and what it
does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 a graph or an engine is off, 2 wrong use."""
    os.environ["YOLO_AUTOINSTALL"] = "false"  # ultralytics would install what it misses
    os.environ["YOLO_OFFLINE"] = "true"  # and report what it is used for
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Checkpoints -> bundles -> TensorRT engines and model repositories.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, purpose) in COMMANDS.items():
        found = commands.add_parser(
            name, help=purpose, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name in given:  # the others' modules need not be imported
            found.description = import_module(f"export.{module}").__doc__
            import_module(f"export.{module}").add_arguments(found)
    options = parser.parse_args(given)
    try:
        return int(import_module(f"export.{COMMANDS[options.command][0]}").run(options))
    except ModuleNotFoundError as error:
        missing = f"the Python package {error.name!r} is missing; run `make setup`"
        print(f"export {options.command}: {missing}", file=sys.stderr)
    except (ExportError, MarkcutError) as error:
        # names in a checkpoint are whatever its maker wrote: nothing that moves a terminal's cursor
        said = "".join(letter if letter.isprintable() else " " for letter in str(error))
        print(f"export {options.command}: {said}", file=sys.stderr)
    except OSError as error:  # a full disk, a folder that is a file: this machine's, not the code's
        where = f"{error.filename}: " if error.filename else ""
        print(f"export {options.command}: {where}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"export {options.command}: interrupted, nothing is half-written", file=sys.stderr)
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
