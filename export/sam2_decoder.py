"""SAM2's prompt encoder and mask decoder as one graph that answers N objects of one picture.

Three ideas make it small. Everything per-object broadcasts against the one picture's features, so
nothing is repeated. Image tokens stay ``[N, tokens, C]`` to the end: each 2 x 2 convolution
is a product that turns one token into four (or four into one), so norms and activations run along
the last axis, and only the four finished masks are put back into rows and columns. And image
tokens are never projected to be attended to (:mod:`export.sam2_attention`).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.graph import linear, spread
from export.sam2_attention import Attend, FewAnswer, FewAsk

_HIDDEN = -1e4  # a logit whose exponential is nothing, also in 16 bit


class Tokens(nn.Module):
    """``coords [N, P, 2]``, ``labels [N, P]`` -> all tokens ``[N, 6 + P + 1, C]``.

    First the decoder's own (object score, IoU, one per mask), then the points, then the padding
    point with which the predictor ends every list.
    """

    own: Tensor
    padding: Tensor

    def __init__(self, encoder: Any, decoder: Any) -> None:
        super().__init__()
        self.size = float(encoder.input_image_size[0])
        self.frequencies = encoder.pe_layer.positional_encoding_gaussian_matrix
        own = [decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens]
        # after the decoder's own: -1 padding, 0 background, 1 foreground, 2 and 3 box corners
        points = [encoder.not_a_point_embed, *encoder.point_embeddings]
        self.table = nn.Parameter(torch.cat([row.weight.detach() for row in (*own, *points)]))
        padding = len(self.table) - len(points)
        self.register_buffer("own", torch.arange(padding, dtype=torch.int32))
        self.register_buffer("padding", torch.tensor([padding], dtype=torch.int32))

    def forward(self, coords: Tensor, labels: Tensor) -> Tensor:
        real = (labels >= 0).unsqueeze(-1).float()
        points = self.place((coords + 0.5) / self.size) * real
        points = points + F.embedding(labels + 1 + self.padding, self.table)
        rows = labels[:, :1] * 0  # one per object, without measuring how many
        own = F.embedding(rows + self.own, self.table)
        return torch.cat([own, points, F.embedding(rows + self.padding, self.table)], 1)

    def hidden(self, labels: Tensor) -> Tensor:
        """``[N, 1, 1, 6 + P + 1]``, added to the logits of attention: padding is no key.

        Padding makes lists of one batch equally long, and must not change what an object gets.
        The predictor's own last point stays: upstream attends to it.
        """
        rows = labels[:, :1] * 0
        points = (labels < 0).float() * _HIDDEN
        all_ = torch.cat([(rows + self.own * 0).float(), points, rows.float()], 1)
        return all_.unsqueeze(1).unsqueeze(1)

    def place(self, coords: Tensor) -> Tensor:
        """Position encoding ``[..., C]`` of xy in 0..1."""
        angles = (2 * coords - 1) @ self.frequencies * (2 * torch.pi)
        return torch.cat([angles.sin(), angles.cos()], -1)


class MaskPrompt(nn.Module):
    """``mask [N, 1, 4g, 4g]``, ``given [N]`` -> dense tokens ``[N, g * g, C]``."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.grid = encoder.image_embedding_size[0]
        first, norm1, self.activation, second, norm2, _, third = encoder.mask_downscaling
        self.first = linear(first.weight.flatten(1), first.bias)
        self.second = linear(second.weight.permute(0, 2, 3, 1).flatten(1), second.bias)
        self.third = linear(third.weight.flatten(1), third.bias)
        self.norm1, self.norm2 = _last_axis_norm(norm1), _last_axis_norm(norm2)
        self.absent = nn.Parameter(encoder.no_mask_embed.weight.detach().reshape(1, 1, -1))

    def forward(self, mask: Tensor, given: Tensor) -> Tensor:
        g = self.grid
        # rows are 4i + 2a + c, columns 4j + 2b + d: (i, j) the token, (a, b) and (c, d) the cells
        # that the second and the first convolution put together
        cells = mask.reshape(-1, g, 2, 2, g, 2, 2).permute(0, 1, 4, 2, 5, 3, 6)
        x = self.first(cells.reshape(-1, g * g * 4, 4))
        x = self.activation(self.norm1(x)).reshape(-1, g * g, 4 * self.first.out_features)
        x = self.third(self.activation(self.norm2(self.second(x))))
        return torch.where(given.reshape(-1, 1, 1) > 0.5, x, self.absent)


