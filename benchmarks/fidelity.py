"""``python -m benchmarks fidelity``: does a bundle compute what the upstream projects compute?"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import fidelity_report, report
from benchmarks.arguments import at_least
from benchmarks.errors import BenchmarkError
from benchmarks.facts import facts
from benchmarks.progress import progress
from export.errors import ExportError
from markcut.bundle import Bundle, load_bundle
from markcut.runners import RUNTIMES

if TYPE_CHECKING:
    from export.fidelity import NamedPicture

_STEPS = 4

_EXPLANATION = """
The reference are the projects' own user-level calls on the same RGB pictures: transformers'
CLIPSegProcessor and model with texts, ultralytics' predict, SAM2ImagePredictor with points, boxes
and masks, one object and several. Our side runs through the pipeline's own functions and the
bundle's graphs, in every runtime that is installed. Compared are:

  tensor    both start from one picture of the network's size, so that nothing is resized
  rounded   our graphs get upstream's resized picture, rounded to 8 bits
  picture   each side resizes by itself

With --against, no upstream project is needed: the bundle is compared with another one, usually the
fp32 bundle that it was made from, on masks, heat and marks.

Without --pictures, photos that come with scikit-image: portrait, landscape, panorama, square,
thumbnail and 12 megapixels, with marks drawn on them.
Under --out: fidelity.md and fidelity.json (the last line of standard output, indented).
Exit status: 1 where something is out of tolerance; the worst output is named first.

