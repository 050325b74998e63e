"""CLIPSeg in the format of the original repository: ``CLIPDensePredT`` -> transformers' model.

Its trainer saves what it trained, which is the decoder (``rd64-uni.pth`` and the like hold no
CLIP), and ``config.json`` beside; a plain ``state_dict`` holds CLIP as OpenAI names its weights.
Both become a ``CLIPSegForImageSegmentation``, weight by weight.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from export.checkpoints import is_hub_id, read_torch_file, sha256_of, short, unwrapped
from export.clipseg_checkpoint import ClipsegCheckpoint, load_pretrained, load_tokenizer
from export.errors import ExportError
from export.graph import PixelInput
from markcut.manifest import Checkpoint

CLIP = "openai/clip-vit-base-patch16"
"""The CLIP below every published CLIPSeg."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # the original's, of ImageNet

_HEAD_WIDTH = 64  # of every CLIP

# where a weight's name begins
_PLACES = (
    (r"(film_mul|film_add|reduces)\.", r"decoder.\1."),
    (r"trans_conv\.", "decoder.transposed_convolution."),
    (r"blocks\.", "decoder.layers."),
    (r"clip_model\.visual\.transformer\.resblocks\.", "clip.vision_model.encoder.layers."),
    (r"clip_model\.visual\.class_embedding", "clip.vision_model.embeddings.class_embedding"),
    (r"clip_model\.visual\.conv1\.", "clip.vision_model.embeddings.patch_embedding."),
    (
        r"clip_model\.visual\.positional_embedding",
        "clip.vision_model.embeddings.position_embedding.weight",
    ),
    (r"clip_model\.visual\.ln_pre\.", "clip.vision_model.pre_layrnorm."),
    (r"clip_model\.visual\.ln_post\.", "clip.vision_model.post_layernorm."),
    (r"clip_model\.visual\.proj", "clip.visual_projection.weight"),
    (r"clip_model\.transformer\.resblocks\.", "clip.text_model.encoder.layers."),
    (r"clip_model\.token_embedding\.", "clip.text_model.embeddings.token_embedding."),
    (r"clip_model\.positional_embedding", "clip.text_model.embeddings.position_embedding.weight"),
    (r"clip_model\.ln_final\.", "clip.text_model.final_layer_norm."),
    (r"clip_model\.text_projection", "clip.text_projection.weight"),
    (r"clip_model\.logit_scale", "clip.logit_scale"),
)
# what a part of a transformer block is called: torch's encoder layer, and OpenAI's block
_PARTS = {
    "linear1": "mlp.fc1", "linear2": "mlp.fc2", "norm1": "layer_norm1", "norm2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2", "ln_1": "layer_norm1", "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj", "attn.in_proj": "self_attn.in_proj",
}  # fmt: skip
_LAYER = re.compile(r"(?P<layer>.*layers\.\d+)\.(?P<part>.+?)[._](?P<kind>weight|bias)")


def read_original(file: Path, *, clip: str | None = None) -> ClipsegCheckpoint:
    """The model of ``file``, with the CLIP in it or else that of ``clip``, a folder or hub id.

    What the weights don't tell (which layers, how many heads) is in the trainer's ``config.json``
    beside the file, or as in the original's class. Raises :class:`ExportError`.
    """
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    weights = _weights(file)
    settings = _settings(file)
    whole = "clip_model.visual.proj" in weights
    if whole and clip is not None:
        raise ExportError(f"--clip: {file} brings its own CLIP; leave the option out")
    converted = convert(weights)
    if whole:
        towers = _towers(weights, file)
    else:
        backbone, towers = _backbone(clip or CLIP)
        converted.update(backbone)
    shapes = _decoder_shapes(weights, settings, towers, file)
    model = CLIPSegForImageSegmentation(CLIPSegConfig(**towers, **shapes))
    try:
        missing, unexpected = model.load_state_dict(converted, strict=False)
    except RuntimeError as error:
        raise ExportError(
            f"--clipseg: the weights of {file} differ in size ({short(error)})"
        ) from None
    if missing or unexpected:
        raise ExportError(
            f"--clipseg: {file} is no CLIPDensePredT that transformers knows: {len(missing)} "
            f"weights are missing and {len(unexpected)} unknown, {(missing + unexpected)[0]} first"
        )
    text: Any = model.config.text_config
    return ClipsegCheckpoint(
        origin=Checkpoint(name=file.name, sha256=sha256_of(file)),
        model=model.eval().requires_grad_(False),
        pixels=PixelInput(MEAN, STD),
        tokenizer=load_tokenizer(None if whole else clip or CLIP, text.vocab_size, flag="--clip"),
    )


