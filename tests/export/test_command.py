"""The whole way: three tiny checkpoints to a verified bundle, and what stops it."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import sam2, verify, yolo11_seg
from export.__main__ import main
from export.fidelity import gate as fidelity_gate
from export.fidelity.records import FidelityReport, Off
from markcut.bundle import Bundle, load_bundle, pack_conds
from markcut.contracts import MODELS
from markcut.runners import open_runner

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def arguments(clipseg_folder: Path, yolo_file: Path, sam2_file: Path) -> list[str]:
    return [
        "bundle", "--clipseg", str(clipseg_folder), "--yolo", str(yolo_file),
        "--sam2", str(sam2_file),
    ]  # fmt: skip


@pytest.fixture(scope="session")
def exported(
    arguments: list[str], tmp_path_factory: pytest.TempPathFactory, pictures: list
) -> tuple[Path, str]:
    """The bundle's folder, and what the command wrote to standard output."""
    from export import pictures as source

    out = tmp_path_factory.mktemp("bundles") / "tiny"
    options = ["--weights-storage", "fp16", "--prompt", "annotated", "--prompt", "a scrawl"]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as said:
        patch.setattr(source, "verification_pictures", lambda: pictures)
        # random weights have no objects: their masks are noise around nought, here and upstream
        patch.setattr(fidelity_gate, "fidelity_gate", lambda *_, **__: FidelityReport("none"))
        assert main([*arguments, "--out", str(out), *options, "--default", "max_marks=9"]) == 0
    return out, said.getvalue()


@pytest.fixture(scope="session")
def bundle_folder(exported: tuple[Path, str]) -> Path:
    return exported[0]


def test_the_bundle_says_what_it_is(bundle_folder: Path) -> None:
    bundle = load_bundle(bundle_folder)
    manifest = bundle.manifest
    assert manifest.name == "tiny"
    assert manifest.sizes == {"D": 24, "S": 128, "C": 64}
    assert manifest.prompts == ("annotated", "a scrawl")
    assert not np.allclose(bundle.cond("annotated"), bundle.cond("a scrawl"))
    assert manifest.defaults["max_marks"] == 9
    assert set(manifest.models) == set(MODELS)
    assert set(manifest.verification) == {*MODELS, "fidelity"}
    assert manifest.verification["fidelity"]["off"] == []
    assert {entry.arithmetic for entry in manifest.models.values()} == {"fp32"}
    assert {entry.precision for entry in manifest.models.values()} == {"fp16"}
    assert manifest.provenance.checkpoints["yolo11_seg"].name == "marks.pt"
    assert {"torch", "ultralytics", "onnxruntime"} <= set(manifest.provenance.tools)
    assert "/" not in (bundle_folder / "manifest.json").read_text()  # no path of this machine


def test_verification_reports_every_output_with_and_without_rounding(bundle_folder: Path) -> None:
    verification = load_bundle(bundle_folder).manifest.verification
    for name, spec in MODELS.items():
        report = verification[name]
        assert list(report["outputs"]) == [tensor.name for tensor in spec.outputs]
        assert all(o["max_rel"] <= verify.TOLERANCE for o in report["outputs"].values())
        assert all(o["max_rel"] > 0 for o in report["unrounded"].values() if o["cosine"] < 1)
    masks = MODELS["sam2_decoder"].outputs[0].name
    assert verification["sam2_decoder"]["unrounded"][masks]["max_rel"] > 1e-5


@pytest.mark.parametrize("model", ["sam2_encoder", "sam2_decoder"])
def test_openvino_answers_alike(
    bundle_folder: Path, sam2_file: Path, pictures: list, model: str
) -> None:
    from export.checkpoints import round_to_half

    loaded = sam2.load(str(sam2_file))
    round_to_half(loaded.model)
    graph = next(g for g in loaded.graphs(loaded.model) if g.spec.name == model)
    onnx = load_bundle(bundle_folder).onnx[model]
    checked = verify.verify(graph, onnx, graph.cases(pictures), runtime="openvino")
    assert checked.off == [], [checked.outputs[name] for name in checked.off]


def test_openvino_finds_the_same_marks(pictures: list) -> None:
    """With the demo's weights: among random ones' boxes the last bit decides what goes."""
    from export.checkpoints import round_to_half

    loaded = yolo11_seg.load(str(ROOT / "checkpoints/demo/yolo11n-seg-marks.pt"))
    round_to_half(loaded.model)
    (graph,) = loaded.graphs(loaded.model)
    onnx = load_bundle(ROOT / "artifacts/demo").onnx["yolo11_seg"]
    checked = verify.verify(graph, onnx, graph.cases(pictures), runtime="openvino")
    assert checked.off == [], [checked.outputs[name] for name in checked.off]


def test_openvino_answers_clipseg_alike(bundle_folder: Path, pictures: list) -> None:
    bundle = load_bundle(bundle_folder)
    spec = bundle.spec("clipseg")
    picture = np.resize(pictures[0], (2, 352, 352, 3)).astype(np.uint8)
    feeds = dict(zip((t.name for t in spec.inputs), (picture, bundle.conds), strict=True))
    answers = []
    for runtime in ("onnxruntime", "openvino"):
        runner = open_runner(spec, bundle.onnx["clipseg"], runtime=runtime, threads=2)
        answers.append(runner.infer(feeds)[spec.outputs[0].name])
        runner.close()
    assert answers[0].std() > 0.01
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)


