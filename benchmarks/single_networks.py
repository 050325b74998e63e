"""A bundle's networks one by one in a process: how fast each opens, runs, and runs in batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.figures_of_time import spread
from benchmarks.pipelines import open_network
from markcut.bundle import Bundle, load_bundle
from markcut.contracts import MODELS, SAM2_DECODER, ModelSpec
from markcut.runners import Array, Runner

PROMPTS = 4
"""Rows that the decoder is timed with: what a mark usually gives."""


@dataclass(frozen=True)
class Networks:
    """The networks of ``bundle``; each is opened by the task that wants it."""

    bundle: Path
    runtime: str
    threads: int | None
    precision: str | None = None
    device: str | None = None

    @property
    def name(self) -> str:
        return f"{self.runtime} {self.precision or 'fp32'}"

    @property
    def processes(self) -> tuple[int, ...]:
        return ()

    @contextmanager
    def open(self) -> Iterator[OpenNetworks]:
        yield OpenNetworks(self, load_bundle(self.bundle))


@dataclass(frozen=True)
class OpenNetworks:
    """The loaded bundle, and how its networks are to be run."""

    how: Networks
    bundle: Bundle

    def runner(self, name: str, batch: int = 1) -> Runner:
        return open_network(
            self.bundle, name,
            runtime=self.how.runtime, device=self.how.device, threads=self.how.threads,
            precision=self.how.precision, batch=batch,
        )  # fmt: skip


@dataclass(frozen=True)
class Opening:
    """A task: milliseconds until ``network`` is ready; in a fresh process, nothing is loaded."""

    network: str

    def __call__(self, networks: OpenNetworks) -> float:
        start = time.perf_counter()
        runner = networks.runner(self.network)
        spent = (time.perf_counter() - start) * 1000
        runner.close()
        return round(spent, 1)


@dataclass(frozen=True)
class Running:
    """A task: ``network`` on ``batch`` pictures at a time, ``calls`` times or for ``seconds``."""

    network: str
    batch: int
    calls: int
    seconds: float

    def __call__(self, networks: OpenNetworks) -> dict[str, float]:
        runner = networks.runner(self.network, self.batch)
        try:
            feeds = some_feeds(runner.spec, {"B": self.batch, "N": PROMPTS, "P": 3})
            runner.infer(feeds)
            spent: list[float] = []
            began = time.perf_counter()
            while len(spent) < self.calls:
                start = time.perf_counter()
                runner.infer(feeds)
                spent.append((time.perf_counter() - start) * 1000)
                if time.perf_counter() - began > self.seconds:
                    break
        finally:
            runner.close()
        return spread(spent)


def some_feeds(spec: ModelSpec, sizes: Mapping[str, int]) -> dict[str, Array]:
    """Noise for every input of ``spec``; labels are those of points."""
    rng = np.random.default_rng(0)
    feeds: dict[str, Array] = {}
    for tensor in spec.resolve(sizes).inputs:
        shape = tuple(int(dim) for dim in tensor.dims)
        if tensor.dtype == "UINT8":
            feeds[tensor.name] = rng.integers(0, 256, shape, np.uint8)
        elif tensor.dtype == "INT32":
            feeds[tensor.name] = np.ones(shape, np.int32)
        else:
            feeds[tensor.name] = rng.random(shape, np.float32)
    return feeds


PICTURE_NETWORKS = tuple(name for name in MODELS if name != SAM2_DECODER.name)
