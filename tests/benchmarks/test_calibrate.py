from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import calibrate
from benchmarks.__main__ import main
from benchmarks.candidates import Candidate, Looker, Seen
from benchmarks.errors import BenchmarkError
from benchmarks.marks import drawn_on
from export.defaults import read_belief
from markcut.belief import Clues, belief
from markcut.ink_clues import InkClues

DEMO = Path(__file__).parents[2] / "artifacts" / "demo"


def seen(count: int) -> list[Seen]:
    """Pictures on which heat alone tells drawn marks from others, and one mark was not seen."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(count):
        candidates = []
        for drawn in (True, False):
            heat = float(np.clip(rng.normal(0.7 if drawn else 0.2, 0.05), 0, 1))
            candidates.append(Candidate(clues(rng, heat), drawn))
        found.append(Seen(tuple(candidates), 2 if index == 0 else 1))
    return found


def clues(rng: np.random.Generator, heat: float) -> Clues:
    size, width, fill, rarity = rng.uniform(0.01, 0.9, 4).tolist()
    ink = InkClues(
        extent=size, width=width * size, aspect=1 + rarity, fill=fill, border=False,
        spread=rng.random() * 9, surroundings=rng.random() * 40, rarity=rarity, chroma=50 * fill,
    )  # fmt: skip
    near, score = rng.uniform(0.25, 0.9, 2).tolist()
    kind = int(rng.integers(7))
    return Clues(kind, score, whole=None, near=near, heat=heat, clear=0.8, ink=ink)


def test_what_tells_marks_apart_counts() -> None:
    fitted = calibrate.fit([c for one in seen(100) for c in one.candidates])
    rng = np.random.default_rng(1)
    drawn, others = ([belief(clues(rng, h), fitted) for _ in range(100)] for h in (0.7, 0.2))
    assert np.mean(np.array(drawn) > 0.5) > 0.95
    assert np.mean(np.array(others) < 0.5) > 0.95


def test_thresholds_are_judged_by_the_other_half() -> None:
    pictures = seen(100)
    table = calibrate.thresholds(pictures, calibrate.halves(pictures))
    row = next(row for row in table if row["threshold"] == 0.5)
    assert row["clues"]["recall"] > 0.95
    assert row["clues"]["false_per_picture"] < 0.03
    assert row["score"]["recall"] < 0.8
    assert row["score"]["false_per_picture"] > 0.2
    assert calibrate.best(table) in {0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5}


def test_too_little_to_fit() -> None:
    with pytest.raises(BenchmarkError, match="saw 10 drawn marks and 10 others, and 20 of both"):
        calibrate.fit([c for one in seen(10) for c in one.candidates])


def test_the_networks_of_a_bundle_look_at_photos() -> None:
    photo = np.full((300, 400, 3), 200, np.uint8)
    bare, circled = drawn_on(photo, (None, "circle"), seed=(1,), name="grey")
    with Looker(DEMO, runtime="auto", threads=1) as looker:
        assert looker.look(bare).marks == 0
        found = looker.look(circled)
    assert found.marks == 1
    assert any(c.drawn and c.clues.score > 0.2 for c in found.candidates)


def test_the_file_fits_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(seen(36))

    def look(self: Looker, scene: Any) -> Seen:
        return next(answers)

    monkeypatch.setattr(Looker, "look", look)
    words = ["--scenes", "3", "--plain", "11", "--bundle", str(DEMO), "--out", str(tmp_path)]
    assert main(["calibrate", *words]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["pictures"] == 36
    assert result["marks"] == 37
    defaults = json.loads((tmp_path / "defaults.json").read_text())
    assert defaults == result["defaults"]
    assert set(defaults) == {"mark_threshold", "heat_threshold", "mask_threshold", "nearer_look"}
    weights = read_belief(tmp_path / "belief.json")
    assert weights is not None
    assert len(weights.units) == 24
    assert "| threshold | recall |" in (tmp_path / "calibrate.md").read_text()
