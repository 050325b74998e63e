from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from export.__main__ import main
from export.errors import ExportError
from export.pbtxt import Enum, to_pbtxt
from export.repository import rendered, write_repository
from export.triton_config import BATCH, CHAINS, RUNNERS, Flavour, configurations
from markcut.bundle import load_bundle, read_manifest, write_bundle
from markcut.contracts import ENSEMBLES, MODELS, SAM2_DECODER, SAM2_ENCODER, STEPS
from markcut.errors import BundleError, RuntimeUnavailable
from tests.markcut.conftest import make_bundle

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "artifacts" / "demo"
SIZES = {"S": 512, "C": 128, "D": 512}
FLAVOURS = [
    Flavour("onnxruntime", "gpu"),
    Flavour("onnxruntime", "cpu"),
    Flavour("tensorrt", "gpu"),
    Flavour("python", "cpu"),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("bundle") / "tiny"
    write_bundle(folder, *make_bundle())
    return folder


def test_the_committed_repository_is_what_is_rendered() -> None:
    if (DEMO / "manifest.json").exists():
        manifest = read_manifest(DEMO)
    else:
        manifest = make_bundle(sizes=SIZES)[0]
    files = rendered(manifest, FLAVOURS[0])
    folder = ROOT / "model_repository"
    for name, data in files.items():
        assert (folder / name).read_bytes() == data, (
            f"{name} is not what is rendered: python -m export repository artifacts/demo "
            "--runner onnxruntime --out model_repository"
        )
    listed = subprocess.run(
        ["git", "ls-files", "model_repository"], cwd=ROOT, capture_output=True, text=True
    )
    committed = {line.partition("/")[2] for line in listed.stdout.splitlines()}
    assert committed <= set(files)


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda f: f"{f.runner}-{f.device}")
def test_every_wire_has_one_source_and_every_input_a_wire(flavour: Flavour) -> None:
    configs = configurations(SIZES, flavour)
    assert set(configs) == {*ENSEMBLES, *STEPS, *MODELS}
    for name in CHAINS:
        config: dict[str, list[dict[str, str]]] = configs[name]  # type: ignore[assignment]
        made = {tensor["name"] for tensor in config["input"]}
        for step in configs[name]["ensemble_scheduling"]["step"]:  # type: ignore[index, call-overload]
            model: dict[str, list[dict[str, str]]] = configs[step["model_name"]]  # type: ignore[assignment]
            taken = {pair["key"]: pair["value"] for pair in step["input_map"]}
            assert set(taken) == {tensor["name"] for tensor in model["input"]}
            assert set(taken.values()) <= made, step["model_name"]
            given = {pair["key"]: pair["value"] for pair in step["output_map"]}
            assert set(given) <= {tensor["name"] for tensor in model["output"]}
            assert not set(given.values()) & made
            made |= set(given.values())
        assert {tensor["name"] for tensor in config["output"]} <= made


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda f: f"{f.runner}-{f.device}")
def test_every_model_is_warmed_up_with_all_its_inputs(flavour: Flavour) -> None:
    for name, config in configurations(SIZES, flavour).items():
        if name in CHAINS:
            continue
        (warmup,) = config["model_warmup"]  # type: ignore[misc]
        warm = [given["key"] for given in warmup["inputs"]]  # type: ignore[index, call-overload]
        assert warm == [tensor["name"] for tensor in config["input"]], name  # type: ignore[index, union-attr, call-overload]


def test_networks_on_a_gpu_batch_pictures_but_not_prompts() -> None:
    configs = configurations(SIZES, FLAVOURS[0])
    assert configs[SAM2_ENCODER.name]["max_batch_size"] == BATCH
    assert configs[SAM2_ENCODER.name]["input"][0]["dims"] == [512, 512, 3]  # type: ignore[index]
    assert configs[SAM2_DECODER.name]["max_batch_size"] == 0
    assert configs[SAM2_DECODER.name]["input"][0]["dims"] == [1, 16, 128, 128]  # type: ignore[index]


