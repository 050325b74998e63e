"""The whole chain beside a chain of upstream's calls: the same picture, prompts and mask number."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from export.around import Around
from export.fidelity.agreement import full_mask, mask_iou
from export.fidelity.pictures import NamedPicture
from export.fidelity.prompts import Prompt
from export.fidelity.records import PICTURE, TENSOR, Finding, overlap
from export.fidelity.upstream import UpstreamSam2
from export.graph import Picture
from markcut.bundle import Bundle
from markcut.candidates import ink_grid
from markcut.chain import unmarked_view
from markcut.clock import Clock
from markcut.contracts import KINDS, MARKED_OBJECT, SAM2_DECODER, SAM2_ENCODER
from markcut.geometry import stretch
from markcut.marks import Mark
from markcut.mask_shape import clean, mask_threshold
from markcut.nearer import NEARER_LOOK, NEVER
from markcut.pipeline import Pipeline
from markcut.point_sampler import BOX_START, FOREGROUND, PADDING
from markcut.runners import Runner, Value

CHAIN, OBJECT = "chain", "object masks"

_FEATURES = 3  # of the decoder's inputs, before the prompts
_KIND, _SCORE, _BOX, _INK, _, _, _MASK, _IOU = (t.name for t in MARKED_OBJECT.outputs[:8])
_COORDS, _LABELS = (tensor.name for tensor in SAM2_DECODER.inputs[_FEATURES:][:2])
_PREDICTED = SAM2_DECODER.outputs[1].name

Arrays = Mapping[str, NDArray[Any]]


class Listening(Around):
    """A runner that remembers what it was last asked and what it said."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        self.asked: Arrays = {}
        self.said: Arrays = {}

    def infer(self, feeds: Mapping[str, Value]) -> dict[str, NDArray[Any]]:
        said = super().infer(feeds)
        self.asked = {name: np.asarray(value) for name, value in feeds.items()}
        self.said = said
        return said


def chain_findings(
    bundle: Bundle,
    runners: Mapping[str, Runner],
    upstream: UpstreamSam2,
    pictures: Sequence[NamedPicture],
) -> Iterator[Finding]:
    """The embedded pipeline's object masks beside upstream's, one finding per mark.

    Upstream gets the prompt that the pipeline chose, alone, and the number of the mask; what it
    answers is cleaned by the pipeline's own code, which is no part of any network. From the
    tensor, both have the pipeline's view of the picture, its marks painted over. From the
    picture, which keeps its marks, both resize and upscale by themselves, at the same prompts.
    Both look once: a nearer look is the same networks' on a part of the picture.
    """
    manifest = bundle.manifest
    once = dataclasses.replace(manifest, defaults={**manifest.defaults, NEARER_LOOK: NEVER})
    bundle = dataclasses.replace(bundle, manifest=once)
    threshold = mask_threshold(manifest.defaults)
    decoder = Listening(runners[SAM2_DECODER.name])
    pipeline = Pipeline(bundle, {**runners, SAM2_DECODER.name: decoder})
    image = MARKED_OBJECT.inputs[0].name
    for named in pictures:
        decoder.asked, decoder.said = {}, {}
        answer = pipeline.infer({image: np.frombuffer(_as_png(named.picture), np.uint8)})
        if not len(answer[_KIND]):
            continue
        size = named.picture.shape[:2]
        marks = _marks(answer, size)
        prompts = [
            Chosen(decoder.asked, *_chosen(decoder, float(score)), upstream.side, threshold)
            for score in answer[_IOU]
        ]
        objects = [_decoded(counts, size) for counts in answer[_MASK]]
        unmarked = unmarked_view(named.picture, marks, upstream.side, Clock())[0]
        drawn_on = _on_picture(named.picture, runners, decoder.asked, upstream.side)
        kept = [
            prompt.object(drawn_on[prompt.row, prompt.index], marks, size) for prompt in prompts
        ]
        for level, view, ours in ((TENSOR, unmarked, objects), (PICTURE, named.picture, kept)):
            upstream.set_image(view)
            for mark, prompt, mine in zip(marks, prompts, ours, strict=True):
                logits = _upstream_logits(upstream, prompt, view.shape[:2])
                iou = mask_iou(mine, prompt.object(logits, marks, size))
                where = f"{named.label}, {KINDS[mark.kind]}"
                yield overlap(CHAIN, level, OBJECT, iou, picture=where)


