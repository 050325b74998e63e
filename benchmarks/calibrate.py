"""``python -m benchmarks calibrate``: what each clue to a mark counts, for a bundle's networks."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.arguments import add_common, add_runtime, at_least, check_common
from benchmarks.candidates import Candidate, Looker, Seen
from benchmarks.errors import BenchmarkError
from benchmarks.facts import facts
from benchmarks.held_out import GENERATED, planned
from benchmarks.marks import drawn_on
from benchmarks.progress import progress
from markcut.belief import belief
from markcut.belief_weights import CLUES, Weights
from markcut.contracts import KINDS
from markcut.manifest_fields import to_text
from training.scenes import Scene, generate
from training.scenes.photos import PhotoFolderError, PhotoPool
from training.seeds import TRAINING_SEEDS

_EXPLANATION = """
How sure a mark is depends on YOLO's score and on more clues (markcut.belief): its score in other
looks, CLIPSeg's heat at the place, the kind, and the ink's size, colour and surroundings. How much
each of them counts depends on the networks, so that it belongs to a bundle: this command lets the
bundle's networks look at generated scenes and at photos with plain marks on them, and trains a
network of a few units to tell which candidates were drawn. A bundle without it goes by YOLO's
score alone.

Of --photos (and of the photos in installed packages) only those are taken that training with the
same folder takes too; `accuracy` and `marks` judge by the others.

The table shows, for several thresholds, which part of the marks is found and how many false ones
come per picture, with the clues (each half of the pictures judged by weights of the other half)
and by YOLO's score alone.

Under --out: belief.json and defaults.json, which `python -m export bundle` takes (--belief,
--defaults): the network, and the bundle's defaults with the threshold at which recall and precision
have the largest harmonic mean; calibrate.md (the table); calibrate.json (the last line of standard
output, indented).

Example: python -m benchmarks calibrate --bundle my_bundle --photos my_photos
"""
_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(2, 15))
_SEEDS_PER_SET = 100_000
_LARGE_EVERY = 12  # scenes: so often one of 12 MP with thin strokes, as a telephone takes photos
_SIDE = 1024  # pixels of a photo's longer side, at most
_KINDS_PER_PHOTO = 2
_LEAST = 20  # candidates, drawn ones and others, below which nothing can be fitted
_UNITS = 8  # of one network; three are trained, and their mean is one of three times as many
_NETWORKS = 3
_DECAY = 1.0  # scikit-learn's alpha: thousands of candidates, some 200 weights a network
_RATE = 0.005
_EPOCHS = 400
_STEADY = 1e-6  # standard deviation of a clue that is always the same
_CLIP = 3.0  # standard deviations from its mean, beyond which a clue counts no more
_DIGITS = 4  # of a weight

Rows = NDArray[np.float64]  # (n, number of CLUES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``calibrate``."""
    parser.epilog = _EXPLANATION
    add_common(parser, name="calibrate")
    add_runtime(parser)
    parser.add_argument(
        "--scenes", type=int, default=400, metavar="N",
        help="generated scenes to look at (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--plain", type=int, default=80, metavar="N",
        help="photos to look at: as they are, and with two kinds of marks (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="another number, other scenes and marks"
    )


def run(options: argparse.Namespace) -> int:
    """Look, fit, print and write; 0."""
    check_common(options)
    for name, least in (("scenes", 0), ("plain", 0), ("seed", 0)):
        at_least(options, name, least)
    asked = _pictures(options)
    about = facts(options.bundle)
    report.prepare(options.out)
    total = options.scenes + options.plain * (1 + _KINDS_PER_PHOTO)
    seen: list[Seen] = []
    with (
        Looker(options.bundle, runtime=options.runtime, threads=options.threads) as looker,
        progress("pictures", total) as advance,
    ):
        for scene in asked:
            seen.append(looker.look(scene))
            advance()
    fitted = fit([c for one in seen for c in one.candidates])
    table = thresholds(seen, halves(seen))
    result = {
        "benchmark": "calibrate",
        **about,
        "pictures": len(seen),
        "marks": sum(one.marks for one in seen),
        "candidates": sum(len(one.candidates) for one in seen),
        "seed": options.seed,
        "defaults": {**looker.defaults, "mark_threshold": best(table)},
        "thresholds": table,
    }
    text = markdown(result)
    report.write(
        options.out,
        {
            "calibrate.md": f"# What the clues count\n\n{text}\n".encode(),
            "calibrate.json": report.pretty(result),
            "defaults.json": report.pretty(result["defaults"]),
            "belief.json": to_text(asdict(fitted)).encode(),
        },
    )
    if not options.json:
        print(text)
    print(report.one_line(result))
    return 0


