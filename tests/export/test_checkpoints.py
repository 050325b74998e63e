"""Checkpoint files: nothing in them runs, and each fault is one sentence."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from export import clipseg, sam2, yolo11_checkpoint, yolo11_seg
from export.checkpoints import is_hub_id, read_torch_file, round_to_half
from export.errors import ExportError


class Intruder:
    """Pickles as a call that writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("load", [yolo11_seg.load, sam2.load])
def test_code_in_a_checkpoint_does_not_run(load: Any, sam2_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    (tmp_path / "sam2.yaml").write_bytes((sam2_file.parent / "sam2.yaml").read_bytes())
    torch.save({"model": Intruder(tmp_path / "broken_in")}, path)
    with pytest.raises(ExportError, match="mkdir beside weights, which could run code"):
        load(str(path))
    path.write_bytes(pickle.dumps(Intruder(tmp_path / "broken_in")))
    with pytest.raises(ExportError, match="is no whole torch checkpoint"):
        load(str(path))
    assert not (tmp_path / "broken_in").exists()


def test_getattr_in_an_ultralytics_file_reaches_forwards_only() -> None:
    from ultralytics.nn.modules.conv import Conv
    from ultralytics.nn.modules.head import Detect

    reach: Any = yolo11_checkpoint.known("builtins.getattr")
    assert reach(Detect, "forward") is Detect.forward
    conv = Conv(1, 1)
    assert reach(conv, "forward_fuse") == conv.forward_fuse
    for owner, name in (
        (Detect, "__init__"),
        (os, "system"),
        (torch.nn.Identity(), "load_state_dict"),
    ):
        with pytest.raises(pickle.UnpicklingError):
            reach(owner, name)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "torch.nn.modules.module.torch.hub.load",
        "torch.nn.modules.nowhere.Conv2d",
        "ultralytics.nn.tasks.torch_safe_load",
        "ultralytics.utils.downloads.download",
    ],
)
def test_what_an_ultralytics_file_may_not_hold(name: str) -> None:
    assert yolo11_checkpoint.known(name) is None


@pytest.mark.parametrize("cut", [0, 100, 10_000])
def test_a_truncated_checkpoint(yolo_file: Path, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "marks.pt"
    path.write_bytes(yolo_file.read_bytes()[:cut])
    with pytest.raises(
        ExportError, match=r"--yolo: .* is no whole torch checkpoint .* copy it again"
    ):
        yolo11_seg.load(str(path))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"weights": 1}, "holds no ultralytics model"),
        ([1, 2], "holds no ultralytics model"),
        ({"model": {"a": torch.zeros(1)}}, "holds no ultralytics model"),
    ],
)
def test_not_a_yolo(tmp_path: Path, content: object, sentence: str) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ExportError, match=sentence):
        yolo11_seg.load(str(tmp_path / "other.pt"))


def test_another_yolo(tmp_path: Path, yolo_model: Any) -> None:
    from ultralytics.nn.tasks import DetectionModel

    torch.save({"model": DetectionModel("yolo11n.yaml", verbose=False)}, tmp_path / "detect.pt")
    with pytest.raises(ExportError, match="ends in Detect, expected Segment"):
        yolo11_seg.load(str(tmp_path / "detect.pt"))
    import copy

    coco = copy.deepcopy(yolo_model)
    coco.names = {0: "person", 1: "bicycle"}
    torch.save({"model": coco}, tmp_path / "coco.pt")
    with pytest.raises(
        ExportError, match="knows the classes person, bicycle, expected arrow, circle"
    ):
        yolo11_seg.load(str(tmp_path / "coco.pt"))


def test_a_checkpoint_in_16_bit_is_read_in_32(yolo_model: Any, tmp_path: Path) -> None:
    import copy

    torch.save({"model": copy.deepcopy(yolo_model).half()}, tmp_path / "half.pt")
    model = yolo11_seg.load(str(tmp_path / "half.pt")).model
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())


