"""Tiny checkpoints in the upstream projects' own formats, with weights that are all alive."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
for package in ("onnxslim", "sam2", "skimage", "transformers", "ultralytics"):
    # not imported yet: ultralytics changes Pillow for every test of this process
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: make setup", allow_module_level=True)

from export.pictures import verification_pictures  # noqa: E402
from export.random_weights import settle_yolo  # noqa: E402
from markcut.contracts import KINDS  # noqa: E402
from tests.export.tiny import enliven, reduced_sam2, write_sam2  # noqa: E402

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def pictures() -> list[NDArray[np.uint8]]:
    """Two of the pictures that the exporter verifies with: a photo with marks, and the other."""
    every = verification_pictures()
    return [every[1], every[3]]


@pytest.fixture(scope="session")
def clipseg_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``save_pretrained`` writes it, with a byte-level vocabulary and 224 px positions."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    folder = tmp_path_factory.mktemp("clipseg")
    _write_tokenizer(folder)
    torch.manual_seed(0)
    config = CLIPSegConfig(
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
            "num_attention_heads": 2, "image_size": 224, "patch_size": 16,
        },
        text_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513,
        },
        projection_dim=24, extract_layers=[0, 2], reduce_dim=16, decoder_num_attention_heads=2,
        decoder_intermediate_size=32, use_complex_transposed_convolution=True,
    )  # fmt: skip
    model = CLIPSegForImageSegmentation(config).eval()
    enliven(model)
    model.decoder.transposed_convolution[-1].weight.data *= 0.03  # logits of a few units
    model.save_pretrained(folder)
    processor = {
        "image_processor_type": "ViTImageProcessor", "do_normalize": True, "do_rescale": True,
        "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3],
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.fixture(scope="session")
def yolo_model() -> Any:
    """A yolo11-seg of half the smallest width, whose scores and boxes are spread out."""
    from ultralytics.nn.tasks import SegmentationModel, yaml_model_load

    torch.manual_seed(0)
    config = yaml_model_load("yolo11n-seg.yaml")
    config["scales"] = {"n": [0.5, 0.125, 1024]}
    model = SegmentationModel(config, nc=len(KINDS), verbose=False)
    model.names = dict(enumerate(KINDS))
    settle_yolo(model)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def yolo_file(yolo_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ultralytics writes it."""
    path = tmp_path_factory.mktemp("yolo") / "marks.pt"
    torch.save(
        {"epoch": -1, "model": yolo_model, "ema": None, "train_args": {"task": "segment"}}, path
    )
    return path


@pytest.fixture(scope="session")
def sam2_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model.pt`` with ``sam2.yaml`` beside it; windows of every awkward kind."""
    folder = tmp_path_factory.mktemp("sam2")
    write_sam2(folder, reduced_sam2())
    return folder / "model.pt"


def _write_tokenizer(folder: Path) -> None:
    printing = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printing]
    letters += [chr(256 + number) for number in range(256 - len(printing))]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77,
                "bos_token": words[512], "eos_token": words[513], "pad_token": words[513],
                "unk_token": words[513]}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
