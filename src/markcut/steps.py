"""The ensembles' own steps as functions from arrays to arrays.

Each takes the tensors of its specification in ``contracts``, the request's parameters and what
it knows of the bundle, and gives its outputs in their order. Triton's Python backends call them;
one after the other, with the networks between them, they are :class:`~markcut.pipeline.Pipeline`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markcut import chain, prompted
from markcut.answer import build_answer
from markcut.bundle import Bundle
from markcut.clock import Clock
from markcut.contracts import (
    CLIPSEG,
    MASK_SELECTION,
    POINT_SAMPLER,
    PROMPT_SELECTION,
    SAM2_DECODER,
    SAM2_ENCODER,
    SPANS,
    YOLO11_SEG,
    ModelSpec,
)
from markcut.nearer import leave_room, whole
from markcut.parameters import Parameters, parse_parameters
from markcut.passing import pack_marks, pack_prompts, unpack_marks, unpack_prompts
from markcut.point_sampler import decoder_feeds, sample_prompts

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Asked = Mapping[str, object]
Segment = Callable[[Array, Sequence[Array], Clock], Arrays]


def preprocess(inputs: Arrays, parameters: Asked, bundle: Bundle) -> list[Array]:
    """``contracts.PREPROCESS``: parameters and picture are proved usable here."""
    asked = _asked(parameters, bundle)
    clock = Clock()
    views = chain.preprocess(chain.only_image(inputs), clock)
    cond = bundle.cond(asked.prompt)[None]
    return [views.picture, views.clipseg, cond, views.yolo11_seg, clock.ticks()]


def point_sampler(
    inputs: Arrays, parameters: Asked, bundle: Bundle, *, detect: Callable[[Array], Arrays]
) -> list[Array]:
    """``contracts.POINT_SAMPLER``; ``detect`` runs YOLO on one more view (1, 640, 640, 3)."""
    picture, heatmap, *looked, ticks = _ordered(POINT_SAMPLER, inputs)
    asked = _asked(parameters, bundle)
    clock = Clock(ticks)
    for network in (CLIPSEG, YOLO11_SEG):
        _count(clock, network, inputs)
    outputs = {tensor.name: array for tensor, array in zip(YOLO11_SEG.outputs, looked, strict=True)}
    told = bundle.manifest
    marks = chain.find_marks(
        picture, heatmap, outputs, detect, asked, told.defaults, told.belief, clock
    )
    height, width = picture.shape[:2]
    side = told.sizes["S"]
    view = chain.unmarked_view(picture, marks, side, clock)
    with clock.stage("point_sampler"):
        prompts = pack_prompts(
            sample_prompts(picture, marks, seed=asked.seed, points_per_mark=asked.points_per_mark)
        )
        feeds = decoder_feeds(prompts, side, window=whole(height, width))
    again = leave_room(marks, height=height, width=width, defaults=told.defaults)
    return [view, *feeds, prompts.coords, prompts.owners, *pack_marks(marks),
            picture if again else picture[:0, :0], np.array([height, width], np.int32),
            clock.ticks()]  # fmt: skip


def mask_selection(
    inputs: Arrays, parameters: Asked, bundle: Bundle, *, segment: Segment
) -> list[Array]:
    """``contracts.MASK_SELECTION``: the answer of ``contracts.MARKED_OBJECT``.

    ``segment`` runs SAM2 on one more view (1, S, S, 3) with the decoder's last four inputs, gives
    its outputs and counts its time.
    """
    given = _ordered(MASK_SELECTION, inputs)
    coords, labels, owners, *packed, picture, size, ticks = given[len(SAM2_DECODER.outputs) :]
    clock = Clock(ticks)
    _count_sam2(clock, inputs)
    marks, prompts = unpack_marks(*packed), unpack_prompts(coords, labels, owners)
    height, width = size.tolist()
    told = bundle.manifest
    selections = chain.find_objects(
        picture,
        inputs,
        lambda view, feeds: segment(view, feeds, clock),
        marks, prompts, height=height, width=width, side=told.sizes["S"],
        defaults=told.defaults, clock=clock,
    )  # fmt: skip
    with clock.stage("encode"):
        answer = build_answer(marks, prompts, selections, height=height, width=width)
    return [*answer, clock.milliseconds()]


def prompt_preprocess(inputs: Arrays, parameters: Asked, bundle: Bundle) -> list[Array]:
    """``contracts.PROMPT_PREPROCESS``: prompts and picture are proved usable here."""
    prompted.check_parameters(parameters)
    clock = Clock()
    side = bundle.manifest.sizes["S"]
    view, size = prompted.preprocess(inputs, side, clock)
    prompts = prompted.parse_prompts(inputs, side, height=size[0], width=size[1])
    feeds = prompted.feeds(prompts, side, height=size[0], width=size[1])
    return [view, *feeds, np.array(size, np.int32), clock.ticks()]


def prompt_selection(inputs: Arrays, parameters: Asked, bundle: Bundle) -> list[Array]:
    """``contracts.PROMPT_SELECTION``: the answer of ``contracts.PROMPTED_OBJECT``."""
    labels, has_mask, size, ticks = _ordered(PROMPT_SELECTION, inputs)[len(SAM2_DECODER.outputs) :]
    clock = Clock(ticks)
    _count_sam2(clock, inputs)
    height, width = size.tolist()
    answer = prompted.answer(inputs, labels, has_mask, height=height, width=width, clock=clock)
    return [*answer, clock.milliseconds()]


def _asked(parameters: Asked, bundle: Bundle) -> Parameters:
    manifest = bundle.manifest
    return parse_parameters(parameters, defaults=manifest.defaults, prompts=manifest.prompts)


def _ordered(spec: ModelSpec, inputs: Arrays) -> list[Array]:
    return [inputs[tensor.name] for tensor in spec.inputs]


def _count(clock: Clock, network: ModelSpec, inputs: Arrays) -> None:
    """A network's own time where it tells it, else the time since the step before."""
    if SPANS[network.name] in inputs:
        clock.add_span(network.name, inputs[SPANS[network.name]])
    else:
        clock.add_wait(network.name)


def _count_sam2(clock: Clock, inputs: Arrays) -> None:
    # without spans the encoder's time cannot be told from the decoder's, and counts there
    if SPANS[SAM2_ENCODER.name] in inputs:
        clock.add_span(SAM2_ENCODER.name, inputs[SPANS[SAM2_ENCODER.name]])
    _count(clock, SAM2_DECODER, inputs)
