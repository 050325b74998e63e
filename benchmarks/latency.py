"""``python -m benchmarks latency``: every way of running the chain, side by side."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import latency_plots, latency_tables, report
from benchmarks.arguments import add_common, at_least, check_common
from benchmarks.errors import BenchmarkError
from benchmarks.facts import facts, load_average
from benchmarks.laboratory import Laboratory
from benchmarks.latency_efforts import GROUPS, PARTS, RUNS
from benchmarks.progress import progress
from benchmarks.upstream import Checkpoints
from benchmarks.upstream_networks import CUDA
from markcut.runners import RUNTIMES, TENSORRT

DEMO = Path("artifacts/demo")
_RUNTIMES = (*RUNTIMES, TENSORRT)
_DEMO_CHECKPOINTS = Checkpoints(
    "checkpoints/demo/clipseg",
    "checkpoints/demo/yolo11n-seg-marks.pt",
    "checkpoints/demo/sam2/model.pt",
)

_EXPLANATION = """
parts:
  chain      JPEG bytes to masks: pictures of 0.3, 1 and 12 MP with 1, 4 and 16 marks, by stage
  networks   every network alone, beside its peers
  scenarios  MLPerf's SingleStream, MultiStream, Server and Offline (needs mlcommons-loadgen)
  start      cold start to first answer, and how long every network takes to open
  roofline   operations of every network against the machine's measured matrix rate
  growth     throughput and p99 against requests at once, pictures per batch, marks

groups:
  upstream   the original projects' own calls in PyTorch: eager fp32, bf16 by autocast, and with
             --size full torch.compile
  peers      samexporter on ONNX Runtime, ultralytics' own ONNX and OpenVINO export
  ours       every runtime and precision that runs here, embedded
  triton     the local Triton over gRPC, HTTP and shared memory

Everybody works in a process of its own, on the same cores. Answers are compared before anything
is timed: a contender that answers otherwise than the first one gets no time. Then rounds
alternate, so that whatever else the machine does hits all of them alike; loading and warm-up do
not count; peak memory is what all of a contender's processes ever held, summed. Compare
within one run only. Pictures change from call to call, so that no cache of
features flatters anybody.

Under --out: latency.md, latency.json (the last line of standard output, indented) and plots.

examples:
  python -m benchmarks latency
  python -m benchmarks latency --parts chain --groups ours triton
  python -m benchmarks latency --size full --bundle out/published/bundle --clipseg out/published/clipseg \\
      --yolo checkpoints/demo/yolo11n-seg-marks.pt --sam2 out/published/sam2.1_hiera_tiny.pt --least-iou 0
  python -m benchmarks latency --from out/latency/latency.json
