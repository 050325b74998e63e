"""The page with what ``python -m export published`` found: its figures, and their tables."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from export.published_checkpoints import ARCHITECTURES

TOLERANCE = 1e-4
"""What the exporter allows; its own constant is behind an import of torch."""

CHAIN = "chain"
"""What stands for an architecture where the whole pipeline is compared: of the bundle's SAM2."""

_TOOLS = ("torch", "transformers", "sam2", "onnxruntime")
_PAGE = """\
# The published architectures, exported

Made by `python -m export published`: every architecture from its upstream configuration, with
random weights that are all alive, saved as its project publishes it, and put through
`python -m export bundle`. The last column is how far the graph's worst output in ONNX Runtime is
from the upstream project's own code, fp32, as a share of that output's largest magnitude; more
than {tolerance} is refused. Published weights give the same graphs.

Random weights are settled before two programs are compared on them (`export/random_weights.py`).
A YOLO decides: which scores are the highest, which boxes overlap too much. As they are first
drawn, weights let the network magnify the rounding of fp32 to 2e-4 of its features, and gave dozens
of places the score 1.0 exactly, so that chance decided which of two boxes stays, and yolo11s-seg
was refused on one machine and passed on another. Now norms have the statistics of real pictures and
biases that keep activations where SiLU is nearly straight, and what the head says is scaled channel
by channel: rounding stays at 5e-6, no two scores that matter are equal, and no mask is all ink or
without any. CLIPSeg's logits are scaled to a few units. No tolerance was changed.

{cores} cores ({processor}), Python {python}, {tools}.

| architecture | loaded from | graph | nodes | weights | file | worst output | off by |
|---|---|---|---:|---:|---:|---|---:|
{graphs}

## Beside the projects' own calls

transformers' processor and model, ultralytics' `predict`, and `SAM2ImagePredictor` with points,
several points, boxes, earlier masks and several objects, on three real pictures with marks
(landscape, portrait, panorama): the last step of every export. From one tensor of the network's
size the graph alone is compared; from the picture also our resizing to 8 bits and our upscaling.
IoU is that of CLIPSeg's hot places, of the ink of YOLO's marks, of SAM2's answers at the picture's
size; "chain" is the object masks of the whole pipeline. YOLO's views are shrunk in another way than
upstream's, on purpose, and what untrained weights make of that says nothing.

| architecture | one tensor: values off by | least IoU | the picture: mean IoU | least IoU |
|---|---:|---:|---:|---:|
{calls}

## What it took

What each export took, from the start of the command to its end, verification included. Where wall
clock is far above processor time, the machine had other work.

| exported in one bundle | wall clock | processor time | peak memory |
|---|---:|---:|---:|
{exports}
"""


@dataclass(frozen=True)
class GraphFigures:
    """One graph: its contents, and the output that is furthest from upstream's.

    ``weights`` are values in the file, ``bytes`` its size; ``max_rel`` is relative to the output's
    largest magnitude.
    """

    architecture: str
    form: str
    graph: str
    nodes: int
    weights: int
    bytes: int
    worst_output: str
    max_rel: float


@dataclass(frozen=True)
class ExportFigures:
    """One run of the command: its wall-clock and processor time, and its largest memory in bytes.

    ``architectures`` are those that are no stand-ins.
    """

    architectures: tuple[str, ...]
    seconds: float
    cpu_seconds: float
    peak_rss: int


@dataclass(frozen=True)
class CallFigures:
    """One architecture beside its project's own calls, in a report of :mod:`export.fidelity`.

    ``max_rel`` is the worst value from one tensor, as a share of its output's largest magnitude.
    IoUs are of masks, from one tensor and from the picture; None where no mask was compared.
    """

    architecture: str
    max_rel: float | None
    tensor_min_iou: float | None
    picture_mean_iou: float | None
    picture_min_iou: float | None


