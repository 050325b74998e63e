"""The figures of ``fidelity`` as Markdown: what decides first, then every output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import report

Row = Mapping[str, Any]

_LEVELS = {
    "tensor": "From one tensor: the graphs alone",
    "rounded": "From upstream's resized picture, rounded to 8 bits",
    "picture": "From the picture: preprocessing and upscaling included",
}


def markdown(result: Mapping[str, Any]) -> str:
    """The whole report, without its title."""
    parts = [_verdict(result)]
    if result["reference"] == "upstream":
        parts += _beside_upstream(result["runtimes"])
    else:
        parts += _beside_bundle(result)
    pictures = ", ".join(result["pictures"])
    parts.append(f"Pictures: {pictures}. {report.machine_line(result)}.")
    return "\n\n".join(parts)


def _verdict(result: Mapping[str, Any]) -> str:
    parts = ["Everything that is judged is within tolerance."]
    if result["off"]:
        parts = ["Out of tolerance, the worst first:", _list(result["off"])]
    return "\n\n".join(parts)


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _beside_upstream(runtimes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    parts = []
    for level, title in _LEVELS.items():
        rows = {
            name: [row for row in found["outputs"] if row["level"] == level]
            for name, found in runtimes.items()
        }
        if any(rows.values()):
            parts.append(f"## {title}")
            parts += _tables(rows)
    return parts


def _tables(rows: Mapping[str, Sequence[Row]]) -> list[str]:
    values, masks = [], []
    for runtime, found in rows.items():
        for row in found:
            name = f"{row['model']} {row['output']}"
            name += f", {row['kind']}" if row.get("kind") else ""
            cells = [name, runtime, str(row["cases"])]
            if "mean_iou" in row:
                cells += [f"{row['mean_iou']:.5f}", f"{row['min_iou']:.5f}", row["worst"]]
                masks.append(cells)
            else:
                figures = (row["max_abs"], row["max_rel"])
                cells += ["-" if value is None else f"{value:.1e}" for value in figures]
                cosine = row["cosine"]
                cells += ["-" if cosine is None else f"{cosine:.6f}", str(row.get("nonfinite", 0))]
                values.append([*cells, row["worst"]])
    # one output's runtimes under each other
    tables = []
    for head, body in (
        (
            ["output", "runtime", "cases", "max abs", "relative", "cosine", "NaN/Inf", "worst"],
            values,
        ),
        (["masks", "runtime", "cases", "mean IoU", "least IoU", "worst"], masks),
    ):
        order = {cells[0]: at for at, cells in reversed(list(enumerate(body)))}
        body.sort(key=lambda cells: order[cells[0]])
        if body:
            tables.append(report.table(head, body))
    return tables


def _beside_bundle(result: Mapping[str, Any]) -> list[str]:
    rows = []
    for runtime, found in result["runtimes"].items():
        masks, heat, marks = found["masks"], found["heat"], found["marks"]
        rows += [
            [f"{runtime}: mask IoU, mean", f"{masks['mean_iou']:.5f}", str(masks["cases"]), ""],
            [f"{runtime}: mask IoU, least", f"{masks['min_iou']:.5f}", "", masks["worst"]],
            [f"{runtime}: all four masks", f"{masks['every_mean_iou']:.5f}", "", ""],
            [f"{runtime}: same mask chosen", f"{masks['same_choice']:.4f}", "", ""],
            [f"{runtime}: heat, max abs", f"{heat['max_abs']:.2e}", "", heat["worst"]],
            [f"{runtime}: hot places IoU, least", f"{heat['min_hot_iou']:.4f}", "", ""],
            [
                f"{runtime}: marks found by both", str(marks["matched"]),
                f"-{marks['missed']} +{marks['added']}", "",
            ],
            [f"{runtime}: ink IoU, least", f"{marks['min_ink_iou']:.4f}", "", marks["worst"]],
            [f"{runtime}: score, max abs", f"{marks['max_score']:.2e}", "", ""],
        ]  # fmt: skip
    other = result["reference"]
    title = f"## Beside the bundle {other['name']} {other['manifest_sha256'][:12]}"
    return [title, report.table(["figure", "value", "cases", "worst"], rows)]