def fit(candidates: Sequence[Candidate], *, least: int = _LEAST) -> Weights:
    """The weights under which ``candidates`` were drawn or not most probably.

    Raises BenchmarkError for fewer than ``least`` of either.
    """
    drawn = np.array([c.drawn for c in candidates], np.bool_)
    if min(drawn.sum(), (~drawn).sum()) < least:
        raise BenchmarkError(
            f"the networks saw {drawn.sum()} drawn marks and {(~drawn).sum()} others, and "
            f"{least} of both are needed; ask for more --scenes, or train them first"
        )
    rows = _rows(candidates)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale[scale < _STEADY] = 1.0
    low, high = mean - _CLIP * scale, mean + _CLIP * scale
    kinds = np.eye(len(KINDS))[[c.clues.kind for c in candidates]]
    inputs = np.hstack([(np.clip(rows, low, high) - mean) / scale, kinds])
    units, sums, added = [], [], 0.0
    for seed in range(_NETWORKS):
        (first, last), (bias, odds) = _network(inputs, drawn, seed)
        first[: len(CLUES)] /= scale[:, None]  # as they are given when a mark is judged
        bias = bias - mean @ first[: len(CLUES)]
        units += np.vstack([first, bias]).T.tolist()
        sums += (last[:, 0] / _NETWORKS).tolist()
        added += float(odds[0]) / _NETWORKS
    return Weights(
        low=_rounded(low),
        high=_rounded(high),
        units=tuple(_rounded(unit) for unit in units),
        sums=_rounded([*sums, added]),
    )


def _network(inputs: Rows, drawn: NDArray[np.bool_], seed: int) -> tuple[list[Rows], list[Rows]]:
    """Weights and biases of a trained network: of its units, then of their sum."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        (_UNITS,), alpha=_DECAY, learning_rate_init=_RATE, max_iter=_EPOCHS, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are many enough
        model.fit(inputs, drawn)
    return model.coefs_, model.intercepts_


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(value), _DIGITS) for value in values)


def halves(seen: Sequence[Seen]) -> list[Weights]:
    """For every picture weights that were fitted on the other half of the pictures."""
    parts = [[c for one in seen[half::2] for c in one.candidates] for half in (0, 1)]
    other = [fit(part, least=1) for part in reversed(parts)]
    return [other[index % 2] for index in range(len(seen))]


@dataclass(frozen=True)
class _Judged:
    drawn: NDArray[np.bool_]
    scores: NDArray[np.float64]

    def at(self, threshold: float, marks: int, pictures: int) -> dict[str, float]:
        kept = self.scores >= threshold
        found = int((kept & self.drawn).sum())
        false = int(kept.sum()) - found
        return {
            "recall": found / max(marks, 1),
            "false_per_picture": false / max(pictures, 1),
            "f1": 2 * found / max(marks + int(kept.sum()), 1),
        }


def thresholds(seen: Sequence[Seen], by: Sequence[Weights]) -> list[dict[str, Any]]:
    """Recall, false marks per picture and F1 for a row of thresholds; ``by`` weighs picture k."""
    marks = sum(one.marks for one in seen)
    pairs = [(c, w) for one, w in zip(seen, by, strict=True) for c in one.candidates]
    drawn = np.array([c.drawn for c, _ in pairs], np.bool_)
    judged = {
        "clues": _Judged(drawn, np.array([belief(c.clues, w) for c, w in pairs])),
        "score": _Judged(drawn, np.array([c.clues.score for c, _ in pairs])),
    }
    return [
        {"threshold": t, **{name: one.at(t, marks, len(seen)) for name, one in judged.items()}}
        for t in _THRESHOLDS
    ]


def best(table: Sequence[Mapping[str, Any]]) -> float:
    """The threshold whose F1 with the clues is largest."""
    return float(max(table, key=lambda row: row["clues"]["f1"])["threshold"])


def markdown(result: Mapping[str, Any]) -> str:
    """The table of thresholds, the weights and what was looked at."""
    keys = ("recall", "false_per_picture", "f1")
    head = ("threshold", "recall", "false / picture", "F1", "score alone: recall", "false", "F1")
    rows = [
        [f"{row['threshold']:.2f}", *(f"{row[w][k]:.3f}" for w in ("clues", "score") for k in keys)]
        for row in result["thresholds"]
    ]
    seen = (
        f"{result['candidates']} candidates in {result['pictures']} pictures with "
        f"{result['marks']} marks. {report.machine_line(result)}."
    )
    return "\n\n".join([report.table(head, rows), seen])


def _rows(candidates: Iterable[Candidate]) -> Rows:
    return np.array([c.clues.values() for c in candidates])


def _pictures(options: argparse.Namespace) -> Iterator[Scene]:
    """Scenes, then photos; a wrong folder is told now, not when the first is asked for."""
    try:
        photos = PhotoPool.load(options.photos, split="train")
        plain = PhotoPool.load(options.photos, split="train", max_side=_SIDE)
    except PhotoFolderError as error:
        raise BenchmarkError(f"--photos: {error}") from None
    last = len(TRAINING_SEEDS) - 1 - options.seed * _SEEDS_PER_SET  # training draws at random
    if last < options.scenes:
        raise BenchmarkError(f"--seed: got {options.seed}, expected a smaller number")

    def made() -> Iterator[Scene]:
        for index in range(options.scenes):
            seed = TRAINING_SEEDS[last - index]
            if index % _LARGE_EVERY == 0:
                yield planned(GENERATED[-1], seed).make(photos)
            else:
                yield generate(seed, photos=photos)
        rng = np.random.default_rng(options.seed)
        for index in range(options.plain):
            kinds = [None, *rng.choice(KINDS, _KINDS_PER_PHOTO, replace=False).tolist()]
            at = index % len(plain)
            yield from drawn_on(plain[at], kinds, seed=(options.seed, 1, index), name=str(at))

    return made()
