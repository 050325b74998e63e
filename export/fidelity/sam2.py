"""SAM2 beside its own predictor: every kind of prompt, one object and several, on every picture."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.fidelity.agreement import full_mask, mask_iou
from export.fidelity.pictures import NamedPicture
from export.fidelity.prompts import Prompt, decoder_prompts, disc, prompts_for
from export.fidelity.records import (
    ANSWER,
    MASKS,
    PICTURE,
    ROUNDED,
    TENSOR,
    UPSCALING,
    YARDSTICK,
    Finding,
    overlap,
    values,
    view,
)
from export.fidelity.rounding import decided_iou, undecided
from export.fidelity.upstream import Sam2Said, UpstreamSam2
from export.graph import Arrays, Picture
from markcut import prompted
from markcut.contracts import SAM2_DECODER, SAM2_ENCODER
from markcut.geometry import placed, stretch
from markcut.runners import Runner

Floats = NDArray[np.float32]

PADDED = "padded against alone"
"""Kind of what compares an object in a padded batch with the same prompt alone."""

_ENCODER, _DECODER = SAM2_ENCODER.name, SAM2_DECODER.name
_LOGITS, _PREDICTED, _SCORE = (tensor.name for tensor in SAM2_DECODER.outputs)
_JPEG_QUALITY = 95


class OurSam2:
    """Both graphs of a bundle, asked as the pipeline asks them."""

    def __init__(self, encoder: Runner, decoder: Runner) -> None:
        self._encoder, self._decoder = encoder, decoder
        self.side = int(encoder.spec.inputs[0].dims[1])

    def features(self, pixels: Picture) -> Arrays:
        """The maps of one picture of the network's size."""
        return self._encoder.infer({SAM2_ENCODER.inputs[0].name: pixels[None]})

    def ask(
        self, features: Arrays, prompts: Sequence[Prompt], size: tuple[int, int]
    ) -> tuple[Arrays, NDArray[np.intp]]:
        """The decoder's outputs for prompts on a picture (height, width), and the masks chosen."""
        asked = decoder_prompts(prompts, self.side, height=size[0], width=size[1])
        names = [tensor.name for tensor in SAM2_DECODER.inputs[len(features) :]]
        outputs = self._decoder.infer({**features, **dict(zip(names, asked, strict=True))})
        _, labels, _, has_earlier = asked
        chosen = prompted.choose(labels, has_earlier, outputs[_LOGITS], outputs[_PREDICTED])
        return outputs, chosen


def sam2_findings(
    ours: Mapping[str, OurSam2],
    upstream: UpstreamSam2,
    pictures: Sequence[NamedPicture],
    *,
    thorough: bool,
) -> Iterator[tuple[str, Finding]]:
    """All findings of every one of ``ours``, by its name, for all pictures.

    Without ``thorough`` only the first picture is also looked at as the same tensor, since a pass
    of a large encoder takes seconds. ``thorough`` does that with all of them, looks at the first
    two as one batch, and adds upstream's resized picture and the yardstick.
    """
    for number, named in enumerate(pictures):
        for name, one in ours.items():
            if thorough or number == 0:
                yield from ((name, found) for found in _from_tensor(one, upstream, named))
            yield from (
                (name, found) for found in _from_picture(one, upstream, named, thorough=thorough)
            )
        upstream.forget_answers()
    if thorough and len(pictures) > 1:
        for name, one in ours.items():
            yield from ((name, found) for found in _batch_of_pictures(one, upstream, pictures[:2]))


