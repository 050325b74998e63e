from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from markcut import doctor, machine, probe
from markcut.bundle import Manifest, write_bundle
from markcut.contracts import MODELS
from markcut.doctor import diagnose
from markcut.errors import RunnerError
from markcut.machine import describe_machine, run_command
from markcut.probe import Check, checks
from tests.markcut.conftest import onnx_model
from tests.markcut.engine_bundle import write_engine_bundle
from tests.markcut.fake_tensorrt import AGES, install

ORIN = """# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64
# KERNEL_VARIANT: oot"""


def finished(runtime: str) -> list[Check]:
    return [check for check in checks(runtime) if check.status != "started"]


def test_the_probe_model_is_what_its_comment_says() -> None:
    again = onnx_model(
        [
            helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["f", "w"], ["z"]),
            helper.make_node("Sigmoid", ["z"], ["y"]),
        ],
        probe.SPEC.inputs,
        probe.SPEC.outputs,
        [numpy_helper.from_array(probe.WEIGHT, "w")],
    )
    assert again == probe.ONNX


def test_every_runtime_here_gives_the_right_result() -> None:
    for runtime in ("onnxruntime", "openvino"):
        found = finished(runtime)
        assert found[0].status == "ran"
        assert found[0].device == "cpu"
        assert found[0].precision == "fp32"
        assert found[0].ms > 0
        assert found[0].version[0].isdigit()


def test_an_attempt_is_announced_before_it_is_made() -> None:
    assert [check.status for check in checks("onnxruntime")][:2] == ["started", "ran"]


def test_a_runtime_that_is_not_installed_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    (check,) = finished("openvino")
    assert check.status in ("absent", "failed")


def test_a_provider_that_is_only_listed_has_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    listed = ["CUDAExecutionProvider", "OtherExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    outcome = {check.device: check.status for check in finished("onnxruntime")}
    assert outcome == {"cpu": "ran", "cuda": "failed", "OtherExecutionProvider": "not tried"}


def test_a_wrong_result_has_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "WEIGHT", probe.WEIGHT + 1)
    check = finished("onnxruntime")[0]
    assert check.status == "failed"
    assert "the result is off by" in check.problem


def test_a_result_of_nan_is_wrong() -> None:
    with pytest.raises(RunnerError, match="off by nan"):
        probe._compare(np.full((1, 4), np.nan, np.float32), np.zeros((1, 8), np.uint8), 1.0)


def report_of(monkeypatch: pytest.MonkeyPatch, code: str) -> list[Check]:
    original = doctor.run_command

    def run(command: list[str], **options: object) -> tuple[int | None, str]:
        return original([command[0], "-c", code], **options)  # type: ignore[arg-type]

    monkeypatch.setattr(doctor, "run_command", run)
    return doctor._probe("openvino")


STARTED = json.dumps({"runtime": "openvino", "status": "started", "device": "cpu"})
RAN = json.dumps({"runtime": "openvino", "status": "ran", "device": "cpu"})


@pytest.mark.parametrize("age", AGES)
def test_tensorrt_is_proved_by_an_engine_that_is_built_on_the_spot(
    monkeypatch: pytest.MonkeyPatch, age: str
) -> None:
    world = install(monkeypatch, age)
    (check,) = finished("tensorrt")
    assert (check.status, check.device, check.precision) == ("ran", "cuda", "fp32"), check.problem
    assert check.version == world.version
    assert world.driver.held == 0
    world.altered = lambda outputs: outputs["y"].fill(2)
    (check,) = finished("tensorrt")
    assert "the result is off by" in check.problem
    world.driver.devices = 0
    (check,) = finished("tensorrt")
    assert check.status == "failed"
    assert "there is no NVIDIA GPU here" in check.problem


