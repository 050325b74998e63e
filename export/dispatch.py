"""Commands of one package behind ``python -m PACKAGE``: which one, and how it ends."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

Commands = Mapping[str, tuple[str, str]]
"""By a command's name: its module, which has ``add_arguments`` and ``run``, and what it does."""

_WRONG_USE = 2
_INTERRUPTED = 130


def dispatch(
    package: str,
    description: str,
    commands: Commands,
    arguments: Sequence[str] | None,
    problems: tuple[type[Exception], ...],
) -> int:
    """Run the command that ``arguments`` (by default the process's) name; the exit status.

    Only its own module is imported: the others may need packages that are absent. ``problems``
    are the exceptions that a user's mistake raises: their text is the whole message.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    os.environ["YOLO_AUTOINSTALL"] = "false"  # ultralytics would install what it misses
    os.environ["YOLO_OFFLINE"] = "true"  # and report what it is used for
    # so that what was started (servers, contenders) and half-written is cleared away
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chosen = next((word for word in words if not word.startswith("-")), None)
    try:
        parser = argparse.ArgumentParser(prog=f"python -m {package}", description=description)
        parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for name, (module, summary) in commands.items():
            command = parsers.add_parser(
                name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )  # fmt: skip
            if name == chosen:
                import_module(module).add_arguments(command)
        options = parser.parse_args(words)
        return int(import_module(commands[options.command][0]).run(options))
    except ModuleNotFoundError as error:
        problem = f"the Python package {error.name!r} is missing; run `make setup`"
    except problems as error:
        problem = str(error)
    except OSError as error:  # a full disk, a folder that is a file: this machine's, not the code's
        where = f"{error.filename}: " if error.filename else ""
        problem = f"{where}{error.strerror or error}"
    except KeyboardInterrupt:
        print(f"{package} {chosen}: interrupted", file=sys.stderr)
        return _INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    # names in a checkpoint are whatever its maker wrote: nothing that moves a terminal's cursor
    said = "".join(letter if letter.isprintable() else " " for letter in problem)
    print(f"{package} {chosen}: {said}", file=sys.stderr)
    return _WRONG_USE