def _from_tensor(ours: OurSam2, upstream: UpstreamSam2, named: NamedPicture) -> Iterator[Finding]:
    """Both look at the very same tensor: a picture of the network's size is not resized."""
    square = stretch(named.picture, ours.side)[0]
    wanted = upstream.set_image(square)
    features = ours.features(square)
    for name, map_ in wanted.items():
        yield values(_ENCODER, TENSOR, name, features[name], map_, picture=named.label)
    size = (ours.side, ours.side)
    for prompt in prompts_for(*size):
        outputs, chosen = ours.ask(features, [prompt], size)
        yield from _outputs_of(
            upstream, [prompt], outputs, chosen, size, named.label, prompt.kind, TENSOR
        )
    for kind, prompts in _batches(size):
        outputs, chosen = ours.ask(features, prompts, size)
        yield from _outputs_of(upstream, prompts, outputs, chosen, size, named.label, kind, TENSOR)
    # ours in one batch, filled up with padding; upstream one by one, without
    prompts = [prompt for prompt in prompts_for(*size, seed=1) if not prompt.refines]
    outputs, chosen = ours.ask(features, prompts, size)
    for row, prompt in enumerate(prompts):
        one = {name: array[row : row + 1] for name, array in outputs.items()}
        yield from _outputs_of(
            upstream, [prompt], one, chosen[row : row + 1], size, named.label,
            PADDED, TENSOR,
        )  # fmt: skip


def _from_picture(
    ours: OurSam2, upstream: UpstreamSam2, named: NamedPicture, *, thorough: bool
) -> Iterator[Finding]:
    """Both start from the picture: each with its own resizing and its own upscaling of masks."""
    size = (named.picture.shape[0], named.picture.shape[1])
    resized = upstream.resized(named.picture)
    views = {PICTURE: stretch(named.picture, ours.side)[0]}
    yield view(_ENCODER, views[PICTURE], resized, picture=named.label)
    if thorough:
        views[ROUNDED] = resized
    features = {level: ours.features(pixels) for level, pixels in views.items()}
    prompts = prompts_for(*size)
    answers = []
    upstream.set_image(named.picture)
    for prompt in prompts:
        several, single = _every_mask(upstream, [prompt])
        taken = _answers(upstream, [prompt])
        answers += taken
        brought = mask_iou(full_mask(single.low_res[0, 0], size), single.masks[0, 0])
        yield overlap(_DECODER, PICTURE, UPSCALING, brought, picture=named.label)
        for level, maps in features.items():
            outputs, chosen = ours.ask(maps, [prompt], size)
            yield from _masks_of(
                several, single, taken, outputs, chosen, size, named.label, prompt.kind, level
            )
    if not thorough:
        return
    upstream.set_image(_as_jpeg(named.picture))
    for prompt, answer in zip(prompts, answers, strict=True):
        iou = mask_iou(answer, _answers(upstream, [prompt])[0])
        yield overlap(_DECODER, PICTURE, YARDSTICK, iou, picture=named.label, kind=prompt.kind)


def _batch_of_pictures(
    ours: OurSam2, upstream: UpstreamSam2, pictures: Sequence[NamedPicture]
) -> Iterator[Finding]:
    """``set_image_batch`` and ``predict_batch`` beside pictures one at a time."""
    kind = "batch of pictures"
    views = [stretch(named.picture, ours.side)[0] for named in pictures]
    wanted = upstream.set_images(views)
    every = [ours.features(pixels) for pixels in views]
    for index, (named, features) in enumerate(zip(pictures, every, strict=True)):
        for name, map_ in wanted.items():
            got, reference = features[name], map_[index : index + 1]
            yield values(_ENCODER, TENSOR, name, got, reference, picture=named.label, kind=kind)
    size = (ours.side, ours.side)
    last = len(pictures) - 1
    for prompt in prompts_for(*size)[:3]:
        outputs, chosen = ours.ask(every[last], [prompt], size)
        yield from _outputs_of(
            upstream, [prompt], outputs, chosen, size, pictures[last].label, kind, TENSOR,
            picture=last,
        )  # fmt: skip


def _batches(size: tuple[int, int]) -> list[tuple[str, list[Prompt]]]:
    """Several objects in one call, as the predictor takes them: all with boxes or none.

    All with as many points, too: where the predictor is given padding it attends to it, and an
    object's mask depends on the others. Ours does not.
    """
    every = [prompt for seed in (1, 2, 3) for prompt in prompts_for(*size, seed=seed)]
    pointed = [prompt for prompt in every if prompt.kind == "several points"]
    boxed = [prompt for prompt in every if prompt.kind == "box and points"]
    return [("objects by points", pointed), ("objects by boxes", boxed)]