def test_a_bundles_engines_are_run_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_engine_bundle(tmp_path / "demo")
    ran = [Check("openvino", "ran", "cpu"), Check("onnxruntime", "ran", "cpu")]
    works = [Check("tensorrt", "ran", "cuda")]
    monkeypatch.setattr(doctor, "_probe", lambda name: works if name == "tensorrt" else ran)
    report = diagnose(bundle)
    assert report.bundle is not None
    assert report.bundle.engines == ()
    (bundle / "engines").mkdir()
    for name in ("clipseg.plan", "clipseg.plan.json"):
        (bundle / "engines" / name).write_bytes(b"{}")
    report = diagnose(bundle)
    assert report.bundle is not None
    (engine,) = report.bundle.engines
    assert engine.model == "clipseg"
    assert "cannot be imported" in engine.problem
    assert report.healthy  # of another machine, maybe: nothing that runs here depends on it
    monkeypatch.setattr(doctor, "_probe", lambda name: ran)
    report = diagnose(bundle)
    assert report.bundle is not None
    assert report.bundle.engines[0].problem == "not run: TensorRT did not work here"


def test_a_crash_is_a_failure_of_what_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"import os; print('noise'); print('{STARTED}', flush=True); os.abort()"
    (check,) = report_of(monkeypatch, code)
    assert (check.status, check.device) == ("failed", "cpu")
    assert check.problem == "the process died: Aborted"


def test_a_crash_after_a_result_keeps_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"print('{STARTED}'); print('{RAN}', flush=True); import os; os.abort()"
    first, second = report_of(monkeypatch, code)
    assert (first.status, second.status) == ("ran", "failed")


def test_a_runtime_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PROBE_SECONDS", 0.5)
    (check,) = report_of(
        monkeypatch, f"print('{STARTED}', flush=True); import time; time.sleep(60)"
    )
    assert check.status == "failed"
    assert "did not answer within 0.5 seconds" in check.problem


def test_a_probe_that_says_nothing_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = report_of(monkeypatch, "pass")
    assert check.status == "failed"
    assert check.runtime == "openvino"


def test_probe_command_refuses_other_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main(["caffe"]) == 2
    assert "usage" in capsys.readouterr().out


def test_a_healthy_machine_with_a_bundle(
    tmp_path: Path, tiny_bundle: tuple[Manifest, dict[str, bytes]]
) -> None:
    write_bundle(tmp_path / "demo", *tiny_bundle)
    report = diagnose(tmp_path / "demo")
    assert report.healthy
    assert report.auto in ("onnxruntime", "openvino")
    assert report.bundle is not None
    assert report.bundle.name == "tiny"
    assert [check.model for check in report.bundle.models] == list(MODELS)
    assert all(check.runtime == report.auto for check in report.bundle.models)
    assert json.loads(json.dumps(report.to_json()))["bundle"]["models"][0]["problem"] == ""


def test_an_unsound_bundle_is_a_problem_and_no_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = [Check("openvino", "ran", "cpu"), Check("onnxruntime", "ran", "cpu")]
    monkeypatch.setattr(doctor, "_probe", lambda runtime: ran)
    report = diagnose(tmp_path)
    assert not report.healthy
    assert report.bundle is not None
    assert "manifest.json is missing" in report.bundle.problem


