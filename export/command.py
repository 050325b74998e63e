"""Export a bundle: one folder with four ONNX graphs, the prompts' vectors and a manifest.

Each graph runs on real pictures beside the upstream project's own code, and the whole bundle beside
the projects' user-level calls; the largest difference of every output is printed, and when one is
off nothing is written. Another precision than fp32 is made from the fp32 graphs as
`python -m export precision` does it, and judged against them first.

examples:
  python -m export bundle --clipseg CIDAS/clipseg-rd64-refined --yolo marks.pt \\
      --sam2 facebook/sam2.1-hiera-tiny --out bundles/published
  python -m export bundle --clipseg checkpoints/demo/clipseg \\
      --yolo checkpoints/demo/yolo11n-seg-marks.pt --sam2 checkpoints/demo/sam2/model.pt \\
      --weights-storage fp16 --out artifacts/demo
  python -m export bundle --clipseg CIDAS/clipseg-rd64-refined --yolo marks.pt \\
      --sam2 facebook/sam2.1-hiera-large --precision fp16 --out bundles/published-fp16
"""

from __future__ import annotations

import argparse
import copy
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.defaults import read_belief, read_defaults
from export.precision import command as precision
from export.tool_versions import tool_versions
from markcut.belief_weights import Weights
from markcut.bundle import Bundle, FileEntry, Manifest, ModelEntry, Provenance, pack_conds
from markcut.contracts import MODELS
from markcut.manifest import DEFAULTS, SIZES, Checkpoint, parse_manifest

if TYPE_CHECKING:
    from rich.console import Console

    from export.fidelity.records import FidelityReport
    from export.graph import Loaded
    from export.verify import Verification

PROMPTS = ("annotated",)
"""Prompts of a bundle whose maker names none: what the original tool asked for."""

LICENCE = (
    "AGPL-3.0, through the weights of the marks' segmenter, which were trained and exported with "
    "Ultralytics YOLO; CLIPSeg and SAM 2 weights as their publishers say"
)
_CONDS = "conds.npy"
_FAULTS = 5  # that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument(
        "--clipseg", required=True, metavar="ID_OR_PATH",
        help="a folder of save_pretrained, a hub id such as CIDAS/clipseg-rd64-refined, or a file "
        "of the original repository (.pth), which may need --clip",
    )  # fmt: skip
    parser.add_argument(
        "--clip", metavar="ID_OR_DIR",
        help="the CLIP behind a CLIPSeg file of the original repository that has none in it",
    )  # fmt: skip
    parser.add_argument(
        "--yolo", required=True, metavar="FILE",
        help="a YOLO11-seg of marks, ultralytics' .pt (python -m training yolo makes one); its "
        "classes are the kinds of marks or some of them, in any order",
    )  # fmt: skip
    parser.add_argument(
        "--sam2", required=True, metavar="ID_OR_FILE",
        help="a checkpoint file (.pt), or a hub id such as facebook/sam2.1-hiera-tiny",
    )  # fmt: skip
    parser.add_argument(
        "--sam2-config", metavar="NAME_OR_FILE",
        help="its config: a YAML file, or a name in the sam2 package; without it the YAML beside "
        "the checkpoint, or what a published name stands for",
    )  # fmt: skip
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the bundle's folder"
    )
    parser.add_argument("--name", help="the bundle's name (default: the folder's)")
    precision.add_precision(parser)
    parser.add_argument(
        "--weights-storage", choices=("fp32", "fp16"), default="fp32",
        help="how weights lie in the files; arithmetic is the same, fp16 halves the size "
        "(default: fp32)",
    )  # fmt: skip
    parser.add_argument(
        "--prompt", action="append", metavar="TEXT",
        help="a text that CLIPSeg shall look for, the default one first; repeat for more "
        "(default: annotated)",
    )  # fmt: skip
    parser.add_argument(
        "--default", action="append", default=[], metavar="NAME=VALUE",
        help="a parameter that the bundle brings along, such as mark_threshold=0.3; repeatable. "
        f"Names: {', '.join(DEFAULTS)} (docs/tuning.md)",
    )  # fmt: skip
    parser.add_argument(
        "--defaults", type=Path, metavar="FILE",
        help="many of them: an object of JSON, such as `python -m benchmarks calibrate` writes",
    )  # fmt: skip
    parser.add_argument(
        "--belief", type=Path, metavar="FILE",
        help="what the clues to a mark count, as `python -m benchmarks calibrate` writes it "
        "(default: YOLO's score is all that counts)",
    )  # fmt: skip
    parser.add_argument(
        "--licence", default=LICENCE, metavar="TEXT", help="what the manifest says about licences"
    )


