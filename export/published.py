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
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.published_checkpoints import ARCHITECTURES, Architecture
from export.published_page import (
    CHAIN,
    ExportFigures,
    GraphFigures,
    Record,
    call_figures,
    markdown,
)

STAND_INS: Mapping[str, Path] = {
    "--clipseg": Path("checkpoints/demo/clipseg"),
    "--yolo": Path("checkpoints/demo/yolo11n-seg-marks.pt"),
    "--sam2": Path("checkpoints/demo/sam2/model.pt"),
}
"""Checkpoints for the networks that nobody asked for."""

_GRAPHS = {
    "--clipseg": ("clipseg",),
    "--yolo": ("yolo11_seg",),
    "--sam2": ("sam2_encoder", "sam2_decoder"),
}


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
    record = _known(options.out / "published.json").without(options.only)
    failed: list[str] = []
    bundles = list(_bundles([ARCHITECTURES[name] for name in options.only]))
    for number, bundle in enumerate(bundles, 1):
        names = tuple(architecture.name for architecture in bundle)
        print(f"[{number}/{len(bundles)}] {', '.join(names)}", file=sys.stderr)
        try:
            with tempfile.TemporaryDirectory(dir=options.out) as folder:
                found = _export(bundle, Path(folder), options.out / f"{names[-1]}.log")
        except ExportError as error:
            print(f"export published: {error}", file=sys.stderr)
            failed += names
            continue
        record.add(found)
        _write(options.out, record)  # what is done is done, whatever comes after
    worst = max((graph.max_rel for graph in record.graphs), default=None)
    print(json.dumps({"graphs": len(record.graphs), "max_rel": worst, "failed": failed}))
    return int(bool(failed))


def _known(path: Path) -> Record:
    """What earlier runs wrote to ``path``."""
    return Record.of(json.loads(path.read_text())) if path.is_file() else Record()


def _bundles(chosen: Sequence[Architecture]) -> Iterator[tuple[Architecture, ...]]:
    """Bundles that hold each of ``chosen`` once, with as many new ones in each as there are."""
    by_flag = [[a for a in chosen if a.flag == flag] for flag in STAND_INS]
    for row in zip_longest(*by_flag):
        yield tuple(architecture for architecture in row if architecture is not None)


def _export(bundle: Sequence[Architecture], folder: Path, log: Path) -> Record:
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
    cost = _measured(command, environment, log, tuple(a.name for a in bundle))
    verification = json.loads((out / "manifest.json").read_text())["verification"]
    graphs = [
        _graph_figures(architecture, out / f"{name}.onnx", verification[name])
        for architecture in bundle
        for name in _GRAPHS[architecture.flag]
    ]
    report = verification["fidelity"]
    calls = [call_figures(a.name, a.flag, report) for a in bundle]
    chains = [
        call_figures(f"{a.name}, {CHAIN}", CHAIN, report) for a in bundle if a.flag == "--sam2"
    ]
    # without a mark there is nothing to say: random weights find what they find
    calls += [chain for chain in chains if chain.picture_min_iou is not None]
    return Record(graphs, calls, [cost])


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


def _write(out: Path, record: Record) -> None:
    for name, text in (
        ("published.json", json.dumps(asdict(record), indent=1) + "\n"),
        ("published.md", markdown(record)),
    ):
        part = out / f".{name}"
        part.write_text(text)
        os.replace(part, out / name)
