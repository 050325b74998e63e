"""CLIPSeg's rewritten graph against transformers' own forward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export import clipseg
from export.graph import PixelInput
from markcut.contracts import CLIPSEG, CLIPSEG_SIDE

PROMPTS = ["annotated", "a drawn circle"]
PIXELS, COND = (tensor.name for tensor in CLIPSEG.inputs)


@pytest.fixture(scope="module")
def loaded(clipseg_folder: Path) -> Any:
    return clipseg.load(str(clipseg_folder), prompts=PROMPTS)


def test_conditions_are_the_models_own_text_features(clipseg_folder: Path, loaded: Any) -> None:
    from transformers import CLIPSegForImageSegmentation, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(clipseg_folder)
    model = CLIPSegForImageSegmentation.from_pretrained(clipseg_folder).eval()
    for prompt, cond in zip(PROMPTS, loaded[1], strict=True):
        tokens = tokenizer([prompt], return_tensors="pt")
        with torch.inference_mode():
            wanted = model.clip.get_text_features(**tokens).pooler_output[0].numpy()
        np.testing.assert_allclose(cond, wanted, rtol=1e-4, atol=1e-6)


def test_the_heat_map_is_the_processors_and_models(
    clipseg_folder: Path, loaded: Any, pictures: list
) -> None:
    """From PIL picture to probabilities by upstream's classes alone; here from the same pixels."""
    from PIL import Image
    from transformers import CLIPSegForImageSegmentation, ViTImageProcessor

    model = CLIPSegForImageSegmentation.from_pretrained(clipseg_folder).eval()
    processor = ViTImageProcessor.from_pretrained(clipseg_folder)
    small = Image.fromarray(pictures[0]).resize((CLIPSEG_SIDE, CLIPSEG_SIDE))
    pixels = processor(small, do_resize=False, return_tensors="pt").pixel_values
    checkpoint, conds = loaded
    (graph,) = checkpoint.graphs(checkpoint.model)
    with torch.inference_mode():
        wanted = model(
            pixel_values=pixels, conditional_embeddings=torch.from_numpy(conds[:1])
        ).logits.sigmoid()
        got = graph.module.eval()(
            torch.from_numpy(np.array(small)[None]), torch.from_numpy(conds[:1])
        )
    assert wanted.std() > 0.01
    np.testing.assert_allclose(got[0], wanted.squeeze(), atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_complex_transposed_convolution": False},
        {"extract_layers": [0, 1, 2], "conditional_layer": 1},
        {"vision_config": {"image_size": 352}},
    ],
)
def test_other_configurations(
    clipseg_folder: Path, loaded: Any, settings: dict[str, Any], pictures: list
) -> None:
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    config = CLIPSegConfig.from_pretrained(clipseg_folder).to_dict()
    vision = {**config["vision_config"], **settings.pop("vision_config", {})}
    torch.manual_seed(0)
    model = CLIPSegForImageSegmentation(
        CLIPSegConfig(**{**config, **settings, "vision_config": vision})
    ).eval()
    last = model.decoder.transposed_convolution
    (last[-1] if isinstance(last, torch.nn.Sequential) else last).weight.data *= 0.03
    (graph,) = loaded[0].graphs(model)
    feeds = next(iter(graph.cases(pictures))).feeds
    with torch.inference_mode():
        wanted = graph.reference(feeds)
        got = graph.module.eval()(*(torch.from_numpy(feeds[name]) for name in (PIXELS, COND)))
    np.testing.assert_allclose(got, next(iter(wanted.values())), atol=1e-5)


def test_blocks_that_nobody_looks_at_are_cut(loaded: Any) -> None:
    checkpoint, _ = loaded
    (graph,) = checkpoint.graphs(checkpoint.model)
    assert len(graph.module.blocks) == 3 < len(checkpoint.model.clip.vision_model.encoder.layers)
    assert checkpoint.model.clip.text_model is None


@pytest.mark.parametrize(("refined", "reduce_dim"), [(True, 64), (False, 64), (False, 16)])
def test_the_graph_computes_less_than_upstreams_forward(refined: bool, reduce_dim: int) -> None:
    """Products of the published architectures, counted without weights: 0.84 of upstream's."""
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    config = CLIPSegConfig(
        vision_config={"patch_size": 16},
        reduce_dim=reduce_dim,
        use_complex_transposed_convolution=refined,
    )
    with torch.device("meta"):
        model = CLIPSegForImageSegmentation(config).eval()
        module = clipseg.Clipseg(model, PixelInput((0.5,) * 3, (0.5,) * 3)).to("meta").eval()
        cond = torch.empty(1, 512)
        with FlopCounterMode(display=False) as upstream, torch.no_grad():
            model(pixel_values=torch.empty(1, 3, 352, 352), conditional_embeddings=cond)
        with FlopCounterMode(display=False) as ours, torch.no_grad():
            module(torch.empty(1, 352, 352, 3, dtype=torch.uint8), cond)
    assert 80e9 < upstream.get_total_flops() < 100e9
    assert ours.get_total_flops() / upstream.get_total_flops() <= 0.85
