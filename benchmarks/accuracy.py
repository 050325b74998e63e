"""``python -m benchmarks accuracy``: the whole chain against the truth of held-out scenes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks import accuracy_report, report
from benchmarks.arguments import add_common, add_runtime, at_least, check_common
from benchmarks.errors import BenchmarkError
from benchmarks.facts import facts
from benchmarks.held_out import (
    GENERATED,
    MOST_SCENES,
    MOST_SEEDS,
    SIZES,
    Plan,
    held_out_objects,
    held_out_photos,
    plans,
)
from benchmarks.judging import PictureOutcome, judge
from benchmarks.progress import progress
from benchmarks.worst import WorstCases
from markcut.runners import choose_runtime
from markcut_client import Client, EmbeddedTransport
from markcut_client.errors import InferenceError, PictureError
from training.scenes.photos import PhotoPool

_SIZE_NAMES = tuple(size.name for size in SIZES)

_EXPLANATION = """
Scenes are generated pictures with exact truth: which kind of mark was drawn, its ink, the object
it means. Their seeds and photos are none that training ever used. Every fourth is left unmarked.
Pictures come in three sizes: small (180 px to 0.5 MP), medium (0.9 to 1.1 MP), large (12 MP with
strokes 5 to 7 px wide; a sixth as many, they take long). --sizes real takes photos of --photos
instead, as they are (0.15 to 1.5 MP): marks are drawn on objects that a mask NAME.mask.png beside
NAME.jpg tells (one channel, 0 for background, k for object k), in photos that training left out.

What the figures mean:
  recall          share of the drawn marks that were found. An answer belongs to a drawn mark when
                  their ink overlaps (IoU 0.1 or more) or the boxes around it do (0.3 or more);
                  best pairs first, one answer per mark
  false marks     answers that belong to no drawn mark, a second answer for the same one included;
                  per picture, and per picture on which nothing is drawn
  kind            share of the found marks whose kind is right
  ink IoU         overlap of found and drawn ink, of found marks
  point hit       share of the found marks whose first foreground point lies on the object meant
                  and off the ink of every mark; "all points": every foreground point does
  object IoU      overlap of the answered object with the object meant (pixels under the ink
                  belong to it), of found marks; Dice is 2 IoU / (1 + IoU)
  end to end      the same with 0 for every mark that was missed
Shares stand with the 95 % interval that their number of marks allows (Wilson). The same scenes,
bundle and packages give the same figures.

Under --out: accuracy.md (the tables), accuracy.json (the last line of standard output, indented),
outcomes.json (every mark of every picture), accuracy.png (object IoU and confusion of kinds),
worst.png (the worst cases: picture, truth, answer).

Examples: python -m benchmarks accuracy --bundle artifacts/demo --scenes 24 --sizes small,medium
          python -m benchmarks accuracy --photos DIR --sizes real
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``accuracy``."""
    parser.epilog = _EXPLANATION
    add_common(parser, name="accuracy")
    add_runtime(parser)
    parser.add_argument(
        "--scenes", type=int, default=120, metavar="N",
        help="pictures per size; of the large ones a sixth (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--sizes", default=",".join(size.name for size in GENERATED), metavar="LIST",
        help=f"some of {','.join(_SIZE_NAMES)} (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S",
        help="another number, another set of scenes (default: %(default)s)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; 0 when every picture was answered, else 1."""
    sizes = _check(options)
    about = facts(options.bundle)
    photos = held_out_photos(options.photos)
    objects = held_out_objects(options.photos) if "real" in sizes else photos
    report.prepare(options.out)
    planned = list(plans(sizes=sizes, scenes=options.scenes, seed=options.seed))
    transport = EmbeddedTransport(options.bundle, runtime=options.runtime, threads=options.threads)
    with Client(transport) as client, progress("scenes", len(planned)) as advance:
        evaluation = evaluate(client, planned, photos, objects=objects, advance=advance)
    result = {
        "benchmark": "accuracy",
        **about,
        "runtime": choose_runtime() if options.runtime == "auto" else options.runtime,
        "threads": options.threads,
        "scenes": {
            "seed": options.seed,
            "photos": len(photos),
            "seeds": {size: _range(planned, size) for size in sizes},
        },
        **accuracy_report.summary(evaluation.pictures),
        "failures": list(evaluation.failures),
    }
    markdown = accuracy_report.markdown(result)
    files = accuracy_report.files(result, evaluation.pictures, markdown)
    report.write(options.out, {**files, "worst.png": evaluation.worst})
    for failure in evaluation.failures:
        print(f"benchmarks accuracy: {failure}", file=sys.stderr)
    if not options.json:
        print(markdown)
    print(report.one_line(result))
    return 1 if evaluation.failures else 0


@dataclass(frozen=True)
class Evaluation:
    """All outcomes, what failed in words, and the sheet of the worst cases as PNG."""

    pictures: tuple[PictureOutcome, ...]
    failures: tuple[str, ...]
    worst: bytes


def evaluate(
    client: Client,
    plans: Iterable[Plan],
    photos: PhotoPool,
    *,
    objects: PhotoPool,
    advance: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Ask ``client`` about every planned scene and judge its answers.

    ``photos`` stand behind generated scenes, ``objects`` are the real ones with known objects.
    Marks of a picture on which the engine fails count as missed; a scene that cannot be made
    counts for nothing. Both are named in ``failures``.
    """
    outcomes: list[PictureOutcome] = []
    failures: list[str] = []
    worst = WorstCases()
    for plan in plans:
        name = f"{plan.size.name} scene {plan.seed}"
        try:
            scene = plan.make(objects if plan.size.real else photos)
        except Exception as error:  # the generator's own; a run of minutes must not end with it
            failures.append(f"{name} could not be made and was left out: {error!r}")
            advance()
            continue
        extraction = None
        try:
            extraction = client.extract(scene.picture, seed=0)
        except (PictureError, InferenceError) as error:
            failures.append(f"{name}: {error}")
        outcome = judge(scene, extraction, size=plan.size.name)
        outcomes.append(outcome)
        worst.offer(scene, extraction, outcome)
        advance()
    if not outcomes:
        raise BenchmarkError(f"no scene could be made; the first: {failures[0]}")
    return Evaluation(tuple(outcomes), tuple(failures), worst.png())


def _check(options: argparse.Namespace) -> tuple[str, ...]:
    """The sizes in their order; BenchmarkError for options that cannot be meant."""
    check_common(options)
    at_least(options, "scenes", 1)
    at_least(options, "seed", 0)
    if options.scenes > MOST_SCENES:
        raise BenchmarkError(f"--scenes: got {options.scenes}, expected {MOST_SCENES} at most")
    if options.seed >= MOST_SEEDS:
        raise BenchmarkError(f"--seed: got {options.seed}, expected {MOST_SEEDS - 1} at most")
    chosen = {name.strip() for name in options.sizes.split(",")}
    if not chosen <= set(_SIZE_NAMES):
        raise BenchmarkError(
            f"--sizes: got {options.sizes!r}, expected some of {','.join(_SIZE_NAMES)}"
        )
    return tuple(name for name in _SIZE_NAMES if name in chosen)


def _range(planned: Iterable[Plan], size: str) -> list[int]:
    """The first and the last seed of ``size``."""
    seeds = [plan.seed for plan in planned if plan.size.name == size]
    return [min(seeds), max(seeds)]
