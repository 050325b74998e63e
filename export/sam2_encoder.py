"""SAM2's image encoder, rewritten around its windows so that little but arithmetic is left.

The upstream forward cuts every map into windows before each attention and glues it together
afterwards. Here tokens stay cut: ``[B * windows, tokens, C]``. Norms and MLPs work on single
tokens, so the cut changes only between blocks whose windows differ, pooling happens inside the
windows, and attention over the whole map is one window. Query, key and value are three products
(a split of one product is a slow copy in some runtimes). What is pooled is cut into its parts
before it is projected, while it is narrow, and the maximum is taken part by part: runtimes reduce
along an axis several times as slowly. Three axes are what they have fast norms for. The neck's
convolutions are merged with the decoder's projections behind them: both are linear, and so is the
upsampling between.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.errors import ExportError
from export.graph import PixelInput, attention, convolution2d, linear

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # sam2.utils.transforms.SAM2Transforms


@dataclass(frozen=True)
class Windows:
    """How a square map of ``side`` tokens is cut: windows of ``window``, padded at the far ends."""

    side: int
    window: int

    @property
    def grid(self) -> int:
        return -(-self.side // self.window)

    @property
    def padding(self) -> int:
        return self.grid * self.window - self.side

    def pooled(self, stride: int) -> Windows:
        return Windows(self.side // stride, self.window // stride)

    def cut(self, x: Tensor, channels: int) -> Tensor:
        """``[B, side, side, C]`` -> ``[B * windows, window * window, C]``."""
        if self.padding:
            x = F.pad(x, (0, 0, 0, self.padding, 0, self.padding))
        if self.grid > 1:
            x = x.reshape(-1, self.grid, self.window, self.grid, self.window, channels)
            x = x.transpose(2, 3)
        return x.reshape(-1, self.window**2, channels)

    def cut_channels_first(self, x: Tensor, channels: int) -> Tensor:
        """``[B, C, side, side]`` -> ``[B * windows, window * window, C]`` in one transposition."""
        if self.padding:
            x = F.pad(x, (0, self.padding, 0, self.padding))
        x = x.reshape(-1, channels, self.grid, self.window, self.grid, self.window)
        return x.permute(0, 2, 4, 3, 5, 1).reshape(-1, self.window**2, channels)

    def join(self, x: Tensor, channels: int) -> Tensor:
        """``[B * windows, window * window, C]`` -> ``[B, side, side, C]``."""
        if self.grid > 1:
            x = x.reshape(-1, self.grid, self.grid, self.window, self.window, channels)
            x = x.transpose(2, 3)
        padded = self.side + self.padding
        x = x.reshape(-1, padded, padded, channels)
        return x[:, : self.side, : self.side] if self.padding else x

    def recut(self, x: Tensor, to: Windows, channels: int) -> Tensor:
        """The same map, cut as ``to`` says."""
        if to == self:
            return x
        return to.cut(self.join(x, channels), channels)

    def inside(self) -> Tensor:
        """1 for tokens of the map and 0 for padding, ``[windows, window * window, 1]``."""
        return self.cut(torch.ones(1, self.side, self.side, 1), 1)


class Block(nn.Module):
    """One ``MultiScaleBlock`` of Hiera on tokens that are already cut into ``windows``."""

    inside: Tensor | None

    def __init__(self, block: Any, windows: Windows) -> None:
        super().__init__()
        self.windows = windows
        self.after = windows.pooled(block.q_stride[0] if block.q_stride else 1)
        self.dim, self.dim_out = block.dim, block.dim_out
        self.stride = block.q_stride[0] if block.q_stride else 1
        if windows.window % self.stride or windows.side % self.stride:
            raise ExportError(
                f"sam2: windows of {windows.window} on a map of {windows.side} cannot be pooled by "
                f"{self.stride}; choose window_spec and image_size in its config to be divisible"
            )
        self.heads = block.attn.num_heads
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.proj = block.proj if block.dim != block.dim_out else None
        self.q, self.k, self.v = (
            linear(*parts)
            for parts in zip(
                block.attn.qkv.weight.chunk(3), block.attn.qkv.bias.chunk(3), strict=True
            )
        )
        self.out = block.attn.proj
        self.register_buffer("inside", windows.inside() if windows.padding else None)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        if self.inside is not None:  # padding must be zero whenever attention sees it
            count, tokens = self.windows.grid**2, self.windows.window**2
            normed = normed.reshape(-1, count, tokens, self.dim) * self.inside
            normed = normed.reshape(-1, tokens, self.dim)
        pooled = self._pooled(normed)
        shortcut = x if self.proj is None else _largest(self.proj, pooled)
        x = shortcut + self.out(self._attend(_largest(self.q, pooled), normed))
        answer: Tensor = x + self.mlp(self.norm2(x))
        return answer

    def _attend(self, q: Tensor, x: Tensor) -> Tensor:
        asking, tokens = self.after.window**2, self.windows.window**2
        k, v = self._heads(self.k(x), tokens), self._heads(self.v(x), tokens)
        x = attention(self._heads(q, asking), k, v, width=self.dim_out // self.heads)
        if self.heads > 1:
            x = x.transpose(1, 2)
        return x.reshape(-1, asking, self.dim_out)

    def _heads(self, x: Tensor, tokens: int) -> Tensor:
        """``[n, tokens, C]`` -> ``[n, heads, tokens, C / heads]``, or without that axis."""
        if self.heads == 1:
            return x
        return x.reshape(-1, tokens, self.heads, self.dim_out // self.heads).transpose(1, 2)

    def _pooled(self, x: Tensor) -> list[Tensor]:
        """The tokens that are pooled into one, one list of them for each of their places."""
        if self.stride == 1:
            return [x]
        side, stride = self.after.window, self.stride
        rows = x.reshape(-1, side, stride, self.windows.window * self.dim)
        rows_of = [rows[:, :, i].reshape(-1, side, side, stride, self.dim) for i in range(stride)]
        return [
            row[:, :, :, j].reshape(-1, side * side, self.dim)
            for row in rows_of
            for j in range(stride)
        ]


def _largest(layer: nn.Module, pooled: list[Tensor]) -> Tensor:
    """``layer`` of all parts, the maximum of them."""
    found: Tensor = functools.reduce(torch.maximum, map(layer, pooled))
    return found


class Lateral(nn.Module):
    """One stage to one output of the neck: tokens ``[B * windows, w * w, C]`` -> a map."""

    def __init__(self, convolution: Any, weight: Tensor, bias: Tensor, windows: Windows) -> None:
        super().__init__()
        self.windows, self.dim, self.dim_out = windows, weight.shape[1], weight.shape[0]
        self.single = tuple(convolution.kernel_size) == (1, 1)
        if self.single:  # a product on tokens: what has to be put together is narrower after it
            self.layer: nn.Module = linear(weight.flatten(1), bias)
        else:
            self.layer = convolution2d(weight, bias, padding=convolution.padding)

    def forward(self, tokens: Tensor) -> Tensor:
        if self.single:
            return self._joined(self.layer(tokens), self.dim_out)
        joined: Tensor = self.layer(self._joined(tokens, self.dim))
        return joined

    def _joined(self, tokens: Tensor, channels: int) -> Tensor:
        # channels move last: both transpositions at once copy single numbers all over the map
        return self.windows.join(tokens, channels).permute(0, 3, 1, 2)


class Pyramid(nn.Module):
    """One output of the neck: the stages from its own down, brought to its width and summed."""

    def __init__(self, laterals: list[Lateral], mode: str) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(laterals)
        self.mode = mode

    def forward(self, stages: list[Tensor]) -> Tensor:
        coarse_to_fine = list(zip(stages, self.laterals, strict=False))[::-1]
        stage, lateral = coarse_to_fine[0]
        total: Tensor = lateral(stage)
        for stage, lateral in coarse_to_fine[1:]:
            total = lateral(stage) + F.interpolate(total, scale_factor=2.0, mode=self.mode)
        return total


class Position(nn.Module):
    """Hiera's position embedding, ``[1, windows, w * w, C]``, made from its small parameters.

    Runtimes fold it when they load the graph, so that the file need not hold a whole map of it.
    Bicubic resizing is a product along each axis; its matrix is the resized identity.
    """

    resize: Tensor

    def __init__(self, trunk: Any, windows: Windows) -> None:
        super().__init__()
        self.windows = windows
        coarse, tile = trunk.pos_embed.shape[-1], trunk.pos_embed_window.shape[-1]
        self.tile, self.dim = tile, trunk.pos_embed.shape[1]
        if windows.side % tile:
            raise ExportError(
                f"sam2: a first map of {windows.side} is no multiple of its window of {tile}; "
                "choose window_spec and image_size in its config to be divisible"
            )
        self.coarse = nn.Parameter(trunk.pos_embed.detach()[0].permute(1, 2, 0).flatten(1))
        self.window = nn.Parameter(trunk.pos_embed_window.detach()[0].permute(1, 2, 0)[:, None])
        self.register_buffer(
            "resize",
            F.interpolate(
                torch.eye(coarse)[None, None], size=(windows.side, coarse), mode="bicubic"
            )[0, 0],
        )

    def forward(self) -> Tensor:
        side, tile = self.windows.side, self.tile
        rows = (self.resize @ self.coarse).reshape(side, -1, self.dim)
        map_ = (self.resize @ rows).reshape(side // tile, tile, side // tile, tile, self.dim)
        map_ = (map_ + self.window).reshape(1, side, side, self.dim)
        return self.windows.cut(map_, self.dim).unsqueeze(0)


class Encoder(nn.Module):
    """uint8 ``[B, S, S, 3]`` -> the three maps that the mask decoder takes, channels first."""

    def __init__(self, sam: Any) -> None:
        super().__init__()
        trunk = sam.image_encoder.trunk
        self.pixels = PixelInput(MEAN, STD)
        self.patches = trunk.patch_embed.proj
        blocks = []
        side = sam.image_size // self.patches.stride[0]
        for block in trunk.blocks:
            blocks.append(Block(block, Windows(side, block.window_size or side)))
            side = blocks[-1].after.side
        self.blocks = nn.ModuleList(blocks)
        self.cuts = [(block.windows, block.dim, block.after) for block in blocks]
        self.ends = tuple(trunk.stage_ends)
        self.position = Position(trunk, blocks[0].windows)
        self.pyramids = _pyramids(sam, [blocks[end].after for end in self.ends])

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        cut, dim, _ = self.cuts[0]
        x = cut.cut_channels_first(self.patches(self.pixels(pixel_values)), dim)
        x = x.reshape(-1, cut.grid**2, cut.window**2, dim) + self.position()
        x = x.reshape(-1, cut.window**2, dim)
        stages = []
        for index, (block, (wanted, dim, after)) in enumerate(
            zip(self.blocks, self.cuts, strict=True)
        ):
            x = block(cut.recut(x, wanted, dim))
            cut = after
            if index in self.ends:
                stages.append(x)
        return tuple(pyramid(stages[level:]) for level, pyramid in enumerate(self.pyramids))


def _pyramids(sam: Any, stages: list[Windows]) -> nn.ModuleList:
    """The neck for strides 4, 8 and 16, each merged with what the decoder projects it by."""
    neck, decoder = sam.image_encoder.neck, sam.sam_mask_decoder
    convolutions = [conv.conv for conv in neck.convs][::-1]  # finest first
    memory = sam.no_mem_embed.reshape(-1) if sam.directly_add_no_mem_embed else torch.zeros(())
    behind = [
        (decoder.conv_s0.weight.flatten(1), decoder.conv_s0.bias),
        (decoder.conv_s1.weight.flatten(1), decoder.conv_s1.bias),
        (None, memory),
    ]
    pyramids = nn.ModuleList()
    for level, (projection, offset) in enumerate(behind):
        laterals = []
        for below in range(level, len(convolutions)):
            if below > level and below - 1 not in neck.fpn_top_down_levels:
                break
            convolution = convolutions[below]
            weight, bias = convolution.weight, convolution.bias
            if projection is not None:
                weight = torch.einsum("om,mihw->oihw", projection, weight)
                bias = projection @ bias
            if below == level:
                bias = bias + offset
            laterals.append(Lateral(convolution, weight, bias, stages[below]))
        pyramids.append(Pyramid(laterals, neck.fpn_interp_model))
    return pyramids
