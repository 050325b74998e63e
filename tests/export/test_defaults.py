from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from export.defaults import DEFAULTS, read_belief, read_defaults
from export.errors import ExportError
from markcut import manifest
from tests.markcut.weighing import SCORE


def test_the_file_counts_more_than_ours_and_the_word_more_than_the_file(tmp_path: Path) -> None:
    file = tmp_path / "defaults.json"
    file.write_text('{"mark_threshold": 0.4, "points_per_mark": 2, "max_marks": 9}')
    found = read_defaults(file, ["max_marks=3"])
    assert found == {**DEFAULTS, "mark_threshold": 0.4, "points_per_mark": 2.0, "max_marks": 3.0}
    assert read_defaults(None, []) == DEFAULTS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no valid JSON"),
        ("[" * 100_000, "is no valid JSON"),
        ("[1]", "is no object of JSON, expected"),
        ('{"max_marks": "9"}', "max_marks: got '9', expected a finite number"),
        ('{"max_marks": true}', "max_marks: got True, expected a finite number"),
        ('{"max_marks": NaN}', "max_marks: got nan, expected a finite number"),
        ('{"max_marks": null}', "max_marks: got None, expected a finite number"),
        (f'{{"max_marks": 1{"0" * 400}}}', "expected a finite number"),
    ],
)
def test_a_file_of_something_else(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "defaults.json"
    file.write_text(text)
    with pytest.raises(ExportError) as error:
        read_defaults(file, [])
    assert said in str(error.value)
    assert len(str(error.value)) < 300


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="nowhere cannot be read"):
        read_defaults(tmp_path / "nowhere", [])


def test_what_the_clues_count(tmp_path: Path) -> None:
    file = tmp_path / "belief.json"
    file.write_text(json.dumps(asdict(SCORE)))
    assert read_belief(file) == SCORE
    assert read_belief(None) is None
    file.write_text(json.dumps({**asdict(SCORE), "sums": []}))
    with pytest.raises(ExportError, match=r"--belief: .*belief.json: belief.sums: got \[\]"):
        read_belief(file)


def test_every_default_is_explained_with_its_limits() -> None:
    text = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text()
    for name, (low, high) in manifest.DEFAULTS.items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        assert f"| {low}, {high} |" in row
        if name in DEFAULTS:
            assert f"| {DEFAULTS[name]:g} |" in row
