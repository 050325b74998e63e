"""The published architectures: how they are written, loaded and tabulated.

Whole exports of all of them are ``python -m export published``, whose figures are in
``docs/published.md``; here are the parts of it that take seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from export import published, published_page, sam2, verify
from export.published_checkpoints import ARCHITECTURES
from export.sam2_encoder import Encoder
from tests.export.tiny import enliven

SAM2S = [name for name in ARCHITECTURES if name.startswith("sam2")]


def test_every_published_architecture_is_there() -> None:
    count = Counter(architecture.flag for architecture in ARCHITECTURES.values())
    assert count == {"--clipseg": 3, "--yolo": 5, "--sam2": 8}
    assert {"clipseg-rd64-refined", "yolo11x-seg", "sam2.1-hiera-base-plus"} <= set(ARCHITECTURES)


@pytest.mark.parametrize("name", SAM2S)
def test_every_published_sam2_has_its_config_and_is_supported(name: str, tmp_path: Path) -> None:
    """Of 898 MB, too: built without weights, down to the graph's module."""
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES

    _, file = HF_MODEL_ID_TO_FILENAMES[f"facebook/{name}"]
    (tmp_path / file).write_bytes(b"")
    path, config = sam2._checkpoint(str(tmp_path / file))
    yaml = sam2._config_file(path, config)
    assert yaml.parent.name == name.split("-")[0]
    with torch.device("meta"), RealLinspace():
        model = sam2._build(yaml)
        encoder = Encoder(model)
    assert model.image_size == 1024
    windows = [block.windows for block in encoder.blocks]
    blocks = {"tiny": 12, "small": 16, "base-plus": 24, "large": 48}
    assert len(windows) == blocks[name.partition("hiera-")[2]]
    assert [w.side for w in windows][:: len(windows) - 1] == [256, 32]
    assert {w.padding > 0 for w in windows} == ({False} if "large" in name else {False, True})


def test_stages_of_the_published_encoder_answer_as_upstream(pictures: list) -> None:
    """The smallest trunk of that shape at its own size: windows of 14 on 64, 7 on 32, padded."""
    model = published_shape({"embed_dim": 16, "stages": [1, 1, 2, 1], "global_att_blocks": [3],
                             "window_spec": [8, 4, 14, 7],
                             "window_pos_embed_bkg_spatial_size": [14, 14]})  # fmt: skip
    graph = sam2.encoder_graph(model)
    feeds = next(iter(graph.cases(pictures[:1]))).feeds
    with torch.inference_mode():
        got = graph.module.eval()(*(torch.from_numpy(v) for v in feeds.values()))
        wanted = graph.reference(feeds)
    for values, (name, expected) in zip(got, wanted.items(), strict=True):
        largest = np.abs(expected).max()
        assert np.abs(values.numpy() - expected).max() / largest < 1e-5, name


def test_bundles_hold_everything_once() -> None:
    bundles = list(published._bundles(list(ARCHITECTURES.values())))
    names = [architecture.name for bundle in bundles for architecture in bundle]
    assert sorted(names) == sorted(ARCHITECTURES)
    assert [a.flag for a in bundles[0]] == ["--clipseg", "--yolo", "--sam2"]
    assert len(bundles) == 8


def test_the_command_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    published.add_arguments(parser)
    options = parser.parse_args(["--out", "x"])
    assert options.only == list(ARCHITECTURES)
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", "x", "--only", "sam9"])
    assert "sam9" in capsys.readouterr().err


GRAPH = published_page.GraphFigures(
    architecture="sam2.1-hiera-large", form=".pt", graph="sam2_encoder", nodes=1234,
    weights=212_000_000, bytes=848_000_000, worst_output="image_embed", max_rel=3.21e-6,
)  # fmt: skip
COST = published_page.ExportFigures(
    architectures=("yolo11l-seg", "sam2.1-hiera-large"), seconds=250.4, cpu_seconds=300.0,
    peak_rss=6_900_000_000,
)  # fmt: skip


CALLS = published_page.CallFigures("sam2.1-hiera-large, chain", None, 1.0, 0.99954, 0.9992)