@dataclass(frozen=True)
class Chosen:
    """The prompt and the mask that the pipeline chose for a mark, of all that it asked for.

    ``row`` of the decoder's inputs, ``index`` of its masks; ``side`` is S; logits above
    ``threshold`` are the object's.
    """

    asked: Arrays
    row: int
    index: int
    side: int
    threshold: float

    @property
    def coords(self) -> NDArray[np.float32]:
        """(P, 2) xy in pixels of the network's input; a pixel's centre is at .5."""
        return np.asarray(self.asked[_COORDS][self.row] + 0.5, np.float32)

    @property
    def labels(self) -> NDArray[np.int32]:
        """(P,)."""
        return np.asarray(self.asked[_LABELS][self.row], np.int32)

    def object(
        self, logits: NDArray[np.float32], marks: Sequence[Mark], size: tuple[int, ...]
    ) -> NDArray[np.bool_]:
        """What the pipeline makes of a mask (s, s) for a picture of ``size`` (height, width)."""
        side = logits.shape[-1]
        height, width = size
        ink = np.zeros((side, side), np.float32)
        for mark in marks:
            np.maximum(ink, ink_grid(mark, side, height=height, width=width), out=ink)
        cells = self.coords[self.labels == FOREGROUND] * (side / self.side)
        return full_mask(clean(logits - self.threshold, cells, ink), (height, width))


def _on_picture(
    picture: Picture, runners: Mapping[str, Runner], asked: Arrays, side: int
) -> NDArray[np.float32]:
    """Our masks' logits at the prompts in ``asked``, on the picture with its marks."""
    view = stretch(picture, side)[0][None]
    features = runners[SAM2_ENCODER.name].infer({SAM2_ENCODER.inputs[0].name: view})
    names = [tensor.name for tensor in SAM2_DECODER.inputs]
    feeds = dict(zip(names, features.values(), strict=False))
    feeds |= {name: asked[name] for name in names[_FEATURES:]}
    logits = runners[SAM2_DECODER.name].infer(feeds)[SAM2_DECODER.outputs[0].name]
    return np.asarray(logits, np.float32)


def _upstream_logits(
    upstream: UpstreamSam2, chosen: Chosen, seen: tuple[int, ...]
) -> NDArray[np.float32]:
    """The mask that upstream's predictor finds at a prompt on what it was shown (``seen``)."""
    scale = np.array([seen[1], seen[0]], np.float32) / upstream.side
    coords, labels = np.asarray(chosen.coords * scale, np.float32), chosen.labels
    corners = coords[labels >= BOX_START]
    points = (labels != PADDING) & (labels < BOX_START)
    prompt = Prompt(
        "chosen", coords[points], labels[points],
        corners.reshape(4) if len(corners) else None,
    )  # fmt: skip
    said = upstream.predict([prompt], multimask=chosen.index > 0, fallback=False)
    return np.asarray(said.low_res[0, max(chosen.index - 1, 0)], np.float32)


def _chosen(decoder: Listening, score: float) -> tuple[int, int]:
    """Row and number of the mask whose predicted IoU the pipeline gave as the object's score."""
    predicted = np.clip(np.nan_to_num(decoder.said[_PREDICTED]), 0, 1)
    row, index = np.unravel_index(int(np.abs(predicted - score).argmin()), predicted.shape)
    return int(row), int(index)


def _marks(answer: Arrays, size: tuple[int, ...]) -> list[Mark]:
    found = []
    for kind, score, box, counts in zip(
        *(answer[n] for n in (_KIND, _SCORE, _BOX, _INK)), strict=True
    ):
        ink = _decoded(counts, size)
        x0, y0, x1, y1 = (int(value) for value in box)
        found.append(Mark(int(kind), float(score), box, ink[y0:y1, x0:x1], (x0, y0)))
    return found


def _decoded(counts: bytes, size: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(coco.decode({"size": list(size), "counts": counts}), np.bool_)


def _as_png(picture: Picture) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
