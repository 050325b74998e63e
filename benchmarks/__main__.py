"""``python -m benchmarks``: measures a bundle."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from benchmarks.errors import BenchmarkError
from export.errors import ExportError
from markcut.errors import MarkcutError
from markcut_client.errors import ClientError

COMMANDS = {
    "accuracy": "marks, points and objects against the exact truth of held-out scenes",
    "marks": "plain marks on real photos: found or not, and nothing where none is",
    "calibrate": "what each clue to a mark counts for a bundle's networks, and the threshold",
    "fidelity": "a bundle's answers beside those of the upstream projects, or of another bundle",
    "latency": "time and memory of the whole chain, runtimes side by side",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 all done, 1 some pictures failed, 2 wrong use."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    os.environ["YOLO_AUTOINSTALL"] = "false"  # ultralytics would install what it misses
    os.environ["YOLO_OFFLINE"] = "true"  # and report what it is used for
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures a bundle. Every command ends its standard output with one line of "
        "JSON and writes the same, with tables and pictures, under --out.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in words if not word.startswith("-")), None)
    run = None
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        if name != chosen:  # only the chosen command is imported
            continue
        try:
            module = importlib.import_module(f"benchmarks.{name}")
        except ModuleNotFoundError as error:
            return _failed(name, _missing(error))
        module.add_arguments(command)
        run = module.run
    options = parser.parse_args(words)
    if run is None:
        parser.error("no command")
    # so that what was started (servers, contenders) is stopped
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return int(run(options))
    except (BenchmarkError, ExportError, MarkcutError, ClientError) as error:
        return _failed(options.command, error)
    except ModuleNotFoundError as error:
        return _failed(options.command, _missing(error))
    except KeyboardInterrupt:
        print(f"benchmarks {options.command}: interrupted", file=sys.stderr)
        return 130


def _failed(command: str, problem: object) -> int:
    print(f"benchmarks {command}: {problem}", file=sys.stderr)
    return 2


def _missing(error: ModuleNotFoundError) -> str:
    return f"the package {error.name} is not installed; `make setup` installs what benchmarks need"


if __name__ == "__main__":
    sys.exit(main())
