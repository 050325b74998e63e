"""What the command says to people, and how it survives odd names and closed pipes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_PLAIN_WIDTH = 120  # of tables that go into a file or a pipe


def stderr_console() -> Console:
    """Where progress and messages go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


def say(message: str) -> None:
    """One line on standard error, after the command's name."""
    if sys.stderr is not None:  # closed by the shell: print would take standard output
        print(f"markcut: {printable(message)}", file=sys.stderr)


def print_table(table: Table, *, to_stderr: bool = False) -> None:
    """``table`` as text; colours only where somebody looks."""
    from rich.console import Console

    stream = sys.stderr if to_stderr else sys.stdout
    if stream is None:
        return
    console = Console(file=stream, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    with console.capture() as capture:
        console.print(table)
    # rich would end the process itself where the reader has gone: print can be caught
    print("\n".join(line.rstrip() for line in capture.get().splitlines()), file=stream)


def printable(text: str) -> str:
    """``text`` without what would move a terminal's cursor or cannot be encoded."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
