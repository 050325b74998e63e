"""What stands in the way of a goal, in words with the figures of the same run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from markcut.contracts import STAGES

Result = Mapping[str, Any]

_OTHER = ("decode", "preprocess", "marks", "point_sampler", "mask_selection", "encode")
_NETWORKS = tuple(stage for stage in STAGES if stage not in (*_OTHER, "total"))
_NAMED = 3  # stages that a sentence names


def not_a_network(ms: Result) -> float:
    """Milliseconds of a chain that no network takes."""
    return _sum(ms, _OTHER)


def of_ratio(name: str, ms: Result, wanted: float, roofline: Result) -> str:
    """Why a chain of ``ms`` by stage does not take ``wanted`` milliseconds."""
    call, other = float(ms["call"]["median"]), not_a_network(ms)
    words = (
        f"that would be {wanted:.0f} ms; of our {call:.0f} the networks take {call - other:.0f} "
        f"and all else {other:.0f}"
    )
    rate, gflop = _rate(name, roofline), _gflop(roofline.get("networks", {}).get(name, {}))
    if rate and gflop:
        words += f"; the networks' {gflop:.0f} GFLOP at the full matrix rate: {gflop / rate:.0f}"
    return words


def of_server(ms: Result, embedded: Result) -> str:
    """Where a server's call takes longer than the embedded one."""
    way = _outside(ms) - _outside(embedded)
    networks = _sum(ms, _NETWORKS) - _sum(embedded, _NETWORKS)
    other = not_a_network(ms) - not_a_network(embedded)
    total = float(ms["total"]["median"]) - float(embedded["total"]["median"])
    return (
        f"{way:+.1f} ms on the way to the server and back, {networks:+.1f} in the networks' own "
        f"times, {other:+.1f} in the other stages, {total - networks - other:+.1f} between stages"
    )


def of_the_rest(ms: Result) -> str:
    """The stages that are no networks, the longest first."""
    spent = {stage: float(ms[stage]["median"]) for stage in _OTHER}
    return _longest(spent, "{stage} {ms:.1f}") + " ms"


def of_marks(fewest: int, before: Result, most: int, after: Result) -> str:
    """What more marks on a picture cost, by stage."""
    more = {
        s: float(after[s]["median"]) - float(before[s]["median"]) for s in (*_OTHER, *_NETWORKS)
    }
    return f"{most} instead of {fewest}: " + _longest(more, "{stage} {ms:+.1f}") + " ms"


def of_encoder(name: str, ms: float, wanted: float, roofline: Result) -> str:
    """Why an encoder of ``ms`` does not take ``wanted`` milliseconds."""
    words = f"that would be {wanted:.1f} ms, ours takes {ms:.1f}"
    rate = _rate(name, roofline)
    gflop = roofline.get("networks", {}).get(name, {}).get("sam2_encoder", {}).get("gflop")
    if rate and gflop:
        words += (
            f": {gflop / wanted / rate:.2f} of the matrix rate instead of {gflop / ms / rate:.2f}"
        )
    return words


def of_rate(networks: Result) -> str:
    """How an encoder's share of the matrix rate compares with the other networks'."""
    encoder = networks["sam2_encoder"]
    others = ", ".join(
        f"{name} {one['fraction']:.2f}"
        for name, one in networks.items()
        if name != "sam2_encoder" and one.get("fraction") is not None
    )
    full = encoder["ms"] * encoder["fraction"]
    words = (
        f"its {encoder['gflop']:.1f} GFLOP take {encoder['ms']:.1f} ms, {full:.1f} at the full "
        "rate; what is between products moves memory"
    )
    return f"{words}; the other networks reach: {others}" if others else words


def _outside(ms: Result) -> float:
    return float(ms["call"]["median"]) - float(ms["total"]["median"])


def _sum(ms: Result, stages: Iterable[str]) -> float:
    return sum(float(ms[stage]["median"]) for stage in stages)


def _longest(spent: Mapping[str, float], form: str) -> str:
    first = sorted(spent, key=lambda stage: -spent[stage])[:_NAMED]
    return ", ".join(form.format(stage=stage, ms=spent[stage]) for stage in first)


def _gflop(networks: Result) -> float:
    return sum(float(one["gflop"]) for one in networks.values())


def _rate(name: str, roofline: Result) -> float:
    """The machine's measured matrix rate for a contender's precision, GFLOP per millisecond."""
    rates = roofline.get("rates", {}).get(name.rpartition(" ")[2], {})
    return max(map(float, rates.values()), default=0.0)
