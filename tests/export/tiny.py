"""Reduced SAM2 models with random weights that are all alive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from export.random_weights import enliven


def reduced_sam2(
    *,
    trunk: dict[str, Any] | None = None,
    neck: dict[str, Any] | None = None,
    image_size: int = 128,
) -> Any:
    import sam2
    from omegaconf import OmegaConf

    published = Path(sam2.__file__).parent / "configs" / "sam2.1" / "sam2.1_hiera_t.yaml"
    config: Any = OmegaConf.load(published)
    model, width = config.model, 64
    model.image_size = image_size
    model.image_encoder.trunk.update(
        {
            "embed_dim": 16, "stages": [1, 2, 3, 2], "window_spec": [8, 4, 6, 3],
            "global_att_blocks": [4], **(trunk or {}),
        }
    )  # fmt: skip
    model.image_encoder.neck.update(
        {"d_model": width, "backbone_channel_list": [128, 64, 32, 16], **(neck or {})}
    )
    model.image_encoder.neck.position_encoding.num_pos_feats = width
    attention = model.memory_attention
    attention.update({"d_model": width, "num_layers": 1})
    attention.layer.update({"d_model": width, "dim_feedforward": 32})
    attention.layer.self_attention.embedding_dim = width
    attention.layer.cross_attention.embedding_dim = width
    model.memory_encoder.in_dim = width
    model.memory_encoder.mask_downsampler.embed_dim = width
    model.memory_encoder.fuser.layer.dim = width
    return config


def build_sam2(config: Any) -> Any:
    from hydra.utils import instantiate

    torch.manual_seed(0)
    model = instantiate(config.model, _recursive_=True).eval().requires_grad_(False)
    enliven(model)
    return model


def write_sam2(folder: Path, config: Any) -> None:
    from omegaconf import OmegaConf

    torch.save({"model": build_sam2(config).state_dict()}, folder / "model.pt")
    OmegaConf.save(config, folder / "sam2.yaml")
