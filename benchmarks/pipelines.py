"""The embedded pipeline in any precision that a runtime offers."""

from __future__ import annotations

from pathlib import Path

from markcut.bundle import Bundle, load_bundle
from markcut.contracts import MODELS, SAM2_DECODER
from markcut.errors import RunnerError, RuntimeUnavailable
from markcut.pipeline import Pipeline
from markcut.runners import RUNTIMES, TENSORRT, Runner, open_runner
from markcut.runners.tensorrt_sidecar import FOLDER

PRECISIONS = ("fp32", "bf16", "fp16")


def open_pipeline(
    bundle: Path, *, runtime: str, device: str | None, threads: int | None, precision: str | None
) -> Pipeline:
    """As :meth:`Pipeline.open`, with every network in ``precision`` where one is given."""
    if precision is None:
        return Pipeline.open(bundle, runtime=runtime, device=device, threads=threads)
    loaded = load_bundle(bundle)
    runners: dict[str, Runner] = {}
    try:
        for name in MODELS:
            runners[name] = open_network(
                loaded, name, runtime=runtime, device=device, threads=threads, precision=precision
            )
    except BaseException:
        for runner in runners.values():
            runner.close()
        raise
    return Pipeline(loaded, runners)


def open_network(
    bundle: Bundle,
    name: str,
    *,
    runtime: str,
    device: str | None,
    threads: int | None,
    precision: str | None = None,
    batch: int = 1,
) -> Runner:
    """One network of ``bundle``, compiled for ``batch`` pictures as the pipeline compiles for 1."""
    fixed = None if name == SAM2_DECODER.name else {"B": batch}
    return open_runner(
        bundle.spec(name), bundle.onnx[name],
        runtime=runtime, device=device, threads=threads, precision=precision, fixed=fixed,
        engines=bundle.folder / FOLDER,
    )  # fmt: skip


def offered(
    bundle: Path, runtimes: tuple[str, ...] = (*RUNTIMES, TENSORRT), *, device: str | None = None
) -> list[tuple[str, str | None]]:
    """Every runtime and precision that runs here, proved by opening the smallest network.

    On ``device``, by default the one that each runtime usually runs on. Engines have one
    precision, which they were built for: it comes as None.
    """
    loaded = load_bundle(bundle)
    smallest = min(loaded.onnx, key=lambda name: len(loaded.onnx[name]))
    found: list[tuple[str, str | None]] = []
    for runtime in runtimes:
        for precision in PRECISIONS[:1] if runtime == TENSORRT else PRECISIONS:
            asked = None if precision == "fp32" else precision
            try:
                open_network(
                    loaded, smallest, runtime=runtime, device=device, threads=1, precision=asked
                ).close()
            except (RuntimeUnavailable, RunnerError):
                continue
            found.append((runtime, asked))
    return found
