from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from rich.console import Console

from export.__main__ import main
from export.errors import ExportError
from export.tensorrt import build as engines_build
from export.tensorrt.build import Built, build
from export.tensorrt.plan import Options, flags_of, profiles_of, typing_of
from export.triton_config import BATCH, Flavour, configurations
from markcut.bundle import load_bundle
from markcut.contracts import MODELS, SAM2_DECODER, ModelSpec, Tensor
from markcut.errors import MarkcutError
from markcut.machine import Machine
from markcut.prompted import MAX_POINTS
from markcut.runners import open_runner
from markcut.runners.tensorrt_package import import_tensorrt
from markcut.runners.tensorrt_sidecar import read_sidecar, sha256
from tests.markcut.conftest import SIZES
from tests.markcut.engine_bundle import write_engine_bundle
from tests.markcut.fake_tensorrt import AGES, FakeTensorRT, install

ROOT = Path(__file__).parents[3]
DECODER = SAM2_DECODER.name


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_engine_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "grey.png"
    Image.new("RGB", (64, 48), (90, 120, 150)).save(path)
    return path


@pytest.fixture
def newest(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorRT]:
    world = install(monkeypatch, "11.4")
    yield world
    assert world.driver.held == 0, "something was not given back"


def run(bundle: Path, out: Path, picture: Path, *more: str, models: Any = (DECODER,)) -> int:
    named = [word for model in models for word in ("--model", model)]
    return main(["engines", str(bundle), "--out", str(out), "--picture", str(picture),
                 "--max-batch", "2", *named, *more])  # fmt: skip


