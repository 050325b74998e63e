"""A tiny bundle that TensorRT takes, and what is done with engines in tests."""

from __future__ import annotations

from pathlib import Path

import onnx

from markcut.bundle import FileEntry, Manifest, ModelEntry, write_bundle
from markcut.contracts import MODELS
from tests.markcut.conftest import SIZES, make_bundle, stand_in


def taken_by_tensorrt(data: bytes) -> bytes:
    """A stand-in whose shapes are asked of floats: a uint8 input may go into a cast alone."""
    model = onnx.load_from_string(data)
    for node in model.graph.node:
        if node.op_type == "Shape":
            node.input[0] += "_f"
    return bytes(model.SerializeToString())


def write_engine_bundle(folder: Path) -> Path:
    """A bundle of such graphs as ``folder``."""
    manifest, files = make_bundle()
    for name, spec in MODELS.items():
        files[f"{name}.onnx"] = taken_by_tensorrt(stand_in(spec.resolve(SIZES)))
    models = {n: ModelEntry.of(f"{n}.onnx", files[f"{n}.onnx"]) for n in MODELS}
    fields = {k: getattr(manifest, k) for k in Manifest.__dataclass_fields__}
    conds = FileEntry.of(manifest.conds.file, files[manifest.conds.file])
    write_bundle(folder, Manifest(**{**fields, "models": models, "conds": conds}), files)
    return folder
