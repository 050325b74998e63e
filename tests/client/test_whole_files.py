from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from markcut_client import OutputError, whole_files
from markcut_client.whole_files import (
    InTheWayError,
    check_writable_file,
    write_together,
    write_whole,
)


def no_links(*_: object, **__: object) -> None:
    raise OSError(95, "Operation not supported")


@pytest.fixture(params=["links", "no links"])
def out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder on a file system of either kind."""
    if request.param == "no links":
        monkeypatch.setattr(os, "link", no_links)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_new_files(out: Path) -> None:
    wanted = {"b": b"1", "a": b"2"}
    assert write_together(out, wanted.items(), overwrite=False) == ["b", "a"]
    assert contents(out) == wanted


def test_nothing_is_replaced_without_overwrite(out: Path) -> None:
    (out / "b").write_bytes(b"theirs")
    with pytest.raises(InTheWayError, match="b: there already, another run wrote it meanwhile"):
        write_together(out, [("a", b"1"), ("b", b"2"), ("c", b"3")], overwrite=False)
    assert contents(out) == {"b": b"theirs"}
    write_together(out, [("a", b"1"), ("b", b"2")], overwrite=True)
    assert contents(out) == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_in_the_way_of_the_last(out: Path, overwrite: bool) -> None:
    (out / "c").mkdir()
    with pytest.raises(InTheWayError, match="c: cannot be written"):
        write_together(out, [("a", b"1"), ("c", b"2")], overwrite=overwrite)
    assert contents(out) == {}


def test_files_that_break_off(out: Path) -> None:
    def files() -> Any:
        yield "a", b"1"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_together(out, files(), overwrite=False)
    assert contents(out) == {}


def test_interrupted_between_two_names(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, placed = whole_files._place, []

    def interrupted(part: Path, path: Path, *, overwrite: bool) -> None:
        if placed:
            raise KeyboardInterrupt
        placed.append(path)
        place(part, path, overwrite=overwrite)

    monkeypatch.setattr(whole_files, "_place", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_together(out, [("a", b"1"), ("b", b"2")], overwrite=False)
    assert contents(out) == {}


def test_what_was_there_is_there_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"a": b"old a", "b": b"old b"}
    for name, data in old.items():
        (out / name).write_bytes(data)
    place = whole_files._place

    def refused(part: Path, path: Path, *, overwrite: bool) -> None:
        if path.name == "c":
            raise InTheWayError("c: cannot be written")
        place(part, path, overwrite=overwrite)

    monkeypatch.setattr(whole_files, "_place", refused)
    with pytest.raises(InTheWayError):
        write_together(out, [("a", b"1"), ("b", b"2"), ("c", b"3")], overwrite=True)
    assert contents(out) == old
    assert write_together(out, [("a", b"1"), ("b", b"2")], overwrite=True) == ["a", "b"]
    assert contents(out) == {"a": b"1", "b": b"2"}


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")

    class FullDisk(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    def full(path: Path, mode: str) -> FullDisk:
        path.touch()
        return FullDisk()

    monkeypatch.setattr(whole_files, "open", full, raising=False)
    with pytest.raises(
        OutputError, match=r"result\.json: cannot be written \(No space left"
    ) as got:
        write_whole(target, b"new", overwrite=True)
    assert not isinstance(got.value, InTheWayError)  # nothing else could be written either
    assert contents(tmp_path) == {"result.json": b"old"}


def test_what_could_not_be_written_later(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match="got a folder"):
        check_writable_file(tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="there already"):
        check_writable_file(file, overwrite=False)
    check_writable_file(file, overwrite=True)
    assert contents(tmp_path) == {"file": b""}
