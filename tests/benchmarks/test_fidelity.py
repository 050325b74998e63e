"""The command: its report, its last line, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime")

from benchmarks.__main__ import main
from benchmarks.fidelity_report import markdown

DEMO = Path("artifacts/demo")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One small picture with a bright square."""
    picture = np.full((60, 90, 3), 80, np.uint8)
    picture[20:45, 30:60] = 230
    (tmp_path / "pictures").mkdir()
    Image.fromarray(picture).save(tmp_path / "pictures" / "square.png")
    return tmp_path


def command(folder: Path, *more: str) -> list[str]:
    return [
        "fidelity", "--bundle", str(DEMO), "--pictures", str(folder / "pictures"), "--threads", "1",
        "--runtime", "onnxruntime", "--out", str(folder / "out"), "--json", *more,
    ]  # fmt: skip


def test_a_bundle_agrees_with_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(folder, "--against", str(DEMO))) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    found = result["runtimes"]["onnxruntime"]
    assert found["masks"]["mean_iou"] == 1.0
    assert found["heat"]["max_abs"] == 0.0
    assert (found["marks"]["missed"], found["marks"]["added"], result["off"]) == (0, 0, [])
    assert result == json.loads((folder / "out" / "fidelity.json").read_text())
    assert "square 90x60" in (folder / "out" / "fidelity.md").read_text()


def test_what_is_off_is_the_exit_status_and_comes_first(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = pytest.importorskip("export.fidelity.gate")
    from export.fidelity.limits import judge
    from export.fidelity.records import FidelityReport, overlap, summarise, values

    findings = [
        overlap("sam2_decoder", "tensor", "masks", 0.4, picture="square 90x60", kind="box"),
        values(
            "clipseg", "tensor", "heatmap", np.array([np.nan]), np.array([1.0]), picture="square"
        ),
    ]
    report = FidelityReport("any 1.0", findings, judge(summarise(findings), arithmetic={}))
    monkeypatch.setattr(gate, "compare", lambda *a, **k: {"onnxruntime": report})
    assert main(command(folder)) == 1
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["off"][0] == "onnxruntime: clipseg.heatmap (square): 1 values are no numbers"
    text = (folder / "out" / "fidelity.md").read_text()
    assert text.index("values are no numbers") < text.index("From one tensor")
    assert "0.40000" in text


def test_wrong_use_is_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pictures" / "square.png").unlink()
    assert main(command(folder, "--against", str(DEMO))) == 2
    assert "--pictures" in capsys.readouterr().err
    assert main(["fidelity", "--bundle", str(folder), "--out", str(folder / "out")]) == 2
    assert "manifest.json" in capsys.readouterr().err


def test_a_report_beside_a_bundle_shows_both_directions_of_marks() -> None:
    found: dict[str, Any] = {
        "masks": {"mean_iou": 0.9, "min_iou": 0.5, "cases": 7, "worst": "cat, box",
                  "every_mean_iou": 0.9, "same_choice": 1.0},
        "heat": {"max_abs": 0.1, "worst": "cat", "min_hot_iou": 0.9},
        "marks": {"matched": 3, "missed": 1, "added": 2, "min_ink_iou": 0.9, "worst": "cat",
                  "max_score": 0.1},
    }  # fmt: skip
    result = {
        "off": ["onnxruntime: masks: far"], "runtimes": {"onnxruntime": found},
        "reference": {"name": "demo", "manifest_sha256": "0" * 64}, "pictures": ["cat"],
        "machine": {"cores": 2, "cpu": "a CPU", "python": "3.11"}, "packages": {},
        "bundle": {"name": "half", "manifest_sha256": "1" * 64},
    }  # fmt: skip
    text = markdown(result)
    assert "-1 +2" in text
    assert text.startswith("Out of tolerance")
