"""The cache of compiled models gives back what was kept, to its user, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from markcut.contracts import ModelSpec, Tensor
from markcut.runners import compiled_cache, open_runner
from tests.markcut.conftest import onnx_model

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights are Windows' own")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "compiled"
    monkeypatch.setenv(compiled_cache.VARIABLE, str(found))
    return found


def entry(onnx: bytes = b"graph", **facts: object) -> compiled_cache.Entry:
    found = compiled_cache.entry(onnx, facts)
    assert found is not None
    return found


def test_what_was_kept_comes_back(home: Path) -> None:
    assert entry(version=1).read() is None
    entry(version=1).write(b"compiled")
    assert entry(version=1).read() == b"compiled"


@posix
def test_folder_and_files_are_the_users_alone(home: Path) -> None:
    entry().write(b"compiled")
    (file,) = home.iterdir()
    assert home.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600


def test_another_graph_or_use_is_another_entry(home: Path) -> None:
    entry(version=1).write(b"compiled")
    assert entry(b"other", version=1).read() is None
    assert entry(version=2).read() is None


def test_a_broken_or_renamed_file_is_none(home: Path) -> None:
    entry(version=1).write(b"compiled")
    (file,) = home.iterdir()
    entry(version=2).write(b"another")
    (other,) = set(home.iterdir()) - {file}
    other.write_bytes(file.read_bytes())
    assert entry(version=2).read() is None
    file.write_bytes(file.read_bytes()[:-1])
    assert entry(version=1).read() is None


@posix
def test_what_others_can_write_to_is_not_used(home: Path) -> None:
    entry().write(b"compiled")
    kept = entry()
    (file,) = home.iterdir()
    file.chmod(0o620)
    assert kept.read() is None
    home.chmod(0o777)
    assert compiled_cache.entry(b"graph", {}) is None
    assert "others can write" in compiled_cache.describe()


@posix
def test_a_link_is_not_followed(home: Path, tmp_path: Path) -> None:
    kept = entry()
    kept.write(b"compiled")
    (file,) = home.iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert kept.read() is None
    home.rename(tmp_path / "moved")
    home.symlink_to(tmp_path / "moved")
    assert compiled_cache.entry(b"graph", {}) is None


def test_the_oldest_make_room(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_cache, "MOST_BYTES", 100)
    for number in range(3):
        entry(number=number).write(bytes(15))
        for file in home.iterdir():
            os.utime(file, ns=(0, file.stat().st_mtime_ns - 10**9))
    assert [entry(number=number).read() is None for number in range(3)] == [True, False, False]


def test_off_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiled_cache.VARIABLE, "off")
    assert compiled_cache.entry(b"graph", {}) is None
    assert "MARKCUT_CACHE is off" in compiled_cache.describe()


def test_a_file_in_the_folders_place_keeps_nothing(home: Path) -> None:
    kept = entry()
    home.write_bytes(b"")
    kept.write(b"compiled")
    assert kept.read() is None


def test_openvino_starts_from_what_it_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    from onnx import helper

    from markcut.runners import openvino_runner

    spec = ModelSpec(
        "double", inputs=(Tensor("x", "FP32", ("B", 3)),), outputs=(Tensor("y", "FP32", ("B", 3)),)
    )
    onnx = onnx_model([helper.make_node("Add", ["x", "x"], ["y"])], spec.inputs, spec.outputs)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    first = open_runner(spec, onnx, runtime="openvino").infer({"x": x})["y"]
    (file,) = home.iterdir()

    compiled: list[str] = []
    original = openvino_runner.OpenVinoRunner._compile

    def counting(self: openvino_runner.OpenVinoRunner, *given: object, **named: object) -> object:
        compiled.append(self.spec.name)
        return original(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(openvino_runner.OpenVinoRunner, "_compile", counting)
    again = open_runner(spec, onnx, runtime="openvino").infer({"x": x})["y"]
    assert compiled == []
    np.testing.assert_array_equal(again, first)

    entry_bytes = file.read_bytes()
    file.write_bytes(entry_bytes[:32] + bytes(len(entry_bytes) - 32))
    open_runner(spec, onnx, runtime="openvino")
    assert compiled == ["double"]
    assert file.read_bytes() != entry_bytes[:32] + bytes(len(entry_bytes) - 32)
