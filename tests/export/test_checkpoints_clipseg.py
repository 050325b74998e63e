"""CLIPSeg folders that are damaged, foreign or hostile: one sentence each, and nothing runs."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from export import clipseg
from export.checkpoints import sha256_of
from export.errors import ExportError
from tests.export.test_checkpoints import Intruder

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(clipseg_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(clipseg_folder, tmp_path / "clipseg")


def load(folder: Path) -> Any:
    return clipseg.load(str(folder), prompts=["annotated"])[0]


def edit(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def refused(folder: Path, sentence: str) -> None:
    """One sentence on one line, of a length that one reads."""
    with pytest.raises(ExportError, match=sentence) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x10",
        b"not safetensors at all, but long enough to hold a length and a header",
        struct.pack("<Q", 1 << 60) + b"{}",  # a header of an exabyte
        struct.pack("<Q", 99_000_000) + b"{}",  # a header longer than the file
        struct.pack("<Q", 8) + b"\xff\xfe{{{{{{",
        struct.pack("<Q", 65)
        + b'{"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}}',
    ],
)
def test_weights_that_are_no_safetensors(folder: Path, data: bytes) -> None:
    (folder / WEIGHTS).write_bytes(data)
    refused(folder, r"cannot be loaded \(.*\); expected config.json and model.safetensors")


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.01])
def test_truncated_weights(folder: Path, keep: float) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: int(keep * len(data))])
    refused(folder, "cannot be loaded")


def test_both_formats_of_the_weights(folder: Path) -> None:
    """safetensors count; the other one alone does as well, but nothing in it runs."""
    weights = load_file(folder / WEIGHTS)
    other = {name: values + 1 for name, values in weights.items()}
    torch.save(other, folder / "pytorch_model.bin")
    assert load(folder).origin.sha256 == sha256_of(folder / WEIGHTS)
    name = "decoder.film_mul.bias"
    assert torch.equal(load(folder).model.state_dict()[name], weights[name])
    (folder / WEIGHTS).unlink()
    assert load(folder).origin.sha256 == sha256_of(folder / "pytorch_model.bin")
    assert torch.equal(load(folder).model.state_dict()[name], other[name])
    data = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(data[:-1000])
    refused(folder, "is no whole torch checkpoint")


def test_code_among_the_weights_does_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).unlink()
    torch.save({"a": Intruder(tmp_path / "broken_in")}, folder / "pytorch_model.bin")
    refused(folder, "asks for .*mkdir beside weights, which could run code")
    assert not (tmp_path / "broken_in").exists()


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("config.json", {"auto_map": {"AutoConfig": "code.Config"}, "model_type": "of_my_own"}),
        ("config.json", {"auto_map": {"AutoModel": "code.Config"}}),
        ("preprocessor_config.json",
         {"auto_map": {"AutoImageProcessor": "code.Config"}, "image_processor_type": "Mine"}),
        ("tokenizer_config.json",
         {"auto_map": {"AutoTokenizer": ["code.Config", None]}, "tokenizer_class": "Mine"}),
    ],
)  # fmt: skip
def test_code_beside_the_weights_does_not_run(
    folder: Path, tmp_path: Path, file: str, settings: dict[str, Any]
) -> None:
    mark = tmp_path / "broken_in"
    (folder / "code.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nclass Config: ...\n")
    edit(folder / file, **settings)
    if "model_type" in settings or file != "config.json":
        refused(folder, "holds a of_my_own, expected a clipseg|has no usable|words, its model")
    else:
        load(folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"reduce_dim": 32}, r"in .*, decoder\.\S+ is \[.*\] and by config\.json \["),
        (
            {"projection_dim": 25},
            r"clip\.text_projection\.weight is \[24, 16\] and by .* \[25, 16\]",
        ),
        ({"extract_layers": [0, 1, 2]}, r"lacks \d+ weights of its config, decoder"),
        ({"extract_layers": [2]}, r"holds \d+ decoder weights that its config\.json has no place"),
        ({"extract_layers": []}, r"holds \d+ decoder weights that its config\.json has no place"),
        ({"conditional_layer": 2}, "needs conditional_layer from 0 to 1"),
        ({"decoder_num_attention_heads": 3}, "needs decoder_num_attention_heads that divide 16"),
        ({"extract_layers": [0, 9]}, "looks at block 9 of 4"),
        ({"use_complex_transposed_convolution": False}, r"lacks 2 weights of its config, decoder"),
        ({"model_type": "clip"}, "holds a clip, expected a clipseg"),
        ({"model_type": None}, "holds a model of no type, expected a clipseg"),
        ({"vision_config": {"patch_size": 14}}, r"clip\.\S+ is \[.*\] and by config\.json \["),
    ],
)
def test_a_config_of_other_sizes(folder: Path, settings: dict[str, Any], sentence: str) -> None:
    edit(folder / "config.json", **settings)
    refused(folder, sentence)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_a_config_that_is_none(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="latin-1")
    refused(folder, "--clipseg: ")


@pytest.mark.parametrize(
    "settings", [{"image_mean": "white"}, {"image_std": [0, 0, 0]}, {"do_normalize": False},
                 {"image_mean": [0.5]}, {"image_mean": [float("nan")] * 3}, {"image_std": []},
                 {"image_std": [1e-30] * 3}, {"rescale_factor": None}],
)  # fmt: skip
def test_a_normalisation_that_is_none(folder: Path, settings: dict[str, Any]) -> None:
    edit(folder / "preprocessor_config.json", **settings)
    refused(folder, "has no usable preprocessor_config|does not scale by 1/255 and normalise")


def test_weights_that_are_no_numbers(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["decoder.film_mul.bias"][0] = float("nan")
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    refused(folder, r"decoder\.film_mul\.bias holds NaN or infinity")


def test_a_hub_id_is_read_from_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    cache = tmp_path / "cache"
    repository = cache / "models--CIDAS--clipseg-rd64-refined"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    with pytest.raises(ExportError, match="--clipseg: CIDAS/clipseg-rd64 cannot be loaded"):
        clipseg.load("CIDAS/clipseg-rd64", prompts=["annotated"])
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    loaded, conds = clipseg.load("CIDAS/clipseg-rd64-refined", prompts=["annotated"])
    assert loaded.origin.name == "CIDAS/clipseg-rd64-refined"
    assert loaded.origin.sha256 == sha256_of(folder / WEIGHTS)
    assert conds.shape == (1, 24)