def test_the_last_line_is_for_machines(exported: tuple[Path, str]) -> None:
    folder, said = exported
    manifest = load_bundle(folder).manifest
    assert json.loads(said.splitlines()[-1]) == {
        "bundle": str(folder),
        "bytes": sum(entry.bytes for entry in manifest.files()),
        "models": list(manifest.models),
    }


def test_a_graph_that_is_off_publishes_nothing(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from export import command

    def export_badly(title: str, load: object, parts: Any, **_: object) -> None:
        near, far = verify.Difference(1e-6, 1e-6, 1.0), verify.Difference(1.0, 0.5, 0.9)
        outputs = {"fine": near, "wrong": far if title == "SAM2" else near}
        parts.verifications[title] = verify.Verification(
            model=title, runtime="r", cases={}, tolerance=1e-4, outputs=outputs, unrounded={}
        )

    monkeypatch.setattr(command, "_export", export_badly)
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "SAM2.wrong: off by more than the tolerance, so nothing was written" in said.err
    assert said.out == ""
    assert not (tmp_path / "out").exists()


def test_a_bundle_that_is_off_beside_upstream_is_not_published(
    arguments: list[str],
    bundle_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from export import command

    bundle = load_bundle(bundle_folder)

    def have(title: str, load: object, parts: Any, **_: object) -> None:
        entries = bundle.manifest.models
        parts.models.update(entries)
        parts.files.update({entry.file: bundle.onnx[name] for name, entry in entries.items()})
        parts.files["conds.npy"] = pack_conds(bundle.conds)
        parts.sizes.update(bundle.manifest.sizes)

    asked: list[Any] = []

    def gate(found: Bundle, sources: fidelity_gate.Sources, **_: object) -> FidelityReport:
        asked.append((found, sources))
        return FidelityReport("r", off=[Off("sam2_decoder.masks", 9.0, "masks: far off")])

    monkeypatch.setattr(command, "_export", have)
    monkeypatch.setattr(fidelity_gate, "fidelity_gate", gate)
    prompts = ["--prompt", "annotated", "--prompt", "a scrawl"]
    assert main([*arguments, *prompts, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "export bundle: masks: far off" in said.err
    assert "so nothing was written to" in said.err
    assert said.out == ""
    assert not (tmp_path / "out").exists()
    ((found, sources),) = asked
    assert found.onnx == bundle.onnx
    assert sources.yolo == arguments[arguments.index("--yolo") + 1]


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--clipseg", "no/such/folder"], "--clipseg: got no/such/folder, expected a folder"),
        (["--yolo", "none.pt"], "--yolo: none.pt does not exist"),
        (["--sam2", "none.pt"], "--sam2: got none.pt, expected a checkpoint file"),
        (["--sam2-config", "sam9"], "--sam2-config: got sam9"),
        (["--prompt", "a", "--prompt", "a"], "prompts: got"),
        (["--prompt", ""], "prompts[0]: got"),
        (["--precision", "int4"], "--precision: got 'int4', expected one of fp32, fp16, bf16"),
        (["--precision", "int8", "--scenes", "0"], "--scenes: got 0, expected at least 1"),
        (["--default", "belief_dot=2"], "defaults.belief_dot: got 2.0, expected one of the names"),
        (["--belief", "none.json"], "--belief: none.json cannot be read"),
        (["--defaults", "none.json"], "--defaults: none.json cannot be read"),
        (["--default", "mark_threshold=2"], "defaults.mark_threshold: got 2.0"),
        (["--default", "mark_threshold=nan"], "--default: got 'mark_threshold=nan', expected"),
        (["--default", "mark_threshold"], "--default: got 'mark_threshold', expected NAME=NUMBER"),
    ],
)
def test_wrong_use_is_one_sentence(
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    extra: list[str],
    sentence: str,
) -> None:
    from export import command

    loaders = command._loaders

    def load_only(options: object, prompts: object, parts: object) -> object:
        """Everything is loaded, nothing exported: the faults are all in what was given."""
        return ((title, load) for title, load in loaders(options, prompts, parts))  # type: ignore[arg-type]

    monkeypatch.setattr(command, "_loaders", load_only)
    monkeypatch.setattr(command, "_export", lambda title, load, parts, **_: load())
    assert main([*arguments, "--out", str(tmp_path / "out"), *extra]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_found_before_any_work(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("")
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "got a file, expected a folder" in capsys.readouterr().err
    assert main([*arguments, "--out", str(tmp_path / "out" / "below")]) == 2
    assert "cannot be written (Not a directory)" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    assert main([*arguments, "--out", str(tmp_path / "mine")]) == 2
    assert "--out: " in (said := capsys.readouterr().err)
    assert "holds 'notes.txt', which is no part of a bundle and would be lost" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]
