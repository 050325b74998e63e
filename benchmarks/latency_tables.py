"""The latency benchmark's result as tables; everything is computed from the JSON alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import report
from benchmarks.chain import SAME_MARKS
from benchmarks.growth_tables import growth_tables
from benchmarks.latency_summary import summary_table
from benchmarks.report import Table
from markcut.contracts import MODELS, STAGES

Result = Mapping[str, Any]

_NOT_MEASURED = "Not measured"


def note(result: Result) -> str:
    """Where and how it was measured, and who was missing."""
    load = result["load_average"]
    size = f"Size {result['size']}, {result['minutes']} minutes"
    threads = f"threads: {result['threads'] or 'all'}"
    loads = f"load average {load[0]} before and {load[1]} after, this run included"
    words = [
        f"{size}, {threads}, {loads}.",
        f"{report.machine_line(result)}.",
        *(f"Not measured: {name}: {why}." for name, why in result["missing"].items()),
    ]
    return " ".join(words)


def tables(result: Result) -> list[Table]:
    """All of them, the summary first."""
    parts = result["parts"]
    found = [summary_table(result)]
    if "chain" in parts:
        found += chain_tables(parts["chain"])
    if "networks" in parts:
        found += network_tables(parts["networks"])
    if "scenarios" in parts:
        found.append(scenario_table(parts["scenarios"]))
    if "start" in parts:
        found += start_tables(parts["start"], result["triton_ready"])
    if "roofline" in parts:
        found += roofline_tables(parts["roofline"])
    if "growth" in parts:
        found += growth_tables(parts["growth"], parts.get("chain"))
    return [table for table in found if table.rows or _NOT_MEASURED in table.remark]


def chain_tables(part: Result) -> list[Table]:
    """Whole calls of every contender, and by picture where their time goes."""
    rows = []
    stages: list[Table] = []
    for picture in part["pictures"]:
        contenders = picture["contenders"]
        base = contenders.get(part["reference"], {}).get("ms")
        for name, found in contenders.items():
            start = [f"{picture['picture']}: {name}", str(found["marks"])]
            same = [f"{found['box_iou']:.3f}", f"{found['mask_iou']:.3f}"]
            if "ms" not in found:
                rows.append([*start, *same, "not timed: differs", "", "", ""])
                continue
            call = found["ms"]["call"]
            ratio = f"{base['call']['median'] / call['median']:.2f} x" if base else ""
            memory = f"{found['peak_memory_mb']:.0f}"
            figures = [f"{call['median']:.1f}", f"{call['p90']:.1f}", ratio, memory]
            rows.append([*start, *same, *figures])
        timed = {name: found for name, found in contenders.items() if "ms" in found}
        stages.append(
            Table(
                f"Where the time goes: {picture['picture']}, median ms",
                ["stage", *timed],
                [
                    [stage, *(f"{found['ms'][stage]['median']:.1f}" for found in timed.values())]
                    for stage in (*STAGES, "call")
                ],
                "" if picture is not part["pictures"][-1] else
                "clipseg and yolo11_seg run beside each other in ours, so stages do "
                "not sum up to the total. call is a stopwatch around the call; upstream's "
                "preprocessing is inside its networks' times.",
            )
        )  # fmt: skip
    whole = Table(
        "JPEG bytes to masks",
        ["picture: contender", "marks", "boxes' IoU", "mask IoU", "median ms", "p90 ms",
         f"{part['reference']} / this", "peak MB"],
        rows,
        f"IoU is with {part['reference']}: of the boxes of the marks found, and of SAM2's masks "
        f"for the same clicks; below {min(part['least_iou'], SAME_MARKS)} and {part['least_iou']} "
        "nothing is timed. Memory is the most that "
        "the contender's processes held until the picture's warm-up was over."
        + refusals(part["refused"]),
    )  # fmt: skip
    return [whole, *stages]


def network_tables(part: Result) -> list[Table]:
    """A table per family; the ratio is to the first that was timed."""
    found = []
    for family, got in part.items():
        rows = []
        base: Mapping[str, Any] | None = None
        for name, one in got["contenders"].items():
            if "ms" not in one:
                rows.append([name, f"{one['iou']:.3f}", "not timed: differs", "", "", ""])
                continue
            base = base or one["ms"]
            for stage, ms in one["ms"].items():
                ratio = base[stage]["median"] / ms["median"]
                rows.append([
                    name, f"{one['iou']:.3f}", stage, f"{ms['median']:.1f}", f"{ms['p90']:.1f}",
                    f"{ratio:.2f} x",
                ])  # fmt: skip
        head = ["contender", "IoU", "network", "median ms", "p90 ms", "first / this"]
        remark = "From the decoded picture to what the network says, preprocessing included."
        title = f"The network {family} alone: {got['picture']}"
        found.append(Table(title, head, rows, remark + refusals(got["refused"])))
    return found


def scenario_table(part: Result) -> Table:
    """MLPerf's figure of every scenario."""
    rows = []
    for name, got in part["contenders"].items():

        def figure(scenario: str, key: str, got: Mapping[str, Any] = got) -> str:
            value = got.get(scenario, {}).get(key)
            return "" if value is None else f"{value:.1f}" if key.endswith("ms") else f"{value:.2f}"

        rows.append([
            name, figure("SingleStream", "p90_ms"), figure("MultiStream", "p99_ms"),
            figure("Server", "p99_ms"), figure("Server", "rate"),
            figure("Offline", "per_second"),
        ])  # fmt: skip
    head = ["contender", "SingleStream p90 ms", "MultiStream (8) p99 ms", "Server p99 ms",
            "at per second", "Offline per second"]  # fmt: skip
    remark = f"{part['picture']}, at least {part['seconds']:.0f} s each." if rows else ""
    return Table("MLPerf scenarios", head, rows, remark + refusals(part["refused"]))


