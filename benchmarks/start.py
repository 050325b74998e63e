"""From nothing to the first answer: every contender in a fresh process, and every network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.chain import Ask
from benchmarks.contenders import Contender, Engine
from benchmarks.errors import BenchmarkError
from benchmarks.seats import Seat, reason
from benchmarks.single_networks import Networks, Opening
from markcut.contracts import MODELS


def measure(
    networks: Iterable[Networks],
    engines: Iterable[Contender[Engine]],
    frame: bytes,
    *,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The part ``start`` of the report: seconds of whole engines, milliseconds of networks.

    ``opened_s`` runs from the process's start, imports included, ``answered_s`` until the first
    answer is there; of a server it is the client's start. ``peak_memory_mb`` is after that.
    """
    whole: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for engine in engines:
        try:
            with Seat(engine) as place:
                (first,) = place.perform(Ask((frame,)))
                whole[place.name] = {
                    "opened_s": round(place.opened_s, 3),
                    "first_ms": round(first.call_ms, 1),
                    "answered_s": round(place.opened_s + first.call_ms / 1000, 3),
                    "peak_memory_mb": round(place.peak_memory() / 2**20, 1),
                }
        except BenchmarkError as error:
            refused[engine.name] = reason(engine.name, error)
    single: dict[str, dict[str, float]] = {}
    for one in networks:
        with Seat(one) as place_:
            single[one.name] = {}
            for name in MODELS:
                single[one.name][name] = place_.perform(Opening(name))
                advance()
    return {"engines": whole, "networks_ms": single, "refused": refused}
