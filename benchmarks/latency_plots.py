"""The latency benchmark's pictures: spread, where the time goes, throughput against p99."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from markcut.contracts import STAGES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = Mapping[str, Any]

_USUAL = "1 MP, 1 mark"
_KINDS = {"upstream": "#7f7f7f", "openvino": "#2b7bba", "onnxruntime": "#3a9d4b",
          "tensorrt": "#8a5fbf", "triton": "#e07b00"}  # fmt: skip


def plots(result: Result) -> dict[str, bytes]:
    """PNG files by name, those that the result has figures for."""
    parts = result["parts"]
    found: dict[str, bytes] = {}
    if "chain" in parts and parts["chain"]["pictures"]:
        timed = _timed(parts["chain"])
        if timed["contenders"]:
            found["latency_spread.png"] = _png(_spread(timed))
            found["latency_stages.png"] = _png(_stages(timed))
    concurrency = parts.get("growth", {}).get("concurrency", {}).get("contenders")
    if concurrency:
        found["latency_growth.png"] = _png(_growth(concurrency))
    return found


def _timed(chain: Result) -> dict[str, Any]:
    """The usual picture where there is one, with the contenders that were timed on it."""
    pictures = {picture["picture"]: picture for picture in chain["pictures"]}
    picture = pictures.get(_USUAL, chain["pictures"][0])
    contenders = {n: c for n, c in picture["contenders"].items() if "ms" in c}
    return {**picture, "contenders": contenders}


def _spread(picture: Result) -> Figure:
    from matplotlib.figure import Figure

    contenders = picture["contenders"]
    canvas = Figure(figsize=(9, 1.2 + 0.5 * len(contenders)), layout="constrained", dpi=110)
    axes = canvas.subplots()
    for row, (name, found) in enumerate(contenders.items()):
        calls = found["calls_ms"]
        colour = _colour(name)
        middle = found["ms"]["call"]["median"]
        axes.scatter(calls, [row] * len(calls), s=22, color=colour, alpha=0.45, linewidths=0)
        axes.vlines(middle, row - 0.32, row + 0.32, colors=colour, linewidth=2.5)
        axes.annotate(f"{middle:.0f} ms", (middle, row - 0.36), ha="center", va="bottom",
                      fontsize=8)  # fmt: skip
    axes.set_yticks(range(len(contenders)), list(contenders))
    axes.set_ylim(len(contenders) - 0.4, -0.8)
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel("ms per picture, JPEG bytes to masks (line: median)")
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(f"Latency: {picture['picture']}", loc="left")
    return canvas


def _stages(picture: Result) -> Figure:
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    contenders = picture["contenders"]
    canvas = Figure(figsize=(11, 1.6 + 0.5 * len(contenders)), layout="constrained", dpi=110)
    axes = canvas.subplots()
    colours = colormaps["tab20"].colors  # type: ignore[attr-defined]
    left = [0.0] * len(contenders)
    for number, stage in enumerate(s for s in STAGES if s != "total"):
        widths = [found["ms"][stage]["median"] for found in contenders.values()]
        axes.barh(range(len(contenders)), widths, 0.62, left=left, color=colours[number],
                  label=stage)  # fmt: skip
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for row, found in enumerate(contenders.values()):
        total = found["ms"]["call"]["median"]
        axes.vlines(total, row - 0.42, row + 0.42, colors="black", linewidth=1.5)
    axes.vlines([], 0, 0, colors="black", label="the call")
    axes.set_yticks(range(len(contenders)), list(contenders))
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("ms, medians laid end to end (in ours some run at the same time)")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    axes.set_title(f"Where the time goes: {picture['picture']}", loc="left")
    return canvas


def _growth(contenders: Result) -> Figure:
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(8, 5), layout="constrained", dpi=110)
    axes = canvas.subplots()
    for number, (name, got) in enumerate(contenders.items()):
        points = got["points"]
        x, y = [p["p99_ms"] for p in points], [p["per_second"] for p in points]
        (line,) = axes.plot(x, y, "-o", label=name, markersize=4, color=f"C{number}")
        for point in points:
            knee = point["clients"] == got["knee"]
            words = f"{point['clients']}{' (knee)' if knee else ''}"
            axes.annotate(words, (point["p99_ms"], point["per_second"]), xytext=(4, 5),
                          textcoords="offset points", fontsize=8, color=line.get_color(),
                          weight="bold" if knee else "normal")  # fmt: skip
    axes.set_xscale("log")
    for formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        formatter(lambda value, _: f"{value:g}")
    axes.margins(0.1)
    axes.set_ylim(0, 1.15 * axes.dataLim.ymax)
    axes.set_xlabel("p99, ms")
    axes.set_ylabel("pictures per second")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    axes.set_title("Throughput against p99; numbers: requests at once", loc="left")
    return canvas


def _colour(name: str) -> str:
    return _KINDS.get(name.split(" ")[0], "#444444")


def _png(canvas: Figure) -> bytes:
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png")
    return buffer.getvalue()