def convert(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``weights`` by transformers' names; those without one there keep theirs."""
    converted: dict[str, Tensor] = {}
    for name, values in weights.items():
        if name.startswith(("model.", "reduce.")):
            continue  # another name of ``clip_model.visual``, and a layer that nothing calls
        for beginning, place in _PLACES:
            if re.match(beginning, name):
                name = re.sub(f"^{beginning}", place, name)
                break
        if name.startswith("clip.") and "_projection." in name:
            values = values.T.contiguous()  # OpenAI's is a factor, not a layer
        found = _LAYER.fullmatch(name)
        if found is None:
            converted[name] = values
            continue
        part = _PARTS.get(found["part"], found["part"])
        if part == "self_attn.in_proj":
            for letter, third in zip("qkv", values.chunk(3), strict=True):
                converted[f"{found['layer']}.self_attn.{letter}_proj.{found['kind']}"] = third
        else:
            converted[f"{found['layer']}.{part}.{found['kind']}"] = values
    return converted


def _weights(file: Path) -> dict[str, Tensor]:
    content = read_torch_file(file, flag="--clipseg")
    weights = unwrapped(content) if isinstance(content, dict) else {}
    if "film_mul.weight" not in weights:
        raise ExportError(
            f"--clipseg: {file} holds no CLIPDensePredT of the original repository; name its "
            "weights (.pth), a transformers folder or a hub id"
        )
    return {name: values for name, values in weights.items() if isinstance(values, Tensor)}


def _settings(file: Path) -> dict[str, Any]:
    """What the trainer's ``config.json`` says, where it is one of this class."""
    path = file.with_name("config.json")
    try:
        found = json.loads(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise ExportError(f"--clipseg: {path} cannot be read ({short(error)})") from None
    if not isinstance(found, dict) or not str(found.get("model", "")).startswith("models.clipseg."):
        return {}
    for name in ("rev_activations", "n_tokens"):
        if found.get(name):
            raise ExportError(
                f"--clipseg: {path} sets {name}, which transformers' CLIPSeg has nothing like"
            )
    return found


def _decoder_shapes(
    weights: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    towers: Mapping[str, Any],
    file: Path,
) -> dict[str, Any]:
    """The decoder's part of the config, from sizes and settings, once they fit together."""
    layers = settings.get("extract_layers", [3, 6, 9])
    heads = settings.get("n_heads", 4)
    refined = "trans_conv.0.weight" in weights
    kernels = ["trans_conv.2.weight", "trans_conv.4.weight"] if refined else ["trans_conv.weight"]
    try:
        reduce_dim, projection = weights["film_mul.weight"].shape
        depth = len([name for name in weights if re.fullmatch(r"reduces\.\d+\.weight", name)])
        hidden = weights["reduces.0.weight"].shape[1]
        wide = weights["blocks.0.linear1.weight"].shape[0]
        cell = 1
        for kernel in kernels:
            cell *= weights[kernel].shape[2]
    except (KeyError, IndexError, ValueError) as error:
        raise ExportError(
            f"--clipseg: {file} is no whole CLIPDensePredT ({short(error)} is missing or of "
            "another shape); copy it again"
        ) from None
    vision = towers["vision_config"]
    below = vision["num_hidden_layers"]
    wanted = {
        f"a CLIP of width {hidden}": hidden == vision["hidden_size"],
        f"conditions of {projection} values": projection == towers["projection_dim"],
        f"patches of {cell} pixels": cell == vision["patch_size"],
        f"{depth} ascending extract_layers of 1 to {below - 1}": isinstance(layers, list)
        and layers == sorted({k for k in layers if type(k) is int and 0 < k < below})
        and len(layers) == depth,
        f"n_heads that divide {reduce_dim}": type(heads) is int
        and heads > 0
        and reduce_dim % heads == 0,
    }
    for need, met in wanted.items():
        if not met:
            raise ExportError(
                f"--clipseg: {file} needs {need}; name the CLIP that it was trained on with "
                "--clip, and keep the trainer's config.json beside it"
            )
    return {
        "reduce_dim": reduce_dim,
        "extract_layers": layers,
        "conditional_layer": settings.get("cond_layer", 0),
        "decoder_num_attention_heads": heads,
        "decoder_intermediate_size": wide,
        "use_complex_transposed_convolution": refined,
    }


def _towers(weights: Mapping[str, Tensor], file: Path) -> dict[str, Any]:
    """The config of both towers of the CLIP in ``weights``, from their sizes alone."""

    def size(name: str, axis: int) -> int:
        return weights[f"clip_model.{name}"].shape[axis]

    def layers(tower: str) -> int:
        name = re.compile(rf"clip_model\.{tower}transformer\.resblocks\.\d+\.ln_1\.weight")
        return len([key for key in weights if name.fullmatch(key)])

    try:
        patch = size("visual.conv1.weight", 2)
        grid = round((size("visual.positional_embedding", 0) - 1) ** 0.5)
        width, text_width = size("visual.conv1.weight", 0), size("ln_final.weight", 0)
        words = size("token_embedding.weight", 0)
        return {
            "projection_dim": size("text_projection", 1),
            "vision_config": {
                "hidden_size": width, "num_hidden_layers": layers(r"visual\."),
                "num_attention_heads": max(1, width // _HEAD_WIDTH),
                "intermediate_size": size("visual.transformer.resblocks.0.mlp.c_fc.weight", 0),
                "image_size": grid * patch, "patch_size": patch,
            },
            "text_config": {
                "hidden_size": text_width, "num_hidden_layers": layers(""),
                "num_attention_heads": max(1, text_width // _HEAD_WIDTH),
                "intermediate_size": size("transformer.resblocks.0.mlp.c_fc.weight", 0),
                "vocab_size": words, "eos_token_id": words - 1, "bos_token_id": words - 2,
                "max_position_embeddings": size("positional_embedding", 0),
            },
        }  # fmt: skip
    except (KeyError, IndexError) as error:
        raise ExportError(
            f"--clipseg: {file} holds no whole CLIP ({short(error)} is missing or of another "
            "shape); copy it again"
        ) from None


def _backbone(source: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of the CLIP in the folder or under the hub id ``source``, and its config."""
    from transformers import CLIPModel, CLIPSegForImageSegmentation

    if not Path(source).is_dir() and not is_hub_id(source):
        raise ExportError(f"--clip: got {source}, expected a folder or a hub id (owner/name)")
    classes = {"clip": CLIPModel, "clipseg": CLIPSegForImageSegmentation}
    model = load_pretrained(source, classes, flag="--clip")
    clip = getattr(model, "clip", model)
    towers = {
        "projection_dim": model.config.projection_dim,
        "vision_config": model.config.vision_config.to_dict(),
        "text_config": model.config.text_config.to_dict(),
    }
    for tower in ("vision_config", "text_config"):
        del towers[tower]["model_type"]
    return {f"clip.{name}": values for name, values in clip.state_dict().items()}, towers
