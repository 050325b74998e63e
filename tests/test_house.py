"""The house's rules: layers, where torch may be, and that a tensor is named in one place."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from markcut.contracts import MARKED_OBJECT, MODELS

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "markcut").rglob("*.py"))
CLIENT = sorted((ROOT / "client").rglob("*.py"))
HEAVY = {"torch", "transformers", "ultralytics", "sam2"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_the_core_imports_neither_torch_nor_what_stands_above_it(path: Path) -> None:
    above = {"markcut_client", "export", "training", "benchmarks"}
    assert not set(imported(path)) & (HEAVY | above)


@pytest.mark.parametrize("path", CLIENT, ids=lambda p: p.stem)
def test_the_client_imports_no_engine(path: Path) -> None:
    engines = {"onnxruntime", "openvino", "tensorrt", "cv2"}
    allowed = {"markcut"} if path.stem in ("embedded", "doctor_command") else set()
    assert not set(imported(path)) & ((HEAVY | engines | {"markcut"}) - allowed)


def test_tensor_names_stand_in_the_contracts_alone() -> None:
    specs = [*MODELS.values(), MARKED_OBJECT]
    names = {t.name for spec in specs for t in (*spec.inputs, *spec.outputs)}
    names -= {"image", "boxes", "scores", "masks"}  # words that mean other things as well
    for path in [*SOURCES, *sorted((ROOT / "export").rglob("*.py"))]:
        if path.name == "contracts.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        quoted = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
        assert not quoted & names, path


def test_importing_the_packages_is_light() -> None:
    code = (
        "import sys, markcut, markcut_client; "
        f"heavy = {sorted(HEAVY | {'onnxruntime', 'openvino', 'matplotlib'})!r}; "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
