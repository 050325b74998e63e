"""Convert an fp32 bundle: the same networks with faster arithmetic, proved against fp32.

fp16 and bf16 are typed into the graphs, with casts at their edges, so that inputs and outputs stay
as they are; int8 is spelled with quantisation nodes, calibrated on generated scenes. Each model is
tried whole. Where its masks differ too much from the fp32 graph's on pictures, the operations to
blame are found and kept in fp32; where none helps, the model stays fp32. What was done is printed,
and stands in the manifest. No torch is needed.

Mean mask IoU with fp32 that is asked for: 0.995 in fp16, 0.99 in bf16, 0.98 in int8.

examples:
  python -m export precision bundles/published --precision fp16 --out bundles/published-fp16
  python -m export precision bundles/published --precision int8 \\
      --precision sam2_decoder=fp32 --out bundles/published-int8
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from export.errors import ExportError
from export.precision.convert import TRIES, check_fp32, convert_bundle
from markcut.bundle import Bundle, check_target, load_bundle, pack_conds, write_bundle
from markcut.contracts import MODELS
from markcut.errors import BundleError
from markcut.manifest import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from export.fidelity import NamedPicture
    from export.precision.convert import Step

SCENES = 12
"""Generated scenes that int8 is calibrated on, the photos apart."""

_JUDGED_SCENES = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle in fp32")
    add_precision(parser, required=True)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the new bundle's folder"
    )
    parser.add_argument("--name", help="the new bundle's name (default: the folder's)")


def add_precision(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """The options of every command that converts."""
    parser.add_argument(
        "--precision", action="append", required=required, metavar="[MODEL=]PRECISION",
        help=f"{', '.join(PRECISIONS)}, for every model or, as in sam2_encoder=int8, for one; "
        "repeatable, the later one counts" + ("" if required else " (default: fp32)"),
    )  # fmt: skip
    parser.add_argument(
        "--scenes", type=int, default=SCENES, metavar="N",
        help=f"generated scenes that int8 is calibrated on (default: {SCENES})",
    )  # fmt: skip
    parser.add_argument(
        "--tries", type=int, default=TRIES, metavar="N",
        help="how often the search for operations to keep in fp32 may measure, for each model "
        f"(default: {TRIES}; fewer than 10 try the whole model only)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Convert, judge, and write the bundle unless nothing could be converted."""
    from rich.console import Console

    asked = parse_precisions(options.precision)
    check_options(options)
    check_out(options.out)
    if options.out.resolve() == options.bundle.resolve():
        raise ExportError("--out: got the fp32 bundle itself, expected another folder")
    console = Console(stderr=True, highlight=False)
    bundle = converted(load_bundle(options.bundle), asked, options=options, console=console)
    came = {name: entry.arithmetic for name, entry in bundle.manifest.models.items()}
    wanted = {name: precision for name, precision in asked.items() if precision != "fp32"}
    if wanted and all(came[name] == "fp32" for name in wanted):
        console.print(
            f"export precision: every model stays fp32, so nothing was written to {options.out}",
            soft_wrap=True,
        )
        return 1
    write(bundle, options.out, name=options.name or options.out.resolve().name)
    size = sum(entry.bytes for entry in bundle.manifest.files())
    console.print(f"wrote {options.out}: {size / 1e6:.1f} MB", soft_wrap=True)
    print(json.dumps({"bundle": str(options.out), "bytes": size, "arithmetic": came}))
    return 0


def parse_precisions(given: Sequence[str] | None) -> dict[str, str]:
    """The precision of every model from ``--precision``; ExportError for what is none."""
    asked = dict.fromkeys(MODELS, "fp32")
    for text in given or ():
        model, _, precision = text.rpartition("=")
        if precision not in PRECISIONS or (model and model not in MODELS):
            raise ExportError(
                f"--precision: got {text!r}, expected one of {', '.join(PRECISIONS)}, alone or "
                f"behind a model, as in sam2_encoder=int8; the models are {', '.join(MODELS)}"
            )
        asked.update(dict.fromkeys([model] if model else MODELS, precision))
    return asked


def check_options(options: argparse.Namespace) -> None:
    """Raise for numbers that make no sense."""
    for name in ("scenes", "tries"):
        if getattr(options, name) < 1:
            raise ExportError(f"--{name}: got {getattr(options, name)}, expected at least 1")


def check_out(folder: Path) -> None:
    """Raise for a folder that a bundle could not be written to, before anything takes time."""
    try:
        check_target(folder)
    except BundleError as error:
        raise ExportError(f"--out: {error}") from None


def converted(
    bundle: Bundle, asked: dict[str, str], *, options: argparse.Namespace, console: Console
) -> Bundle:
    """``bundle`` in the precisions ``asked``, with a progress bar and a sentence for each model."""
    from export.fidelity import fidelity_pictures
    from export.precision.calibration import CALIBRATION_SEED, JUDGING_SEED, scenes

    check_fp32(bundle, asked)  # before anything takes time
    with _progress(console) as step:
        step("drawing scenes", 0, 1)
        photos = fidelity_pictures(large=False)
        # photos and scenes in turn: the search looks at the first few
        judged = scenes(_JUDGED_SCENES, seed=JUDGING_SEED)
        mixed = [picture for pair in zip(photos, judged, strict=True) for picture in pair]
        drawn: list[NamedPicture] = []
        if "int8" in asked.values():
            drawn = [*scenes(options.scenes, seed=CALIBRATION_SEED), *_verified_on()]
        return convert_bundle(
            bundle, asked,
            judging=mixed, calibrating=drawn, threads=_threads(), tries=options.tries,
            say=lambda model, said: console.print(f"[bold]{model}[/]: {said}", soft_wrap=True),
            step=step,
        )  # fmt: skip


def write(bundle: Bundle, folder: Path, *, name: str) -> None:
    """Write ``bundle`` as it is in memory to ``folder``."""
    import dataclasses

    manifest = dataclasses.replace(bundle.manifest, name=name)
    files = {manifest.models[model].file: data for model, data in bundle.onnx.items()}
    files[manifest.conds.file] = pack_conds(bundle.conds)
    write_bundle(folder, manifest, files)


def _verified_on() -> list[NamedPicture]:
    from export.fidelity import NamedPicture
    from export.pictures import verification_pictures

    return [
        NamedPicture(f"verification {index}", picture)
        for index, picture in enumerate(verification_pictures())
    ]


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


@contextmanager
def _progress(console: Console) -> Iterator[Step]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.completed}"),
        TimeElapsedColumn(), console=console, transient=True,
    ) as progress:  # fmt: skip
        task = progress.add_task("", total=1)

        def step(said: str, done: int, total: int) -> None:
            progress.update(task, description=said[:70], completed=done, total=total)

        yield step
