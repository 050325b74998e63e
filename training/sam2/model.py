"""The SAM2 image path as training runs it: built from a config, clicked many times a picture."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

DEMO_CONFIG = Path(__file__).with_name("demo.yaml")

# only the video predictor runs these
VIDEO_PARTS = (
    "memory_attention",
    "memory_encoder",
    "maskmem_tpos_enc",
    "no_mem_pos_enc",
    "mask_downsample",
    "obj_ptr_proj",
    "obj_ptr_tpos_proj",
    "no_obj_ptr",
    "no_obj_embed_spatial",
)


def build(config: Path) -> nn.Module:
    """``sam2.modeling.sam2_base.SAM2Base`` from a YAML config file, randomly initialised."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    options: Any = OmegaConf.load(config)
    OmegaConf.resolve(options)
    model: nn.Module = instantiate(options.model, _recursive_=True)
    for name, parameter in model.named_parameters():
        if name.split(".")[0] in VIDEO_PARTS:
            parameter.requires_grad_(False)
    return model


class ImagePath(nn.Module):
    """Encoder and decoder of a SAM2 on a batch of views with K prompts each.

    A view may be smaller than the model's pictures: a part of one, which costs a fraction. Its
    place in the picture, ``corner`` (xy in cells of 16 px), goes into the position encoding.

    ``encode(pixels [B, 3, s, s])`` normalised RGB -> the three feature maps before the decoder's
    own projections, strides 4, 8, 16, ``[B, d_model, ...]``.
    ``decode(features, ...)`` -> mask logits ``[B, K, 4, s/4, s/4]`` and predicted IoU
    ``[B, K, 4]`` (mask 0 is the single-mask answer).
    """

    def __init__(self, sam: nn.Module) -> None:
        super().__init__()
        self.sam: Any = sam

    def encode(self, pixels: Tensor) -> list[Tensor]:
        with _attention(pixels.device):
            features: list[Tensor] = self.sam.image_encoder(pixels)["backbone_fpn"]
        return features

    def decode(
        self,
        features: list[Tensor],
        points: Tensor,
        labels: Tensor,
        masks: Tensor,
        use_mask: Tensor,
        *,
        corner: tuple[int, int] = (0, 0),
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Also returns the mask tokens ``[B, K, 4, d_model]`` behind the masks.

        ``points [B, K, P, 2]`` px, ``labels [B, K, P]``, ``masks [B, K, 1, s/4, s/4]`` logits,
        ``use_mask [B, K]`` bool: where ``masks`` counts."""
        sam, prompts, decoder = self.sam, self.sam.sam_prompt_encoder, self.sam.sam_mask_decoder
        x, y = corner
        h, w = features[2].shape[-2:]
        place = prompts.get_dense_pe()[..., y : y + h, x : x + w]
        points = points + 16.0 * points.new_tensor([x, y])
        b, k = labels.shape[:2]
        embed = features[2]
        if sam.directly_add_no_mem_embed:
            embed = embed + sam.no_mem_embed.reshape(1, -1, 1, 1)
        high = [decoder.conv_s0(features[0]), decoder.conv_s1(features[1])]
        sparse, dense = prompts(
            points=(points.flatten(0, 1), labels.flatten(0, 1)), boxes=None, masks=None
        )
        dense = dense[..., :h, :w]
        if bool(use_mask.any()):
            chosen = use_mask.flatten()
            dense = dense.clone()
            dense[chosen] = prompts.mask_downscaling(masks.flatten(0, 1)[chosen]).to(dense.dtype)

        def repeat(feature: Tensor) -> Tensor:
            return feature.repeat_interleave(k, 0)

        with _attention(points.device):
            logits, iou, tokens, _ = decoder.predict_masks(
                image_embeddings=repeat(embed),
                image_pe=place,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                repeat_image=False,
                high_res_features=[repeat(f) for f in high],
            )
        return (
            logits.unflatten(0, (b, k)).float(),
            iou.unflatten(0, (b, k)).float(),
            tokens.unflatten(0, (b, k)).float(),
        )

    def decode_directly(
        self, features: list[Tensor], anchors: Tensor, router: nn.Module
    ) -> tuple[Tensor, Tensor]:
        """The decoder without its transformer: what it says when told where to look.

        ``anchors [B, K, 2]`` xy px, a place inside every object. The image feature there goes
        through ``router`` (d_model -> d_model) and stands in for the mask tokens; everything
        behind the transformer is the decoder's own. Returns mask logits ``[B, K, 4, s/4, s/4]``
        and the stand-in tokens ``[B, K, d_model]``.
        """
        decoder = self.sam.sam_mask_decoder
        embed = features[2]
        if self.sam.directly_add_no_mem_embed:
            embed = embed + self.sam.no_mem_embed.reshape(1, -1, 1, 1)
        image = embed.flatten(2).transpose(1, 2)
        for layer in decoder.transformer.layers:
            image = layer.norm4(image)
        grid = image.transpose(1, 2).view_as(embed)
        first, norm, act, second, last = decoder.output_upscaling
        fine = act(norm(first(grid) + decoder.conv_s1(features[1])))
        fine = last(second(fine) + decoder.conv_s0(features[0]))  # [B, C / 8, s/4, s/4]
        cells = (anchors // 16).clamp(max=embed.shape[-1] - 1)
        index = cells[..., 1] * embed.shape[-1] + cells[..., 0]
        there = image.gather(1, index[..., None].expand(-1, -1, image.shape[-1]))
        tokens = decoder.transformer.norm_final_attn(router(there))
        filters = torch.stack([mlp(tokens) for mlp in decoder.output_hypernetworks_mlps], 2)
        logits = torch.einsum("bkmc,bchw->bkmhw", filters.float(), fine.float())
        return logits, tokens.float()


def _attention(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU explicit products train faster than the fused attention, in bf16 by far."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def save(sam: nn.Module, config: Path, folder: Path) -> None:
    """Write ``model.pt`` and ``sam2.yaml`` as the published checkpoints are, weights in fp16."""
    import os
    import shutil

    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in sam.state_dict().items()
    }
    temporary = folder / "model.pt.tmp"
    torch.save({"model": weights}, temporary)
    os.replace(temporary, folder / "model.pt")
    shutil.copyfile(config, folder / "sam2.yaml")
