from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from markcut.bundle import FileEntry, Manifest, load_bundle, pack_conds, write_bundle
from markcut.contracts import MODELS
from markcut.errors import BundleError, InvalidInput
from markcut.manifest import parse_manifest

Files = tuple[Manifest, dict[str, bytes]]


@pytest.fixture
def folder(tmp_path: Path, tiny_bundle: Files) -> Path:
    write_bundle(tmp_path / "demo", *tiny_bundle)
    return tmp_path / "demo"


def fault(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_what_is_written_is_what_is_loaded(folder: Path, tiny_bundle: Files) -> None:
    manifest, files = tiny_bundle
    bundle = load_bundle(folder)
    assert bundle.manifest == manifest
    assert bundle.onnx == {name: files[f"{name}.onnx"] for name in MODELS}
    assert bundle.conds.shape == (2, 6)
    assert sorted(p.name for p in folder.iterdir()) == sorted([*files, "manifest.json"])
    assert [p.name for p in folder.parent.iterdir()] == ["demo"]  # nothing temporary stays


def test_a_spec_carries_the_bundles_sizes(folder: Path) -> None:
    spec = load_bundle(folder).spec("sam2_encoder")
    assert spec.inputs[0].dims == ("B", 32, 32, 3)
    assert spec.outputs[0].dims == ("B", 2, 8, 8)


def test_prompts_have_their_vectors(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.cond().tolist() == [0, 1, 2, 3, 4, 5]
    assert bundle.cond("a drawn circle").tolist() == [6, 7, 8, 9, 10, 11]
    with pytest.raises(InvalidInput, match="prompt: got 'a cat', expected one of") as caught:
        bundle.cond("a cat")
    assert caught.value.field == "prompt"
    with pytest.raises(ValueError, match="read-only"):
        bundle.conds[0, 0] = 1


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "got nothing, expected a bundle's folder" in fault(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    assert "got a file" in fault(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "manifest.json is missing" in fault(tmp_path / "empty")
    assert "got nothing, expected" in fault(Path("x" * 5000))


@pytest.mark.parametrize("size", [10**18, 10**40])
def test_a_size_that_no_memory_holds_is_not_believed(folder: Path, size: int) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["models"]["clipseg"]["bytes"] = size
    (folder / "manifest.json").write_text(json.dumps(manifest))
    came = (folder / "clipseg.onnx").stat().st_size
    assert f"clipseg.onnx is truncated: got {came} bytes, expected {size}" in fault(folder)


def test_a_missing_file(folder: Path) -> None:
    (folder / "clipseg.onnx").unlink()
    assert "clipseg.onnx is missing" in fault(folder)


def test_a_truncated_file(folder: Path) -> None:
    path = folder / "sam2_decoder.onnx"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    assert f"sam2_decoder.onnx is truncated: got {size - 1} bytes, expected {size}" in fault(folder)


@pytest.mark.parametrize("name", ["yolo11_seg.onnx", "conds.npy"])
@pytest.mark.parametrize("longer", [False, True])
def test_an_altered_file(folder: Path, name: str, longer: bool) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data + b"x" * longer)
    assert f"{name} was altered" in fault(folder)


def test_files_are_hashed_before_they_are_parsed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "conds.npy").write_bytes(bytes((folder / "conds.npy").stat().st_size))
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("parsed"))
    assert "was altered" in fault(folder)


def test_a_link_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "clipseg.onnx").rename(tmp_path / "outside.onnx")
    (folder / "clipseg.onnx").symlink_to(tmp_path / "outside.onnx")
    assert "clipseg.onnx is a link out of the folder" in fault(folder)


def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert load_bundle(tmp_path / "link").manifest.name == "tiny"


def test_a_pipe_in_the_place_of_a_file(folder: Path) -> None:
    (folder / "clipseg.onnx").unlink()
    os.mkfifo(folder / "clipseg.onnx")
    assert "is not a regular file" in fault(folder)


def test_a_folder_in_the_place_of_a_file(folder: Path) -> None:
    (folder / "clipseg.onnx").unlink()
    (folder / "clipseg.onnx").mkdir()
    assert "cannot be read" in fault(folder)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"format": NaN}', b'{"format": 1, "format": 1}'],
)
def test_a_manifest_that_is_no_json(folder: Path, text: bytes) -> None:
    (folder / "manifest.json").write_bytes(text)
    assert "manifest.json is no valid JSON" in fault(folder)


def test_an_endless_manifest_is_not_read(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b" " * (5 << 20))
    assert "more than 4194304 bytes" in fault(folder)