def states(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    found: dict[str, str] = json.loads(capsys.readouterr().out.splitlines()[-1])["models"]
    return found


@pytest.mark.parametrize("age", AGES)
def test_engines_are_built_proved_and_load_in_every_age(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle: Path,
    picture: Path, tmp_path: Path, age: str,
) -> None:  # fmt: skip
    world = install(monkeypatch, age)
    models = tuple(MODELS) if age == "10.3" else (DECODER,)
    assert run(bundle, tmp_path, picture, models=models) == 0
    assert states(capsys) == dict.fromkeys(models, "built")
    assert {p.name for p in tmp_path.iterdir()} == {
        f"{m}{end}" for m in models for end in (".plan", ".plan.json")
    }
    loaded = load_bundle(bundle)
    for model in models:
        sidecar = read_sidecar(tmp_path, model)
        assert sidecar.tensorrt == world.version
        assert (sidecar.gpu, sidecar.sm) == ("Orin", "8.7")
        assert sidecar.onnx_sha256 == sha256(loaded.onnx[model])
        assert sidecar.precision == "fp32"
        assert set(sidecar.precisions) == {"fp32"}
        assert sidecar.verification["feeds"] >= 2
        spec = loaded.spec(model)
        runner = open_runner(spec, loaded.onnx[model], runtime="tensorrt", engines=tmp_path)
        zeros = {
            t.name: np.zeros([d if isinstance(d, int) else 1 for d in t.dims], t.numpy_dtype)
            for t in spec.inputs
        }
        for name, values in runner.infer(zeros).items():
            assert (values == 1).all(), name
        runner.close()
    assert run(bundle, tmp_path, picture, "--check", models=models) == 0
    assert states(capsys) == dict.fromkeys(models, "fits")
    assert world.driver.held == 0


def test_what_fits_is_left_alone_and_the_rest_is_built_again(
    newest: FakeTensorRT, capsys: pytest.CaptureFixture[str], bundle: Path, picture: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    assert run(bundle, tmp_path, picture) == 0
    networks = len(newest.networks)
    assert run(bundle, tmp_path, picture) == 0
    assert len(newest.networks) == networks
    for change in (
        lambda: (tmp_path / f"{DECODER}.plan").write_bytes(b"x"),
        lambda: (tmp_path / f"{DECODER}.plan.json").unlink(),
        lambda: setattr(newest.driver, "name", "NVIDIA L4"),
    ):
        change()
        capsys.readouterr()
        assert run(bundle, tmp_path, picture, "--check") == 1
        assert states(capsys) == {DECODER: "missing"}
        assert run(bundle, tmp_path, picture) == 0
        assert states(capsys) == {DECODER: "built"}
    assert run(bundle, tmp_path, picture, "--workspace", "512", "--check") == 1
    assert "built with other options" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("altered", "message"),
    [
        (lambda values: values.fill(np.nan), "is not finite"),
        (lambda values: np.negative(values, out=values), "mean mask IoU 0.0000, expected 0.999"),
    ],
)
def test_an_engine_that_answers_otherwise_is_not_written(
    newest: FakeTensorRT, capsys: pytest.CaptureFixture[str], bundle: Path, picture: Path,
    tmp_path: Path, altered: Any, message: str,
) -> None:  # fmt: skip
    name = SAM2_DECODER.outputs[0].name
    newest.altered = lambda outputs: altered(outputs[name])
    assert run(bundle, tmp_path, picture) == 1
    assert f"{DECODER}: {name}" in (said := capsys.readouterr()).err
    assert message in said.err
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
import pytest
from export.tensorrt import make as engines_make
from export.__main__ import main
from tests.markcut.fake_tensorrt import install

point, arguments = sys.argv[1], sys.argv[2:]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
world = install(pytest.MonkeyPatch(), "11.4")
if point == "building":
    world.on_build = die
replace, seen = os.replace, []
def dying(source, target):
    if point == f"before {Path(target).name}":
        die()
    replace(source, target)
os.replace = dying
sys.exit(main(arguments))
"""


@pytest.mark.parametrize(
    "point", ["building", f"before {DECODER}.plan", f"before {DECODER}.plan.json"]
)
def test_a_build_that_is_killed_leaves_nothing_that_loads(
    newest: FakeTensorRT, bundle: Path, picture: Path, tmp_path: Path, point: str
) -> None:
    # an older engine is there already, so that old and new could be mixed up
    assert run(bundle, tmp_path, picture, "--tf32") == 0
    assert read_sidecar(tmp_path, DECODER).flags == ("strongly-typed", "tf32")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, point, "engines", str(bundle), "--out", str(tmp_path),
         "--picture", str(picture), "--max-batch", "2", "--model", DECODER],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    loaded = load_bundle(bundle, models=[DECODER])
    spec, onnx_bytes = loaded.spec(DECODER), loaded.onnx[DECODER]
    count = newest.loaded
    if point == "building":  # the old one is still whole
        open_runner(spec, onnx_bytes, runtime="tensorrt", engines=tmp_path).close()
    else:
        with pytest.raises(MarkcutError, match=r"no finished TensorRT engine|was altered"):
            open_runner(spec, onnx_bytes, runtime="tensorrt", engines=tmp_path)
        assert newest.loaded == count
    assert run(bundle, tmp_path, picture) == 0
    assert {p.name for p in tmp_path.iterdir()} == {f"{DECODER}.plan", f"{DECODER}.plan.json"}


# --- precision -------------------------------------------------------------------------------

TINY = ModelSpec(
    "tiny",
    inputs=(Tensor("x", "UINT8", ("B", 4)),),
    outputs=(Tensor("y", "FP32", ("B", 4)),),
)


def tiny(kind: int = TensorProto.FLOAT, dtype: Any = np.float32) -> bytes:
    """A product typed ``kind`` and a softmax in fp32."""
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], "cast", to=kind),
        helper.make_node("MatMul", ["h", "w"], ["p"], "product"),
        helper.make_node("Cast", ["p"], ["f"], "back", to=TensorProto.FLOAT),
        helper.make_node("Softmax", ["f"], ["y"], "softmax"),
    ]
    weight = numpy_helper.from_array((np.eye(4) / 50).astype(dtype), "w")
    ends = [
        helper.make_tensor_value_info("x", TensorProto.UINT8, ["B", 4]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 4]),
    ]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


HALF = tiny(TensorProto.FLOAT16, np.float16)


def made(
    monkeypatch: pytest.MonkeyPatch, age: str, data: bytes, **options: Any
) -> tuple[FakeTensorRT, Built]:
    world = install(monkeypatch, age)
    world.dla_cores = 2
    world.fused = options.pop("fused", False)
    cache = options.pop("timing_cache", None)
    world.driver.cuInit(0)
    return world, build(
        import_tensorrt(), TINY, data, Options(**options), timing_cache=cache,
        console=Console(quiet=True),
    )  # fmt: skip


def flags(world: FakeTensorRT) -> set[str]:
    (config,) = world.configs
    return {flag.name for flag in world.module.BuilderFlag if int(flag) in config._flags}


@pytest.mark.parametrize("age", AGES)
def test_a_graph_typed_in_16_bit_is_built_as_typed_in_every_age(
    monkeypatch: pytest.MonkeyPatch, age: str
) -> None:
    world, built = made(monkeypatch, age, HALF)
    strong = world.number >= (10, 0)
    assert built.typing.strong is strong
    assert world.networks[0]._strong is strong
    assert flags(world) == (set() if strong else {"FP16", "OBEY_PRECISION_CONSTRAINTS"})
    assert set(built.precisions) == {"fp16", "fp32"}
    assert built.precisions["fp32"] == 2  # what the graph has in fp32 stays so
    assert flags_of(built.typing, Options()) == (
        ("strongly-typed",) if strong else ("weakly-typed", "FP16")
    )


@pytest.mark.parametrize("age", ["8.5", "8.6", "10.3"])
def test_flags_make_16_bit_of_an_fp32_graph_below_10_12(
    monkeypatch: pytest.MonkeyPatch, age: str
) -> None:
    world, built = made(monkeypatch, age, tiny(), precision="fp16")
    assert "FP16" in flags(world)
    assert built.precisions == {"fp16": 3, "fp32": 1}  # the softmax is kept
    assert not world.networks[0]._strong


@pytest.mark.parametrize(
    ("age", "graph", "asked", "message"),
    [
        ((10, 13), "fp32", "fp16", r"TensorRT 10\.13 takes the precision from the graph alone"),
        ((11, 4), "fp32", "fp16", "build from a bundle in fp16: python -m export precision BUNDLE"),
        ((8, 6), "fp32", "bf16", r"cannot be built in bf16 by TensorRT 8\.6"),
        ((8, 6), "bf16", None, "has no such type"),
        ((10, 3), "fp16", "fp32", "got 'fp32' for m, but its graph is typed fp16"),
        ((10, 3), "fp32", "int8", "got 'int8' for m, but its graph is typed fp32; build from a"),
        ((8, 5), "int8", "fp16", "its graph is typed int8"),
    ],
)
def test_a_precision_that_cannot_be_applied_raises(
    age: tuple[int, int], graph: str, asked: str | None, message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        typing_of("m", graph, Options(precision=asked), age)


def test_an_engine_in_another_precision_than_asked_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # what a builder does that ignores flags: asked for fp16, it makes fp32
    monkeypatch.setattr(engines_build, "_pin", lambda *_: None)
    told = engines_build._read_back
    monkeypatch.setattr(engines_build, "_read_back", lambda *a: {"fp32": sum(told(*a).values())})
    with pytest.raises(ExportError, match="asked for fp16, but TensorRT built layers of 4 fp32"):
        made(monkeypatch, "8.6", tiny(), precision="fp16")
    monkeypatch.setattr(engines_build, "_read_back", lambda *a: {"fp16": 1, "fp32": 3})
    with pytest.raises(ExportError, match="asked for fp32, but TensorRT built layers of 1 fp16"):
        made(monkeypatch, "11.4", tiny())


@pytest.mark.parametrize("data", [HALF, tiny()], ids=["fp16", "fp32"])
def test_layers_that_tensorrt_made_one_of_do_not_tell_their_types(
    monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    _, built = made(monkeypatch, "8.5", data, fused=True)
    assert built.precisions == {"fused": 1}


# --- switches --------------------------------------------------------------------------------


def test_fp32_means_fp32_unless_tf32_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "TF32" not in flags(made(monkeypatch, "11.4", tiny())[0])
    assert "TF32" in flags(made(monkeypatch, "11.4", tiny(), tf32=True)[0])


def test_the_workspace_limit_and_the_switches_reach_tensorrt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, _ = made(monkeypatch, "10.13", tiny(), workspace=256, version_compatible=True,
                    hardware_compatible=True)  # fmt: skip
    (config,) = world.configs
    assert config._pools == {"WORKSPACE": 256 << 20}
    assert flags(world) == {"VERSION_COMPATIBLE"}
    assert config.hardware_compatibility_level.name == "AMPERE_PLUS"


def test_switches_that_an_age_does_not_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for switch in ("version_compatible", "hardware_compatible"):
        with pytest.raises(ExportError, match=r"8\.5\.3\.1 builds engines for itself .* alone"):
            made(monkeypatch, "8.5", tiny(), **{switch: True})


def test_a_jetson_has_no_hardware_compatible_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Machine("3.10", "Linux", "ARM", 6, (), 1, 1, ("Orin",), "NVIDIA Jetson Orin Nano", "15W")
    monkeypatch.setattr(engines_build, "describe_machine", lambda: here)
    with pytest.raises(ExportError, match="a Jetson has no such engines"):
        made(monkeypatch, "10.3", tiny(), hardware_compatible=True)


def test_a_dla_core(monkeypatch: pytest.MonkeyPatch) -> None:
    world, built = made(monkeypatch, "10.3", HALF, dla=1)
    (config,) = world.configs
    assert (config.default_device_type.name, config.DLA_core) == ("DLA", 1)
    assert {"GPU_FALLBACK", "FP16"} <= flags(world)  # before 11 a DLA takes flags, not types
    assert not built.typing.strong
    assert made(monkeypatch, "11.4", HALF, dla=0)[1].typing.strong
    for options, message in (
        ({"dla": 2, "precision": "fp16"}, "got core 2, but there are cores 0 to 1"),
        ({"dla": 0}, "a DLA computes in fp16 and int8, not in fp32"),
        ({"dla": 0, "precision": "fp16", "max_batch": 4}, "ask for --max-batch 1"),
    ):
        with pytest.raises(ExportError, match=message):
            made(monkeypatch, "10.3", tiny(), **options)


def test_the_timing_cache_is_kept_and_a_foreign_one_starts_afresh(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "trt.cache"
    for expected in (b"cache 10.3.0+", b"cache 10.3.0++"):
        made(monkeypatch, "10.3", tiny(), timing_cache=cache)
        assert cache.read_bytes() == expected
    made(monkeypatch, "11.4", tiny(), timing_cache=cache)
    assert cache.read_bytes() == b"cache 11.4.0.106+"
    assert [path.name for path in tmp_path.iterdir()] == ["trt.cache"]


# --- shapes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("batch", "objects"), [(1, 1), (BATCH, 64)])
def test_profiles_follow_the_contracts(model: str, batch: int, objects: int) -> None:
    spec = MODELS[model].resolve(SIZES)
    profiles = profiles_of(spec, Options(max_batch=batch, max_objects=objects))
    limits = {"B": batch, "N": objects, "P": MAX_POINTS + 2}
    assert len(profiles) == 1 if (batch, objects) == (1, 1) else 2
    for index, profile in enumerate(profiles):
        assert list(profile) == [tensor.name for tensor in spec.inputs]
        for tensor in spec.inputs:
            for dim, low, best, high in zip(tensor.dims, *profile[tensor.name], strict=True):
                if isinstance(dim, int):
                    assert low == best == high == dim
                else:
                    assert 1 == low <= best <= high
                    if index == 0:
                        assert high == limits[dim]
                    elif dim in "BN":
                        assert high == 1


def test_a_symbol_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ExportError, match="nothing is known about the size of 'S/4'"):
        profiles_of(MODELS[DECODER].resolve({"C": 16}), Options())


def test_engines_hold_what_triton_asks_for() -> None:
    configs = configurations(SIZES, Flavour("tensorrt", "gpu"))
    for name, spec in MODELS.items():
        config: Any = configs[name]
        assert config["default_model_filename"] == "model.plan"
        (profile, *_) = profiles_of(spec.resolve(SIZES), Options(max_batch=BATCH))
        for wanted in config["input"]:
            least, _, largest = profile[wanted["name"]]
            dims = list(wanted["dims"])
            most: int = config["max_batch_size"]
            dims = [most, *dims] if most else dims
            for dim, low, high in zip(dims, least, largest, strict=True):
                assert low <= (high if dim < 0 else dim) <= high


# --- wrong use -------------------------------------------------------------------------------


def test_no_tensorrt_and_no_gpu_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle: Path,
    picture: Path, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert run(bundle, tmp_path / "out", picture) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("export engines: runtime: got 'tensorrt', which cannot be imported")
    install(monkeypatch, "10.3").driver.devices = 0
    assert run(bundle, tmp_path / "out", picture) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "there is no NVIDIA GPU here; run this where" in line
    assert not (tmp_path / "out").exists()


def test_a_builder_that_finds_no_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = install(monkeypatch, "8.5")
    world.driver.devices = 0
    with pytest.raises(MarkcutError, match=r"8\.5\.3\.1 finds no GPU that it can use \(pybind11"):
        build(import_tensorrt(), TINY, tiny(), Options(), timing_cache=None,
              console=Console(quiet=True))  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-batch", "0"], "--max-batch: got 0, expected a number from 1 to 512"),
        (["--max-objects", "1000"], "--max-objects: got 1000"),
        (["--workspace", "3"], "--workspace: got 3, expected megabytes, at least 16"),
        (["--picture", "nowhere.jpg"], "--picture: nowhere.jpg cannot be read"),
    ],
)
def test_wrong_options_are_one_sentence(
    newest: FakeTensorRT, capsys: pytest.CaptureFixture[str], bundle: Path, tmp_path: Path,
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    command = ["engines", str(bundle), "--out", str(tmp_path), "--model", DECODER]
    assert main([*command, *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"export engines: {message}")


def test_the_command_explains_itself() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "export", "engines", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for field in dataclasses.fields(Options):
        assert f"--{field.name.replace('_', '-')}" in shown
    assert "exit status: 0" in shown
