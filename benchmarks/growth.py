"""The cost of growth: throughput and latency against requests at once and pictures per batch."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.contenders import Contender, Engine
from benchmarks.errors import BenchmarkError
from benchmarks.seats import open_seats, reason
from benchmarks.single_networks import PICTURE_NETWORKS, Networks, OpenNetworks, Running

_PAYS = 1.10  # throughput from one step to the next below which more is not worth having


@dataclass(frozen=True)
class Together:
    """A task: ``clients`` threads that ask one picture after another for ``seconds``.

    Every one of them asks at least once.
    """

    frames: tuple[bytes, ...]
    clients: int
    seconds: float

    def __call__(self, engine: Engine) -> dict[str, float]:
        spent: list[float] = []
        failures: list[Exception] = []
        end = time.perf_counter() + self.seconds

        turns = itertools.cycle(self.frames)  # shared, so that no cache of features helps

        def ask() -> None:
            while not failures:
                start = time.perf_counter()
                try:
                    engine.answer(next(turns))
                except Exception as error:  # whatever an engine raises is told by the task
                    failures.append(error)
                    return
                spent.append((time.perf_counter() - start) * 1000)
                if time.perf_counter() >= end:
                    return

        began = time.perf_counter()
        threads = [threading.Thread(target=ask) for _ in range(self.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        wall = time.perf_counter() - began
        return {
            "requests": len(spent),
            "per_second": round(len(spent) / wall, 3),
            "p50_ms": round(float(np.percentile(spent, 50)), 1),
            "p99_ms": round(float(np.percentile(spent, 99)), 1),
        }


def measure_concurrency(
    contenders: Iterable[Contender[Engine]],
    frames: tuple[bytes, ...],
    *,
    clients: Sequence[int],
    seconds: float,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The part ``growth`` of the report, its ``concurrency``: by contender, points and knee."""
    points: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        seats, refused = open_seats(contenders, enter=stack.enter_context)
        for place in seats:
            place.perform(Together(frames, 1, 0.0))
        for count in clients:
            for place in seats:
                if place.name in refused:
                    continue
                try:
                    figures = place.perform(Together(frames, count, seconds))
                except BenchmarkError as error:
                    refused[place.name] = reason(place.name, error)
                    continue
                points.setdefault(place.name, []).append({"clients": count, **figures})
                advance()
    return {
        "contenders": {
            name: {"points": got, "knee": knee([p["clients"] for p in got],
                                               [p["per_second"] for p in got])}
            for name, got in points.items()
        },
        "refused": refused,
    }  # fmt: skip


def measure_batches(
    contenders: Iterable[Networks],
    *,
    batches: Sequence[int],
    calls: int,
    seconds: float,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The part ``growth`` of the report, its ``batches``: milliseconds per picture."""
    points: dict[str, Mapping[str, Any]] = {}
    with ExitStack() as stack:
        seats, refused = open_seats(contenders, enter=stack.enter_context)
        for place in seats:
            points[place.name] = {
                network: _batch_points(place.perform, network, batches, calls, seconds, advance)
                for network in PICTURE_NETWORKS
            }
    return {"contenders": points, "refused": refused}


def _batch_points(
    perform: Callable[[Callable[[OpenNetworks], dict[str, float]]], dict[str, float]],
    network: str,
    batches: Sequence[int],
    calls: int,
    seconds: float,
    advance: Callable[[], None],
) -> dict[str, Any]:
    got = []
    for batch in batches:
        spent = perform(Running(network, batch, calls, seconds))
        got.append({"batch": batch, "ms_per_picture": round(spent["median"] / batch, 2)})
        advance()
    rates = [1 / point["ms_per_picture"] for point in got]
    return {"points": got, "knee": knee([p["batch"] for p in got], rates)}


def knee(sizes: Sequence[float], throughput: Sequence[float]) -> float | None:
    """The size after which the next one brings less than a tenth more; None where all do."""
    for at in range(len(sizes) - 1):
        if throughput[at + 1] < _PAYS * throughput[at]:
            return sizes[at]
    return None
