"""One network on its way to ONNX, and the building blocks that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.errors import ExportError
from markcut.contracts import ModelSpec
from markcut.manifest import Checkpoint

Arrays = Mapping[str, NDArray[Any]]  # by tensor name
Picture = NDArray[np.uint8]  # (h, w, 3) RGB


@dataclass(frozen=True)
class Case:
    """Feeds to verify a graph with, and what they are in a few words."""

    name: str
    feeds: Arrays


@dataclass(frozen=True)
class Graph:
    """One network as the exporter sees it.

    ``spec`` has its sizes filled in: dims that are still symbols become dynamic axes. ``module``
    takes the inputs and returns the outputs in the order of ``spec``. ``reference`` answers the
    same feeds with the upstream project's own code. ``cases`` makes feeds from pictures.
    ``align`` brings two answers into an order in which they can be compared.
    """

    spec: ModelSpec
    module: nn.Module
    reference: Callable[[Arrays], Arrays]
    cases: Callable[[Sequence[Picture]], Iterable[Case]]
    align: Callable[[Arrays, Arrays], tuple[Arrays, Arrays]] = lambda got, wanted: (got, wanted)


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory, fp32 and in evaluation mode.

    ``sizes`` are those that it fixes in the contracts. ``graphs`` makes its graphs, of ``model``
    or of a copy of it with other weights.
    """

    origin: Checkpoint
    model: Any
    sizes: Mapping[str, int]
    graphs: Callable[[Any], list[Graph]]


class PixelInput(nn.Module):
    """uint8 RGB ``[B, H, W, 3]`` -> float32 ``[B, 3, H, W]``, ``(value / 255 - mean) / std``."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        wide = torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", (1 / (255 * wide)).float())
        self.register_buffer("shift", (-torch.tensor(mean, dtype=torch.float64) / wide).float())

    def forward(self, pixel_values: Tensor) -> Tensor:
        # the cast comes first: TensorRT takes uint8 inputs into nothing but a cast
        return (pixel_values.float() * self.scale + self.shift).permute(0, 3, 1, 2)


def attention(
    q: Tensor, k: Tensor, v: Tensor, *, width: int, hidden: Tensor | None = None
) -> Tensor:
    """Softmax attention over ``[..., tokens, width]``, spelled out, with ``q`` alone scaled.

    ``hidden`` is added to the logits: 0 for a key that counts, far below for one that does not.
    Every runtime has these products; fused attention differs between them and went wrong in
    some, and a scaled ``q`` stays in range where scaled logits do not.
    """
    logits = (q * width**-0.5) @ k.transpose(-2, -1)
    if hidden is not None:
        logits = logits + hidden
    weighted: Tensor = logits.softmax(-1) @ v
    return weighted


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A layer over these very values, ``weight [out, in]``."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight = nn.Parameter(weight.detach().contiguous())
    layer.bias = nn.Parameter(bias.detach().contiguous())
    return layer


def convolution2d(weight: Tensor, bias: Tensor, *, padding: Any) -> nn.Conv2d:
    """A layer of stride 1 over these very values, ``weight [out, in, h, w]``."""
    out, in_, height, width = weight.shape
    layer = nn.Conv2d(in_, out, (height, width), padding=padding)
    layer.weight = nn.Parameter(weight.detach().contiguous())
    layer.bias = nn.Parameter(bias.detach().contiguous())
    return layer


def spread(convolution: nn.ConvTranspose2d) -> nn.Linear:
    """A transposed convolution without overlap as a product: one token in, a cell of them out.

    Weights go from ``[in, out, h, w]`` to ``[h * w * out, in]``.
    """
    cell = convolution.kernel_size[0] * convolution.kernel_size[1]
    if convolution.kernel_size != convolution.stride or convolution.bias is None:
        raise ExportError(
            "a transposed convolution overlaps or has no bias, which none upstream does"
        )
    return linear(
        convolution.weight.permute(2, 3, 1, 0).flatten(0, 2), convolution.bias.repeat(cell)
    )
