"""Random weights for networks without published ones, fit to compare two programs on.

Every weight must be alive, so that nothing can be left out unnoticed, and the answers must not hang
on the last bit of fp32, or the upstream project would not agree with itself either: a network
that magnifies rounding, logits in the hundreds and scores that are all 1 do that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any


def enliven(model: Any) -> None:
    """Give vectors and zeros some size: nothing may be left out unnoticed."""
    import torch

    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.dim() < 2 or not parameter.any():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)


def settle_yolo(model: Any) -> None:
    """Make of a fresh ultralytics ``SegmentationModel`` one whose detections are well apart.

    Its norms get the statistics of real pictures, and biases that keep most activations where SiLU
    is nearly straight: with biases around zero a random network of this depth is chaotic, and
    enlarged the rounding of fp32 to 2e-4 of its features. The layers that answer get, channel
    by channel, means and deviations under which scores are spread between 0 and 1 and none is so
    near to 1 that different logits share a score: suppression asks which of two scores is larger.
    """
    import torch

    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None  # running statistics become those of the pictures below
            torch.nn.init.uniform_(norm.weight, 0.5, 1.0)
            torch.nn.init.normal_(norm.bias, 1.0, 0.3)
    head = model.model[-1]
    for norm in head.proto.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):  # masks need values on both sides of nothing
            torch.nn.init.uniform_(norm.weight, 1.5, 2.5)
            torch.nn.init.normal_(norm.bias, 0.0, 0.3)
    views = _views()
    with contextlib.ExitStack() as stack, torch.no_grad():
        model.train()._predict_once(views)
        for branch, mean, deviation in (
            (head.cv2, 0.0, 1.0),  # logits of distances
            (head.cv3, -4.0, 1.5),  # logits of kinds
            (head.cv4, 0.0, 0.1),  # coefficients of masks
        ):
            layers = [level[-1] for level in branch]
            stack.enter_context(spread(layers, deviation, mean=mean, by_channel=True))
        model.eval()._predict_once(views)


@contextlib.contextmanager
def spread(
    layers: Sequence[Any], deviation: float, *, mean: float | None = None, by_channel: bool = False
) -> Iterator[None]:
    """Scale the weights of ``layers`` for the answers (B, C, ...) they give in the block.

    Their standard deviation becomes ``deviation`` and their mean ``mean`` (None: the bias stays),
    of all channels together or of each one. Where random logits run into the hundreds, a sigmoid
    turns the last bit of any fp32 forward, upstream's as well, into a difference of 1e-4.
    """
    seen: dict[Any, Any] = {}

    def note(layer: Any, inputs: Any, answer: Any) -> None:
        seen[layer] = answer

    handles = [layer.register_forward_hook(note) for layer in layers]
    yield
    for handle in handles:
        handle.remove()
    for layer, answer in seen.items():
        channels = answer.transpose(0, 1).flatten(1) if by_channel else answer.reshape(1, -1)
        factor = deviation / channels.std(1)
        layer.weight.data *= factor.reshape(-1, *[1] * (layer.weight.dim() - 1))
        if mean is not None:
            layer.bias.data = mean + factor * (layer.bias - channels.mean(1)).data


def _views() -> Any:
    """Pictures as a YOLO takes them."""
    import numpy as np
    import torch

    from export.pictures import letterboxed, verification_pictures

    views = np.stack([letterboxed(picture, 640) for picture in verification_pictures()])
    return torch.from_numpy(views).permute(0, 3, 1, 2).float() / 255