def run(options: argparse.Namespace) -> int:
    """Export, verify, and write the bundle only when every graph is right."""
    from rich.console import Console

    prompts = tuple(options.prompt or PROMPTS)
    defaults = read_defaults(options.defaults, options.default)
    belief = read_belief(options.belief)
    _check_early(options, prompts=prompts, defaults=defaults, belief=belief)
    console = Console(stderr=True, highlight=False)
    parts = _Parts()
    for title, load in _loaders(options, prompts, parts):
        _export(title, load, parts, storage=options.weights_storage, console=console)
    off = [f"{v.model}.{name}" for v in parts.verifications.values() for name in v.off]
    if off:
        console.print(
            f"export bundle: {', '.join(off)}: off by more than the tolerance, "
            f"so nothing was written to {options.out}",
            soft_wrap=True,
        )
        return 1
    manifest = _manifest(options, parts, prompts=prompts, defaults=defaults, belief=belief)
    bundle = parts.bundle(options.out, manifest)
    asked = precision.parse_precisions(options.precision)
    if set(asked.values()) != {"fp32"}:
        bundle = precision.converted(bundle, asked, options=options, console=console)
    report = _beside_upstream(options, bundle, console)
    if report.off:
        for fault in report.off[:_FAULTS]:
            console.print(f"export bundle: {fault.sentence}", soft_wrap=True)
        console.print(f"so nothing was written to {options.out}", soft_wrap=True)
        return 1
    notes = {**bundle.manifest.verification, "fidelity": report.as_json()}
    bundle = replace(bundle, manifest=replace(bundle.manifest, verification=notes))
    precision.write(bundle, options.out, name=manifest.name)
    size = sum(entry.bytes for entry in bundle.manifest.files())
    console.print(f"wrote {options.out}: {size / 1e6:.1f} MB", soft_wrap=True)
    print(json.dumps({"bundle": str(options.out), "bytes": size, "models": list(parts.models)}))
    return 0


def _beside_upstream(
    options: argparse.Namespace, bundle: Bundle, console: Console
) -> FidelityReport:
    """The whole bundle beside the upstream projects' own user-level calls."""
    from export.fidelity.gate import Sources, fidelity_gate

    sources = Sources(
        clipseg=options.clipseg, yolo=options.yolo, sam2=options.sam2,
        sam2_config=options.sam2_config, clip=options.clip,
    )  # fmt: skip
    with console.status("everything: running beside the upstream projects"):
        arithmetic = {entry.arithmetic for entry in bundle.manifest.models.values()}
        # ONNX Runtime's CPU provider has no kernels for graphs that are typed in bf16
        runtime = "openvino" if "bf16" in arithmetic else "onnxruntime"
        return fidelity_gate(bundle, sources, runtime=runtime)


@dataclass
class _Parts:
    """What a bundle is put together from, model by model."""

    files: dict[str, bytes] = field(default_factory=dict)
    models: dict[str, ModelEntry] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    verifications: dict[str, Verification] = field(default_factory=dict)

    def bundle(self, folder: Path, manifest: Manifest) -> Bundle:
        """All of it as a bundle in memory."""
        onnx = {name: self.files[entry.file] for name, entry in self.models.items()}
        conds = np.load(io.BytesIO(self.files[_CONDS]), allow_pickle=False)
        return Bundle(folder=folder, manifest=manifest, onnx=onnx, conds=conds)


