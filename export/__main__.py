"""``python -m export``: the command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from export import command
from export.errors import ExportError
from markcut.errors import MarkcutError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 a graph is off, 2 wrong use."""
    os.environ["YOLO_AUTOINSTALL"] = "false"  # ultralytics would install what it misses
    parser = argparse.ArgumentParser(
        prog="python -m export", description="Checkpoints -> bundles that Markcut runs."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command.add_arguments(
        commands.add_parser(
            "bundle",
            help="checkpoints -> ONNX bundle, each graph verified against torch",
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    options = parser.parse_args(arguments)
    try:
        return command.run(options)
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
