"""``python -m benchmarks latency``: the whole chain's time and memory, runtimes side by side."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.arguments import add_common, at_least, check_common
from benchmarks.contenders import Contender, Embedded
from benchmarks.errors import BenchmarkError
from benchmarks.facts import facts, load_average
from benchmarks.progress import progress
from benchmarks.seats import Sample, Seat
from benchmarks.timed_pictures import TimedPicture, generated_pictures, read_pictures
from markcut.runners import RUNTIMES

_CALL = "call"

_EXPLANATION = """
Every runtime loads the bundle in a process of its own. Then rounds alternate: in each, every
runtime answers every picture a few times, in turn, so that whatever else the machine does hits
all of them alike. Loading and warm-up do not count. Compare within one run only.

What the figures mean, in milliseconds, median and 90th percentile of all rounds:
  the stages      as the answer's stage_ms has them; clipseg, sam2_encoder and yolo11_seg run
                  beside each other, so the stages do not sum up to the total
  total           the pipeline's own, from the encoded picture to the encoded answer
  call            a stopwatch around the call
  peak memory     the most that the process held until the warm-up of this picture was over;
                  smaller pictures came before, so a big one does not count for a small one

Without --pictures, generated JPEGs of 0.3, 1 and 12 MP, one mark on each.
Under --out: latency.md and latency.json (the last line of standard output, indented).

Example: python -m benchmarks latency --bundle artifacts/demo --runtime openvino --threads 2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``latency``."""
    parser.epilog = _EXPLANATION
    add_common(parser, name="latency")
    parser.add_argument(
        "--runtime", nargs="+", choices=RUNTIMES, metavar="NAME",
        help=f"runtimes to compare, of {', '.join(RUNTIMES)} (default: all that are installed)",
    )  # fmt: skip
    parser.add_argument(
        "--pictures", type=Path, nargs="+", metavar="FILE",
        help="pictures to answer instead of the generated ones",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--calls", type=int, default=5, metavar="N",
        help="answers to each picture in a round (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--warm-up", type=int, default=3, metavar="N",
        help="answers to each picture before anything counts (default: %(default)s)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; 0 when done."""
    _check(options)
    about = facts(options.bundle)
    runtimes = options.runtime or [name for name in RUNTIMES if importlib.util.find_spec(name)]
    if not runtimes:
        raise BenchmarkError(f"no runtime is installed; install one of {', '.join(RUNTIMES)}")
    if options.pictures:
        pictures = read_pictures(options.pictures)
    else:
        pictures = generated_pictures(options.photos)
    report.prepare(options.out)
    contenders = [
        Embedded(options.bundle, runtime, options.threads) for runtime in dict.fromkeys(runtimes)
    ]
    load_before = load_average()
    steps = len(pictures) * len(contenders) * (1 + options.rounds)
    with progress("rounds", steps) as advance:
        measured = measure(
            contenders, pictures,
            rounds=options.rounds, calls=options.calls, warm_up=options.warm_up, advance=advance,
        )  # fmt: skip
    result = {
        "benchmark": "latency",
        **about,
        "threads": options.threads,
        "rounds": options.rounds,
        "calls": options.calls,
        "load_average": [load_before, load_average()],
        "pictures": measured,
    }
    markdown = _markdown(result)
    report.write(
        options.out,
        {
            "latency.md": f"# Latency\n\n{markdown}\n".encode(),
            "latency.json": report.pretty(result),
        },
    )
    if not options.json:
        print(markdown)
    print(report.one_line(result))
    return 0


def measure(
    contenders: Sequence[Contender],
    pictures: Sequence[TimedPicture],
    *,
    rounds: int,
    calls: int,
    warm_up: int,
    advance: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Per picture, smallest first: its name and size, and by contender what ``_summary`` gives.

    Who goes first changes from round to round. ``peak_memory_mb`` is the process's until the
    picture's warm-up was over.
    """
    pictures = sorted(pictures, key=lambda picture: picture.width * picture.height)
    samples: dict[tuple[str, str], list[Sample]] = {}
    peaks: dict[tuple[str, str], int] = {}
    with ExitStack() as stack:
        seats = [stack.enter_context(Seat(contender)) for contender in contenders]
        for picture in pictures:
            for place in seats:
                place.time(picture.data, calls=warm_up)
                peaks[picture.name, place.name] = place.peak_memory()
                advance()
        for number in range(rounds):
            first = number % len(seats)
            for picture in pictures:
                for place in seats[first:] + seats[:first]:
                    timed = place.time(picture.data, calls=calls)
                    samples.setdefault((picture.name, place.name), []).extend(timed)
                    advance()
    return [
        {
            "picture": picture.name,
            "width": picture.width,
            "height": picture.height,
            "bytes": len(picture.data),
            "contenders": {
                place.name: {
                    **_summary(samples[picture.name, place.name]),
                    "peak_memory_mb": round(peaks[picture.name, place.name] / 2**20, 1),
                }
                for place in seats
            },
        }
        for picture in pictures
    ]


def _summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Marks found and, by stage and for the whole call, median and 90th percentile."""
    spent = {
        stage: [sample.reply.stage_ms[stage] for sample in samples]
        for stage in samples[0].reply.stage_ms
    }
    spent[_CALL] = [sample.call_ms for sample in samples]
    return {
        "marks": samples[0].reply.marks,
        "samples": len(samples),
        "ms": {
            stage: {
                "median": round(float(np.median(values)), 3),
                "p90": round(float(np.percentile(values, 90)), 3),
            }
            for stage, values in spent.items()
        },
    }


def _check(options: argparse.Namespace) -> None:
    check_common(options)
    at_least(options, "rounds", 1)
    at_least(options, "calls", 1)
    at_least(options, "warm_up", 1)


def _markdown(result: dict[str, Any]) -> str:
    """A table of whole calls, a table of stages per picture, and where it was measured."""
    rows = []
    parts = []
    for measured in result["pictures"]:
        contenders = measured["contenders"]
        first = next(iter(contenders.values()))["ms"][_CALL]["median"]
        for name, found in contenders.items():
            call = found["ms"][_CALL]
            rows.append([
                f"{measured['picture']}, {name}", str(found["marks"]), f"{call['median']:.1f}",
                f"{call['p90']:.1f}", f"{first / call['median']:.2f} x",
                f"{found['peak_memory_mb']:.0f}",
            ])  # fmt: skip
        stages = next(iter(contenders.values()))["ms"]
        parts.append(
            report.table(
                [
                    f"{measured['picture']}, ms",
                    *(f"{name} {what}" for name in contenders for what in ("median", "p90")),
                ],
                [
                    [
                        stage,
                        *(
                            f"{found['ms'][stage][what]:.1f}"
                            for found in contenders.values()
                            for what in ("median", "p90")
                        ),
                    ]
                    for stage in stages
                ],
            )
        )
    head = ["whole call", "marks", "median ms", "p90 ms", "speed", "peak memory MB"]
    threads = "threads: " + str(result["threads"] or "all")
    note = (
        f"{result['rounds']} rounds of {result['calls']} calls, {threads}, load average "
        f"{result['load_average'][0]} before and {result['load_average'][1]} after. "
        f"{report.machine_line(result)}."
    )
    return "\n\n".join([report.table(head, rows), *parts, note])
