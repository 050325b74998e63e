"""The accuracy benchmark's outcomes as figures by group, as tables and as files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from benchmarks import report
from benchmarks.figures import STROKE_WIDTHS, confusion, figures
from benchmarks.held_out import SIZES
from benchmarks.judging import PictureOutcome
from benchmarks.plots import plot
from markcut.contracts import KINDS

_HEAD = (
    "pictures",
    "marks",
    "recall",
    "false / picture",
    "false / unmarked",
    "kind",
    "ink IoU mean",
    "median",
    "point hit",
    "all points",
    "object IoU mean",
    "median",
    "Dice mean",
    "median",
    "end-to-end IoU",
)


def summary(pictures: Sequence[PictureOutcome]) -> dict[str, Any]:
    """All figures of ``pictures`` as what ``json.dumps`` takes; sizes without a picture are out."""
    by_size = {
        size.name: group
        for size in SIZES
        if (group := [picture for picture in pictures if picture.size == size.name])
    }

    def plain(group: Sequence[PictureOutcome], **which: Any) -> dict[str, Any]:
        return dataclasses.asdict(figures(group, **which))

    return {
        "all": plain(pictures),
        "by_size": {size: plain(group) for size, group in by_size.items()},
        "by_kind": {kind: plain(pictures, kind=kind) for kind in KINDS},
        "by_size_and_kind": {
            size: {kind: plain(group, kind=kind) for kind in KINDS}
            for size, group in by_size.items()
        },
        "by_size_and_stroke_width": {
            size: {
                _range(*width): found
                for width in pairwise(STROKE_WIDTHS)
                if (found := plain(group, stroke_width=width))["marks"]
            }
            for size, group in by_size.items()
        },
        "confusion": confusion(pictures),
    }


def markdown(result: Mapping[str, Any]) -> str:
    """The tables of a result that holds a :func:`summary`, and what they were measured with."""
    by_size = {**result["by_size"], "all": result["all"]}
    parts = [
        ("picture", by_size),
        ("kind, all sizes", result["by_kind"]),
        *((f"kind, {size}", kinds) for size, kinds in result["by_size_and_kind"].items()),
    ]
    tables = [
        report.table([title, *_HEAD], [[name, *_row(group)] for name, group in groups.items()])
        for title, groups in parts
    ]
    widths = [
        [f"{size}, {width}", *_row(group)[1:3], *_row(group)[8:12]]
        for size, groups in result["by_size_and_stroke_width"].items()
        for width, group in groups.items()
    ]
    tables.append(report.table(["stroke width", *_HEAD[1:3], *_HEAD[8:12]], widths))
    intervals = (
        f"{name} {share['value']:.3f} ({share['low']:.3f} to {share['high']:.3f})"
        for name, key in (
            ("recall", "recall"), ("kind", "kind_accuracy"), ("point hit", "point_hit"),
        )
        if (share := result["all"][key])
    )  # fmt: skip
    notes = [
        "All sizes, with 95 % intervals: " + "; ".join(intervals) + ".",
        f"Set {result['scenes']['seed']} of held-out scenes, {result['runtime']}. "
        + report.machine_line(result)
        + ".",
    ]
    return "\n\n".join([*tables, *notes])


def files(
    result: Mapping[str, Any], pictures: Sequence[PictureOutcome], text: str
) -> dict[str, bytes]:
    """The files of a result by name, the sheet of the worst cases apart."""
    return {
        "accuracy.md": f"# Accuracy\n\n{text}\n".encode(),
        "accuracy.json": report.pretty(result),
        "outcomes.json": report.pretty([dataclasses.asdict(picture) for picture in pictures]),
        "accuracy.png": plot(pictures, result["confusion"]),
    }


def _row(group: Mapping[str, Any]) -> list[str]:
    """The cells of ``_HEAD``."""

    def share(name: str) -> str:
        return _number(group[name] and group[name]["value"])

    def spread(name: str) -> list[str]:
        found = group[name]
        return [_number(found and found["mean"]), _number(found and found["median"])]

    return [
        str(group["pictures"]),
        str(group["marks"]),
        share("recall"),
        _number(group["false_per_picture"]),
        _number(group["false_per_unmarked"]),
        share("kind_accuracy"),
        *spread("ink_iou"),
        share("point_hit"),
        share("all_points_hit"),
        *spread("object_iou"),
        *spread("object_dice"),
        spread("end_to_end_iou")[0],
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _range(low: float, high: float) -> str:
    if high == STROKE_WIDTHS[-1]:
        return f"{low:g} px and more"
    return f"{low:g} to {high:g} px" if low else f"under {high:g} px"
