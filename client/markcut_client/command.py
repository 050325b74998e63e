"""The command ``markcut``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence

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
        with _ending_in_order():
            status = run(options)
        if sys.stdout is not None:  # as it is where the shell has closed it
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
    except OSError as error:
        _show_traceback()
        say(f"{error.filename or 'standard output'}: {error.strerror or error}")
        return 1
    except Exception as error:
        _show_traceback()
        say(
            f"internal error ({type(error).__name__}: {error}); "
            "MARKCUT_DEBUG=1 shows where it arose"
        )
        return 1


@contextlib.contextmanager
def _ending_in_order() -> Iterator[None]:
    """A request to end reaches the code as Ctrl-C does, so that what was done is kept."""

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # who asks twice does not want to wait
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    replaced = []
    for number in filter(None, numbers):
        with contextlib.suppress(ValueError):  # not the main thread
            if signal.getsignal(number) == signal.SIG_DFL:  # nohup has SIGHUP ignored
                signal.signal(number, end)
                replaced.append(number)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


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
