"""The original CLIPSeg, written down from what is known of it: its names, and its arithmetic.

OpenAI's CLIP and the decoder above it, in the shape in which the original repository saves them.
Nothing here is shared with transformers' port, so that the exporter's conversion has a witness.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class ResidualBlock(nn.Module):
    """Norm first; tokens lead: ``[tokens, batch, width]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // 64)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, 2 * width),
                gelu=QuickGelu(),
                c_proj=nn.Linear(2 * width, width),
            )
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(ResidualBlock(width) for _ in range(layers)))


class Visual(nn.Module):
    def __init__(self, width: int, layers: int, out: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(0.3 * torch.randn(14 * 14 + 1, width))
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, out))
        self.conv1 = nn.Conv2d(3, width, 16, stride=16, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, layers)

    def activations(self, pixels: Tensor) -> list[Tensor]:
        """After every block, ``[tokens, batch, width]``."""
        patches = self.conv1(pixels)
        side = patches.shape[-1]
        first, grid = self.positional_embedding[:1], self.positional_embedding[1:]
        grid = grid.T.reshape(1, -1, 14, 14)
        grid = nn.functional.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
        x = patches.flatten(2).permute(2, 0, 1)
        x = torch.cat([self.class_embedding.expand(1, x.shape[1], -1), x])
        x = self.ln_pre(x + torch.cat([first, grid[0].flatten(1).T])[:, None])
        seen = []
        for block in self.transformer.resblocks:
            x = block(x)
            seen.append(x)
        return seen


class Clip(nn.Module):
    def __init__(self, *, width: int, text_width: int, layers: int, out: int, words: int) -> None:
        super().__init__()
        self.visual = Visual(width, layers, out)
        self.transformer = Transformer(text_width, 2)
        self.token_embedding = nn.Embedding(words, text_width)
        self.positional_embedding = nn.Parameter(0.1 * torch.randn(77, text_width))
        self.ln_final = nn.LayerNorm(text_width)
        self.text_projection = nn.Parameter(text_width**-0.5 * torch.randn(text_width, out))
        self.logit_scale = nn.Parameter(torch.tensor(2.6))

    def encode_text(self, tokens: Tensor) -> Tensor:
        """``tokens [batch, n]``, whose highest number ends the text."""
        count = tokens.shape[1]
        x = (self.token_embedding(tokens) + self.positional_embedding[:count]).permute(1, 0, 2)
        mask = torch.full((count, count), float("-inf")).triu(1)
        for block in self.transformer.resblocks:
            x = block(x, mask)
        ends = self.ln_final(x)[tokens.argmax(1), torch.arange(len(tokens))]
        return ends @ self.text_projection


class ClipDensePredT(nn.Module):
    """Its ``state_dict`` is what a plain ``torch.save`` of the original writes."""

    def __init__(self, *, refined: bool, reduce_dim: int = 16, heads: int = 4,
                 layers: Sequence[int] = (3, 6, 9)) -> None:  # fmt: skip
        super().__init__()
        self.clip_model = Clip(width=128, text_width=64, layers=10, out=48, words=49408)
        self.model = self.clip_model.visual
        self.film_mul, self.film_add = nn.Linear(48, reduce_dim), nn.Linear(48, reduce_dim)
        self.reduce = nn.Linear(128, reduce_dim)  # of another class; nobody calls it
        last = reduce_dim // 2 if refined else reduce_dim
        cell = 4 if refined else 16
        upscale = nn.ConvTranspose2d(last, 1, cell, stride=cell)
        self.trans_conv: nn.Module = upscale
        if refined:
            self.trans_conv = nn.Sequential(
                nn.Conv2d(reduce_dim, reduce_dim, 3, padding=1), nn.ReLU(),
                nn.ConvTranspose2d(reduce_dim, last, 4, stride=4), nn.ReLU(), upscale,
            )  # fmt: skip
        self.reduces = nn.ModuleList(nn.Linear(128, reduce_dim) for _ in layers)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(reduce_dim, heads, dim_feedforward=40) for _ in layers
        )
        self.layers = layers

    def forward(self, pixels: Tensor, cond: Tensor) -> Tensor:
        """Normalised ``[B, 3, 352, 352]`` and ``[B, D]`` -> logits ``[B, 352, 352]``."""
        seen = self.model.activations(pixels)
        x: Tensor | None = None
        for index, layer in enumerate(reversed(self.layers)):
            reduced = self.reduces[index](seen[layer])
            x = reduced if x is None else x + reduced
            if index == 0:
                x = self.film_mul(cond) * x + self.film_add(cond)
            x = self.blocks[index](x)
        assert x is not None
        side = round((len(x) - 1) ** 0.5)
        return self.trans_conv(x[1:].permute(1, 2, 0).unflatten(2, (side, side))).squeeze(1)

    def trained(self) -> dict[str, Tensor]:
        """What the original's trainer saves: CLIP is frozen, so it isn't there."""
        frozen = ("clip_model.", "model.")
        return {k: v for k, v in self.state_dict().items() if not k.startswith(frozen)}