def test_the_python_flavour_tells_its_networks_the_precision() -> None:
    flavour = Flavour("python", "cpu", runtime="openvino", precision="bf16")
    network = configurations(SIZES, flavour)[SAM2_ENCODER.name]
    assert {"key": "precision", "value": {"string_value": "bf16"}} in network["parameters"]  # type: ignore[operator]


def test_a_runner_that_computes_as_graphs_are_typed_refuses_a_precision(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["repository", str(bundle), "--runner", "onnxruntime", "--precision", "bf16"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "--precision: got 'bf16', but onnxruntime computes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--runtime", "openvino", "--runtime: got 'openvino', but Triton's own backend runs"),
        ("--threads", "-1", "--threads: got -1, expected a number from 0 to 1024"),
        ("--threads", "9" * 20, "expected a number from 0 to 1024"),
    ],
)
def test_options_that_would_be_ignored_or_break_the_server(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
    sentence: str,
) -> None:
    words = ["repository", str(bundle), "--runner", "onnxruntime", option, value]
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_old_repository_stays_where_a_new_one_cannot_be_put(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    flavour = Flavour("python", "cpu")
    write_repository(bundle, flavour, out)
    before = sorted(path.relative_to(out) for path in out.rglob("*"))
    rename = Path.rename

    def full(path: Path, target: Path) -> Path:
        if path.name == "fresh":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(ExportError, match=r"cannot be written \(No space left on device\)"):
        write_repository(bundle, flavour, out)
    assert sorted(path.relative_to(out) for path in out.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []


def test_the_old_server_is_given_no_queue_that_can_overflow_inside_an_ensemble() -> None:
    configs = configurations(SIZES, Flavour("python", "cpu"))
    limited = {name for name, config in configs.items() if "dynamic_batching" in config}
    assert limited == {"preprocess", "prompt_preprocess"}


@pytest.mark.parametrize("runner", ["onnxruntime", "python"])
def test_a_repository_holds_what_its_runner_opens(
    bundle: Path, tmp_path: Path, runner: str
) -> None:
    out = tmp_path / "repository"
    write_repository(bundle, Flavour(runner, "cpu"), out)
    for name in STEPS:
        assert load_bundle(out / name / "1", models=()).manifest.sizes["S"] == 32
    for name in MODELS:
        folder = out / name / "1"
        if runner == "python":
            assert list(load_bundle(folder, models=[name]).onnx) == [name]
        else:
            assert (folder / "model.onnx").read_bytes() == load_bundle(bundle).onnx[name]
    write_repository(bundle, Flavour(runner, "cpu"), out)  # ours, so it may be replaced
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]


def test_what_is_not_ours_is_not_replaced(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(ExportError, match=r"holds 'letters.txt', which is no part"):
        write_repository(bundle, FLAVOURS[1], tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_no_repository_inside_of_its_bundle(bundle: Path) -> None:
    with pytest.raises(ExportError, match="lies inside of the bundle"):
        write_repository(bundle, FLAVOURS[0], bundle / "repository")
    assert not (bundle / "repository").exists()


def test_missing_engines_and_altered_bundles_are_one_sentence(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="no finished TensorRT engine"):
        write_repository(bundle, Flavour("tensorrt", "gpu"), tmp_path / "out")
    altered = tmp_path / "altered"
    write_bundle(altered, *make_bundle())
    (altered / "clipseg.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"clipseg\.onnx"):
        write_repository(altered, FLAVOURS[1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_explains_itself_and_wrong_use(bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "export", "repository"]
    shown = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert all(runner in shown.stdout for runner in RUNNERS)
    wrong = subprocess.run(
        [*command, str(bundle), "--runner", "python", "--device", "gpu", "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("export repository: --device: got 'gpu'")


def test_text_format() -> None:
    message = {
        "name": 'a"b',
        "on": True,
        "dims": [-1, 4],
        "kind": Enum("KIND_CPU"),
        "m": [{"k": 1}],
    }
    assert to_pbtxt(message) == (
        'name: "a\\"b"\non: true\ndims: [-1, 4]\nkind: KIND_CPU\nm {\n  k: 1\n}'
    )
