"""The handful of figures that the project set itself as goals, from one run's JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks import latency_limits as limits
from benchmarks.growth_tables import marks_points
from benchmarks.report import Table

Result = Mapping[str, Any]

_USUAL = "1 MP, 1 mark"
_LARGEST = "12 MP, 16 marks"
_RUNTIMES = ("openvino", "onnxruntime", "tensorrt")


@dataclass(frozen=True)
class Goal:
    """One figure as measured and as it should be; ``limit`` says what stands in the way."""

    figure: str
    measured: str
    wanted: str
    reached: bool
    limit: str


def summary_table(result: Result) -> Table:
    """What could be measured of the goals in this run, and what stands in the way of the others."""
    goals = list(_goals(result))
    missed = [f"- {goal.figure}: {goal.limit}" for goal in goals if not goal.reached]
    return Table(
        "Goals",
        ["figure", "measured", "goal", "reached"],
        [[g.figure, g.measured, g.wanted, "yes" if g.reached else "no"] for g in goals],
        "\n".join(["What stands in the way, as measured in this run:", "", *missed])
        if missed
        else "",
    )


def _goals(result: Result) -> Iterator[Goal]:
    parts = result["parts"]
    roofline = parts.get("roofline", {})
    if "chain" in parts:
        yield from _chain(parts["chain"], roofline)
    if "networks" in parts:
        yield from _encoder(parts["networks"], roofline)
    yield from _matrix_rate(roofline)
    if "start" in parts:
        yield from _start(parts["start"])
    if result.get("triton_ready"):
        seconds = result["triton_ready"]["ready_s"]
        yield Goal(
            "start to ready of the local Triton, s", f"{seconds:.1f}", "<= 20", seconds <= 20,
            "the server loads its models one after the other",
        )  # fmt: skip


def ours(names: Mapping[str, Any]) -> list[str]:
    """The contenders that are embedded runtimes of ours."""
    return [name for name in names if name.split(" ")[0] in _RUNTIMES]


def _chain(chain: Result, roofline: Result) -> Iterator[Goal]:
    pictures = {picture["picture"]: picture["contenders"] for picture in chain["pictures"]}
    usual = {n: c for n, c in pictures.get(_USUAL, {}).items() if "ms" in c}
    if ours(usual):
        best = min(ours(usual), key=lambda name: float(_call(usual[name])))
        own = usual[best]
        for name, least in (
            ("upstream eager fp32", 10), ("upstream eager bf16", 4),
            ("upstream compile fp32", 4), ("upstream compile bf16", 4),
        ):  # fmt: skip
            if name in usual:
                ratio = _call(usual[name]) / _call(own)
                yield Goal(
                    f"{_USUAL}: {name} / {best}", f"{ratio:.2f} x", f">= {least}", ratio >= least,
                    limits.of_ratio(best, own["ms"], _call(usual[name]) / least, roofline),
                )  # fmt: skip
        for name, one in usual.items():
            if name.startswith("triton"):
                yield from _triton(name, one, usual)
        yield _not_a_network(_USUAL, best, own, 15)
        memory = own["peak_memory_mb"] / 1024
        yield Goal(
            f"{_USUAL}: peak memory, {best}, GB", f"{memory:.2f}", "<= 2.5", memory <= 2.5,
            "the networks' weights and activations, and Python with its libraries",
        )  # fmt: skip
        yield from _more_marks(chain, best)
    largest = {n: c for n, c in pictures.get(_LARGEST, {}).items() if "ms" in c}
    fastest = sorted(ours(largest), key=lambda name: float(_call(largest[name])))
    for name in fastest[:1]:
        yield _not_a_network(_LARGEST, name, largest[name], 120)


def _call(one: Result) -> float:
    return float(one["ms"]["call"]["median"])


def _triton(name: str, one: Result, usual: Mapping[str, Result]) -> Iterator[Goal]:
    """Triton against the embedded runner of the same kind."""
    backend = name[name.index("(") + 1 : -1]
    if backend not in ours(usual):
        return
    more = _call(one) - _call(usual[backend])
    share = 100 * more / _call(usual[backend])
    yield Goal(
        f"{_USUAL}: {name} over embedded, p50", f"{more:+.1f} ms, {share:+.0f} %",
        "<= 10 % or 15 ms", share <= 10 or more <= 15,
        limits.of_server(one["ms"], usual[backend]["ms"]),
    )  # fmt: skip


def _not_a_network(picture: str, name: str, one: Result, most: float) -> Goal:
    spent = limits.not_a_network(one["ms"])
    return Goal(
        f"{picture}: not a network, {name}, ms", f"{spent:.1f}", f"<= {most:g}", spent <= most,
        limits.of_the_rest(one["ms"]),
    )  # fmt: skip


def _more_marks(chain: Result, best: str) -> Iterator[Goal]:
    points = marks_points(chain, best, "1 MP")
    if len(points) < 2:
        return
    (fewest, least), (most, longest) = points[0], points[-1]
    share = 1000 * (longest - least) / (most - fewest) / least
    found = {
        picture["contenders"][best]["marks"]: picture["contenders"][best]["ms"]
        for picture in chain["pictures"]
        if picture["picture"].startswith("1 MP,") and "ms" in picture["contenders"].get(best, {})
    }
    yield Goal(
        f"1 MP: ten more marks, {best}", f"{share:.0f} %", "<= 25 %", share <= 25,
        limits.of_marks(fewest, found[fewest], most, found[most]),
    )  # fmt: skip


def _encoder(networks: Result, roofline: Result) -> Iterator[Goal]:
    timed = {n: c for n, c in networks.get("sam2", {}).get("contenders", {}).items() if "ms" in c}
    times = {name: float(one["ms"]["sam2_encoder"]["median"]) for name, one in timed.items()}
    other = "samexporter onnxruntime"
    if not ours(times) or other not in times:
        return
    best = min(ours(times), key=lambda name: times[name])
    ratio = times[other] / times[best]
    yield Goal(
        f"SAM2 encoder: samexporter / {best}", f"{ratio:.2f} x", ">= 5", ratio >= 5,
        limits.of_encoder(best, times[best], times[other] / 5, roofline),
    )  # fmt: skip


def _matrix_rate(roofline: Result) -> Iterator[Goal]:
    for name, networks in roofline.get("networks", {}).items():
        fraction = networks.get("sam2_encoder", {}).get("fraction")
        if fraction is not None and name.endswith("bf16"):
            yield Goal(
                f"SAM2 encoder, {name}: of the matrix rate", f"{fraction:.2f}", ">= 0.45",
                fraction >= 0.45, limits.of_rate(networks),
            )  # fmt: skip


def _start(start: Result) -> Iterator[Goal]:
    for name in ours(start["engines"]):
        one = start["engines"][name]
        yield Goal(
            f"cold start to first answer, {name}, s", f"{one['answered_s']:.2f}", "<= 2",
            one["answered_s"] <= 2,
            f"{one['opened_s']:.2f} s to open, {one['first_ms']:.0f} ms for the first answer",
        )  # fmt: skip