def start_tables(part: Result, ready: Mapping[str, float] | None) -> list[Table]:
    """Whole engines, and single networks."""
    rows = [
        [name, f"{one['opened_s']:.2f}", f"{one['first_ms']:.0f}", f"{one['answered_s']:.2f}",
         f"{one['peak_memory_mb']:.0f}"]
        for name, one in part["engines"].items()
    ]  # fmt: skip
    server = ""
    if ready:
        server = (
            f" The local Triton was ready {ready['ready_s']:.1f} s after its start, "
            f"{ready['command_s']:.1f} s after its command's."
        )
    remark = "In a fresh process, imports included; of Triton it is the client's." + server
    whole = Table(
        "Cold start", ["contender", "opened s", "first answer ms", "answered after s", "peak MB"],
        rows, remark + refusals(part["refused"]),
    )  # fmt: skip
    single = part["networks_ms"]
    return [
        whole,
        Table(
            "Opening a network, ms", ["network", *single],
            [[name, *(f"{single[one][name]:.0f}" for one in single)] for name in MODELS]
            if single else [],
        ),
    ]  # fmt: skip


def roofline_tables(part: Result) -> list[Table]:
    """The machine's rates, and what share of them the networks reach."""
    libraries = ("openvino", "torch")
    rates = [
        [kind, *(f"{by[one]:.3f}" if one in by else "-" for one in libraries)]
        for kind, by in part["rates"].items()
    ]
    rows = []
    for contender, networks in part["networks"].items():
        for name, row in networks.items():
            fraction = row.get("fraction")
            rows.append([
                f"{name}: {contender}", f"{row['gflop']:.2f}" if "gflop" in row else "-",
                f"{row['ms']:.1f}", f"{row['tflops']:.3f}" if "tflops" in row else "-",
                "-" if fraction is None else f"{fraction:.2f}",
            ])  # fmt: skip
    return [
        Table("Matrix rate of this machine, TFLOP/s", ["data type", *libraries], rates),
        Table(
            "Roofline", ["network: contender", "GFLOP", "ms", "TFLOP/s", "of the matrix rate"],
            rows,
            "Operations are 2 per multiply and add, of matrix products and convolutions alone; "
            "the rate is the best of both libraries for the same data type."
            + refusals(part["refused"]),
        ),
    ]  # fmt: skip


def refusals(refused: Mapping[str, str]) -> str:
    """Who could not be measured, in words."""
    return "".join(f" {_NOT_MEASURED}: {name}: {why}." for name, why in refused.items())
