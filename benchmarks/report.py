"""Results as Markdown that reads well in a terminal too, and as files that are whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from training.files import replacing


@dataclass(frozen=True)
class Table:
    """A table under a title, and a remark below it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    remark: str = ""


def markdown(tables: Sequence[Table]) -> str:
    """Every table under a heading of its own."""
    parts = []
    for one in tables:
        parts += [f"## {one.title}", table(one.head, one.rows)] if one.rows else [f"## {one.title}"]
        if one.remark:
            parts.append(one.remark)
    return "\n\n".join(parts)


def show(tables: Sequence[Table]) -> None:
    """The same on standard output: drawn on a terminal, else as Markdown."""
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console()
    if not console.is_terminal:
        print(markdown(tables))
        return
    for one in tables:
        shown = RichTable(title=one.title, title_justify="left", title_style="bold")
        for number, name in enumerate(one.head):
            shown.add_column(name, justify="left" if number == 0 else "right")
        for row in one.rows:
            shown.add_row(*row)
        console.print(shown if one.rows else one.title)
        if one.remark:
            console.print(one.remark, style="dim", markup=False)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns padded: the first to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def machine_line(facts: Mapping[str, Any]) -> str:
    """One line that says where and with what the figures were measured."""
    machine, packages = facts["machine"], facts["packages"]
    versions = [
        f"{name} {packages[name]}"
        for name in ("onnxruntime", "onnxruntime-gpu", "openvino")
        if name in packages
    ]
    bundle = f"bundle {facts['bundle']['name']} {facts['bundle']['manifest_sha256'][:12]}"
    python = f"Python {machine['python']}"
    return ", ".join([f"{machine['cores']} cores of {machine['cpu']}", python, *versions, bundle])


def prepare(folder: Path) -> None:
    """Make ``folder`` and prove that it can be written to, before minutes go into the results."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "probe") as temporary:
            temporary.touch()
        (folder / "probe").unlink()
    except OSError as error:
        raise _unwritable(folder, error) from None


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write ``files`` (bytes by name) into ``folder``, each whole or not at all."""
    try:
        for name, data in files.items():
            with replacing(folder / name) as temporary:
                temporary.write_bytes(data)
    except OSError as error:
        raise _unwritable(folder, error) from None


def one_line(result: Mapping[str, Any]) -> str:
    """The result as one line of JSON."""
    return json.dumps(result, allow_nan=False)


def pretty(result: Any) -> bytes:
    """The result as a JSON file."""
    return (json.dumps(result, indent=1, allow_nan=False) + "\n").encode()


def _unwritable(folder: Path, error: OSError) -> BenchmarkError:
    return BenchmarkError(f"--out: {folder} cannot be written ({error.strerror}); name another")
