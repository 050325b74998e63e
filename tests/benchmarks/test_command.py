from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.report import prepare, table, write


@pytest.mark.parametrize(
    ("words", "taught"),
    [
        (["--help"], "accuracy"),
        (["accuracy", "--help"], "end to end"),
        (["latency", "--help"], "peak memory"),
    ],
)
def test_help(words: list[str], taught: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 0
    assert taught in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["accuracy", "--bundle", "nowhere"], "got nothing, expected a bundle's folder"),
        (["calibrate", "--bundle", "nowhere"], "got nothing, expected a bundle's folder"),
        (["calibrate", "--plain", "-1"], "--plain: got -1, expected 0 or more"),
        (["calibrate", "--seed", "99999"], "--seed: got 99999, expected a smaller number"),
        (["latency", "--bundle", "nowhere"], "got nothing, expected a bundle's folder"),
        (["accuracy", "--sizes", "small,huge"], "expected some of small,medium,large"),
        (["accuracy", "--scenes", "0"], "--scenes: got 0, expected 1 or more"),
        (["accuracy", "--scenes", "100001"], "expected 100000 at most"),
        (["accuracy", "--seed", "7000"], "expected 6999 at most"),
        (["accuracy", "--photos", "nowhere"], "--photos: nowhere is not a folder"),
        (["accuracy", "--threads", "0"], "--threads: got 0, expected 1 or more"),
        (["latency", "--least-iou", "2"], "--least-iou: got 2.0, expected 0 to 1"),
        (["latency", "--clipseg", "x"], "expected all three or none"),
        (["latency", "--from", "nothing.json"], "--from: nothing.json cannot be read"),
    ],
)
def test_wrong_use_is_one_sentence(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"benchmarks {words[0]}: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_table() -> None:
    assert table(["name", "n"], [["a", "1"], ["bcdef", "10"]]) == (
        "| name  |  n |\n| :---- | -: |\n| a     |  1 |\n| bcdef | 10 |"
    )


def test_files_are_written_whole_and_a_bad_folder_is_named(tmp_path: Path) -> None:
    from benchmarks.errors import BenchmarkError

    out = tmp_path / "a" / "b"
    prepare(out)
    write(out, {"x.txt": b"1"})
    write(out, {"x.txt": b"2"})
    assert [path.read_bytes() for path in out.iterdir()] == [b"2"]
    with pytest.raises(BenchmarkError, match=r"--out: .*x\.txt cannot be written"):
        prepare(out / "x.txt")
