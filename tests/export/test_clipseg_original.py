"""CLIPSeg in the original repository's format, against a forward of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export import clipseg
from export.clipseg_original import MEAN, STD
from export.errors import ExportError
from export.pictures import stretched
from markcut.contracts import CLIPSEG_SIDE
from tests.export.original_clipseg import ClipDensePredT
from tests.export.tiny import enliven

pytest.importorskip("open_clip")  # carries CLIP's vocabulary

PROMPTS = ["annotated", "a red circle"]


def original(**settings: Any) -> ClipDensePredT:
    torch.manual_seed(0)
    model = ClipDensePredT(**settings).eval().requires_grad_(False)
    enliven(model)
    return model


@pytest.fixture(scope="module")
def refined() -> ClipDensePredT:
    return original(refined=True)


@pytest.fixture(scope="module")
def clip_folder(refined: ClipDensePredT, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CLIP of ``refined`` as transformers writes one, without a tokenizer."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    torch.save(refined.state_dict(), folder / "whole.pth")
    converted, _ = clipseg.load(str(folder / "whole.pth"), prompts=PROMPTS)
    config = converted.model.config
    model = CLIPModel(
        CLIPConfig(
            text_config=config.text_config.to_dict(), vision_config=config.vision_config.to_dict(),
            projection_dim=config.projection_dim,
        )
    )  # fmt: skip
    from export.clipseg_original import convert

    weights = convert(refined.state_dict()).items()
    model.load_state_dict({k.removeprefix("clip."): v for k, v in weights if k.startswith("clip.")})
    model.save_pretrained(folder / "clip")
    return folder / "clip"


@pytest.mark.parametrize("name", ["refined", "plain", "other settings"])
def test_a_whole_file_computes_what_the_original_does(
    refined: ClipDensePredT, tmp_path: Path, pictures: list, name: str
) -> None:
    model = refined
    if name == "plain":
        model = original(refined=False)
    elif name == "other settings":
        model = original(refined=True, reduce_dim=12, heads=2, layers=(2, 5))
        settings = {"model": "models.clipseg.CLIPDensePredT", "extract_layers": [2, 5],
                    "n_heads": 2, "rev_activations": False, "lr": 0.001}  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps(settings))
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    loaded, conds = clipseg.load(str(tmp_path / "weights.pth"), prompts=PROMPTS)
    assert loaded.origin.name == "weights.pth"
    from training.clipseg.tokenizer import load_tokenizer

    tokens = load_tokenizer()(PROMPTS, padding=True, return_tensors="pt").input_ids
    views = np.stack([stretched(picture, CLIPSEG_SIDE) for picture in pictures])
    pixels = (torch.from_numpy(views).float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    (graph,) = loaded.graphs(loaded.model)
    with torch.inference_mode():
        texts = model.clip_model.encode_text(tokens)
        wanted = model(pixels.permute(0, 3, 1, 2), texts)
        got = graph.module.eval()(torch.from_numpy(views), torch.from_numpy(conds))
    np.testing.assert_allclose(conds, texts, rtol=1e-4, atol=1e-5)
    assert wanted.std() > 0.02
    np.testing.assert_allclose(got, wanted.sigmoid(), atol=2e-5)


def test_decoder_weights_take_their_clip_from_a_folder(
    refined: ClipDensePredT, clip_folder: Path, tmp_path: Path, pictures: list
) -> None:
    """A CLIP's, or a CLIPSeg's: both are the same as the whole file."""
    torch.save(refined.state_dict(), tmp_path / "whole.pth")
    torch.save(refined.trained(), tmp_path / "rd16-uni.pth")
    whole, conds = clipseg.load(str(tmp_path / "whole.pth"), prompts=PROMPTS)
    found, same = clipseg.load(
        str(tmp_path / "rd16-uni.pth"), prompts=PROMPTS, clip=str(clip_folder)
    )
    np.testing.assert_array_equal(conds, same)
    ours, theirs = found.model.state_dict(), whole.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_clipseg_folder_is_a_clip_too(clipseg_folder: Path, tmp_path: Path) -> None:
    """The tiny CLIPSeg below decoder weights of its sizes."""
    weights = {
        "film_mul.weight": torch.randn(8, 24), "film_mul.bias": torch.randn(8),
        "film_add.weight": torch.randn(8, 24), "film_add.bias": torch.randn(8),
        "reduces.0.weight": torch.randn(8, 32), "reduces.0.bias": torch.randn(8),
        "trans_conv.weight": torch.randn(8, 1, 16, 16), "trans_conv.bias": torch.randn(1),
        **{f"blocks.0.{k}": v for k, v in
           torch.nn.TransformerEncoderLayer(8, 4, dim_feedforward=16).state_dict().items()},
    }  # fmt: skip
    torch.save(weights, tmp_path / "weights.pth")
    settings = {"model": "models.clipseg.CLIPDensePredT", "extract_layers": [2]}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    found, conds = clipseg.load(
        str(tmp_path / "weights.pth"), prompts=PROMPTS, clip=str(clipseg_folder)
    )
    assert conds.shape == (2, 24)
    assert torch.equal(found.model.decoder.film_mul.weight, weights["film_mul.weight"])


def test_weights_of_parallel_training(refined: ClipDensePredT, tmp_path: Path) -> None:
    for prefix in ("", "module."):
        weights = {f"{prefix}{name}": values for name, values in refined.state_dict().items()}
        torch.save(weights, tmp_path / f"{prefix}weights.pth")
    alone, wrapped = (
        clipseg.load(str(tmp_path / f"{prefix}weights.pth"), prompts=PROMPTS)[0].model.state_dict()
        for prefix in ("", "module.")
    )
    assert all(torch.equal(alone[name], values) for name, values in wrapped.items())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda w: w.pop("film_add.bias"), "1 weights are missing and 0 unknown, decoder.film_add"),
        (lambda w: w.update({"extra_blocks.0.norm1.bias": w["film_mul.bias"]}),
         "0 weights are missing and 1 unknown, extra_blocks.0.norm1.bias"),
        (lambda w: w.update({"reduce_cond.bias": w["film_mul.bias"]}), "reduce_cond.bias first"),
        (lambda w: w.pop("blocks.0.linear1.weight"), "is no whole CLIPDensePredT"),
        (lambda w: w.pop("clip_model.ln_final.weight"), "holds no whole CLIP"),
        (lambda w: w.update({"film_add.bias": torch.zeros(3)}), "differ in size"),
        (lambda w: w.pop("film_mul.weight"), "holds no CLIPDensePredT of the original repository"),
    ],
)  # fmt: skip
def test_files_that_are_not_whole(
    refined: ClipDensePredT, tmp_path: Path, change: Any, sentence: str
) -> None:
    weights = refined.state_dict()
    change(weights)
    torch.save(weights, tmp_path / "weights.pth")
    with pytest.raises(ExportError, match=sentence):
        clipseg.load(str(tmp_path / "weights.pth"), prompts=PROMPTS)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rev_activations": True}, "sets rev_activations, which transformers' CLIPSeg has"),
        ({"n_tokens": 14}, "sets n_tokens"),
        ({"extract_layers": [3, 6]}, "needs 3 ascending extract_layers of 1 to 9"),
        ({"extract_layers": [9, 6, 3]}, "needs 3 ascending extract_layers"),
        ({"extract_layers": [3, 6, 12]}, "needs 3 ascending extract_layers"),
        ({"n_heads": 5}, "needs n_heads that divide 16"),
    ],
)
def test_settings_that_do_not_fit(
    refined: ClipDensePredT, tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    torch.save(refined.state_dict(), tmp_path / "weights.pth")
    found = {"model": "models.clipseg.CLIPDensePredT", **settings}
    (tmp_path / "config.json").write_text(json.dumps(found))
    with pytest.raises(ExportError, match=sentence):
        clipseg.load(str(tmp_path / "weights.pth"), prompts=PROMPTS)


def test_where_clip_comes_from_is_told(
    refined: ClipDensePredT, clipseg_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    torch.save(refined.trained(), tmp_path / "rd16-uni.pth")
    torch.save(refined.state_dict(), tmp_path / "whole.pth")

    def load(source: Path, clip: str | None) -> None:
        clipseg.load(str(source), prompts=PROMPTS, clip=clip)

    for clip, sentence in (
        (None, "--clip: openai/clip-vit-base-patch16 cannot be loaded"),
        ("no/such/folder", "--clip: got no/such/folder, expected a folder or a hub id"),
        (str(clipseg_folder), "needs a CLIP of width 128; name the CLIP"),
    ):
        with pytest.raises(ExportError, match=sentence):
            load(tmp_path / "rd16-uni.pth", clip)
    for source in (tmp_path / "whole.pth", clipseg_folder):
        with pytest.raises(ExportError, match=r"--clip: .* brings its own CLIP"):
            load(source, str(clipseg_folder))