def _loaders(
    options: argparse.Namespace, prompts: tuple[str, ...], parts: _Parts
) -> Iterator[tuple[str, Callable[[], Loaded]]]:
    """How to load each checkpoint; one at a time, so that one at a time is in memory."""

    def load_clipseg() -> Loaded:
        from export import clipseg

        loaded, conds = clipseg.load(options.clipseg, prompts=prompts, clip=options.clip)
        parts.files[_CONDS] = pack_conds(conds)
        return loaded

    def load_yolo() -> Loaded:
        from export import yolo11_seg

        return yolo11_seg.load(options.yolo)

    def load_sam2() -> Loaded:
        from export import sam2

        return sam2.load(options.sam2, config=options.sam2_config)

    yield "CLIPSeg", load_clipseg
    yield "YOLO11-seg", load_yolo
    yield "SAM2", load_sam2


def _export(
    title: str, load: Callable[[], Loaded], parts: _Parts, *, storage: str, console: Console
) -> None:
    """Load one checkpoint, write its graphs down and verify them."""
    from export.checkpoints import round_to_half
    from export.pictures import verification_pictures
    from export.report import show
    from export.to_onnx import to_onnx
    from export.verify import verify

    with console.status(f"{title}: loading") as status:
        loaded = load()
        model = loaded.model
        originals: list[Any] = [None, None]
        if storage == "fp16":
            originals = loaded.graphs(model)
            model = copy.deepcopy(model)
            round_to_half(model)
        parts.sizes.update(loaded.sizes)
        pictures = verification_pictures()
        for graph, original in zip(loaded.graphs(model), originals, strict=False):
            name = graph.spec.name
            status.update(f"{name}: exporting")
            onnx = to_onnx(graph, weights_storage=storage)
            status.update(f"{name}: running beside torch")
            checked = verify(graph, onnx.data, graph.cases(pictures), unrounded=original)
            parts.files[f"{name}.onnx"] = onnx.data
            parts.models[name] = ModelEntry.of(f"{name}.onnx", onnx.data, precision=storage)
            parts.checkpoints[name] = loaded.origin
            parts.verifications[name] = checked
            show(console, onnx, checked)


def _manifest(
    options: argparse.Namespace,
    parts: _Parts,
    *,
    prompts: tuple[str, ...],
    defaults: Mapping[str, float],
    belief: Weights | None,
) -> Manifest:
    from export.to_onnx import OPSET

    return Manifest(
        name=options.name or options.out.resolve().name,
        models=parts.models,
        conds=FileEntry.of(_CONDS, parts.files[_CONDS]),
        sizes=parts.sizes,
        prompts=prompts,
        defaults=defaults,
        belief=belief,
        provenance=Provenance(checkpoints=parts.checkpoints, tools=tool_versions(), opset=OPSET),
        licence=options.licence,
        verification={name: v.as_json() for name, v in parts.verifications.items()},
    )


def _check_early(
    options: argparse.Namespace,
    *,
    prompts: tuple[str, ...],
    defaults: Mapping[str, float],
    belief: Weights | None,
) -> None:
    """Raise for what the manifest, the folder or a loader would refuse after minutes of work."""
    from export import sam2
    from export.checkpoints import check_file

    precision.parse_precisions(options.precision)
    precision.check_options(options)
    precision.check_out(options.out)
    check_file(Path(options.yolo), flag="--yolo")
    sam2.check_source(options.sam2)
    draft = _Parts(
        files={_CONDS: b"-"},
        models={name: ModelEntry.of(f"{name}.onnx", b"-") for name in MODELS},
        sizes=dict(SIZES),
    )
    manifest = _manifest(options, draft, prompts=prompts, defaults=defaults, belief=belief)
    parse_manifest(manifest.to_json())