def test_nothing_is_run_where_the_chosen_runtime_failed(
    tmp_path: Path, tiny_bundle: tuple[Manifest, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "demo", *tiny_bundle)
    monkeypatch.setattr(doctor, "_probe", lambda runtime: [Check(runtime, "failed", "cpu")])
    report = diagnose(tmp_path / "demo")
    assert not report.healthy
    assert report.bundle is not None
    assert report.bundle.models == ()
    assert "not run" in report.bundle.problem


def test_this_machine_is_described() -> None:
    here = describe_machine()
    assert here.cores >= 1
    assert here.memory > here.memory_available > 0
    assert here.cpu


def make_root(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_jetson_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    answers = {"nvidia-smi": (None, ""), "nvpmodel": (0, "NV Power Mode: MAXN\n0\n")}
    monkeypatch.setattr(machine, "run_command", lambda command, **_: answers[command[0]])
    root = make_root(
        tmp_path,
        {
            "etc/nv_tegra_release": ORIN,
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0",
            "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp bf16 sve\n",
            "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 5000000 kB\n",
        },
    )
    here = describe_machine(root)
    assert here.jetson == "NVIDIA Jetson Orin Nano, JetPack 6.2 (L4T 36.4.3)"
    assert here.power_mode == "MAXN"
    assert here.cpu_flags == ("asimd", "asimddp", "bf16")
    assert here.memory == 8_192_000_000
    assert here.gpus == ()


@pytest.mark.parametrize(
    ("release", "model", "shown"),
    [
        ("# R35 (release), REVISION: 6.1, GCID: 1", "", "JetPack 5.1.4 or later (L4T 35.6.1)"),
        ("# R36 (release), REVISION: 3.0, GCID: 1", "", "JetPack 6.0 (L4T 36.3.0)"),
        ("# R36 (release), REVISION: 9.0, GCID: 1", "", "JetPack 6 (L4T 36.9.0)"),
        ("# R38 (release), REVISION: 4.0", "NVIDIA Jetson AGX Thor Developer Kit",
         "NVIDIA Jetson AGX Thor Developer Kit, JetPack 7.1 (L4T 38.4.0)"),
        ("# R39 (release), REVISION: 2.1", "", "JetPack 7.2 (L4T 39.2.1)"),
        ("# R50 (release), REVISION: 1.0", "", "L4T 50.1.0"),
        ("something else", "", "something else"),
        ("", "NVIDIA Jetson Orin NX", "NVIDIA Jetson Orin NX"),  # in a container
        ("", "Raspberry Pi 5 Model B", ""),
        ("", "", ""),
    ],
)  # fmt: skip
def test_what_a_jetson_says_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, model: str, shown: str
) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    files = {"etc/nv_tegra_release": release, "proc/device-tree/model": f"{model}\0"}
    root = make_root(tmp_path, {name: text for name, text in files.items() if text.strip("\0")})
    assert describe_machine(root).jetson == shown


def test_a_power_mode_that_nvpmodel_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"etc/nv_tegra_release": ORIN, "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet"}
    root = make_root(tmp_path, files)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert describe_machine(root).power_mode == "number 2"
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(machine, "run_command", lambda command, **_: (1, "permission denied"))
    assert describe_machine(root).power_mode == "number 2"


def test_gpus_come_from_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    name = "proc/driver/nvidia/gpus/0000:01:00.0/information"
    root = make_root(tmp_path, {name: "Model: \t\t NVIDIA L4\nIRQ: 1\n"})
    assert describe_machine(root).gpus == ("NVIDIA L4",)
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        machine, "run_command", lambda *_, **__: (0, "NVIDIA H100, 570.1, 81559 MiB\n")
    )
    assert describe_machine(root).gpus == ("NVIDIA H100, 570.1, 81559 MiB",)


def test_a_containers_limits_count(tmp_path: Path) -> None:
    root = make_root(
        tmp_path,
        {
            "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 5000000 kB\n",
            "sys/fs/cgroup/memory.max": "1000000000\n",
            "sys/fs/cgroup/memory.current": "400000000\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
        },
    )
    here = describe_machine(root)
    assert (here.memory, here.memory_available, here.cores) == (1_000_000_000, 600_000_000, 1)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    here = describe_machine(tmp_path)
    assert (here.memory, here.memory_available, here.cpu_flags) == (0, 0, ())
    assert here.cores >= 1


def test_a_command_that_hangs_is_left_behind() -> None:
    code = "print('partly', flush=True); import time; time.sleep(60)"
    status, output = run_command([sys.executable, "-c", code], seconds=1)
    assert status is None
    assert output.strip() == "partly"