def test_yolo_of_another_generation(tmp_path: Path) -> None:
    from ultralytics.nn.tasks import SegmentationModel

    torch.save({"model": SegmentationModel("yolov8n-seg.yaml", verbose=False)}, tmp_path / "v8.pt")
    with pytest.raises(ExportError, match="has no C2PSA and no C3k2 layers, so it is no YOLO11"):
        yolo11_seg.load(str(tmp_path / "v8.pt"))


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.001])
def test_a_truncated_sam2(sam2_file: Path, tmp_path: Path, keep: float) -> None:
    data = sam2_file.read_bytes()
    (tmp_path / "model.pt").write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ExportError, match=r"--sam2: .* is no whole torch checkpoint"):
        sam2.load(str(tmp_path / "model.pt"), config=str(sam2_file.with_name("sam2.yaml")))


@pytest.mark.parametrize(
    "data",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 898083611\n",
        b"<!DOCTYPE html><html>404</html>",
        b"PK\x03\x04" + bytes(100),
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f",  # a pickle frame of exabytes
    ],
)
@pytest.mark.parametrize("load", [yolo11_seg.load, sam2.load])
def test_files_that_are_something_else(load: Any, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(data)
    with pytest.raises(ExportError, match="is no whole torch checkpoint") as caught:
        load(str(tmp_path / "model.pt"))
    assert "\n" not in str(caught.value)


def test_a_sam_of_the_first_generation(tmp_path: Path) -> None:
    path = tmp_path / "sam_vit_b.pth"
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16)}, path)
    with pytest.raises(ExportError, match="holds a SAM of the first generation; name a checkpoint"):
        sam2.load(str(path))
    for content in ({"model": 1}, {"model": {"a": torch.zeros(1)}}, [], {"a": torch.zeros(1)}):
        torch.save(content, path)
        with pytest.raises(ExportError, match="holds no SAM2; name a checkpoint"):
            sam2.load(str(path))


def test_a_plain_state_dict_of_a_sam2(sam2_file: Path, tmp_path: Path) -> None:
    weights = torch.load(sam2_file, weights_only=True)["model"]
    torch.save(weights, tmp_path / "tuned.pt")
    loaded = sam2.load(str(tmp_path / "tuned.pt"), config=str(sam2_file.with_name("sam2.yaml")))
    assert torch.equal(loaded.model.no_mem_embed, weights["no_mem_embed"])


def test_a_checkpoint_of_a_training(sam2_file: Path, tmp_path: Path) -> None:
    """Upstream's trainer keeps more than weights, and parallel training renames these."""
    weights = torch.load(sam2_file, weights_only=True)["model"]
    state = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).state_dict()
    wrapped = {f"module.{name}": values for name, values in weights.items()}
    kept = {"model": wrapped, "optimizer": state, "epoch": 3, "loss": {"core": 0.5}}
    torch.save(kept, tmp_path / "tuned.pt")
    config = str(sam2_file.with_name("sam2.yaml"))
    model = sam2.load(str(tmp_path / "tuned.pt"), config=config).model
    assert all(torch.equal(model.state_dict()[name], values) for name, values in weights.items())
    torch.save({**weights, 5: torch.zeros(1)}, tmp_path / "tuned.pt")
    with pytest.raises(ExportError, match="0 weights are missing and 1 unknown, 5 first"):
        sam2.load(str(tmp_path / "tuned.pt"), config=config)


def test_weights_that_are_no_numbers(sam2_file: Path, yolo_model: Any, tmp_path: Path) -> None:
    import copy

    content = torch.load(sam2_file, weights_only=True)
    content["model"]["no_mem_embed"][0, 0, 0] = float("inf")
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ExportError, match="no_mem_embed holds NaN or infinity"):
        sam2.load(str(tmp_path / "model.pt"), config=str(sam2_file.with_name("sam2.yaml")))
    yolo = copy.deepcopy(yolo_model)
    next(yolo.parameters()).data[0] = float("nan")
    torch.save({"model": yolo}, tmp_path / "marks.pt")
    with pytest.raises(ExportError, match=r"--yolo: .* holds NaN or infinity"):
        yolo11_seg.load(str(tmp_path / "marks.pt"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda w: w.pop(next(reversed(w))), "1 weights are missing and 0 unknown"),
        (lambda w: w.update(extra=torch.zeros(1)), "0 weights are missing and 1 unknown, extra"),
        (lambda w: w.update(no_mem_embed=torch.zeros(1, 1, 7)), "does not fit"),
    ],
)
def test_sam2_weights_of_another_config(
    sam2_file: Path, tmp_path: Path, change: Any, sentence: str
) -> None:
    content = torch.load(sam2_file, weights_only=True)
    change(content["model"])
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ExportError, match=sentence):
        sam2.load(str(tmp_path / "model.pt"), config=str(sam2_file.with_name("sam2.yaml")))