def entry(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda manifest: manifest["models"]["clipseg"].update({key: value})


def kept(names: list[str]) -> Callable[[dict[str, Any]], Any]:
    changed = {"arithmetic": "int8", "kept_fp32": names}
    return lambda manifest: manifest["models"]["clipseg"].update(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=2), "format: got 2, expected 1; export again or use"),
        (lambda m: m.update(format=True), "format: got true"),
        (lambda m: m.pop("format"), "format: got null"),
        (lambda m: m.pop("prompts"), "it has no 'prompts'"),
        (lambda m: m.update(extra=1), "it has the unknown key 'extra'"),
        (lambda m: m.update(name="\ud800"), "expected a text that can be written in UTF-8"),
        (lambda m: m.update(name=""), 'name: got "", expected a text that is not empty'),
        (lambda m: m.update(models=[]), r"models: got [], expected an object"),
        (lambda m: m["models"].pop("clipseg"), "expected exactly clipseg, yolo11_seg"),
        (lambda m: m["kinds"].reverse(), "kinds: got"),
        (lambda m: m["stages"].pop(), "stages: got"),
        (lambda m: m["sizes"].pop("D"), 'sizes: got ["S", "C"], expected exactly S, C, D'),
        (lambda m: m["sizes"].update(S=33), "sizes.S: got 33, expected a multiple of 16"),
        (lambda m: m["sizes"].update(S=0), "sizes.S: got 0"),
        (lambda m: m["sizes"].update(C=8.0), "sizes.C: got 8.0, expected a whole number"),
        (lambda m: m["sizes"].update(S=1 << 20), "sizes.S: got 1048576"),
        (entry("file", "../clipseg.onnx"), "a plain file name inside the bundle's folder"),
        (entry("file", "/etc/passwd"), "a plain file name"),
        (entry("file", ".."), "a plain file name"),
        (entry("file", "a\\b.onnx"), "a plain file name"),
        (entry("file", "a\n"), "a plain file name"),
        (entry("file", "manifest.json"), "a file of its own for every model"),
        (entry("file", "yolo11_seg.onnx"), "a file of its own for every model"),
        (entry("sha256", "0" * 63), "64 lowercase hexadecimal digits"),
        (entry("sha256", 5), "models.clipseg.sha256: got 5, expected a text"),
        (entry("bytes", -1), "models.clipseg.bytes: got -1"),
        (entry("bytes", True), "models.clipseg.bytes: got true, expected a whole number"),
        (entry("precision", "fp8"), "expected one of fp32, fp16, bf16, int8"),
        (entry("arithmetic", "tf32"), 'models.clipseg.arithmetic: got "tf32", expected one of'),
        (entry("kept_fp32", ["/norm"]), "expected nothing, since all of the arithmetic is fp32"),
        (entry("kept_fp32", "/norm"), 'models.clipseg.kept_fp32: got "/norm", expected a list'),
        (kept([""]), "models.clipseg.kept_fp32[0]: got"),
        (kept(["n" * 301]), "expected a text of 1 to 300 characters"),
        (kept(["a", "a"]), "at most 2000, none twice"),
        (kept([str(n) for n in range(2001)]), 'got "2001 names", expected at most 2000'),
        (lambda m: m.update(conds="conds.npy"), 'conds: got "conds.npy", expected an object'),
        (lambda m: m.update(prompts=[]), "prompts: got [], expected at least one text"),
        (lambda m: m.update(prompts=["a", "a"]), "none twice"),
        (lambda m: m.update(prompts=[1]), "prompts[0]: got 1"),
        (lambda m: m.update(prompts="annotated"), "expected a list of texts"),
        (lambda m: m["defaults"].pop("mark_threshold"), "a number called 'mark_threshold'"),
        (
            lambda m: m["defaults"].update(mark_threshold=1.5),
            "got 1.5, expected a number from",
        ),
        (lambda m: m["defaults"].update(mark_threshold="x"), 'got "x", expected a number'),
        (lambda m: m["defaults"].update(points=10**400), "a number that fits a float"),
        (
            lambda m: m["defaults"].update({"No Name": 1}),
            "defaults.No Name: got 1.0, expected",
        ),
        (
            lambda m: m["defaults"].update(mark_treshold=0.1),
            "expected one of the names mark_",
        ),
        (
            lambda m: m["defaults"].update(max_marks=0),
            "0.0, expected a whole number from 1",
        ),
        (lambda m: m["defaults"].update(max_marks=2.5), "expected a whole number from 1 to 32"),
        (lambda m: m["defaults"].update(mask_threshold=-40), "expected a number from -32 to 32"),
        (lambda m: m.update(belief=[1]), "belief: got [1], expected an object"),
        (lambda m: m.update(belief={}), "belief: got [], expected the keys low"),
        (lambda m: m.update(provenance={}), "it has no 'checkpoints'"),
        (lambda m: m["provenance"].update(opset="17"), 'provenance.opset: got "17"'),
        (lambda m: m["provenance"]["tools"].update(torch=2), "provenance.tools.torch"),
        (lambda m: m["provenance"]["checkpoints"].update(x={"name": "a"}), "it has no 'sha256'"),
        (lambda m: m.update(verification=1), "verification: got 1, expected an object"),
    ],
)
def test_every_fault_of_a_manifest_is_named(
    folder: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    edit(folder, change)
    assert message in fault(folder)


@pytest.mark.parametrize("text", ["[]", "1", "null", '"x"'])
def test_a_manifest_that_is_no_object(text: str) -> None:
    with pytest.raises(BundleError, match="expected an object"):
        parse_manifest(text)


@pytest.mark.parametrize(
    "conds",
    [
        np.zeros((2, 5), np.float32),
        np.zeros((1, 6), np.float32),
        np.full((2, 6), np.nan, np.float32),
    ],
)
def test_conds_that_do_not_fit_the_prompts(
    tmp_path: Path, tiny_bundle: Files, conds: np.ndarray
) -> None:
    manifest, files = tiny_bundle
    data = pack_conds(conds)
    manifest = dataclasses.replace(manifest, conds=FileEntry.of("conds.npy", data))
    with pytest.raises(BundleError, match=r"expected finite float32 \(2, 6\)"):
        write_bundle(tmp_path / "x", manifest, {**files, "conds.npy": data})
    assert not list(tmp_path.iterdir())


def test_a_pickled_conds_file_is_refused(tmp_path: Path, tiny_bundle: Files) -> None:
    manifest, files = tiny_bundle
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], object), allow_pickle=True)
    data = buffer.getvalue()
    manifest = dataclasses.replace(manifest, conds=FileEntry.of("conds.npy", data))
    with pytest.raises(BundleError, match=r"conds\.npy is no array file"):
        write_bundle(tmp_path / "x", manifest, {**files, "conds.npy": data})


