"""What a comparison with upstream found: single findings, their summary, and what is off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.verify import Difference, difference

TENSOR, ROUNDED, PICTURE = "tensor", "rounded", "picture"
"""Where both sides start: from one uint8 tensor of the network's size; we from upstream's own
resized picture, rounded to 8 bits, and upstream from the picture; or both from the picture."""

VIEW, UPSCALING, MARKS_FOUND = "view", "upscaling", "marks found"
MASKS, ANSWER, YARDSTICK = "masks", "answer", "yardstick"
"""Outputs that are no tensors: the resized picture; a mask brought from logits to the picture's
size; the share of marks that both found; all four masks of a prompt; the one that answers it; and,
to know what an IoU is worth, upstream's answer with upstream's on a JPEG of the picture."""


@dataclass(frozen=True)
class Finding:
    """One output on one picture: the difference of values, or the IoU of masks.

    ``output`` is a tensor's name or what is compared in its place; ``kind`` the kind of prompt or
    mark, where there is one. ``nonfinite`` counts values of ours that are no numbers.
    """

    model: str
    level: str
    output: str
    kind: str
    picture: str
    values: Difference | None = None
    iou: float | None = None
    nonfinite: int = 0

    @property
    def name(self) -> str:
        """As messages call it: ``sam2_decoder.low_res_masks (box, portrait 240x427)``."""
        where = ", ".join(part for part in (self.kind, self.picture) if part)
        return f"{self.model}.{self.output} ({where})"


def values(
    model: str, level: str, output: str, got: NDArray[Any], wanted: NDArray[Any], *,
    picture: str, kind: str = "",
) -> Finding:  # fmt: skip
    """The finding for two arrays that should be equal."""
    return Finding(
        model, level, output, kind, picture,
        values=difference(got, wanted),
        nonfinite=int(np.count_nonzero(~np.isfinite(got))),
    )  # fmt: skip


def view(model: str, got: NDArray[np.uint8], wanted: NDArray[np.uint8], *, picture: str) -> Finding:
    """How far our resized picture is from upstream's, whatever the network makes of it.

    ``max_rel`` is the mean difference as a share of white: what is large at single edges is a
    filter, what is large on average is an error.
    """
    ours, theirs = got.astype(np.float64), wanted.astype(np.float64)
    far = np.abs(ours - theirs)
    norms = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    cosine = float((ours * theirs).sum()) / norms if norms else 1.0
    found = Difference(float(far.max()), float(far.mean()) / 255, cosine)
    return Finding(model, PICTURE, VIEW, "", picture, values=found)


def overlap(
    model: str, level: str, output: str, iou: float, *, picture: str, kind: str = ""
) -> Finding:
    """The finding for two masks, or sets of marks, by their intersection over union."""
    return Finding(model, level, output, kind, picture, iou=iou)


@dataclass(frozen=True)
class Summary:
    """All findings of one output at one level: the worst values, mean and least IoU."""

    model: str
    level: str
    output: str
    kind: str
    cases: int
    worst: str
    max_abs: float | None = None
    max_rel: float | None = None
    cosine: float | None = None
    nonfinite: int = 0
    mean_iou: float | None = None
    min_iou: float | None = None

    @property
    def name(self) -> str:
        """As messages call it, with the picture where it is worst."""
        where = ", ".join(part for part in (self.kind, self.worst) if part)
        return f"{self.model}.{self.output} ({where})"


def summarise(findings: Iterable[Finding]) -> list[Summary]:
    """One summary per model, level, output and kind, in the order of their first findings."""
    groups: dict[tuple[str, str, str, str], list[Finding]] = {}
    for found in findings:
        key = (found.model, found.level, found.output, found.kind)
        groups.setdefault(key, []).append(found)
    return [_summary(key, group) for key, group in groups.items()]


def _summary(key: tuple[str, str, str, str], group: Sequence[Finding]) -> Summary:
    nonfinite = sum(found.nonfinite for found in group)
    ious = [(found.iou, found.picture) for found in group if found.iou is not None]
    if ious:
        least, worst = min(ious)
        mean = float(np.mean([iou for iou, _ in ious]))
        return Summary(*key, len(group), worst, nonfinite=nonfinite, mean_iou=mean, min_iou=least)
    every = [(found.values, found.picture) for found in group if found.values is not None]
    total, worst = max(every, key=lambda pair: pair[0].max_rel)
    for one, _ in every:
        total = total.worst(one)
    return Summary(*key, len(group), worst, total.max_abs, total.max_rel, total.cosine, nonfinite)


@dataclass(frozen=True)
class Off:
    """One output that is out of tolerance, in words; ``excess`` is how many times too far."""

    name: str
    excess: float
    sentence: str


@dataclass
class FidelityReport:
    """What one runtime's answers are worth: every finding, and what is off, the worst first."""

    runtime: str
    findings: list[Finding] = field(default_factory=list)
    off: list[Off] = field(default_factory=list)

    def summaries(self, level: str | None = None) -> list[Summary]:
        """The summary of every output, of one level or of all."""
        return summarise(f for f in self.findings if level is None or f.level == level)

    def as_json(self) -> dict[str, Any]:
        """What ``json.dumps`` takes; figures that are no numbers are None."""
        return {
            "runtime": self.runtime,
            "outputs": [dict(_fields(summary)) for summary in self.summaries()],
            "off": [off.sentence for off in self.off],
        }


def _fields(summary: Summary) -> Iterator[tuple[str, Any]]:
    for name, value in vars(summary).items():
        if value is None or (name == "nonfinite" and value == 0) or value == "":
            continue
        if isinstance(value, float):
            value = float(f"{value:.6g}") if np.isfinite(value) else None
        yield name, value
