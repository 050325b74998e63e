"""The figure that goes with the accuracy tables."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figures import MISSED, NONE
from benchmarks.judging import PictureOutcome
from markcut.contracts import KINDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"small": "#2b7bba", "medium": "#e07b00", "large": "#3a9d4b", "real": "#8d3fa8"}


def plot(pictures: Sequence[PictureOutcome], confusion: Mapping[str, Mapping[str, int]]) -> bytes:
    """Object IoU of every found mark by kind, and which kind was called what, as a PNG file."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(13, 5.5), layout="constrained", dpi=110)
    left, right = canvas.subplots(1, 2, width_ratios=(1.35, 1))
    _object_iou(left, pictures)
    _confusion(right, confusion)
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png")
    return buffer.getvalue()


def _object_iou(axes: Axes, pictures: Sequence[PictureOutcome]) -> None:
    rng = np.random.default_rng(0)
    labels = []
    for row, kind in enumerate(KINDS):
        missed = 0
        overlaps: list[float] = []
        colours: list[str] = []
        for picture in pictures:
            for mark in picture.marks:
                if mark.kind != kind:
                    continue
                if mark.found is None:
                    missed += 1
                    continue
                overlaps.append(mark.found.object_iou)
                colours.append(_COLOURS[picture.size])
        labels.append(f"{kind}\n{len(overlaps)} found, {missed} missed")
        if overlaps:
            low, q1, median, q3, high = np.percentile(overlaps, (5, 25, 50, 75, 95))
            axes.hlines(row, low, high, colors="black", linewidth=1)
            axes.barh(row, q3 - q1, 0.62, left=q1, color="#00000014", edgecolor="black")
            axes.vlines(median, row - 0.31, row + 0.31, colors="black", linewidth=2)
            jitter = row + rng.uniform(-0.24, 0.24, len(overlaps))
            axes.scatter(overlaps, jitter, s=11, c=colours, alpha=0.6, linewidths=0, zorder=3)
    axes.set_yticks(range(len(KINDS)), labels)
    axes.set_ylim(len(KINDS) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("object IoU of found marks (box: quartiles and median, line: 5 to 95 %)")
    axes.grid(axis="x", alpha=0.3)
    sizes = {picture.size for picture in pictures}
    for name, colour in _COLOURS.items():
        if name in sizes:
            axes.scatter([], [], s=24, c=colour, label=name)
    axes.legend(title="picture", loc="lower left")
    axes.set_title("What a mark means: the object's mask against the truth", loc="left")


def _confusion(axes: Axes, confusion: Mapping[str, Mapping[str, int]]) -> None:
    columns = (*KINDS, MISSED)
    rows = (*KINDS, NONE)
    counts = np.array([[confusion[row][column] for column in columns] for row in rows])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*counts.nonzero(), strict=True):
        dark = shares[row, column] > 0.5
        axes.text(
            column, row, str(counts[row, column]), ha="center", va="center",
            color="white" if dark else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel("answered")
    axes.set_ylabel("drawn")
    axes.set_title("What a mark is: its kind", loc="left")
