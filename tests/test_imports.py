from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "src": ["markcut"],
    "client": ["markcut_client"],
    ".": ["export", "training", "benchmarks"],
}

# one child per module, forked from a process that has imported what is large and not ours
ALONE = r"""
import importlib, os, sys
import cv2, numpy, onnxruntime, PIL.Image, torch

for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(f"\nFAILED {name}: {error!r}", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_every_module_can_be_the_first_that_is_imported() -> None:
    names = [
        ".".join(path.relative_to(ROOT / base).with_suffix("").parts)
        for base, packages in PACKAGES.items()
        for package in packages
        for path in sorted((ROOT / base / package).rglob("*.py"))
        if path.stem not in ("__init__", "__main__")
    ]
    assert len(names) > 150
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *names], capture_output=True, text=True, cwd=ROOT, check=True
    )
    # some libraries have something to say when they are imported for the first time
    assert [line for line in done.stdout.splitlines() if line.startswith("FAILED")] == []
