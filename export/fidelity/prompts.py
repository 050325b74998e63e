"""What SAM2 is asked when two implementations of it are compared, on a picture of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markcut import prompted
from markcut.contracts import PROMPTED_OBJECT

_COORDS, _LABELS, _BOXES, _EARLIER = (tensor.name for tensor in PROMPTED_OBJECT.inputs[1:])

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Prompt:
    """One object's prompt in pixels of the picture; a pixel's centre is at .5.

    ``points`` (n, 2) xy with ``labels`` (n,) 1 foreground and 0 background, ``box`` (4,) xyxy or
    None; ``refines`` asks for an earlier answer as a further prompt.
    """

    kind: str
    points: Floats
    labels: NDArray[np.int32]
    box: Floats | None = None
    refines: bool = False


def prompts_for(height: int, width: int, *, seed: int = 0) -> list[Prompt]:
    """Every kind of prompt that SAM2's predictor takes, on a picture (height, width)."""
    rng = np.random.default_rng((seed, height, width))
    size = np.array([width, height])

    def points(count: int) -> Floats:
        inside = rng.uniform(0.1, 0.9, (count, 2)) * size
        return np.asarray(np.floor(inside) + 0.5, np.float32)  # a pixel's centre

    def box() -> Floats:
        centre, half = rng.uniform(0.35, 0.65, 2), rng.uniform(0.12, 0.3, 2)
        return np.concatenate([(centre - half) * size, (centre + half) * size]).astype(np.float32)

    def labels(*values: int) -> NDArray[np.int32]:
        return np.array(values, np.int32)

    nothing = np.zeros((0, 2), np.float32)
    middle = np.asarray(np.floor(size[None] / 2) + 0.5, np.float32)
    return [
        Prompt("one point", middle, labels(1)),
        Prompt("one point", points(1), labels(1)),
        Prompt("several points", points(3), labels(1, 1, 0)),
        Prompt("box", nothing, labels(), box()),
        Prompt("box and points", points(2), labels(1, 0), box()),
        Prompt("point and mask", points(1), labels(1), refines=True),
        Prompt("box and mask", nothing, labels(), box(), refines=True),
    ]


def disc(side: int) -> Floats:
    """Logits (side, side) of a disc in the middle: an earlier answer that depends on no model."""
    x = np.arange(side, dtype=np.float32) + 0.5 - side / 2
    radius = np.hypot(x[:, None], x)
    logits: Floats = np.clip((0.25 * side - radius) * (40 / side), -10, 10).astype(np.float32)
    return logits


def decoder_prompts(
    prompts: Sequence[Prompt],
    side: int,
    *,
    height: int,
    width: int,
    earlier: Sequence[Floats | None] | None = None,
) -> list[NDArray[np.generic]]:
    """``prompts`` as the decoder's last four inputs, by the pipeline's own code.

    ``side`` is S; ``earlier`` holds each prompt's logits (S/4, S/4), by default :func:`disc` for
    those that refine.
    """
    if earlier is None:
        earlier = [disc(side // 4) if prompt.refines else None for prompt in prompts]
    most = max(1, *(len(prompt.points) for prompt in prompts))
    rows = len(prompts)
    given = {
        _COORDS: np.zeros((rows, most, 2), np.float32),
        _LABELS: np.full((rows, most), -1, np.int32),
        _BOXES: np.full((rows, 4), np.nan, np.float32),
        _EARLIER: np.full((rows, side // 4, side // 4), np.nan, np.float32),
    }
    for row, (prompt, logits) in enumerate(zip(prompts, earlier, strict=True)):
        given[_COORDS][row, : len(prompt.points)] = prompt.points
        given[_LABELS][row, : len(prompt.points)] = prompt.labels
        if prompt.box is not None:
            given[_BOXES][row] = prompt.box
        if logits is not None:
            given[_EARLIER][row] = logits
    parsed = prompted.parse_prompts(given, side, height=height, width=width)
    return list(prompted.feeds(parsed, side, height=height, width=width))
