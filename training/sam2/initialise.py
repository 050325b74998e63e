"""A start that makes a small SAM2 learnable on a CPU.

Default initialisation leaves attention blind: for thousands of steps a click does not find its
place in the picture, and no pixel knows which others look like it. Both are known beforehand, so
they are written into the weights: attention begins as similarity (query and key projections equal,
value and output projections inverse to each other), and the patch embedding begins with local
colour means and gradients. After Trockman and Kolter, Mimetic Initialization of Self-Attention
Layers, 2023.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_COARSE = 0.3  # coarse levels start quietly: what they know comes later
_MIX = 0.5  # how much of the attended values a block adds at first


@torch.no_grad()
def initialise(sam: Any) -> None:
    """Overwrite the image path's fresh weights with the start described above, in place."""
    trunk = sam.image_encoder.trunk
    _patch_embedding(trunk.patch_embed.proj)
    trunk.pos_embed.zero_()  # one place in a picture is like any other, until shown otherwise
    nn.init.normal_(trunk.pos_embed_window, std=0.02)
    for block in trunk.blocks:
        _self_attention(block.attn)
    for level in sam.image_encoder.neck.convs[:-1]:
        level.conv.weight.mul_(_COARSE)
    for layer in sam.sam_mask_decoder.transformer.layers:
        # the picture's tokens start as they are: what the decoder learns without its
        # transformer (ImagePath.decode_directly) then holds with it
        layer.cross_attn_image_to_token.out_proj.weight.zero_()
        layer.cross_attn_image_to_token.out_proj.bias.zero_()


def _orthogonal(rows: int, columns: int) -> Tensor:
    return nn.init.orthogonal_(torch.empty(rows, columns))


def _self_attention(attention: Any) -> None:
    """Equal query and key; values pass through and come back at ``_MIX``."""
    dim, out = attention.dim, attention.dim_out
    query, value = _orthogonal(out, dim), _orthogonal(out, dim)
    attention.qkv.weight.copy_(torch.cat([query, query, value]))
    attention.qkv.bias.zero_()
    if dim == out:
        attention.proj.weight.copy_(_MIX * value.T)
    else:
        attention.proj.weight.mul_(_MIX)
    attention.proj.bias.zero_()


def _patch_embedding(conv: nn.Conv2d) -> None:
    """Half of the channels: colour means and their gradients at several windows; half random."""
    side = conv.kernel_size[0]
    axis = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    windows = [torch.exp(-(x**2 + y**2) / (2 * s**2)) for s in (0.35, 0.8)]
    colours = torch.tensor([[1.0, 1, 1], [1, 0, -1], [-0.5, 1, -0.5]])
    colours = colours / colours.norm(dim=1, keepdim=True)
    filters = []
    for colour in colours:
        for window in windows:
            mean = window / window.sum()
            filters += [mean, x * window / window.sum() * 2, y * window / window.sum() * 2]
        filters = [f if f.ndim == 3 else colour[:, None, None] * f for f in filters]
    bank = torch.stack(filters)[: conv.out_channels // 2]
    conv.weight[: len(bank)].copy_(bank)
    assert conv.bias is not None
    conv.bias.zero_()