def _earlier(upstream: UpstreamSam2, prompts: Sequence[Prompt]) -> list[Floats] | None:
    return [disc(upstream.side // 4) for _ in prompts] if prompts[0].refines else None


def _answers(
    upstream: UpstreamSam2, prompts: Sequence[Prompt], *, picture: int | None = None
) -> list[NDArray[np.bool_]]:
    """The mask that each prompt's user would take.

    One lone click is asked with ``multimask_output`` and answered by the best predicted mask, as
    SAM2's authors advise; everything else without.
    """
    lone = all(
        len(prompt.points) == 1 and prompt.box is None and not prompt.refines for prompt in prompts
    )
    said = upstream.predict(
        prompts, multimask=lone, earlier=_earlier(upstream, prompts), picture=picture
    )
    return [
        masks[int(best)] for masks, best in zip(said.masks, said.predicted.argmax(1), strict=True)
    ]


def _every_mask(
    upstream: UpstreamSam2, prompts: Sequence[Prompt], *, picture: int | None = None
) -> tuple[Sam2Said, Sam2Said]:
    """The three masks of ``multimask_output``, and the single one whatever its stability."""
    settings: dict[str, Any] = {"earlier": _earlier(upstream, prompts), "picture": picture}
    several = upstream.predict(prompts, multimask=True, **settings)
    return several, upstream.predict(prompts, multimask=False, fallback=False, **settings)


def _outputs_of(
    upstream: UpstreamSam2,
    prompts: Sequence[Prompt],
    outputs: Arrays,
    chosen: NDArray[np.intp],
    size: tuple[int, int],
    label: str,
    kind: str,
    level: str,
    *,
    picture: int | None = None,
) -> Iterator[Finding]:
    """Logits, predicted IoUs, object scores and masks beside those of upstream's calls."""
    several, single = _every_mask(upstream, prompts, picture=picture)
    answers = _answers(upstream, prompts, picture=picture)
    wanted = {
        _LOGITS: np.concatenate([single.low_res, several.low_res], 1),
        _PREDICTED: np.concatenate([single.predicted, several.predicted], 1),
        _SCORE: several.object_score,
    }
    for name, array in wanted.items():
        yield values(_DECODER, level, name, outputs[name], array, picture=label, kind=kind)
    yield from _masks_of(several, single, answers, outputs, chosen, size, label, kind, level)


def _masks_of(
    several: Sam2Said,
    single: Sam2Said,
    answers: Sequence[NDArray[np.bool_]],
    outputs: Arrays,
    chosen: NDArray[np.intp],
    size: tuple[int, int],
    label: str,
    kind: str,
    level: str,
) -> Iterator[Finding]:
    logits = outputs[_LOGITS]
    for row, answer in enumerate(answers):
        wanted = [single.masks[row, 0], *several.masks[row]]
        masks = [full_mask(logits[row, index], size) for index in range(len(wanted))]
        unsure = [_unsure(logits[row, index], size, level) for index in range(len(wanted))]
        for mask, other, either in zip(masks, wanted, unsure, strict=True):
            iou = decided_iou(mask, other, either)
            yield overlap(_DECODER, level, MASKS, iou, picture=label, kind=kind)
        taken = int(chosen[row])
        iou = decided_iou(masks[taken], answer, unsure[taken])
        yield overlap(_DECODER, level, ANSWER, iou, picture=label, kind=kind)


def _unsure(logits: Floats, size: tuple[int, int], level: str) -> NDArray[np.bool_]:
    """Where rounding decides the mask, if both looked at one tensor: else more than that does.

    (height, width), or (1, 1) for nowhere.
    """
    if level != TENSOR:
        return np.zeros((1, 1), np.bool_)
    return undecided(placed(*size, size[0]).restore(logits))  # a square of the network's size


def _as_jpeg(picture: Picture) -> Picture:
    """``picture`` saved and read again with hardly visible losses."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return np.array(Image.open(buffer))