class TwoWay(nn.Module):
    """One ``TwoWayAttentionBlock``: tokens to themselves, to the image, and the image to them."""

    def __init__(self, block: Any, pixels: int) -> None:
        super().__init__()
        self.to_self = Attend(block.self_attn)
        self.to_image = FewAsk(block.cross_attn_token_to_image)
        self.to_tokens = FewAnswer(block.cross_attn_image_to_token, pixels)
        self.norms = nn.ModuleList([block.norm1, block.norm2, block.norm3, block.norm4])
        self.mlp = block.mlp
        self.first = block.skip_first_layer_pe

    def forward(
        self, tokens: Tensor, image: Tensor, prompt: Tensor, position: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.first:
            tokens = self.to_self(tokens, tokens, tokens, hidden)
        else:
            q = tokens + prompt
            tokens = tokens + self.to_self(q, q, tokens, hidden)
        tokens = self.norms[0](tokens)
        placed = image + position
        tokens = self.norms[1](tokens + self.to_image(tokens + prompt, placed, image))
        tokens = self.norms[2](tokens + self.mlp(tokens))
        image = self.norms[3](image + self.to_tokens(placed, tokens + prompt, tokens, hidden))
        return tokens, image


class Upscaler(nn.Module):
    """Image tokens ``[N, g * g, C]`` -> ``[N, 16 * g * g, C / 8]``, the finer features added."""

    def __init__(self, decoder: Any, grid: int) -> None:
        super().__init__()
        first, norm, self.activation, second, _ = decoder.output_upscaling
        self.grid = grid
        self.first, self.second = spread(first), spread(second)
        self.norm = _last_axis_norm(norm)
        self.widths = first.out_channels, second.out_channels

    def forward(self, image: Tensor, feats_0: Tensor, feats_1: Tensor) -> Tensor:
        g, (wide, narrow) = self.grid, self.widths
        # [1, C / 4, 2g, 2g] and [1, C / 8, 4g, 4g] in the order of the tokens that they meet
        feats_1 = feats_1.reshape(1, wide, g, 2, g, 2).permute(0, 2, 4, 3, 5, 1)
        feats_0 = feats_0.reshape(1, narrow, g, 2, 2, g, 2, 2).permute(0, 2, 5, 3, 6, 4, 7, 1)
        x = self.first(image).reshape(-1, 4 * g * g, wide)
        x = self.activation(self.norm(x + feats_1.reshape(1, -1, wide)))
        x = self.second(x).reshape(-1, 16 * g * g, narrow)
        upscaled: Tensor = self.activation(x + feats_0.reshape(1, -1, narrow))
        return upscaled

    def rows_and_columns(self, masks: Tensor, count: int) -> Tensor:
        """``[N, count, 16 * g * g]`` in the order of the tokens -> ``[N, count, 4g, 4g]``."""
        g = self.grid
        masks = masks.reshape(-1, g, g, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
        return masks.reshape(-1, count, 4 * g, 4 * g)


class Hypernetworks(nn.Module):
    """The masks' own MLPs run as one batch: ``[N, masks, C]`` -> ``[N, masks, C / 8]``."""

    def __init__(self, mlps: Any) -> None:
        super().__init__()
        layers = list(zip(*(mlp.layers for mlp in mlps), strict=True))
        self.weights = nn.ParameterList(
            torch.stack([layer.weight.detach().T for layer in row]) for row in layers
        )
        self.biases = nn.ParameterList(
            torch.stack([layer.bias.detach() for layer in row]).unsqueeze(1) for row in layers
        )

    def forward(self, tokens: Tensor) -> Tensor:
        x = tokens.transpose(0, 1)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.relu(x) if index else x
            x = x @ weight + bias
        return x.transpose(0, 1)


class Decoder(nn.Module):
    """Features of one picture and prompts of N objects -> all four masks of each, and scores."""

    centres: Tensor

    def __init__(self, sam: Any) -> None:
        super().__init__()
        encoder, decoder = sam.sam_prompt_encoder, sam.sam_mask_decoder
        self.tokens, self.mask_prompt = Tokens(encoder, decoder), MaskPrompt(encoder)
        grid = encoder.image_embedding_size[0]
        centres = (torch.arange(grid, dtype=torch.float32) + 0.5) / grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        self.register_buffer("centres", torch.stack([x, y], -1).flatten(0, 1).unsqueeze(0))
        transformer = decoder.transformer
        self.blocks = nn.ModuleList(TwoWay(block, grid**2) for block in transformer.layers)
        self.final = FewAsk(transformer.final_attn_token_to_image)
        self.final_norm = transformer.norm_final_attn
        self.upscaler = Upscaler(decoder, grid)
        self.masks, self.width = decoder.num_mask_tokens, decoder.transformer_dim
        self.hypernetworks = Hypernetworks(decoder.output_hypernetworks_mlps)
        self.iou_head, self.object_head = decoder.iou_prediction_head, decoder.pred_obj_score_head

    def forward(
        self,
        feats_0: Tensor,
        feats_1: Tensor,
        image_embed: Tensor,
        coords: Tensor,
        labels: Tensor,
        mask: Tensor,
        mask_given: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        prompt = self.tokens(coords, labels)
        image = image_embed.reshape(1, self.width, -1).transpose(1, 2)
        image = image + self.mask_prompt(mask, mask_given)
        position = self.tokens.place(self.centres)  # runtimes fold it when they load the graph
        hidden = self.tokens.hidden(labels)
        tokens = prompt
        for block in self.blocks:
            tokens, image = block(tokens, image, prompt, position, hidden)
        placed = image + position
        tokens = self.final_norm(tokens + self.final(tokens + prompt, placed, image))
        pixels = self.upscaler(image, feats_0, feats_1)
        masks = self.hypernetworks(tokens[:, 2 : 2 + self.masks]) @ pixels.transpose(1, 2)
        return (
            self.upscaler.rows_and_columns(masks, self.masks),
            self.iou_head(tokens[:, 1]),
            self.object_head(tokens[:, 0]),
        )


def _last_axis_norm(norm: Any) -> nn.LayerNorm:
    """SAM2's channel norm for tokens whose channels are last."""
    layer = nn.LayerNorm(norm.weight.shape[0], eps=norm.eps)
    layer.weight, layer.bias = norm.weight, norm.bias
    return layer