def test_an_old_bundle_is_replaced_whole(folder: Path, tiny_bundle: Files) -> None:
    manifest, files = tiny_bundle
    (folder / "stale.onnx").write_bytes(b"old")
    write_bundle(folder, dataclasses.replace(manifest, name="new"), files)
    assert load_bundle(folder).manifest.name == "new"
    assert not (folder / "stale.onnx").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["demo"]


def test_a_folder_with_other_things_is_left_alone(folder: Path, tiny_bundle: Files) -> None:
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"holds 'notes\.txt', which is no part of a bundle"):
        write_bundle(folder, *tiny_bundle)
    assert load_bundle(folder).manifest.name == "tiny"


def test_a_failed_write_leaves_the_old_bundle(
    folder: Path, tiny_bundle: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, files = tiny_bundle

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match="No space left on device"):
        write_bundle(folder, dataclasses.replace(manifest, name="new"), files)
    assert load_bundle(folder).manifest.name == "tiny"
    assert [p.name for p in folder.parent.iterdir()] == ["demo"]


def test_a_failed_swap_puts_the_old_bundle_back(
    folder: Path, tiny_bundle: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, files = tiny_bundle
    rename, calls = Path.rename, []

    def second_fails(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(BundleError, match="Input/output error"):
        write_bundle(folder, dataclasses.replace(manifest, name="new"), files)
    assert load_bundle(folder).manifest.name == "tiny"
    assert [p.name for p in folder.parent.iterdir()] == ["demo"]


def test_where_nothing_can_be_written(tmp_path: Path, tiny_bundle: Files) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError, match="cannot be written"):
        write_bundle(tmp_path / "file" / "demo", *tiny_bundle)
    with pytest.raises(BundleError, match="got a file, expected a folder"):
        write_bundle(tmp_path / "file", *tiny_bundle)


def test_files_must_be_what_the_manifest_says(tmp_path: Path, tiny_bundle: Files) -> None:
    manifest, files = tiny_bundle
    with pytest.raises(BundleError, match="its bytes are not what the manifest vouches for"):
        write_bundle(tmp_path / "x", manifest, {**files, "clipseg.onnx": b"other"})
    with pytest.raises(BundleError, match="got the files"):
        write_bundle(tmp_path / "x", manifest, {"clipseg.onnx": files["clipseg.onnx"]})
    bad = dataclasses.replace(manifest, sizes={"S": 1, "C": 8, "D": 6})
    with pytest.raises(BundleError, match=r"sizes\.S"):
        write_bundle(tmp_path / "x", bad, files)
    assert not list(tmp_path.iterdir())


def test_a_manifest_from_before_arithmetic_was_told_apart_is_fp32(folder: Path) -> None:
    def age(manifest: dict[str, Any]) -> None:
        for model in manifest["models"].values():
            model["precision"] = "fp16"
            del model["arithmetic"], model["kept_fp32"]

    edit(folder, age)
    for model in load_bundle(folder).manifest.models.values():
        assert (model.precision, model.arithmetic, model.kept_fp32) == ("fp16", "fp32", ())


def test_what_was_kept_in_fp32_comes_back(folder: Path) -> None:
    edit(folder, kept(["LayerNormalization", "/blocks.0/MatMul"]))
    found = load_bundle(folder).manifest
    assert found.models["clipseg"].arithmetic == "int8"
    assert found.models["clipseg"].kept_fp32 == ("LayerNormalization", "/blocks.0/MatMul")
    assert parse_manifest(found.to_json()) == found
