"""Export every published architecture and tabulate what came of it.

Random weights in the published formats go through ``python -m export bundle`` one bundle after the
other, each in a process of its own. Recorded are nodes, weights and sizes of the graphs, the
largest difference from upstream's own code, and what the export cost. Where a bundle needs a
network that was not asked for, the demo checkpoint stands in.

examples:
  python -m export published --out out/published
  python -m export published --only sam2.1-hiera-large yolo11n-seg --out out/published
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.published_checkpoints import ARCHITECTURES, Architecture

STAND_INS: Mapping[str, Path] = {
    "--clipseg": Path("checkpoints/demo/clipseg"),
    "--yolo": Path("checkpoints/demo/yolo11n-seg-marks.pt"),
    "--sam2": Path("checkpoints/demo/sam2/model.pt"),
}
"""Checkpoints for the networks that nobody asked for."""

TOLERANCE = 1e-4
"""What the exporter allows; its own constant is behind an import of torch."""

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

What each export took, from the start of the command to its end, verification included. Where wall
clock is far above processor time, the machine had other work.

| exported in one bundle | wall clock | processor time | peak memory |
|---|---:|---:|---:|
{exports}
"""
_GRAPHS = {
    "--clipseg": ("clipseg",),
    "--yolo": ("yolo11_seg",),
    "--sam2": ("sam2_encoder", "sam2_decoder"),
}


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR",
        help="where published.md, published.json and every export's messages go; what earlier runs "
        "found there stays",
    )  # fmt: skip
    parser.add_argument(
        "--only", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES), metavar="NAME",
        help=f"these alone, of {', '.join(ARCHITECTURES)}",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Export all of them; 0 when every one is within the tolerance."""
    options.out.mkdir(parents=True, exist_ok=True)
    graphs, exports = _known(options.out / "published.json", without=options.only)
    failed: list[str] = []
    bundles = list(_bundles([ARCHITECTURES[name] for name in options.only]))
    for number, bundle in enumerate(bundles, 1):
        names = tuple(architecture.name for architecture in bundle)
        print(f"[{number}/{len(bundles)}] {', '.join(names)}", file=sys.stderr)
        try:
            with tempfile.TemporaryDirectory(dir=options.out) as folder:
                found, figures = _export(bundle, Path(folder), options.out / f"{names[-1]}.log")
        except ExportError as error:
            print(f"export published: {error}", file=sys.stderr)
            failed += names
            continue
        graphs += found
        exports.append(figures)
        _write(options.out, graphs, exports)  # what is done is done, whatever comes after
    worst = max((graph.max_rel for graph in graphs), default=None)
    print(json.dumps({"graphs": len(graphs), "max_rel": worst, "failed": failed}))
    return int(bool(failed))


def _known(
    path: Path, *, without: Collection[str]
) -> tuple[list[GraphFigures], list[ExportFigures]]:
    """What earlier runs wrote to ``path`` about other architectures than ``without``."""
    if not path.is_file():
        return [], []
    record = json.loads(path.read_text())
    graphs = [GraphFigures(**graph) for graph in record["graphs"]]
    exports = [
        ExportFigures(**{**export, "architectures": tuple(export["architectures"])})
        for export in record["exports"]
    ]
    return (
        [graph for graph in graphs if graph.architecture not in without],
        [export for export in exports if not set(export.architectures) & set(without)],
    )


def _bundles(chosen: Sequence[Architecture]) -> Iterator[tuple[Architecture, ...]]:
    """Bundles that hold each of ``chosen`` once, with as many new ones in each as there are."""
    by_flag = [[a for a in chosen if a.flag == flag] for flag in STAND_INS]
    for row in zip_longest(*by_flag):
        yield tuple(architecture for architecture in row if architecture is not None)


def _export(
    bundle: Sequence[Architecture], folder: Path, log: Path
) -> tuple[list[GraphFigures], ExportFigures]:
    """Write the checkpoints of ``bundle`` into ``folder``, export them there, look at the files."""
    sources = {flag: str(path) for flag, path in STAND_INS.items()}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    for architecture in bundle:
        target = folder / architecture.name
        target.mkdir()
        sources[architecture.flag] = _written(architecture, target)
        if architecture.hub:
            hub = folder / "hub"
            hub.mkdir(exist_ok=True)
            environment["HF_HUB_CACHE"] = str(hub)
            for repository in target.iterdir():
                repository.rename(hub / repository.name)
    out = folder / "bundle"
    arguments = [text for pair in sources.items() for text in pair]
    command = [sys.executable, "-m", "export", "bundle", *arguments, "--out", str(out)]
    figures = _measured(command, environment, log, tuple(a.name for a in bundle))
    verification = json.loads((out / "manifest.json").read_text())["verification"]
    graphs = [
        _graph_figures(architecture, out / f"{name}.onnx", verification[name])
        for architecture in bundle
        for name in _GRAPHS[architecture.flag]
    ]
    return graphs, figures


def _written(architecture: Architecture, folder: Path) -> str:
    """Write a checkpoint in a process of its own: what that takes is not the exporter's."""
    command = [sys.executable, "-m", "export.published_checkpoints", architecture.name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExportError(f"{architecture.name} cannot be written: {done.stderr.strip()[-500:]}")
    return done.stdout.splitlines()[-1]


def _measured(
    command: Sequence[str], environment: Mapping[str, str], log: Path, names: tuple[str, ...]
) -> ExportFigures:
    started = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # interrupted: what it writes into goes away with this process
            process.kill()
            process.wait()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ExportError(
            f"{', '.join(names)}: the export ended with {process.returncode}; {log} says why"
        )
    return ExportFigures(
        architectures=names,
        seconds=time.monotonic() - started,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_rss=usage.ru_maxrss * 1024,
    )


def _graph_figures(
    architecture: Architecture, file: Path, verification: Mapping[str, Any]
) -> GraphFigures:
    import onnx

    graph = onnx.load(file).graph
    worst, found = max(verification["outputs"].items(), key=lambda item: item[1]["max_rel"])
    sizes = [[int(side) for side in initializer.dims] for initializer in graph.initializer]
    return GraphFigures(
        architecture=architecture.name,
        form=architecture.form,
        graph=graph.name,
        nodes=len(graph.node),
        weights=sum(_product(sides) for sides in sizes),
        bytes=file.stat().st_size,
        worst_output=worst,
        max_rel=found["max_rel"],
    )


def _product(sides: Sequence[int]) -> int:
    count = 1
    for side in sides:
        count *= side
    return count


def _write(out: Path, graphs: Sequence[GraphFigures], exports: Sequence[ExportFigures]) -> None:
    record = {"graphs": [asdict(g) for g in graphs], "exports": [asdict(e) for e in exports]}
    for name, text in (
        ("published.json", json.dumps(record, indent=1) + "\n"),
        ("published.md", markdown(graphs, exports)),
    ):
        part = out / f".{name}"
        part.write_text(text)
        os.replace(part, out / name)


def markdown(graphs: Sequence[GraphFigures], exports: Sequence[ExportFigures]) -> str:
    """The page with both tables: the graphs, and what the exports cost."""
    graph_rows = [
        f"| {g.architecture} | {g.form} | {g.graph} | {g.nodes} | {g.weights / 1e6:.2f} M "
        f"| {g.bytes / 1e6:.1f} MB | {g.worst_output} | {g.max_rel:.1e} |"
        for g in sorted(graphs, key=lambda g: list(ARCHITECTURES).index(g.architecture))
    ]
    export_rows = [
        f"| {', '.join(e.architectures)} | {e.seconds:.0f} s | {e.cpu_seconds:.0f} s "
        f"| {e.peak_rss / 1e9:.1f} GB |"
        for e in exports
    ]
    return _PAGE.format(
        tolerance=f"{TOLERANCE:.0e}",
        cores=os.cpu_count(),
        processor=platform.machine(),
        python=platform.python_version(),
        tools=", ".join(f"{tool} {version(tool)}" for tool in _TOOLS),
        graphs="\n".join(graph_rows),
        exports="\n".join(export_rows),
    )
