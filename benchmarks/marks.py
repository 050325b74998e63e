"""``python -m benchmarks marks``: plain marks on real photos, and photos without any."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.accuracy import Evaluation
from benchmarks.arguments import add_common, add_runtime, at_least, check_common
from benchmarks.errors import BenchmarkError
from benchmarks.facts import facts
from benchmarks.figures import confusion, figures
from benchmarks.judging import PictureOutcome, judge
from benchmarks.pen import Picture, pen_drawn
from benchmarks.progress import progress
from benchmarks.worst import WorstCases
from markcut.contracts import KINDS
from markcut.runners import choose_runtime
from markcut_client import Client, EmbeddedTransport
from markcut_client.errors import InferenceError, PictureError
from training.scenes import Scene
from training.scenes.photos import PhotoFolderError, PhotoPool

_EXPLANATION = """
Every photo is asked about once as it is, and once with each kind of mark drawn on it: one clean,
opaque stroke as the pen of a picture program leaves it, anywhere, 4 to 14 pixels wide, in one of
the colours that people take. The generated scenes of `accuracy` are harder and judge objects too;
here the pictures are real, and the marks are drawn by code that no network was trained on. (The
few weights that `calibrate` fits see such marks too, on the photos that training takes.)
Of --photos (and of the photos in installed packages) only those are taken that training with the
same folder leaves out; --all takes every one, for a folder that no training saw.

What the figures mean: recall, kind, ink IoU and false marks as `accuracy` has them (--help there).
False marks of a kind are those that were called it.

Under --out: marks.md (the table), marks.json (the last line of standard output, indented),
worst.png (missed and false marks: picture, truth, answer).

Example: python -m benchmarks marks --photos my_photos --all
"""
_SIDE = 1024  # pixels of a photo's longer side, at most
_HEAD = (
    "marks", "recall", "false", "false / unmarked", "kind", "ink IoU mean", "median",
)  # fmt: skip
_OF_OBJECTS = ("object", "end_to_end", "point", "all_points")  # figures that need one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``marks``."""
    parser.epilog = _EXPLANATION
    add_common(parser, name="marks")
    add_runtime(parser)
    parser.add_argument(
        "--all", action="store_true", help="also the photos that training takes from this folder"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="another number, other marks"
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; 0 when every picture was answered, else 1."""
    check_common(options)
    at_least(options, "seed", 0)
    about = facts(options.bundle)
    photos = _photos(options)
    report.prepare(options.out)
    transport = EmbeddedTransport(options.bundle, runtime=options.runtime, threads=options.threads)
    total = len(photos) * (1 + len(KINDS))
    with Client(transport) as client, progress("pictures", total) as advance:
        evaluation = evaluate(client, scenes(photos, seed=options.seed), advance=advance)
    result = {
        "benchmark": "marks",
        **about,
        "runtime": choose_runtime() if options.runtime == "auto" else options.runtime,
        "threads": options.threads,
        "photos": len(photos),
        "seed": options.seed,
        **summary(evaluation.pictures),
        "failures": list(evaluation.failures),
    }
    text = markdown(result)
    files = {"marks.md": f"# Plain marks on real photos\n\n{text}\n".encode()}
    files |= {"marks.json": report.pretty(result), "worst.png": evaluation.worst}
    report.write(options.out, files)
    for failure in evaluation.failures:
        print(f"benchmarks marks: {failure}", file=sys.stderr)
    if not options.json:
        print(text)
    print(report.one_line(result))
    return 1 if evaluation.failures else 0


def scenes(photos: PhotoPool, *, seed: int) -> Iterator[Scene]:
    """Every photo as it is, then with one mark of every kind; the same seed draws the same."""
    for index in range(len(photos)):
        yield from drawn_on(photos[index], (None, *KINDS), seed=(seed, index), name=str(index))


def drawn_on(
    photo: Picture, kinds: Sequence[str | None], *, seed: tuple[int, ...], name: str
) -> Iterator[Scene]:
    """``photo`` with one mark of each of ``kinds`` (None: as it is), called ``name`` in notes."""
    nothing = np.zeros(photo.shape[:2], np.int32)
    bare = Scene(photo, photo, nothing, (), (), "photo", seed[0], {"photo": name})
    for kind in kinds:
        if kind is None:
            yield bare
        else:
            rng = np.random.default_rng((*seed, KINDS.index(kind)))
            picture, mark = pen_drawn(rng, photo, kind)
            yield replace(bare, picture=picture, marks=(mark,))


def evaluate(
    client: Client, asked: Iterator[Scene], *, advance: Callable[[], None] = lambda: None
) -> Evaluation:
    """Ask ``client`` about every scene; marks of a picture on which it fails count as missed."""
    outcomes: list[PictureOutcome] = []
    failures: list[str] = []
    worst = WorstCases()
    for scene in asked:
        extraction = None
        try:
            extraction = client.extract(scene.picture, seed=0)
        except (PictureError, InferenceError) as error:
            failures.append(f"photo {scene.notes['photo']}: {error}")
        outcome = judge(scene, extraction, size="photo")
        outcomes.append(outcome)
        if all(mark.found for mark in outcome.marks):  # there is no object to judge it by
            scene, outcome = replace(scene, marks=()), replace(outcome, marks=())
        worst.offer(scene, extraction, outcome)
        advance()
    return Evaluation(tuple(outcomes), tuple(failures), worst.png())


def summary(pictures: Sequence[PictureOutcome]) -> dict[str, Any]:
    """The figures that need no object, of all marks and by kind, and the confusion of kinds."""

    def plain(**which: Any) -> dict[str, Any]:
        found = dataclasses.asdict(figures(pictures, **which))
        return {name: v for name, v in found.items() if not name.startswith(_OF_OBJECTS)}

    return {
        "all": plain(),
        "by_kind": {kind: plain(kind=kind) for kind in KINDS},
        "confusion": confusion(pictures),
    }


def markdown(result: dict[str, Any]) -> str:
    """The table of a result that holds a :func:`summary`, and what it was measured with."""
    groups = {**result["by_kind"], "all": result["all"]}
    rows = [[name, *_row(group)] for name, group in groups.items()]
    recall = result["all"]["recall"]
    interval = f"{recall['value']:.3f} ({recall['low']:.3f} to {recall['high']:.3f})"
    return "\n\n".join(
        [
            report.table(["kind", *_HEAD], rows),
            f"{result['photos']} photos; recall with its 95 % interval: {interval}.",
            f"Set {result['seed']}, {result['runtime']}. {report.machine_line(result)}.",
        ]
    )


def _row(group: dict[str, Any]) -> list[str]:
    """The cells of ``_HEAD``."""
    ink = group["ink_iou"] or {"mean": None, "median": None}
    shares = {name: group[name] and group[name]["value"] for name in ("recall", "kind_accuracy")}
    cells = [
        shares["recall"], group["false_marks"], group["false_per_unmarked"],
        shares["kind_accuracy"], ink["mean"], ink["median"],
    ]  # fmt: skip
    texts = ["-" if v is None else str(v) if isinstance(v, int) else f"{v:.3f}" for v in cells]
    return [str(group["marks"]), *texts]


def _photos(options: argparse.Namespace) -> PhotoPool:
    try:
        return PhotoPool.load(
            options.photos, split="all" if options.all else "held_out", max_side=_SIDE
        )
    except PhotoFolderError as error:
        raise BenchmarkError(f"--photos: {error}") from None
