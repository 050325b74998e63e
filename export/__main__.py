"""``python -m export``: the command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from export import command, repository
from export.errors import ExportError
from markcut.errors import MarkcutError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 a graph is off, 2 wrong use."""
    os.environ["YOLO_AUTOINSTALL"] = "false"  # ultralytics would install what it misses
    parser = argparse.ArgumentParser(
        prog="python -m export", description="Checkpoints -> bundles -> model repositories."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    known = {
        "bundle": (command, "checkpoints -> ONNX bundle, each graph verified against torch"),
        "repository": (repository, "bundle -> model repository of Triton Inference Server"),
    }
    for name, (module, purpose) in known.items():
        module.add_arguments(
            commands.add_parser(
                name,
                help=purpose,
                description=module.__doc__,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    options = parser.parse_args(arguments)
    try:
        return int(known[options.command][0].run(options))
    except ModuleNotFoundError as error:
        missing = f"the Python package {error.name!r} is missing; run `make setup`"
        print(f"export {options.command}: {missing}", file=sys.stderr)
    except (ExportError, MarkcutError) as error:
        print(f"export {options.command}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"export {options.command}: interrupted, nothing was written", file=sys.stderr)
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
