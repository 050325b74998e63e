"""The command ``markcut``."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import markcut_client
from markcut_client import doctor_command, extract_command, prompt_command
from markcut_client.console import say
from markcut_client.errors import ClientError

INTERRUPTED = 130
_READER_GONE = 141  # what a shell sees of a program that SIGPIPE ended

_DESCRIPTION = """\
Which object did the person mark? Finds drawn marks on photos (arrows, circles, crosses, dots,
lines, ticks, scrawls) and cuts out what they mean."""

_EPILOG = """\
exit status: 0 all done, 1 some pictures failed (they are listed), 2 wrong use.
MARKCUT_DEBUG=1 shows where in the code an error arose."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments`` (those of the process by default); its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        status = run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # nobody reads any more; the interpreter must not find out again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_GONE
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except ClientError as error:
        _show_traceback()
        say(str(error))
        return 2
    except Exception as error:
        _show_traceback()
        say(
            f"internal error ({type(error).__name__}: {error}); "
            "MARKCUT_DEBUG=1 shows where it arose"
        )
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="markcut",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"markcut {markcut_client.__version__}"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    extract_command.add_parser(commands)
    prompt_command.add_parser(commands)
    doctor_command.add_parser(commands)
    return parser


def _show_traceback() -> None:
    if os.environ.get("MARKCUT_DEBUG", "") not in ("", "0"):
        traceback.print_exc()
