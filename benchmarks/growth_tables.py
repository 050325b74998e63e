"""The cost of growth as tables: requests at once, pictures per batch, marks on a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.report import Table

Result = Mapping[str, Any]


def growth_tables(part: Result, chain: Result | None) -> list[Table]:
    """``chain`` is that part of the report, where the marks' cost comes from."""
    found = [_concurrency(part["concurrency"]), _batches(part["batches"])]
    if "outside" in part:
        found.append(_outside(part["outside"]))
    return [*found, *([_marks(chain)] if chain else [])]


def _outside(part: Result) -> Table:
    rows = [
        [f"{point['clients']} at once", f"{point['per_second']:.2f}", f"{point['p50_ms']:.0f}",
         f"{point['p99_ms']:.0f}"]
        for point in part["points"]
    ]  # fmt: skip
    head = ["requests", "per second", "p50 ms", "p99 ms"]
    reasons = "".join(f" Not measured: {name}: {why}." for name, why in part["refused"].items())
    return Table(
        "The local Triton, gRPC, as perf_analyzer sees it", head, rows,
        f"NVIDIA's own client, for comparison with the rows above.{reasons}",
    )  # fmt: skip


def _concurrency(part: Result) -> Table:
    rows = [
        [f"{name}, {point['clients']} at once", f"{point['per_second']:.2f}",
         f"{point['p50_ms']:.0f}", f"{point['p99_ms']:.0f}", str(point["requests"]),
         "knee" if point["clients"] == got["knee"] else ""]
        for name, got in part["contenders"].items()
        for point in got["points"]
    ]  # fmt: skip
    return Table(
        "Requests at once",
        ["contender", "per second", "p50 ms", "p99 ms", "requests", ""],
        rows,
        "The knee is where the next step brings less than a tenth more throughput."
        + "".join(f" Not measured: {name}: {why}." for name, why in part["refused"].items()),
    )


def _batches(part: Result) -> Table:
    sizes = sorted(
        {p["batch"] for by in part["contenders"].values() for g in by.values() for p in g["points"]}
    )
    rows = [
        [f"{network}: {name}",
         *(f"{point['ms_per_picture']:.1f}" for point in got["points"]),
         str(got["knee"] or "beyond")]
        for name, by in part["contenders"].items()
        for network, got in by.items()
    ]  # fmt: skip
    return Table(
        "Pictures per batch, ms per picture",
        ["network: contender", *map(str, sizes), "knee"],
        rows,
        "The networks alone; the chain asks them about one picture at a time.",
    )


def _marks(chain: Result) -> Table:
    """By contender and size of picture: what every further mark costs."""
    rows = []
    for name in dict.fromkeys(n for p in chain["pictures"] for n in p["contenders"]):
        for size in dict.fromkeys(p["picture"].partition(",")[0] for p in chain["pictures"]):
            points = marks_points(chain, name, size)
            if len(points) < 2:
                continue
            (fewest, least), (most, longest) = points[0], points[-1]
            per_mark = (longest - least) / (most - fewest)
            rows.append([
                f"{name}, {size}", f"{fewest}", f"{least:.1f}", f"{most}", f"{longest:.1f}",
                f"{per_mark:.1f}", f"{100 * 10 * per_mark / least:.0f} %",
            ])  # fmt: skip
    head = ["contender, picture", "marks", "ms", "marks", "ms", "ms per mark", "ten more cost"]
    return Table("Marks on a picture", head, rows, "Marks found; ten more, of the first time.")


def marks_points(chain: Result, contender: str, size: str) -> list[tuple[int, float]]:
    """(marks found, median ms of a call) of a contender on pictures of a size, fewest first."""
    found = {}
    for picture in chain["pictures"]:
        one = picture["contenders"].get(contender, {})
        if picture["picture"].partition(",")[0] == size and "ms" in one and one["marks"]:
            found[one["marks"]] = one["ms"]["call"]["median"]
    return sorted(found.items())