def test_tables() -> None:
    text = published_page.markdown(published_page.Record([GRAPH], [CALLS], [COST]))
    row = (
        "| sam2.1-hiera-large | .pt | sam2_encoder | 1234 | 212.00 M | 848.0 MB | image_embed "
        "| 3.2e-06 |"
    )
    assert row in text
    assert "| yolo11l-seg, sam2.1-hiera-large | 250 s | 300 s | 6.9 GB |" in text
    assert "| sam2.1-hiera-large, chain |  | 1.0000 | 0.9995 | 0.9992 |" in text
    assert "more\nthan 1e-04 is refused" in text
    assert verify.TOLERANCE == published_page.TOLERANCE


def test_a_second_run_keeps_what_the_first_one_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []

    def export(bundle: Any, folder: Path, log: Path) -> Any:
        names = tuple(architecture.name for architecture in bundle)
        runs.append(names)
        graphs = [dataclasses.replace(GRAPH, architecture=n, nodes=len(runs)) for n in names]
        calls = [dataclasses.replace(CALLS, architecture=f"{n}, chain") for n in names]
        return published_page.Record(
            graphs, calls, [dataclasses.replace(COST, architectures=names)]
        )

    monkeypatch.setattr(published, "_export", export)
    for only in (["yolo11n-seg", "sam2-hiera-tiny"], ["sam2-hiera-tiny"]):
        assert published.run(argparse.Namespace(out=tmp_path, only=only)) == 0
    record = json.loads((tmp_path / "published.json").read_text())
    assert [(g["architecture"], g["nodes"]) for g in record["graphs"]] == [
        ("yolo11n-seg", 1), ("sam2-hiera-tiny", 2),
    ]  # fmt: skip
    chains = ["yolo11n-seg, chain", "sam2-hiera-tiny, chain"]
    assert [c["architecture"] for c in record["calls"]] == chains
    assert [e["architectures"] for e in record["exports"]] == [["sam2-hiera-tiny"]]
    assert "| sam2-hiera-tiny | .pt | sam2_encoder | 2 |" in (tmp_path / "published.md").read_text()


def test_a_report_is_summed_up_by_architecture() -> None:
    def output(model: str, level: str, name: str, **figures: Any) -> dict[str, Any]:
        return {"model": model, "level": level, "output": name, "cases": 2, **figures}

    report = {
        "outputs": [
            output("sam2_encoder", "tensor", "image_embed", max_rel=3e-6),
            output("sam2_decoder", "tensor", "iou_predictions", max_rel=2e-6),
            output("sam2_decoder", "tensor", "answer", mean_iou=1.0, min_iou=0.99),
            output("sam2_decoder", "picture", "answer", mean_iou=0.8, min_iou=0.7),
            output("sam2_decoder", "picture", "answer", mean_iou=0.6, min_iou=0.5),
            output("yolo11_seg", "tensor", "boxes", max_rel=1e-3),
            output("clipseg", "picture", "view", max_rel=1e-2),
        ]
    }
    found = published_page.call_figures("sam2-hiera-tiny", "--sam2", report)
    assert found == published_page.CallFigures("sam2-hiera-tiny", 3e-6, 0.99, 0.7, 0.5)
    none = published_page.call_figures("clipseg-rd16", "--clipseg", report)
    assert none == published_page.CallFigures("clipseg-rd16", None, None, None, None)


def test_the_graphs_contents_are_counted_in_the_file(tmp_path: Path) -> None:
    import onnx

    from tests.export.test_large_weights import make_model

    onnx.save(make_model(), tmp_path / "little.onnx")
    difference = {"a": {"max_rel": 1e-7}, "b": {"max_rel": 2e-6}}
    found = published._graph_figures(
        ARCHITECTURES["yolo11n-seg"], tmp_path / "little.onnx", {"outputs": difference}
    )
    assert (found.nodes, found.weights) == (6, 3 * 256 * 256 + 256 + 4)
    assert (found.worst_output, found.max_rel) == ("b", 2e-6)
    assert found.bytes == (tmp_path / "little.onnx").stat().st_size


def published_shape(trunk: dict[str, Any]) -> Any:
    from hydra.utils import instantiate

    from tests.export.tiny import reduced_sam2

    torch.manual_seed(0)
    config = reduced_sam2(trunk=trunk, image_size=1024)
    model = instantiate(config.model, _recursive_=True).eval().requires_grad_(False)
    enliven(model)
    return model


class RealLinspace(TorchFunctionMode):
    """On the device without values, one function whose values a constructor asks for."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = {**(kwargs or {}), **({"device": "cpu"} if func is torch.linspace else {})}
        return func(*args, **kwargs)
