"""CLIPSeg: a checkpoint -> one graph from picture and condition to heat map.

Text enters the network as one vector per prompt, so the text tower runs at export and stays
behind. So do the vision blocks after the last one that the decoder looks at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.checkpoints import check_numbers
from export.clipseg_checkpoint import read_checkpoint
from export.errors import ExportError
from export.graph import Arrays, Case, Graph, Loaded, Picture, PixelInput, attention, spread
from export.pictures import stretched
from markcut.contracts import CLIPSEG, CLIPSEG_SIDE


def load(
    source: str, *, prompts: Sequence[str], clip: str | None = None
) -> tuple[Loaded, NDArray[np.float32]]:
    """The checkpoint ``source``, and the vector of each prompt.

    ``source`` is a folder, a hub id, or a file of the original repository, whose CLIP comes from
    ``clip`` if it has none. The vectors, float32 (prompts, D), come from the model's own text
    tower and tokenizer. Raises :class:`ExportError` (see :func:`read_checkpoint`).
    """
    found = read_checkpoint(source, clip=clip)
    _check_supported(found.model, source)
    conds = _conds(found.model, found.tokenizer, prompts)
    found.model.clip.text_model = None  # its work is done
    checkpoint = Loaded(
        origin=found.origin,
        model=found.model,
        sizes={"D": conds.shape[1]},
        graphs=lambda model: [graph(model, found.pixels, conds)],
    )
    return checkpoint, conds


def graph(model: Any, pixels: PixelInput, conds: NDArray[np.float32]) -> Graph:
    """The graph of ``model``, verified with ``conds``."""
    picture, cond = (t.name for t in CLIPSEG.inputs)
    (heatmap,) = (t.name for t in CLIPSEG.outputs)

    def reference(feeds: Arrays) -> Arrays:
        logits = model(
            pixel_values=pixels(torch.from_numpy(feeds[picture])),
            conditional_embeddings=torch.from_numpy(feeds[cond]),
        ).logits
        return {heatmap: logits.sigmoid().numpy()}

    def cases(pictures: Sequence[Picture]) -> Iterator[Case]:
        views = np.stack([stretched(p, CLIPSEG_SIDE) for p in pictures])
        some = np.resize(conds, (len(views), conds.shape[1]))
        for k in range(len(views)):
            yield Case("one picture", {picture: views[k : k + 1], cond: some[k : k + 1]})
        yield Case("all pictures", {picture: views, cond: some})

    return Graph(
        spec=CLIPSEG.resolve({"D": conds.shape[1]}),
        module=Clipseg(model, pixels),
        reference=reference,
        cases=cases,
    )


class Clipseg(nn.Module):
    """uint8 ``[B, 352, 352, 3]`` and ``cond [B, D]`` -> probabilities ``[B, 352, 352]``."""

    position: Tensor

    def __init__(self, model: Any, pixels: PixelInput) -> None:
        super().__init__()
        vision, decoder = model.clip.vision_model, model.decoder
        embeddings = vision.embeddings
        self.pixels, self.patches = pixels, embeddings.patch_embedding
        self.grid = CLIPSEG_SIDE // embeddings.patch_size
        tokens = self.grid**2 + 1
        # the class token is no pixel: its embedding is added where a zero stands for it
        position = embeddings.interpolate_pos_encoding(
            torch.zeros(1, tokens, embeddings.embed_dim), CLIPSEG_SIDE, CLIPSEG_SIDE
        ).clone()
        position[:, 0] += embeddings.class_embedding
        self.register_buffer("position", position.detach())
        self.norm = vision.pre_layrnorm
        self.looked_at = tuple(model.extract_layers)
        self.blocks = nn.ModuleList(
            Block(layer, tokens, norm_first=True)
            for layer in vision.encoder.layers[: max(self.looked_at) + 1]
        )
        self.reduces = decoder.reduces
        self.decoder_blocks = nn.ModuleList(
            Block(layer, tokens, norm_first=False) for layer in decoder.layers
        )
        self.conditional = decoder.conditional_layer
        self.multiply, self.add = decoder.film_mul, decoder.film_add
        self.upscaler = Upscaler(decoder.transposed_convolution, self.grid)

    def forward(self, pixel_values: Tensor, cond: Tensor) -> Tensor:
        x = self.patches(self.pixels(pixel_values))
        x = x.reshape(-1, self.patches.out_channels, self.grid**2).transpose(1, 2)
        x = self.norm(nn.functional.pad(x, (0, 0, 1, 0)) + self.position)
        seen = []
        for block in self.blocks:
            x = block(x)
            seen.append(x)
        deepest_first = [seen[index] for index in self.looked_at][::-1]
        for index, block in enumerate(self.decoder_blocks):
            reduced = self.reduces[index](deepest_first[index])
            x = x + reduced if index else reduced
            if index == self.conditional:
                x = self.multiply(cond).unsqueeze(1) * x + self.add(cond).unsqueeze(1)
            x = block(x)
        logits: Tensor = self.upscaler(x[:, 1:])
        return logits.sigmoid()


class Block(nn.Module):
    """A transformer block of either kind: norms before attention and MLP, or after."""

    def __init__(self, layer: Any, tokens: int, *, norm_first: bool) -> None:
        super().__init__()
        attend = layer.self_attn
        self.q, self.k, self.v = attend.q_proj, attend.k_proj, attend.v_proj
        self.out, self.mlp = attend.out_proj, layer.mlp
        self.norm1, self.norm2 = layer.layer_norm1, layer.layer_norm2
        self.tokens, self.heads, self.width = tokens, attend.num_heads, attend.head_dim
        self.norm_first = norm_first

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_first:
            x = x + self._attend(self.norm1(x))
            x = x + self.mlp(self.norm2(x))
        else:
            x = self.norm1(x + self._attend(x))
            x = self.norm2(x + self.mlp(x))
        return x

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = (self._heads(layer(x)) for layer in (self.q, self.k, self.v))
        x = attention(q, k, v, width=self.width).transpose(1, 2)
        out: Tensor = self.out(x.reshape(-1, self.tokens, self.heads * self.width))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.tokens, self.heads, self.width).transpose(1, 2)


class Upscaler(nn.Module):
    """Tokens ``[B, g * g, C]`` -> ``[B, 352, 352]``: transposed convolutions without overlap.

    Each is a product that turns one token into a cell of tokens; pixels are put into rows and
    columns once, at the end.
    """

    def __init__(self, layers: Any, grid: int) -> None:
        super().__init__()
        layers = list(layers) if isinstance(layers, nn.Sequential) else [layers]
        self.grid = grid
        self.smooth = layers.pop(0) if isinstance(layers[0], nn.Conv2d) else None
        transposed = [layer for layer in layers if isinstance(layer, nn.ConvTranspose2d)]
        self.cells = [layer.stride[0] for layer in transposed]
        self.layers = nn.ModuleList(spread(layer) for layer in transposed)
        self.widths = [layer.out_channels for layer in transposed]

    def forward(self, x: Tensor) -> Tensor:
        g = self.grid
        if self.smooth is not None:
            x = x.transpose(1, 2).reshape(-1, self.smooth.in_channels, g, g)
            x = self.smooth(x).reshape(-1, self.smooth.out_channels, g * g).transpose(1, 2).relu()
        tokens = g * g
        for index, (layer, cell, width) in enumerate(
            zip(self.layers, self.cells, self.widths, strict=True)
        ):
            tokens *= cell * cell
            x = layer(x.relu() if index else x).reshape(-1, tokens, width)
        # [B, i, j, a, b, c, d, ...] with row i, a, c, ... and column j, b, d, ...
        axes = 1 + len(self.cells)
        sides = [side for cell in (g, *self.cells) for side in (cell, cell)]
        order = [0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2)]
        return x.reshape(-1, *sides).permute(order).reshape(-1, CLIPSEG_SIDE, CLIPSEG_SIDE)


def _check_supported(model: Any, source: str) -> None:
    check_numbers(model, source=source, flag="--clipseg")
    blocks = len(model.clip.vision_model.encoder.layers)
    beyond = [index for index in model.extract_layers if not 0 <= index < blocks]
    if beyond:
        raise ExportError(
            f"--clipseg: the decoder of {source} looks at block {beyond[0]} of {blocks}; correct "
            "extract_layers in its config.json"
        )
    config = model.config
    depth, heads = len(model.extract_layers), config.decoder_num_attention_heads
    wanted = {
        f"conditional_layer from 0 to {depth - 1}": 0 <= config.conditional_layer < depth,
        f"decoder_num_attention_heads that divide {config.reduce_dim}": heads > 0
        and config.reduce_dim % heads == 0,
    }
    for need, met in wanted.items():
        if not met:
            raise ExportError(f"--clipseg: {source} needs {need}; correct its config.json")
    patch = model.clip.vision_model.embeddings.patch_size
    if CLIPSEG_SIDE % patch:
        raise ExportError(
            f"--clipseg: {source} has patches of {patch} pixels, of which {CLIPSEG_SIDE} is no "
            "multiple; expected 16 or 32"
        )


def _conds(model: Any, tokenizer: Any, prompts: Sequence[str]) -> NDArray[np.float32]:
    tokens = tokenizer(list(prompts), padding=True, return_tensors="pt")
    limit = model.config.text_config.max_position_embeddings
    if tokens.input_ids.shape[1] > limit:
        raise ExportError(f"--prompt: a text is longer than the {limit} tokens that CLIPSeg reads")
    conds = model.get_conditional_embeddings(
        batch_size=len(prompts), input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
    )
    vectors: NDArray[np.float32] = conds.numpy().astype(np.float32)
    return vectors
