"""``python -m benchmarks``: measures a bundle."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.errors import BenchmarkError
from export.dispatch import dispatch
from export.errors import ExportError
from markcut.errors import MarkcutError
from markcut_client.errors import ClientError

COMMANDS = {
    "accuracy": (
        "benchmarks.accuracy",
        "marks, points and objects against the exact truth of held-out scenes",
    ),
    "marks": (
        "benchmarks.marks",
        "plain marks on real photos: found or not, and nothing where none is",
    ),
    "calibrate": (
        "benchmarks.calibrate",
        "what each clue to a mark counts for a bundle's networks, and the threshold",
    ),
    "fidelity": (
        "benchmarks.fidelity",
        "a bundle's answers beside those of the upstream projects, or of another bundle",
    ),
    "latency": ("benchmarks.latency", "time and memory of the whole chain, runtimes side by side"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 all done, 1 some pictures failed, 2 wrong use."""
    description = (
        "Measures a bundle. Every command ends its standard output with one line of JSON and "
        "writes the same, with tables and pictures, under --out."
    )
    problems = (BenchmarkError, ExportError, MarkcutError, ClientError)
    return dispatch("benchmarks", description, COMMANDS, arguments, problems)


if __name__ == "__main__":
    sys.exit(main())