@dataclass
class Record:
    """All that one or several runs found."""

    graphs: list[GraphFigures] = field(default_factory=list)
    calls: list[CallFigures] = field(default_factory=list)
    exports: list[ExportFigures] = field(default_factory=list)

    def add(self, other: Record) -> None:
        self.graphs += other.graphs
        self.calls += other.calls
        self.exports += other.exports

    def without(self, names: Collection[str]) -> Record:
        """What is about other architectures than ``names``."""
        return Record(
            [graph for graph in self.graphs if graph.architecture not in names],
            [call for call in self.calls if call.architecture.partition(", ")[0] not in names],
            [export for export in self.exports if not set(export.architectures) & set(names)],
        )

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Record:
        """From what :func:`dataclasses.asdict` made of one."""
        return cls(
            [GraphFigures(**graph) for graph in found["graphs"]],
            [CallFigures(**call) for call in found["calls"]],
            [
                ExportFigures(**{**export, "architectures": tuple(export["architectures"])})
                for export in found["exports"]
            ],
        )


_MASKS = {
    "--clipseg": {("clipseg", "hot places")},
    "--yolo": {("yolo11_seg", "masks")},
    "--sam2": {("sam2_decoder", "answer")},
    CHAIN: {("chain", "object masks")},
}


def call_figures(name: str, flag: str, report: Mapping[str, Any]) -> CallFigures:
    """The figures of the architecture ``name`` in a manifest's ``verification.fidelity``.

    ``flag`` is the exporter's option for its network, or `CHAIN` for the whole pipeline.
    """
    wanted = _MASKS[flag]
    models = {"sam2_encoder", "sam2_decoder"} if flag == "--sam2" else {m for m, _ in wanted}
    outputs = [o for o in report["outputs"] if o["model"] in models]
    values = [o["max_rel"] for o in outputs if o["level"] == "tensor" and "max_rel" in o]
    masks = [o for o in outputs if (o["model"], o["output"]) in wanted]
    tensor = [o["min_iou"] for o in masks if o["level"] == "tensor"]
    # YOLO's views are shrunk in another way than upstream's, on purpose: what untrained weights
    # make of that says nothing
    seen = [o for o in masks if o["level"] == "picture" and flag != "--yolo"]
    cases = sum(o["cases"] for o in seen)
    return CallFigures(
        architecture=name,
        max_rel=max(values, default=None),
        tensor_min_iou=min(tensor, default=None),
        picture_mean_iou=sum(o["mean_iou"] * o["cases"] for o in seen) / cases if cases else None,
        picture_min_iou=min((o["min_iou"] for o in seen), default=None),
    )


def markdown(record: Record) -> str:
    """The page with its tables: the graphs, the upstream calls, and what the exports cost."""
    graph_rows = [
        f"| {g.architecture} | {g.form} | {g.graph} | {g.nodes} | {g.weights / 1e6:.2f} M "
        f"| {g.bytes / 1e6:.1f} MB | {g.worst_output} | {g.max_rel:.1e} |"
        for g in sorted(record.graphs, key=lambda g: list(ARCHITECTURES).index(g.architecture))
    ]
    call_rows = [
        f"| {c.architecture} | {_shown(c.max_rel, '.1e')} | {_shown(c.tensor_min_iou)} "
        f"| {_shown(c.picture_mean_iou)} | {_shown(c.picture_min_iou)} |"
        for c in sorted(record.calls, key=lambda c: _place(c.architecture))
    ]
    export_rows = [
        f"| {', '.join(e.architectures)} | {e.seconds:.0f} s | {e.cpu_seconds:.0f} s "
        f"| {e.peak_rss / 1e9:.1f} GB |"
        for e in record.exports
    ]
    return _PAGE.format(
        tolerance=f"{TOLERANCE:.0e}",
        cores=os.cpu_count(),
        processor=platform.machine(),
        python=platform.python_version(),
        tools=", ".join(f"{tool} {version(tool)}" for tool in _TOOLS),
        graphs="\n".join(graph_rows),
        calls="\n".join(call_rows),
        exports="\n".join(export_rows),
    )


def _place(name: str) -> tuple[int, bool]:
    """Where a row stands: by its architecture, the chain's after it."""
    architecture, _, rest = name.partition(", ")
    return list(ARCHITECTURES).index(architecture), bool(rest)


def _shown(figure: float | None, form: str = ".4f") -> str:
    return "" if figure is None else format(figure, form)
