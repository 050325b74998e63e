"""``python -m export``: the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from export.dispatch import dispatch
from export.errors import ExportError
from markcut.errors import MarkcutError

COMMANDS = {
    "bundle": (
        "export.command",
        "checkpoints -> ONNX bundle, each graph verified against torch",
    ),
    "precision": (
        "export.precision.command",
        "fp32 bundle -> the same bundle in fp16, bf16 or int8, proved on masks",
    ),
    "engines": ("export.tensorrt.command", "bundle -> TensorRT engines for this machine's GPU"),
    "repository": ("export.repository", "bundle -> model repository of Triton Inference Server"),
    "published": (
        "export.published",
        "every published architecture once through `bundle`, and a table",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 a graph or an engine is off, 2 wrong use."""
    description = "Checkpoints -> bundles -> TensorRT engines and model repositories."
    return dispatch("export", description, COMMANDS, arguments, (ExportError, MarkcutError))


if __name__ == "__main__":
    sys.exit(main())
