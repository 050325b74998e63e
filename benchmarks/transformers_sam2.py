"""transformers' own Sam2, with the weights of a checkpoint of the sam2 package."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import BenchmarkError
from benchmarks.networks import Network, Said, since
from markcut import rle
from markcut.contracts import SAM2_DECODER, SAM2_ENCODER
from markcut.geometry import Picture

_VIDEO = ("memory_", "maskmem", "obj_ptr", "no_obj", "mask_downsample", "no_mem_pos")
_RENAMED = (
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^sam_prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^sam_prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^sam_prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^sam_prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^sam_mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^sam_mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"(mlps\.\d+|_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(mlps\.\d+|_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(mlps\.\d+|_head)\.layers\.2\.", r"\1.proj_out."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"\.out_proj\.", ".o_proj."),
)  # fmt: skip


@dataclass(frozen=True)
class TransformersSam2:
    """``Sam2Processor`` and ``Sam2Model`` in PyTorch, fp32."""

    sam2: str
    config: str | None
    threads: int | None

    @property
    def name(self) -> str:
        return "transformers eager fp32"

    @property
    def processes(self) -> tuple[int, ...]:
        return ()

    @contextmanager
    def open(self) -> Iterator[Network]:
        import torch

        from export.sam2 import load

        if self.threads:
            torch.set_num_threads(self.threads)
        model, processor = convert(load(self.sam2, config=self.config).model)
        with torch.inference_mode():
            yield Clicking(model, processor)


class Clicking:
    """A converted model as a network of the family sam2."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor
        self._side = int(processor.image_processor.size["height"])

    def __call__(self, pixels: Picture, point: tuple[float, float]) -> Said:
        from PIL import Image

        height, width = pixels.shape[:2]
        start = time.perf_counter()
        # a pixel's centre lies at half a pixel of the network's input there, at .5 here
        x, y = point[0] - width / self._side / 2, point[1] - height / self._side / 2
        inputs = self._processor(
            images=Image.fromarray(pixels), input_points=[[[[x, y]]]], input_labels=[[[1]]],
            return_tensors="pt",
        )  # fmt: skip
        features = self._model.get_image_embeddings(inputs.pop("pixel_values"))
        ms = {SAM2_ENCODER.name: since(start)}
        start = time.perf_counter()
        sizes = inputs.pop("original_sizes")
        outputs = self._model(**inputs, image_embeddings=features, multimask_output=True)
        (masks,) = self._processor.post_process_masks(outputs.pred_masks, sizes)
        best = int(outputs.iou_scores.flatten().argmax())
        mask: NDArray[np.bool_] = masks.flatten(0, 1)[best].numpy()
        ms[SAM2_DECODER.name] = since(start)
        return Said(ms, (rle.encode(mask, (0, 0), height=height, width=width),), (height, width))


def convert(model: Any) -> tuple[Any, Any]:
    """``model``, a ``SAM2Base``, as transformers' model and processor.

    Raises BenchmarkError for what transformers' architecture has no setting for.
    """
    from transformers import Sam2ImageProcessor, Sam2Model, Sam2Processor

    converted = Sam2Model(_config(model)).eval()
    missing, unknown = converted.load_state_dict(_weights(model.state_dict()), strict=False)
    if missing or unknown:
        raise BenchmarkError(f"weights do not fit transformers' Sam2: {(missing + unknown)[:3]}")
    side = int(model.image_size)
    pictures = Sam2ImageProcessor(size={"height": side, "width": side})
    return converted, Sam2Processor(pictures, target_size=side)


def _config(model: Any) -> Any:
    from transformers import Sam2Config

    trunk, neck = model.image_encoder.trunk, model.image_encoder.neck
    if neck.fpn_interp_model != "nearest":
        raise BenchmarkError(
            f"this SAM2 joins its levels {neck.fpn_interp_model}, transformers' only by nearest"
        )
    side, width = int(model.image_size), int(neck.d_model)
    channels = list(neck.backbone_channel_list)
    ends = [-1, *trunk.stage_ends]
    conv = neck.convs[0].conv
    decoder = model.sam_mask_decoder
    layer = decoder.transformer.layers[0]
    return Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": channels[-1],
                "num_attention_heads": trunk.blocks[0].attn.num_heads,
                "image_size": [side, side],
                "window_positional_embedding_background_size": list(trunk.pos_embed.shape[2:]),
                "num_query_pool_stages": len(trunk.q_pool_blocks),
                "blocks_per_stage": [end - start for start, end in itertools.pairwise(ends)],
                "embed_dim_per_stage": channels[::-1],
                "num_attention_heads_per_stage": [
                    trunk.blocks[end].attn.num_heads for end in trunk.stage_ends
                ],
                "window_size_per_stage": list(trunk.window_spec),
                "global_attention_blocks": list(trunk.global_att_blocks),
            },
            "backbone_channel_list": channels,
            "backbone_feature_sizes": [[side // n, side // n] for n in (4, 8, 16)],
            "fpn_hidden_size": width,
            "fpn_kernel_size": conv.kernel_size[0],
            "fpn_padding": conv.padding[0],
            "fpn_top_down_levels": list(neck.fpn_top_down_levels),
        },
        prompt_encoder_config={"hidden_size": width, "image_size": side},
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": layer.mlp.layers[0].out_features,
            "num_attention_heads": layer.self_attn.num_heads,
            "iou_head_hidden_dim": decoder.iou_prediction_head.layers[0].out_features,
        },
    )


def _weights(weights: Mapping[str, Any]) -> dict[str, Any]:
    """transformers' names for the image path's weights."""
    import torch

    found: dict[str, Any] = {}
    points: list[Any] = []
    for name, value in weights.items():
        if name.startswith(_VIDEO):
            continue
        if "point_embeddings" in name:
            points.append(value)
        elif "positional_encoding_gaussian_matrix" in name:
            found["shared_image_embedding.positional_embedding"] = value
            found["prompt_encoder.shared_embedding.positional_embedding"] = value
        else:
            renamed = name
            for pattern, ours in _RENAMED:
                renamed = re.sub(pattern, ours, renamed)
            found[renamed] = value
    found["prompt_encoder.point_embed.weight"] = torch.cat(points)
    return found
