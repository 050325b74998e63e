"""What this machine can run, proved by running it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import markcut
from markcut.bundle import Bundle, load_bundle
from markcut.contracts import MODELS, ModelSpec
from markcut.errors import BundleError, MarkcutError, RunnerError, RuntimeUnavailable
from markcut.machine import Machine, describe_machine, run_command
from markcut.probe import Check
from markcut.runners import (
    RUNTIMES,
    TENSORRT,
    Array,
    choose_runtime,
    compiled_cache,
    open_runner,
)
from markcut.runners.tensorrt_sidecar import FOLDER, SIDECAR

__all__ = ["BundleCheck", "Check", "Machine", "Report", "diagnose"]

_PROBE_SECONDS = 120.0


@dataclass(frozen=True)
class ModelCheck:
    """One model of the bundle after one real inference on a grey picture; ``problem`` or empty.

    ``load_ms`` is loading and the first inference, ``infer_ms`` the second one.
    """

    model: str
    runtime: str
    device: str
    precision: str
    load_ms: float
    infer_ms: float
    problem: str = ""


@dataclass(frozen=True)
class BundleCheck:
    """A bundle after its verification; ``problem`` or empty, and every model that was tried.

    ``engines`` are its TensorRT engines, where there are some; they may be another machine's.
    """

    folder: str
    name: str
    bytes: int
    models: tuple[ModelCheck, ...]
    problem: str = ""
    engines: tuple[ModelCheck, ...] = ()


@dataclass(frozen=True)
class Report:
    """The machine, every runtime, what ``auto`` would choose, and the bundle if one was given.

    ``auto`` is empty where no runtime is installed; ``cache`` says where OpenVINO's compiled models
    are kept for the next start, or why not. ``healthy`` says that the chosen runtime ran
    and gave the right result, and that every model of the bundle did run.
    """

    version: str
    machine: Machine
    runtimes: tuple[Check, ...]
    auto: str
    healthy: bool
    cache: str = ""
    bundle: BundleCheck | None = None

    def to_json(self) -> dict[str, Any]:
        """The report as what ``json.dumps`` takes."""
        return dataclasses.asdict(self)


def diagnose(bundle: str | os.PathLike[str] | None = None) -> Report:
    """Look at this machine and prove what runs on it; takes a few seconds.

    Each runtime gets a process of its own, so one that crashes or hangs is reported like any
    other failure. Nothing raises: a bundle that is not sound is a ``problem`` in the report.
    """
    runtimes = tuple(check for name in (*RUNTIMES, TENSORRT) for check in _probe(name))
    try:
        auto = choose_runtime()
    except RuntimeUnavailable:
        auto = ""
    runs = any(c.runtime == auto and c.device == "cpu" and c.status == "ran" for c in runtimes)
    gpu = any(c.runtime == TENSORRT and c.status == "ran" for c in runtimes)
    checked = None if bundle is None else _check_bundle(Path(bundle), run=runs, engines=gpu)
    sound = checked is None or not (checked.problem or any(m.problem for m in checked.models))
    return Report(
        version=markcut.__version__,
        machine=describe_machine(),
        runtimes=runtimes,
        auto=auto,
        healthy=runs and sound,
        cache=compiled_cache.describe(),
        bundle=checked,
    )


def _probe(runtime: str) -> list[Check]:
    """The finished checks of ``runtime``; one that was begun and not finished has failed."""
    command = [sys.executable, "-m", "markcut.probe", runtime]
    # the child finds this very package, and no module that happens to lie in the current folder
    paths = [str(Path(markcut.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONSAFEPATH": "1",
    }
    status, output = run_command(command, seconds=_PROBE_SECONDS, environment=environment)
    found: list[Check] = []
    for line in output.splitlines():
        try:
            check = Check(**json.loads(line))
        except (ValueError, TypeError):
            continue  # a runtime's own chatter
        if found and found[-1].status == "started":
            found.pop()
        found.append(check)
    if status != 0 or not found or found[-1].status == "started":
        last = found.pop() if found and found[-1].status == "started" else Check(runtime, "")
        found.append(dataclasses.replace(last, status="failed", problem=_ending(status)))
    return found


def _ending(status: int | None) -> str:
    if status is None:
        return f"it did not answer within {_PROBE_SECONDS:g} seconds"
    if status < 0:
        return f"the process died: {signal.strsignal(-status)}"
    return f"the process ended with status {status} before it had a result"


def _check_bundle(folder: Path, *, run: bool, engines: bool) -> BundleCheck:
    try:
        bundle = load_bundle(folder)
    except BundleError as error:
        return BundleCheck(str(folder), name="", bytes=0, models=(), problem=str(error))
    return BundleCheck(
        folder=str(folder),
        name=bundle.manifest.name,
        bytes=sum(entry.bytes for entry in bundle.manifest.files()),
        models=tuple(_check_model(bundle, name) for name in MODELS) if run else (),
        problem="" if run else "sound, but not run: no runtime gave the right result here",
        engines=tuple(_check_engines(bundle, run=engines)),
    )


def _check_engines(bundle: Bundle, *, run: bool) -> Iterator[ModelCheck]:
    for model in MODELS:
        if (bundle.folder / FOLDER / f"{model}{SIDECAR}").exists():
            if run:
                yield _check_model(bundle, model, runtime=TENSORRT)
            else:
                problem = "not run: TensorRT did not work here"
                yield ModelCheck(model, TENSORRT, "", "", 0.0, 0.0, problem=problem)


def _check_model(bundle: Bundle, model: str, *, runtime: str = "auto") -> ModelCheck:
    spec = bundle.spec(model)
    start = time.perf_counter()
    try:
        runner = open_runner(
            spec, bundle.onnx[model], runtime=runtime, engines=bundle.folder / FOLDER
        )
        try:
            feeds = _grey_feeds(spec)
            outputs = runner.infer(feeds)
            loaded = time.perf_counter()
            runner.infer(feeds)
            done = time.perf_counter()
        finally:
            runner.close()
        for name, values in outputs.items():
            if not np.isfinite(values).all():
                raise RunnerError(f"{model}.{name}: not finite on a grey picture")
    except MarkcutError as error:
        return ModelCheck(model, "", "", "", 0.0, 0.0, problem=str(error))
    info = runner.info
    return ModelCheck(
        model=model,
        runtime=info.runtime,
        device=info.device,
        precision=info.precision,
        load_ms=round((loaded - start) * 1000, 1),
        infer_ms=round((done - loaded) * 1000, 1),
    )


def _grey_feeds(spec: ModelSpec) -> dict[str, Array]:
    """One picture, one object, one prompt: grey where it is a picture, else zeros."""
    feeds: dict[str, Array] = {}
    for tensor in spec.inputs:
        shape = tuple(dim if isinstance(dim, int) else 1 for dim in tensor.dims)
        fill = 114 if tensor.dtype == "UINT8" else 0
        feeds[tensor.name] = np.full(shape, fill, tensor.numpy_dtype)
    return feeds
