"""What the README shows runs: its Python, and every command line that needs no other machine."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BUNDLE = ROOT / "artifacts" / "demo" / "manifest.json"
SERVER = "localhost:800"  # tests/serving runs these
_NEEDS_NETWORK = "CIDAS/"  # published weights come from a hub
_OTHER_TARGETS = ("make ", "pip ")  # the demo is run below, test is what runs this

needs_bundle = pytest.mark.skipif(
    not BUNDLE.exists(), reason="no artifacts/demo: train, then `make bundle`"
)


def blocks(language: str) -> list[str]:
    fenced = [part.partition("\n") for part in README.split("```")[1::2]]
    return [text for first, _, text in fenced if first == language]


def command_lines() -> list[str]:
    joined = "\n".join(blocks("sh")).replace("\\\n", " ")
    lines = [line.split("  #")[0].strip() for line in joined.splitlines()]
    elsewhere = (_NEEDS_NETWORK, SERVER)
    return [
        x
        for x in lines
        if x and not x.startswith(_OTHER_TARGETS) and not any(part in x for part in elsewhere)
    ]


def run(words: list[str], *, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    binary = Path(sys.executable).parent
    own = ".venv/bin/"
    words = [f"{binary}{os.sep}{w[len(own) :]}" if w.startswith(own) else w for w in words]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


@needs_bundle
def test_the_python_of_the_first_screen_runs(tmp_path: Path) -> None:
    for name in ("artifacts", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = run([sys.executable, "-c", blocks("python")[0]], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("*.png"))


@needs_bundle
@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_runs(line: str) -> None:
    done = run(shlex.split(line))
    assert done.returncode == 0, done.stderr


@needs_bundle
def test_the_demo_writes_a_sheet_and_a_result_per_picture(tmp_path: Path) -> None:
    pictures = sorted((ROOT / "examples").glob("*.jpg"))
    done = run(
        [".venv/bin/markcut", "extract", "examples", "--bundle", "artifacts/demo", "--overlay"]
        + ["--out", str(tmp_path), "--sheet", str(tmp_path / "sheet.png")]
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
    for picture in pictures:
        assert (tmp_path / f"{picture.stem}.json").exists()
        assert (tmp_path / f"{picture.stem}_overlay.png").exists()


def test_the_tree_names_what_exists() -> None:
    (tree,) = [block for block in blocks("") if "src/markcut/" in block]
    for name in re.findall(r"^\s*([a-z_]+\.py)\b", tree, re.MULTILINE):
        assert (ROOT / "src" / "markcut" / name).exists(), name
    for folder in re.findall(r"^([a-z]+)/", tree, re.MULTILINE):
        if folder not in ("checkpoints", "artifacts"):
            assert (ROOT / folder).is_dir(), folder
