"""Attention of SAM2's mask decoder: prompt tokens to themselves, to the image, and it to them.

Between a dozen prompt tokens and thousands of image tokens the few alone are projected, to both
sides of a product: ``(q Wq)(x Wk)^T = (q Wq Wk^T) x^T``. All heads of it are one product: a prompt
token appears in it once per head, with zeros for the channels of the others.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from export.graph import attention

_ROOM = 5.5  # shares stay below exp(-5.5), so that 16 bit can hold the sum of thousands of values


class Reshape(torch.autograd.Function):
    """``x`` in another shape, in which 0 stands for the same size as before on that axis.

    Objects and tokens are dynamic here. ONNX's Reshape can copy such sizes by itself, where a
    trace would measure them and put the shape together in six nodes.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        sizes = [size or x.shape[axis] for axis, size in enumerate(shape)]
        return x.reshape(sizes)

    @staticmethod
    def symbolic(g: Any, x: Any, shape: tuple[int, ...]) -> Any:
        return g.op("Reshape", x, g.op("Constant", value_t=torch.tensor(shape)))


class Attend(nn.Module):
    """``sam2.modeling.sam.transformer.Attention``, spelled out."""

    def __init__(self, attend: Any) -> None:
        super().__init__()
        self.q, self.k, self.v = attend.q_proj, attend.k_proj, attend.v_proj
        self.out, self.heads = attend.out_proj, attend.num_heads
        self.width = attend.internal_dim // attend.num_heads

    def forward(self, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor) -> Tensor:
        q, k, v = self._split(self.q(q)), self._split(self.k(k)), self._split(self.v(v))
        x = attention(q, k, v, width=self.width, hidden=hidden).transpose(1, 2)
        out: Tensor = self.out(Reshape.apply(x, (0, 0, -1)))
        return out

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = Reshape.apply(x, (0, 0, self.heads, -1))
        return heads.transpose(1, 2)


class Few(nn.Module):
    """Attention between few tokens ``[N, T, C]`` and the many of an image, whichever of them ask.

    Internally a token is ``heads`` tokens, each with the channels of one head and 0 elsewhere.
    """

    own: Tensor

    def __init__(self, attend: Any) -> None:
        super().__init__()
        self.q, self.k, self.v = attend.q_proj, attend.k_proj, attend.v_proj
        self.out, self.heads, self.inner = attend.out_proj, attend.num_heads, attend.internal_dim
        self.scale = (self.inner // self.heads) ** -0.5
        head = torch.arange(self.inner) * self.heads // self.inner
        own = head == torch.arange(self.heads).unsqueeze(1)  # channels of every head
        self.register_buffer("own", own.float().reshape(1, self.heads, 1, self.inner))

    def _per_head(self, x: Tensor) -> Tensor:
        """``[N, T, inner]`` -> ``[N, heads * T, inner]``."""
        split: Tensor = Reshape.apply(x.unsqueeze(1) * self.own, (0, -1, self.inner))
        return split


class FewAsk(Few):
    """The tokens ask the image."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # what k's bias adds is the same for all keys, so softmax takes it out
        asked = self._per_head(self.q(q) * self.scale) @ self.k.weight
        logits = asked @ k.transpose(1, 2)
        # a softmax whose sum divides the few results instead of the many shares
        shares = (logits - (logits.amax(-1, keepdim=True) + _ROOM)).exp()
        got = self.v(shares @ v / shares.sum(-1, keepdim=True))
        by_head = Reshape.apply(got, (0, self.heads, -1, self.inner)) * self.own
        out: Tensor = self.out(by_head.sum(1))
        return out


class FewAnswer(Few):
    """The image's ``pixels`` ask the tokens; ``hidden [N, 1, 1, T]`` as in :func:`attention`."""

    def __init__(self, attend: Any, pixels: int) -> None:
        super().__init__(attend)
        self.pixels = pixels

    def forward(self, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor) -> Tensor:
        keys = self._per_head(self.k(k) * self.scale)
        # tokens before pixels: a softmax along so few vectorises across the pixels
        logits = (keys @ self.q.weight) @ q.transpose(1, 2) + (keys @ self.q.bias).unsqueeze(-1)
        by_head = Reshape.apply(logits, (0, self.heads, -1, self.pixels)) + hidden.transpose(2, 3)
        shares = Reshape.apply(by_head.softmax(2), (0, -1, self.pixels)).transpose(1, 2)
        out: Tensor = shares @ (self._per_head(self.v(v)) @ self.out.weight.T) + self.out.bias
        return out
