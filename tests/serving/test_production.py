"""The production files, as far as they can be proved without Docker and a GPU."""

from __future__ import annotations

import json
import re
import shutil
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from export.repository import write_repository
from export.triton_config import Flavour
from markcut.contracts import MODELS, STAGES
from markcut.pipeline import Pipeline
from serving.environment import ALLOCATOR, prepare
from serving.server import TritonServer
from tests.serving.asking import IMAGE, ask, picture, same
from tests.serving.conftest import ROOT, Serving, free_ports

yaml = pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


def test_the_container_is_new_enough_and_holds_what_it_copies() -> None:
    text = (ROOT / "Dockerfile").read_text()
    (version,) = re.findall(r"^FROM nvcr\.io/nvidia/tritonserver:(\d+\.\d+)-py3$", text, re.M)
    assert float(version) >= 26.06
    assert "--model-control-mode=none" in text
    assert text.index("\nUSER markcut") < text.index("\nENTRYPOINT")
    allowed = (ROOT / ".dockerignore").read_text().split()
    for line in re.findall(r"^COPY (.+) \S+$", text, re.M):
        for source in line.split():
            if source != "${BUNDLE}":
                assert (ROOT / source).exists(), source
            assert f"!{source.replace('${BUNDLE}', 'artifacts')}" in allowed


def test_memory_is_kept_here_and_in_the_container(
    environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ALLOCATOR.items():
        assert f"{name}={value}" in (ROOT / "Dockerfile").read_text()
        monkeypatch.delenv(name, raising=False)
    assert prepare().variables.items() >= ALLOCATOR.items()
    monkeypatch.setenv(next(iter(ALLOCATOR)), "1")  # whoever chose something else keeps it
    assert prepare().variables[next(iter(ALLOCATOR))] == "1"


def test_ports_are_on_loopback_and_mounted_files_exist(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        for volume in service.get("volumes", ()):
            assert (ROOT / volume.split(":")[0]).is_file(), volume
    assert compose["services"]["triton-cpu"]["profiles"] == ["cpu"]
    targets = yaml.safe_load((ROOT / "monitoring" / "prometheus.yml").read_text())
    (scrape,) = targets["scrape_configs"]
    assert set(scrape["dns_sd_configs"][0]["names"]) <= set(compose["services"])


def test_the_dashboard_asks_for_metrics_that_the_server_has(server: Serving) -> None:
    dashboard = json.loads((ROOT / "monitoring" / "grafana" / "markcut.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b(?:nv|markcut)_[a-z_]+", target["expr"])
    }
    url = f"http://127.0.0.1:{server.ports.metrics}/metrics"
    with urllib.request.urlopen(url, timeout=30) as response:
        known = set(re.findall(r"^# TYPE (\S+)", response.read().decode(), re.M))
    assert {name for name in asked if not name.startswith("nv_gpu")} <= known
    assert asked & known


def test_the_production_ensemble_answers_once_its_networks_are_swapped(
    bundle: Path, environment: None, pipeline: Pipeline, tmp_path: Path
) -> None:
    """The local server has no ONNX Runtime backend; everything else is the production flavour."""
    production, local = tmp_path / "production", tmp_path / "local"
    write_repository(bundle, Flavour("onnxruntime", "gpu"), production)
    write_repository(bundle, Flavour("python", "cpu", "onnxruntime", 1), local)
    for name in MODELS:
        shutil.rmtree(production / name)
        (local / name).rename(production / name)
    ports = free_ports()
    server = TritonServer(prepare(), production, ports, log=tmp_path / "log.txt")
    try:
        assert server.start(timeout=180, stop=threading.Event()) is not None
        answer = ask(ports.grpc, {IMAGE: picture(1)})
        same(answer, pipeline.infer({IMAGE: picture(1)}))
    finally:
        server.stop()
    spent = dict(zip(STAGES, list(answer.values())[-1].tolist(), strict=True))
    # nobody tells how long the networks took: the time between the steps stands for it
    assert min(spent["clipseg"], spent["yolo11_seg"], spent["sam2_decoder"]) > 0
    assert spent["sam2_encoder"] == 0
