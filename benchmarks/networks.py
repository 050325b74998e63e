"""The networks alone: ours in every runtime and precision beside their peers, pixels to answer.

Each contender gets the decoded picture and does its own preprocessing. What is compared before
times count: of CLIPSeg the hottest twentieth of the picture, of YOLO the boxes of sure marks, of
SAM2 the mask that one click gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import Array, Contender, OnRunner
from benchmarks.equality import mean_iou
from benchmarks.figures_of_time import spread
from benchmarks.pipelines import open_network
from benchmarks.seats import Seat, open_seats
from markcut import rle
from markcut.bundle import load_bundle
from markcut.contracts import (
    CLIPSEG,
    CLIPSEG_SIDE,
    SAM2_DECODER,
    SAM2_ENCODER,
    YOLO11_SEG,
    YOLO_SIDE,
)
from markcut.geometry import Picture, letterbox, stretch
from markcut.images import decode
from markcut.looks import Detection, detections
from markcut.mask_shape import to_picture
from markcut.point_sampler import FOREGROUND, Prompts, decoder_feeds
from markcut.runners import Value, infer_resident

FAMILIES = ("clipseg", "yolo11_seg", "sam2")
SURE = 0.5  # score from which YOLO's boxes are compared
_HOT = 0.95  # quantile of the heat that is compared


@dataclass(frozen=True)
class Said:
    """Milliseconds by stage, and what is compared: masks as run lengths at ``size``."""

    ms: Mapping[str, float]
    masks: tuple[bytes, ...]
    size: tuple[int, int]


class Network(Protocol):
    """One network family, loaded."""

    def __call__(self, pixels: Picture, point: tuple[float, float]) -> Said: ...


@dataclass(frozen=True)
class OwnNetwork(OnRunner):
    """A family of the bundle on one of our runners."""

    family: str = field(kw_only=True)

    @contextmanager
    def open(self) -> Iterator[Network]:
        bundle = load_bundle(self.bundle)
        names = (SAM2_ENCODER.name, SAM2_DECODER.name) if self.family == "sam2" else (self.family,)
        runners = {
            name: open_network(
                bundle, name,
                runtime=self.runtime, device=self.device, threads=self.threads,
                precision=self.precision,
            )
            for name in names
        }  # fmt: skip
        cond = bundle.cond(None)[None]
        side = bundle.manifest.sizes["S"]

        def clipseg(pixels: Picture, point: tuple[float, float]) -> Said:
            start = time.perf_counter()
            view = stretch(pixels, CLIPSEG_SIDE)[0][None]
            given: list[Array] = [view, cond]
            feeds = dict(zip((t.name for t in CLIPSEG.inputs), given, strict=True))
            (heat,) = runners[CLIPSEG.name].infer(feeds).values()
            return hot(heat[0], {CLIPSEG.name: since(start)})

        def yolo(pixels: Picture, point: tuple[float, float]) -> Said:
            start = time.perf_counter()
            view, placement = letterbox(pixels, YOLO_SIDE)
            outputs = runners[YOLO11_SEG.name].infer({YOLO11_SEG.inputs[0].name: view[None]})
            only = {name: array[0] for name, array in outputs.items()}
            found = detections(only, placement, threshold=SURE)
            return boxes(found, pixels, {YOLO11_SEG.name: since(start)})

        def sam2(pixels: Picture, point: tuple[float, float]) -> Said:
            height, width = pixels.shape[:2]
            start = time.perf_counter()
            view = stretch(pixels, side)[0][None]
            encoder, decoder = runners[SAM2_ENCODER.name], runners[SAM2_DECODER.name]
            features = infer_resident(encoder, {SAM2_ENCODER.inputs[0].name: view})
            ms = {SAM2_ENCODER.name: since(start)}
            start = time.perf_counter()
            given = Prompts(
                np.array([[point]], np.float32),
                np.array([[FOREGROUND]], np.int32),
                np.zeros(1, np.int32),
            )
            prompt = decoder_feeds(given, side, window=(0, 0, width, height))
            values: list[Value] = [*features.values(), *prompt]
            feeds = dict(zip((t.name for t in SAM2_DECODER.inputs), values, strict=True))
            logits, predicted, _ = decoder.infer(feeds).values()
            best = logits[0, 1 + int(predicted[0, 1:].argmax())]
            patch, origin = to_picture(best, height=height, width=width)
            ms[SAM2_DECODER.name] = since(start)
            mask = rle.encode(patch, origin, height=height, width=width)
            return Said(ms, (mask,), (height, width))

        try:
            yield {"clipseg": clipseg, "yolo11_seg": yolo, "sam2": sam2}[self.family]
        finally:
            for runner in runners.values():
                runner.close()


@dataclass(frozen=True)
class Call:
    """A task: one encoded picture and one click, ``calls`` times or until ``seconds`` are over."""

    frame: bytes
    point: tuple[float, float]
    calls: int = 1
    seconds: float = float("inf")

    def __call__(self, network: Network) -> list[Said]:
        pixels = decode(np.frombuffer(self.frame, np.uint8))
        began = time.perf_counter()
        found: list[Said] = []
        while len(found) < self.calls and (not found or since(began) < self.seconds * 1000):
            found.append(network(pixels, self.point))
        return found


def measure(
    families: Mapping[str, Sequence[Contender[Network]]],
    frame: bytes,
    point: tuple[float, float],
    *,
    rounds: int,
    calls: int,
    seconds: float,
    least_iou: float,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The part ``networks`` of the report: by family, the contenders' times in turns."""
    result: dict[str, Any] = {}
    for family, contenders in families.items():
        with ExitStack() as stack:
            seats, refused = open_seats(contenders, enter=stack.enter_context)
            found: dict[str, dict[str, Any]] = {}
            wanted: Said | None = None
            timed: list[Seat[Network]] = []
            for place in list(seats):
                said = place.perform(Call(frame, point, 2))[-1]
                wanted = wanted or said
                overlap = mean_iou(said.masks, wanted.masks, size=wanted.size)
                equal = overlap >= least_iou
                found[place.name] = {"iou": round(overlap, 4), "equal": equal}
                if equal:
                    timed.append(place)
            got: dict[str, list[Said]] = {}
            for number in range(rounds):
                first = number % max(1, len(timed))
                for place in timed[first:] + timed[:first]:
                    task = Call(frame, point, calls, seconds)
                    got.setdefault(place.name, []).extend(place.perform(task))
                advance()
            for name, times in got.items():
                stages = times[0].ms
                found[name]["samples"] = len(times)
                found[name]["ms"] = {
                    stage: spread([said.ms[stage] for said in times]) for stage in stages
                }
        result[family] = {"contenders": found, "refused": refused}
    return result


def since(start: float) -> float:
    """Milliseconds."""
    return (time.perf_counter() - start) * 1000


def hot(heat: NDArray[np.float32], ms: Mapping[str, float]) -> Said:
    """What CLIPSeg said: where it is hottest."""
    size = heat.shape[:2]
    mask = rle.encode(heat > np.quantile(heat, _HOT), (0, 0), height=size[0], width=size[1])
    return Said(ms, (mask,), (size[0], size[1]))


def boxes(found: Sequence[Detection], pixels: Picture, ms: Mapping[str, float]) -> Said:
    """What YOLO said: the boxes of sure marks, as masks."""
    height, width = pixels.shape[:2]
    masks = []
    for one in found:
        if one.score < SURE:
            continue
        x0, y0, x1, y1 = np.round(one.box).astype(int).tolist()
        patch = np.ones((max(1, y1 - y0), max(1, x1 - x0)), np.bool_)
        masks.append(rle.encode(patch, (x0, y0), height=height, width=width))
    return Said(ms, tuple(masks), (height, width))
