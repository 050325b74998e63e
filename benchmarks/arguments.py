"""Arguments that all benchmarks share."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.errors import BenchmarkError


def add_common(parser: argparse.ArgumentParser, *, name: str) -> None:
    """Add ``--bundle --threads --photos --out --json``."""
    parser.add_argument(
        "--bundle", type=Path, default=Path("artifacts/demo"), metavar="DIR",
        help="the bundle to measure (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads of the runtime (default: all cores)"
    )
    parser.add_argument(
        "--photos", type=Path, metavar="DIR",
        help="folder of photos that scenes are made of; only those are used that training with "
        "the same folder leaves out (default: the few that come with installed packages)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("out") / name, metavar="DIR",
        help="folder for the results (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print nothing but the line of JSON")


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Add ``--runtime``, for a benchmark that runs the bundle in one of them."""
    parser.add_argument(
        "--runtime", default="auto", help="auto, onnxruntime or openvino (default: %(default)s)"
    )


def check_common(options: argparse.Namespace) -> None:
    """BenchmarkError for values that cannot be meant."""
    at_least(options, "threads", 1)
    if options.photos is not None and not options.photos.is_dir():
        raise BenchmarkError(f"--photos: {options.photos} is not a folder; name one with pictures")


def at_least(options: argparse.Namespace, name: str, least: int) -> None:
    """BenchmarkError where the option ``name`` is given and below ``least``."""
    value = getattr(options, name)
    if value is not None and value < least:
        raise BenchmarkError(f"--{name.replace('_', '-')}: got {value}, expected {least} or more")
