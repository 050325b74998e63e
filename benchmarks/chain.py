"""The whole chain, JPEG bytes to masks: contenders take turns, once their answers are the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from benchmarks.contenders import Contender, Engine, Points, Reply
from benchmarks.equality import mean_box_iou, paired_iou
from benchmarks.figures_of_time import spread
from benchmarks.seats import Seat, open_seats
from benchmarks.timed_pictures import TimedPicture

CALL = "call"

SAME_MARKS = 0.7
"""Mean IoU of the boxes of marks from which two contenders have found the same ones."""


@dataclass(frozen=True)
class Effort:
    """How much is measured: rounds, and in each at most ``calls`` answers or ``seconds``."""

    rounds: int
    calls: int
    seconds: float
    warm_up: int


@dataclass(frozen=True)
class Sample:
    """One call: milliseconds by the stopwatch around it and by the contender's own."""

    call_ms: float
    reply: Reply


@dataclass(frozen=True)
class Ask:
    """A task: answers to ``frames``, one after another; after ``seconds`` no other begins."""

    frames: tuple[bytes, ...]
    seconds: float = float("inf")

    def __call__(self, engine: Engine) -> list[Sample]:
        samples: list[Sample] = []
        began = time.perf_counter()
        for frame in self.frames:
            if samples and time.perf_counter() - began > self.seconds:
                break
            start = time.perf_counter()
            reply = engine.answer(frame)
            call_ms = (time.perf_counter() - start) * 1000
            samples.append(Sample(call_ms, Reply(reply.marks, reply.stage_ms)))
        return samples


@dataclass(frozen=True)
class Answer:
    """A task: one answer with everything in it."""

    frame: bytes

    def __call__(self, engine: Engine) -> Reply:
        return engine.answer(self.frame)


@dataclass(frozen=True)
class Segment:
    """A task: SAM2's masks for given clicks."""

    frame: bytes
    points: Points

    def __call__(self, engine: Engine) -> tuple[bytes, ...]:
        return engine.segment(self.frame, self.points)


class Rotation:
    """Asks about the next frames of a picture, so that no cache remembers the one it is asked for.

    Contenders may share a cache: those of one server do.
    """

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def ask(
        self,
        place: Seat[Engine],
        picture: TimedPicture,
        calls: int,
        seconds: float = float("inf"),
    ) -> list[Sample]:
        """At most ``calls`` answers of ``place``; after ``seconds`` no other begins."""
        start = self._next.get(picture.name, 0)
        frames = picture.frames
        chosen = tuple(frames[(start + at) % len(frames)] for at in range(calls))
        samples = place.perform(Ask(chosen, seconds))
        self._next[picture.name] = start + len(samples)
        return samples


def measure(
    contenders: Iterable[Contender[Engine]],
    pictures: Sequence[TimedPicture],
    effort: Effort,
    *,
    least_iou: float,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The part ``chain`` of the report; the first contender that opens is the reference.

    Pictures go from the smallest to the largest, so that the peak of memory after one is not a
    larger one's. Who goes first changes from round to round. A contender whose answer to
    a picture is too far from the reference's is not timed on it.
    """
    pictures = sorted(pictures, key=lambda p: (p.width * p.height, p.marks or 0))
    rotation = Rotation()
    samples: dict[tuple[str, str], list[Sample]] = {}
    found: dict[str, dict[str, Any]] = {picture.name: {} for picture in pictures}
    opened: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        seats, refused = open_seats(contenders, enter=stack.enter_context)
        for place in list(seats):
            (first,) = rotation.ask(place, pictures[0], 1)
            opened[place.name] = {
                "opened_s": round(place.opened_s, 3),
                "first_ms": round(first.call_ms, 1),
            }
        timed: dict[str, list[Seat[Engine]]] = {}
        for picture in pictures:
            found[picture.name] = compare(seats, picture.frames[0], least_iou=least_iou)
            timed[picture.name] = [s for s in seats if found[picture.name][s.name]["equal"]]
            for place in timed[picture.name]:
                rotation.ask(place, picture, effort.warm_up)
                megabytes = round(place.peak_memory() / 2**20, 1)
                found[picture.name][place.name]["peak_memory_mb"] = megabytes
            advance()
        for number in range(effort.rounds):
            for picture in pictures:
                places = timed[picture.name]
                first_at = number % max(1, len(places))
                for place in places[first_at:] + places[:first_at]:
                    got = rotation.ask(place, picture, effort.calls, effort.seconds)
                    samples.setdefault((picture.name, place.name), []).extend(got)
                advance()
    for (picture_name, name), got in samples.items():
        found[picture_name][name].update(summary(got))
    return {
        "reference": seats[0].name if seats else None,
        "least_iou": least_iou,
        "rounds": effort.rounds,
        "opened": opened,
        "refused": refused,
        "pictures": [
            {
                "picture": picture.name,
                "width": picture.width,
                "height": picture.height,
                "bytes": len(picture.frames[0]),
                "marks": picture.marks,
                "contenders": found[picture.name],
            }
            for picture in pictures
        ],
    }


def compare(
    seats: Sequence[Seat[Engine]], frame: bytes, *, least_iou: float
) -> dict[str, dict[str, Any]]:
    """By contender: marks found, and how its masks overlap with those of the first one.

    ``box_iou`` compares the boxes of the marks found: their ink differs by more than what marks
    do, since ultralytics hands out masks that are thresholded already. ``mask_iou`` compares what
    SAM2 makes of the same clicks: which points are sampled and which of several masks is kept may
    differ and is not compared here.
    """
    found: dict[str, dict[str, Any]] = {}
    reference: Reply | None = None
    wanted: tuple[bytes, ...] = ()
    for place in seats:
        reply = place.perform(Answer(frame))
        if reference is None:
            reference = reply
        points = reference.points
        masks = place.perform(Segment(frame, points)) if points else ()
        wanted = wanted or masks
        boxes = mean_box_iou(reply.ink, reference.ink, size=reference.size)
        overlap = paired_iou(masks, wanted, size=reference.size)
        found[place.name] = {
            "marks": reply.marks,
            "box_iou": round(boxes, 4),
            "mask_iou": round(overlap, 4),
            "equal": overlap >= least_iou and boxes >= min(least_iou, SAME_MARKS),
        }
    return found


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Median and 90th percentile by stage and for the whole call, and every call's time."""
    stages = samples[0].reply.stage_ms
    spent = {stage: [sample.reply.stage_ms[stage] for sample in samples] for stage in stages}
    spent[CALL] = [sample.call_ms for sample in samples]
    return {
        "samples": len(samples),
        "ms": {stage: spread(values) for stage, values in spent.items()},
        "calls_ms": [round(value, 2) for value in spent[CALL]],
    }
