"""MLPerf's four scenarios, run by its own load generator inside of a contender's process."""

from __future__ import annotations

import itertools
import queue
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contenders import Contender, Engine, WireEngine
from benchmarks.errors import BenchmarkError
from benchmarks.seats import open_seats, reason

NAMES = ("SingleStream", "MultiStream", "Server", "Offline")

_MULTI = 8  # pictures of one query of MultiStream, as MLPerf has it
_SERVER_LOAD = 0.5  # of what SingleStream shows to be possible
_FIGURE = re.compile(r"^([^:\n]+?)\s*:\s*(\S.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Scenario:
    """A task: one of :data:`NAMES` for ``seconds`` at least; ``rate`` is for Server, per second."""

    name: str
    frames: tuple[bytes, ...]
    seconds: float
    rate: float

    def __call__(self, engine: Engine) -> dict[str, float]:
        # what is behind the wire contract takes several requests at once
        workers = 2 if isinstance(engine, WireEngine) and self.name != "SingleStream" else 1
        with tempfile.TemporaryDirectory(prefix="markcut-loadgen-") as folder:
            self._run(engine, Path(folder), workers)
            summary = (Path(folder) / "mlperf_log_summary.txt").read_text(encoding="utf-8")
        return read_summary(summary)

    def _run(self, engine: Engine, folder: Path, workers: int) -> None:
        import mlperf_loadgen as loadgen

        settings = loadgen.TestSettings()
        settings.scenario = getattr(loadgen.TestScenario, self.name)
        settings.mode = loadgen.TestMode.PerformanceOnly
        settings.min_duration_ms = round(self.seconds * 1000)
        settings.min_query_count = 1
        settings.multi_stream_samples_per_query = _MULTI
        settings.server_target_qps = self.rate
        settings.server_target_latency_ns = 10**12  # the rate is given: the latency is measured
        settings.offline_expected_qps = self.rate
        waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # one after the other: the generator's random choice would hit caches of features
        turns = itertools.cycle(self.frames)

        def work() -> None:
            while (sample := waiting.get()) is not None:
                engine.answer(next(turns))
                loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, 0, 0)])

        threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()

        def issue(samples: Iterable[Any]) -> None:
            for sample in samples:
                waiting.put(sample)

        logs = loadgen.LogSettings()
        logs.log_output.outdir = str(folder)
        logs.log_output.copy_summary_to_stdout = False
        logs.enable_trace = False
        count = len(self.frames)
        system = loadgen.ConstructSUT(issue, lambda: None)
        library = loadgen.ConstructQSL(count, count, lambda _: None, lambda _: None)
        try:
            loadgen.StartTestWithLogSettings(system, library, settings, logs)
        finally:
            for _ in threads:
                waiting.put(None)
            for thread in threads:  # the last answer is still being counted when the test returns
                thread.join()
            loadgen.DestroyQSL(library)
            loadgen.DestroySUT(system)


def measure(
    contenders: Iterable[Contender[Engine]],
    frames: tuple[bytes, ...],
    *,
    seconds: float,
    rate: float | None,
    names: Sequence[str] = NAMES,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The part ``scenarios`` of the report: milliseconds and pictures per second by contender.

    Server's requests come at ``rate`` per second; by default at half of what the contender's
    SingleStream shows to be possible.
    """
    result: dict[str, Any] = {}
    with ExitStack() as stack:
        seats, refused = open_seats(contenders, enter=stack.enter_context)
        for place in seats:
            got: dict[str, Any] = {}
            capacity = 1.0
            for name in names:
                wanted = rate or capacity * (_SERVER_LOAD if name == "Server" else 1.0)
                try:
                    figures = place.perform(Scenario(name, frames, seconds, wanted))
                except BenchmarkError as error:
                    refused[place.name] = reason(place.name, error)
                    break
                if name == "SingleStream":
                    capacity = 1000 / max(figures["mean_ms"], 1e-3)
                got[name] = {**figures, **({"rate": round(wanted, 3)} if name == "Server" else {})}
                advance()
            result[place.name] = got
    return {"seconds": seconds, "contenders": result, "refused": refused}


def read_summary(text: str) -> dict[str, float]:
    """The figures of the load generator's own summary that are there for its scenario.

    ``p50_ms``, ``p90_ms``, ``p99_ms`` and ``mean_ms`` of a query, ``per_second`` pictures.
    """
    said = dict(_FIGURE.findall(text))
    found: dict[str, float] = {}
    for label, name in (
        ("Mean latency (ns)", "mean_ms"),
        ("50.00 percentile latency (ns)", "p50_ms"),
        ("90.00 percentile latency (ns)", "p90_ms"),
        ("99.00 percentile latency (ns)", "p99_ms"),
    ):
        if label in said:
            found[name] = round(float(said[label]) / 1e6, 3)
    for label in ("Samples per second", "Completed samples per second", "QPS w/o loadgen overhead"):
        if label in said:
            found["per_second"] = round(float(said[label]), 3)
    if not found:
        raise BenchmarkError("the load generator wrote no figures")
    return found