Examples:
  python -m benchmarks fidelity
  python -m benchmarks fidelity --bundle bundles/fp16 --against bundles/fp32 --runtime openvino
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``fidelity``."""
    parser.epilog = _EXPLANATION
    parser.add_argument(
        "--bundle", type=Path, default=Path("artifacts/demo"), metavar="DIR",
        help="the bundle to prove (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="compare with this bundle, not with upstream"
    )
    for name, default, what in (
        ("clipseg", "checkpoints/demo/clipseg", "folder, hub id or file"),
        ("yolo", "checkpoints/demo/yolo11n-seg-marks.pt", "ultralytics' .pt"),
        ("sam2", "checkpoints/demo/sam2/model.pt", "file or hub id"),
    ):
        parser.add_argument(
            f"--{name}", default=default, metavar="SOURCE",
            help=f"the checkpoint that the bundle came from, {what} (default: %(default)s)",
        )  # fmt: skip
    parser.add_argument("--sam2-config", metavar="NAME_OR_FILE", help="as in the export")
    parser.add_argument("--clip", metavar="ID_OR_DIR", help="as in the export")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="a folder with pictures of your own"
    )
    parser.add_argument(
        "--runtime", choices=("all", *RUNTIMES), default="all",
        help="default: all that are installed",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    parser.add_argument(
        "--quick", action="store_true",
        help="three pictures and the two comparisons that decide: what every export does",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("out/fidelity"), metavar="DIR",
        help="folder for the results (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print nothing but the line of JSON")


def run(options: argparse.Namespace) -> int:
    """Compare, print and write; 0 when all is within tolerance, else 1."""
    at_least(options, "threads", 1)
    runtimes = [options.runtime] if options.runtime != "all" else _installed()
    about = facts(options.bundle)
    report.prepare(options.out)
    try:
        pictures = _pictures(options)
        if options.against is not None:
            result = _against(options, pictures, runtimes)
        else:
            result = _upstream(options, pictures, runtimes)
    except ExportError as error:
        raise BenchmarkError(str(error)) from None
    result = {
        "benchmark": "fidelity",
        **about,
        "pictures": [picture.label for picture in pictures],
        **result,
    }
    markdown = fidelity_report.markdown(result)
    report.write(
        options.out,
        {
            "fidelity.md": f"# Fidelity\n\n{markdown}\n".encode(),
            "fidelity.json": report.pretty(result),
        },
    )
    if not options.json:
        print(markdown)
    print(report.one_line(result))
    return 1 if result["off"] else 0


def _upstream(
    options: argparse.Namespace, pictures: list[NamedPicture], runtimes: list[str]
) -> dict[str, Any]:
    import torch

    from export.fidelity.gate import Sources, compare

    if options.threads:
        torch.set_num_threads(options.threads)
    sources = Sources(
        clipseg=options.clipseg, yolo=options.yolo, sam2=options.sam2,
        sam2_config=options.sam2_config, clip=options.clip,
    )  # fmt: skip
    with progress("networks", _STEPS) as advance:
        reports = compare(
            load_bundle(options.bundle), sources, pictures, runtimes=runtimes,
            threads=options.threads, thorough=not options.quick, step=lambda title: advance(),
        )  # fmt: skip
    found = {name: one.as_json() for name, one in reports.items()}
    off = [f"{name}: {sentence}" for name, one in found.items() for sentence in one["off"]]
    return {"reference": "upstream", "runtimes": found, "off": off}


def _against(
    options: argparse.Namespace, pictures: list[NamedPicture], runtimes: list[str]
) -> dict[str, Any]:
    """How the bundle agrees with another one, both in the same runtime."""
    from export.fidelity.limits import off_against

    bundle, other = load_bundle(options.bundle), load_bundle(options.against)
    precisions = {
        name: getattr(entry, "arithmetic", "fp32") for name, entry in bundle.manifest.models.items()
    }
    found: dict[str, Any] = {}
    off: list[str] = []
    with progress("runtimes", len(runtimes)) as advance:
        for runtime in runtimes:
            agreed = _agreement(bundle, other, pictures, runtime=runtime, threads=options.threads)
            found[runtime] = agreed
            off += [f"{runtime}: {text}" for text in off_against(agreed, arithmetic=precisions)]
            advance()
    return {"reference": facts(options.against)["bundle"], "runtimes": found, "off": off}


def _agreement(
    bundle: Bundle,
    other: Bundle,
    pictures: list[NamedPicture],
    *,
    runtime: str,
    threads: int | None,
) -> dict[str, Any]:
    from export import fidelity
    from markcut.contracts import CLIPSEG, SAM2_DECODER, SAM2_ENCODER, YOLO11_SEG

    threshold = other.manifest.defaults["mark_threshold"]
    answers = []
    for one in (other, bundle):  # one after the other: two large ones need not fit side by side
        with fidelity.open_models(one, runtime=runtime, threads=threads) as runners:
            encoder, decoder = runners[SAM2_ENCODER.name], runners[SAM2_DECODER.name]
            answers.append(
                (
                    fidelity.ask_sam2(encoder, decoder, pictures),
                    fidelity.ask_clipseg(runners[CLIPSEG.name], one.conds, pictures),
                    fidelity.ask_yolo(runners[YOLO11_SEG.name], pictures, threshold=threshold),
                )
            )
    wanted, got = answers
    hot = other.manifest.defaults["heat_threshold"]
    agreed: dict[str, Any] = {
        "masks": fidelity.mask_agreement(wanted[0], got[0]),
        "heat": fidelity.heat_agreement(wanted[1], got[1], threshold=hot),
        "marks": fidelity.mark_agreement(wanted[2], got[2]),
    }
    return {name: dataclasses.asdict(value) for name, value in agreed.items()}


def _pictures(options: argparse.Namespace) -> list[NamedPicture]:
    from export.fidelity import fidelity_pictures, read_pictures
    from export.fidelity.gate import GATE_PICTURES

    if options.pictures is not None:
        return read_pictures(options.pictures)
    if options.quick:
        return fidelity_pictures(large=False)[:GATE_PICTURES]
    return fidelity_pictures()


def _installed() -> list[str]:
    found = [name for name in RUNTIMES if importlib.util.find_spec(name)]
    if not found:
        raise BenchmarkError(f"no runtime is installed; install one of {', '.join(RUNTIMES)}")
    return found
