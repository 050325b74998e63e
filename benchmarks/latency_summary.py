"""The handful of figures that the project set itself as goals, from one run's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.growth_tables import marks_points
from benchmarks.report import Table

Result = Mapping[str, Any]

_USUAL = "1 MP, 1 mark"
_LARGEST = "12 MP, 16 marks"
_OTHER = ("decode", "preprocess", "marks", "point_sampler", "mask_selection", "encode")
_RUNTIMES = ("openvino", "onnxruntime", "tensorrt")


def summary_table(result: Result) -> Table:
    """What could be measured of the goals in this run, with the goal beside it."""
    parts = result["parts"]
    rows: list[list[str]] = []
    if "chain" in parts:
        rows += _chain_rows(parts["chain"])
    if "networks" in parts:
        rows += _encoder_rows(parts["networks"])
    if "roofline" in parts:
        rows += _roofline_rows(parts["roofline"])
    if "start" in parts:
        rows += _start_rows(parts["start"])
    if result.get("triton_ready"):
        rows.append(["start to ready of the local Triton, s",
                     f"{result['triton_ready']['ready_s']:.1f}", "<= 20"])  # fmt: skip
    return Table("Goals", ["figure", "measured", "goal"], rows)


def ours(names: Mapping[str, Any]) -> list[str]:
    """The contenders that are embedded runtimes of ours."""
    return [name for name in names if name.split(" ")[0] in _RUNTIMES]


def _chain_rows(chain: Result) -> list[list[str]]:
    pictures = {picture["picture"]: picture["contenders"] for picture in chain["pictures"]}
    rows: list[list[str]] = []
    usual = {n: c for n, c in pictures.get(_USUAL, {}).items() if "ms" in c}
    own = {name: usual[name]["ms"]["call"]["median"] for name in ours(usual)}
    if own:
        best = min(own, key=lambda name: own[name])
        for name, goal in (
            ("upstream eager fp32", ">= 10"), ("upstream eager bf16", ">= 4"),
            ("upstream compile fp32", ">= 4"), ("upstream compile bf16", ">= 4"),
        ):  # fmt: skip
            if name in usual:
                ratio = usual[name]["ms"]["call"]["median"] / own[best]
                rows.append([f"{_USUAL}: {name} / {best}", f"{ratio:.2f} x", goal])
        for name, one in usual.items():
            if name.startswith("triton"):
                rows += _triton_rows(name, one, own)
        rows.append([f"{_USUAL}: not a network, {best}, ms", _other(usual[best]), "<= 15"])
        memory = usual[best]["peak_memory_mb"] / 1024
        rows.append([f"{_USUAL}: peak memory, {best}, GB", f"{memory:.2f}", "<= 2.5"])
        points = marks_points(chain, best, "1 MP")
        if len(points) > 1:
            (fewest, least), (most, longest) = points[0], points[-1]
            share = 1000 * (longest - least) / (most - fewest) / least
            rows.append([f"1 MP: ten more marks, {best}", f"{share:.0f} %", "<= 25 %"])
    largest = {n: c for n, c in pictures.get(_LARGEST, {}).items() if "ms" in c}
    fastest = sorted(ours(largest), key=lambda name: float(largest[name]["ms"]["call"]["median"]))
    for name in fastest[:1]:
        rows.append([f"{_LARGEST}: not a network, {name}, ms", _other(largest[name]), "<= 120"])
    return rows


def _triton_rows(name: str, one: Result, own: Mapping[str, float]) -> list[list[str]]:
    """Triton against the embedded runner of the same kind."""
    backend = name[name.index("(") + 1 : -1]
    if backend not in own:
        return []
    more = one["ms"]["call"]["median"] - own[backend]
    share = 100 * more / own[backend]
    words = f"{_USUAL}: {name} over embedded, p50"
    return [[words, f"{more:+.1f} ms, {share:+.0f} %", "<= 10 % or 15 ms"]]


def _other(one: Result) -> str:
    return f"{sum(one['ms'][stage]['median'] for stage in _OTHER):.1f}"


def _encoder_rows(networks: Result) -> list[list[str]]:
    timed = {n: c for n, c in networks.get("sam2", {}).get("contenders", {}).items() if "ms" in c}
    own = {name: timed[name]["ms"]["sam2_encoder"]["median"] for name in ours(timed)}
    other = "samexporter onnxruntime"
    if not own or other not in timed:
        return []
    best = min(own, key=lambda name: own[name])
    ratio = timed[other]["ms"]["sam2_encoder"]["median"] / own[best]
    return [[f"SAM2 encoder: samexporter / {best}", f"{ratio:.2f} x", ">= 5"]]


def _roofline_rows(roofline: Result) -> list[list[str]]:
    rows = []
    for name, networks in roofline["networks"].items():
        fraction = networks.get("sam2_encoder", {}).get("fraction")
        if fraction is not None and name.endswith("bf16"):
            words = f"SAM2 encoder, {name}: of the matrix rate"
            rows.append([words, f"{fraction:.2f}", ">= 0.45"])
    return rows


def _start_rows(start: Result) -> list[list[str]]:
    return [
        [f"cold start to first answer, {name}, s", f"{start['engines'][name]['answered_s']:.2f}",
         "<= 2"]
        for name in ours(start["engines"])
    ]  # fmt: skip