@pytest.mark.parametrize(
    "target",
    [
        "os.mkdir",
        "sam2.modeling.backbones.hieradet.logging.os.mkdir",
        "sam2.modeling.sam2_base.F.pad",
        "sam2.build_sam.build_sam2",
        "sam2.modeling.nowhere.Model",
    ],
)
def test_a_config_may_call_nothing_but_sam2(sam2_file: Path, tmp_path: Path, target: str) -> None:
    from omegaconf import OmegaConf

    config: Any = OmegaConf.load(sam2_file.with_name("sam2.yaml"))
    config.model.memory_encoder.fuser.layer = {
        "_target_": target,
        "path": str(tmp_path / "broken_in"),
    }
    OmegaConf.save(config, tmp_path / "sam2.yaml")
    (tmp_path / "model.pt").write_bytes(sam2_file.read_bytes())
    with pytest.raises(
        ExportError, match=f"would call {target}, expected classes of sam2.modeling"
    ):
        sam2.load(str(tmp_path / "model.pt"))
    assert not (tmp_path / "broken_in").exists()


@pytest.mark.parametrize("text", ["", "model: [", "model:\n  a: ${b}", "other: 1"])
def test_a_config_that_is_none(sam2_file: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ExportError, match=r"--sam2-config: .*bad.yaml"):
        sam2.load(str(sam2_file), config=str(tmp_path / "bad.yaml"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"pred_obj_scores": False, "fixed_no_obj_ptr": False}, "needs pred_obj_scores: true"),
        ({"image_encoder": {"neck": {"fuse_type": "avg"}}}, "needs fuse_type: sum"),
        ({"image_encoder": {"scalp": 0}}, "needs scalp: 1"),
        *(
            ({"image_size": side}, "needs an image_size that is a multiple of 32, up to 4096")
            for side in (0, -512, 500, 10_000_000)
        ),
    ],
)
def test_a_sam2_unlike_the_published(
    sam2_file: Path, tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    from omegaconf import OmegaConf

    config: Any = OmegaConf.load(sam2_file.with_name("sam2.yaml"))
    OmegaConf.save(OmegaConf.merge(config, {"model": settings}), tmp_path / "other.yaml")
    with pytest.raises(ExportError, match=sentence):
        sam2.load(str(sam2_file), config=str(tmp_path / "other.yaml"))


def test_a_trunks_own_weights_are_not_read(sam2_file: Path, tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    config: Any = OmegaConf.load(sam2_file.with_name("sam2.yaml"))
    torch.save({"model": Intruder(tmp_path / "broken_in")}, tmp_path / "trunk.pt")
    trunk = {"weights_path": str(tmp_path / "trunk.pt")}
    OmegaConf.save(
        OmegaConf.merge(config, {"model": {"image_encoder": {"trunk": trunk}}}),
        tmp_path / "other.yaml",
    )
    sam2.load(str(sam2_file), config=str(tmp_path / "other.yaml"))
    assert not (tmp_path / "broken_in").exists()


def test_transformers_format_of_a_sam2_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"got the folder .* transformers' format is another one"):
        sam2.load(str(tmp_path))


def test_no_config_beside_the_checkpoint(sam2_file: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(sam2_file.read_bytes())
    with pytest.raises(
        ExportError, match=r"no sam2.yaml lies beside .* or one of .*sam2.1_hiera_t"
    ):
        sam2.load(str(tmp_path / "model.pt"))


def test_a_published_name_finds_its_config(tmp_path: Path) -> None:
    path, published = sam2._checkpoint(str(_touch(tmp_path / "sam2.1_hiera_tiny.pt")))
    assert sam2._config_file(path, published).name == "sam2.1_hiera_t.yaml"
    assert sam2._config_file(path, "sam2_hiera_l").name == "sam2_hiera_l.yaml"
    assert sam2._config_file(path, "configs/sam2/sam2_hiera_b+.yaml").name == "sam2_hiera_b+.yaml"
    assert sam2._config_file(path, "sam2.1_hiera_t").name == "sam2.1_hiera_t.yaml"
    with pytest.raises(ExportError, match="--sam2-config: got sam9; name a YAML file"):
        sam2._config_file(path, "sam9")


def test_not_a_clipseg(clipseg_folder: Path, tmp_path: Path) -> None:
    def load(folder: Path) -> None:
        clipseg.load(str(folder), prompts=["annotated"])

    with pytest.raises(ExportError, match=r"has no config\.json; expected what save_pretrained"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ExportError, match="holds a bert, expected a clipseg"):
        load(tmp_path)
    for file in clipseg_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\x10")
    with pytest.raises(ExportError, match=r"cannot be loaded .* expected config.json and"):
        load(tmp_path)


def test_a_clipseg_that_lacks_weights(clipseg_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in clipseg_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["decoder.film_add.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ExportError, match=r"lacks 1 weights of its config, decoder\.film_add\.bias"
    ):
        clipseg.load(str(tmp_path), prompts=["annotated"])


def test_a_clipseg_without_normalisation(clipseg_folder: Path, tmp_path: Path) -> None:
    for file in clipseg_folder.iterdir():
        if file.name != "preprocessor_config.json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ExportError, match=r"no usable preprocessor_config\.json"):
        clipseg.load(str(tmp_path), prompts=["annotated"])


def test_a_clipseg_whose_tokenizer_is_another(clipseg_folder: Path, tmp_path: Path) -> None:
    """A folder without one gets CLIP's, which does not fit this tiny model's vocabulary."""
    pytest.importorskip("open_clip")
    for file in clipseg_folder.iterdir():
        if not file.name.startswith(("tokenizer", "vocab", "merges")):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ExportError, match=r"has 49408 words, its model 514; put the tokenizer"):
        clipseg.load(str(tmp_path), prompts=["annotated"])


def test_a_prompt_too_long(clipseg_folder: Path) -> None:
    with pytest.raises(ExportError, match="longer than the 77 tokens"):
        clipseg.load(str(clipseg_folder), prompts=["annotated " * 40])


def test_plain_files_are_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": [1, "x"]}, tmp_path / "plain.pt")
    content = read_torch_file(tmp_path / "plain.pt", flag="--x")
    assert content["b"] == [1, "x"]


def test_rounding_leaves_vectors_and_what_16_bit_cannot_hold() -> None:
    model = torch.nn.Linear(2, 2)
    model.weight.data = torch.tensor([[1 / 3, 1.0], [2.0, 3.0]])
    model.bias.data = torch.tensor([1 / 3, 1e6])
    huge = torch.nn.Parameter(torch.tensor([[1e6, 1 / 3]]))
    model.register_parameter("huge", huge)
    round_to_half(model)
    assert model.weight[0, 0] == torch.tensor(1 / 3).half().float() != torch.tensor(1 / 3)
    assert torch.equal(model.bias, torch.tensor([1 / 3, 1e6]))
    assert torch.equal(huge, torch.tensor([[1e6, 1 / 3]]))


def test_hub_ids() -> None:
    assert is_hub_id("CIDAS/clipseg-rd64-refined")
    assert not is_hub_id("checkpoints/demo/clipseg")
    assert not is_hub_id("/tmp/x")
    assert not is_hub_id("clipseg")


def _touch(path: Path) -> Path:
    path.write_bytes(b"")
    return path
