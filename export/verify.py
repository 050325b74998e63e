"""Does a graph answer as the torch original does? On real pictures, output by output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.errors import ExportError
from export.graph import Arrays, Case, Graph
from export.large_weights import give_back_memory
from markcut.runners import open_runner

TOLERANCE = 1e-4
"""Largest difference allowed, as a share of the output's largest magnitude."""


@dataclass(frozen=True)
class Difference:
    """How far one output is from the original, the worst case of all.

    ``max_rel`` is ``max_abs`` over the largest magnitude of the original's answer. ``cosine`` is
    the angle between both answers as vectors, 1 when they agree.
    """

    max_abs: float
    max_rel: float
    cosine: float

    def worst(self, other: Difference) -> Difference:
        return Difference(
            max(self.max_abs, other.max_abs),
            max(self.max_rel, other.max_rel),
            min(self.cosine, other.cosine),
        )


@dataclass(frozen=True)
class Verification:
    """Differences by output: against the weights in the file, and against those before rounding.

    ``unrounded`` is empty where nothing was rounded. ``cases`` counts how often each kind of feed
    was run.
    """

    model: str
    runtime: str
    cases: Mapping[str, int]
    tolerance: float
    outputs: Mapping[str, Difference]
    unrounded: Mapping[str, Difference]

    @property
    def off(self) -> list[str]:
        """Names of outputs that are out of tolerance (or not numbers)."""
        return [n for n, d in self.outputs.items() if not d.max_rel <= self.tolerance]

    def as_json(self) -> dict[str, Any]:
        """What the manifest keeps."""
        return {
            "runtime": self.runtime,
            "cases": dict(self.cases),
            "tolerance": self.tolerance,
            "outputs": {name: _rounded(d) for name, d in self.outputs.items()},
            "unrounded": {name: _rounded(d) for name, d in self.unrounded.items()},
        }


def verify(
    graph: Graph,
    onnx: bytes,
    cases: Iterable[Case],
    *,
    unrounded: Graph | None = None,
    runtime: str = "onnxruntime",
) -> Verification:
    """Run ``onnx`` on all ``cases`` beside ``graph.reference`` and, for information, another's."""
    give_back_memory()  # of the export, before two programs need theirs
    runner = open_runner(
        graph.spec, onnx, runtime=runtime, threads=torch.get_num_threads(), lean=True
    )
    found: dict[str, Difference] = {}
    informal: dict[str, Difference] = {}
    counts: dict[str, int] = {}
    try:
        for case in cases:
            counts[case.name] = counts.get(case.name, 0) + 1
            got = runner.infer(case.feeds)
            _merge(found, _differences(graph, got, case.feeds))
            if unrounded is not None:
                _merge(informal, _differences(unrounded, got, case.feeds))
        info = runner.info
    finally:
        runner.close()
    if not found:
        raise ExportError(f"{graph.spec.name}: there is no case to verify it with")
    return Verification(
        model=graph.spec.name,
        runtime=f"{info.runtime} {info.version}",
        cases=counts,
        tolerance=TOLERANCE,
        outputs=found,
        unrounded=informal,
    )


def difference(got: NDArray[Any], wanted: NDArray[Any]) -> Difference:
    """How far ``got`` is from ``wanted``; infinitely, if shapes or dtypes differ or it has NaN."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype or not np.isfinite(got).all():
        return Difference(np.inf, np.inf, -1.0)
    ours, theirs = got.astype(np.float64).ravel(), wanted.astype(np.float64).ravel()
    largest = float(np.abs(ours - theirs).max())
    size = float(np.abs(theirs).max())
    if largest == 0:
        return Difference(0.0, 0.0, 1.0)
    norms = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    return Difference(
        largest, largest / size if size else np.inf, float(ours @ theirs) / norms if norms else -1.0
    )


@torch.inference_mode()
def _differences(graph: Graph, got: Arrays, feeds: Arrays) -> dict[str, Difference]:
    got, wanted = graph.align(got, graph.reference(feeds))
    return {t.name: difference(got[t.name], wanted[t.name]) for t in graph.spec.outputs}


def _merge(into: dict[str, Difference], found: Mapping[str, Difference]) -> None:
    for name, new in found.items():
        into[name] = into[name].worst(new) if name in into else new


def _rounded(value: Difference) -> dict[str, float]:
    return {key: float(f"{number:.6g}") for key, number in asdict(value).items()}