"""  # noqa: E501


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``latency``."""
    parser.epilog = _EXPLANATION
    add_common(parser, name="latency")
    parser.add_argument(
        "--size", choices=tuple(RUNS), default="default",
        help="how much is measured; default is planned for 15 minutes on 2 idle cores",
    )  # fmt: skip
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART",
        help=f"what is measured, of {', '.join(PARTS)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--groups", nargs="+", choices=GROUPS, default=GROUPS, metavar="GROUP",
        help=f"who is measured, of {', '.join(GROUPS)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--runtime", nargs="+", choices=_RUNTIMES, metavar="NAME",
        help=f"our runtimes, of {', '.join(_RUNTIMES)} (default: all that run here)",
    )  # fmt: skip
    parser.add_argument(
        "--device", choices=("cpu", CUDA),
        help="where everybody computes; with cuda, who runs on the CPU alone is left out "
        "(default: the CPU, but for TensorRT)",
    )  # fmt: skip
    parser.add_argument(
        "--also", type=Path, nargs="+", default=(), metavar="DIR",
        help="bundles of the same checkpoints in other precisions, to run beside --bundle",
    )  # fmt: skip
    for name, what in (
        ("clipseg", "folder or hub id"), ("yolo", ".pt"), ("sam2", ".pt or hub id"),
        ("sam2-config", "YAML or name"),
    ):  # fmt: skip
        parser.add_argument(
            f"--{name}", metavar="X", help=f"the checkpoint that the bundle was made of: {what}"
        )
    parser.add_argument(
        "--pictures", type=Path, nargs="+", metavar="FILE",
        help="pictures to answer instead of the generated ones",
    )  # fmt: skip
    parser.add_argument(
        "--least-iou", type=float, default=0.9, metavar="X",
        help="mean IoU with the first contender's masks from which times count; 0 for random "
        "weights, whose masks mean nothing (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--rate", type=float, metavar="HZ",
        help="requests per second of the Server scenario (default: half of what each can do)",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE",
        help="measure nothing: write tables and plots again from a latency.json",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; 0 when done."""
    _check(options)
    if options.source is not None:
        result = _read(options.source)
        report.prepare(options.out)
    else:
        about = facts(options.bundle)
        report.prepare(options.out)
        result = {**about, **_measure(options)}
    try:
        tables, files = _rendered(result)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if options.source is None:
            raise
        raise BenchmarkError(
            f"--from: {options.source} is of another version of this benchmark, or was changed "
            f"({type(error).__name__}: {error}); measure again"
        ) from None
    report.write(options.out, files)
    if not options.json:
        report.show(tables)
        print(latency_tables.note(result))
    print(report.one_line(result))
    return 0


def _rendered(result: dict[str, Any]) -> tuple[list[report.Table], dict[str, bytes]]:
    tables = latency_tables.tables(result)
    text = f"# Latency\n\n{latency_tables.note(result)}\n\n{report.markdown(tables)}\n"
    files = {"latency.md": text.encode(), "latency.json": report.pretty(result)}
    return tables, {**files, **latency_plots.plots(result)}


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    load_before = load_average()
    began = time.monotonic()
    parts: dict[str, Any] = {}
    with ExitStack() as stack:
        stack.enter_context(cores(options.threads))
        laboratory = stack.enter_context(
            Laboratory.open(
                options.bundle,
                also=options.also,
                run=RUNS[options.size],
                groups=tuple(options.groups),
                runtimes=tuple(options.runtime or _RUNTIMES),
                threads=options.threads,
                checkpoints=_checkpoints(options),
                pictures=options.pictures,
                photos=options.photos,
                least_iou=options.least_iou,
                rate=options.rate,
                device=options.device,
            )
        )
        for part in PARTS:
            if part in options.parts:
                try:
                    with progress(part, laboratory.steps(part)) as advance:
                        parts[part] = laboratory.measure(part, advance)
                except BenchmarkError as error:  # the other parts' minutes are not for nothing
                    laboratory.missing[part] = str(error)
        missing = laboratory.missing
        ready = laboratory.ready
    return {
        "benchmark": "latency",
        "size": options.size,
        "device": options.device or "cpu",
        "threads": options.threads,
        "load_average": [load_before, load_average()],
        "minutes": round((time.monotonic() - began) / 60, 1),
        "missing": missing,
        "triton_ready": ready,
        "parts": parts,
    }


@contextmanager
def cores(threads: int | None) -> Iterator[None]:
    """So many cores for this process and everything that it starts, where the system can."""
    if threads is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:threads]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _checkpoints(options: argparse.Namespace) -> Checkpoints | None:
    given = (options.clipseg, options.yolo, options.sam2)
    if all(given):
        return Checkpoints(*given, sam2_config=options.sam2_config)
    if any(given):
        raise BenchmarkError("--clipseg, --yolo, --sam2: got some, expected all three or none")
    return _DEMO_CHECKPOINTS if options.bundle == DEMO else None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"--from: {path} cannot be read ({error})") from None
    if not isinstance(found, dict) or "parts" not in found:
        raise BenchmarkError(f"--from: {path} is no latency.json of this benchmark")
    return found


def _check(options: argparse.Namespace) -> None:
    check_common(options)
    _checkpoints(options)
    if not 0 <= options.least_iou <= 1:
        raise BenchmarkError(f"--least-iou: got {options.least_iou}, expected 0 to 1")
    if options.rate is not None and options.rate <= 0:
        raise BenchmarkError(f"--rate: got {options.rate}, expected more than 0")
    at_least(options, "threads", 1)
