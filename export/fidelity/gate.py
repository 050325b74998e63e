"""A bundle beside the upstream projects, model by model and whole, in every runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from export.around import Remembering
from export.fidelity.agreement import open_models
from export.fidelity.chain import chain_findings
from export.fidelity.limits import judge
from export.fidelity.pictures import NamedPicture, fidelity_pictures
from export.fidelity.pixels import clipseg_findings, yolo_findings
from export.fidelity.records import FidelityReport, Finding, summarise
from export.fidelity.sam2 import OurSam2, sam2_findings
from export.fidelity.upstream import UpstreamClipseg, UpstreamSam2, UpstreamYolo
from export.large_weights import give_back_memory
from markcut.bundle import Bundle
from markcut.chain import WEAK
from markcut.contracts import CLIPSEG, SAM2_DECODER, SAM2_ENCODER, YOLO11_SEG
from markcut.runners import Runner

GATE_PICTURES = 3


@dataclass(frozen=True)
class Sources:
    """The checkpoints that a bundle was exported from, as the exporter's options name them."""

    clipseg: str
    yolo: str
    sam2: str
    sam2_config: str | None = None
    clip: str | None = None


def fidelity_gate(
    bundle: Bundle, sources: Sources, *, runtime: str = "onnxruntime", threads: int | None = None
) -> FidelityReport:
    """The report on ``bundle`` in one runtime, on few pictures: the last step of an export.

    Nothing may be published while ``off`` of the report is not empty; its first entry is the
    worst output. The bundle need not be written yet.
    """
    give_back_memory()  # of what exported the bundle
    pictures = fidelity_pictures(large=False)[:GATE_PICTURES]
    return compare(bundle, sources, pictures, runtimes=[runtime], threads=threads, thorough=False)[
        runtime
    ]


def compare(
    bundle: Bundle,
    sources: Sources,
    pictures: Sequence[NamedPicture],
    *,
    runtimes: Sequence[str],
    threads: int | None = None,
    thorough: bool = True,
    step: Callable[[str], None] = lambda title: None,
) -> dict[str, FidelityReport]:
    """A report per runtime; ``step`` hears what is being compared.

    ``thorough`` also measures what explains the figures: upstream's own resizing before our
    graphs, and upstream beside itself on a JPEG of the picture.
    """
    with ExitStack() as stack:
        models = {
            runtime: stack.enter_context(
                open_models(bundle, runtime=runtime, threads=threads, lean=True)
            )
            for runtime in runtimes
        }
        for runners in models.values():  # the chain looks at what the models looked at before it
            runners[SAM2_ENCODER.name] = Remembering(runners[SAM2_ENCODER.name])
        reports = {
            runtime: FidelityReport(runtime=_described(runners))
            for runtime, runners in models.items()
        }
        for runtime, found in _findings(bundle, sources, pictures, models, thorough, step):
            reports[runtime].findings.append(found)
    entries = bundle.manifest.models
    arithmetic = {name: getattr(entry, "arithmetic", "fp32") for name, entry in entries.items()}
    rounded = [name for name, entry in entries.items() if entry.precision == "fp16"]
    for report in reports.values():
        report.off = judge(summarise(report.findings), arithmetic=arithmetic, rounded=rounded)
    return reports


def _findings(
    bundle: Bundle,
    sources: Sources,
    pictures: Sequence[NamedPicture],
    models: dict[str, dict[str, Runner]],
    thorough: bool,
    step: Callable[[str], None],
) -> Iterator[tuple[str, Finding]]:
    """Findings by runtime; one upstream model at a time is in memory."""
    from export import sam2, yolo11_seg

    manifest = bundle.manifest
    step("CLIPSeg")
    clipseg = UpstreamClipseg(sources.clipseg, clip=sources.clip)
    for runtime, runners in models.items():
        for found in clipseg_findings(
            runners[CLIPSEG.name], clipseg, bundle.conds, manifest.prompts, pictures,
            heat_threshold=manifest.defaults["heat_threshold"],
        ):  # fmt: skip
            yield runtime, found
    del clipseg
    step("YOLO11-seg")
    yolo11_seg.load(sources.yolo)  # ultralytics runs whatever code is in a file: this looks first
    yolo = UpstreamYolo(sources.yolo)
    for runtime, runners in models.items():
        for found in yolo_findings(
            runners[YOLO11_SEG.name], yolo, pictures,
            threshold=manifest.defaults["mark_threshold"] * WEAK, iou=yolo11_seg.IOU_LIMIT,
        ):  # fmt: skip
            yield runtime, found
    del yolo
    step("SAM2")
    upstream = UpstreamSam2(sam2.load(sources.sam2, config=sources.sam2_config).model)
    ours = {
        runtime: OurSam2(runners[SAM2_ENCODER.name], runners[SAM2_DECODER.name])
        for runtime, runners in models.items()
    }
    yield from sam2_findings(ours, upstream, pictures, thorough=thorough)
    step("whole chain")
    for runtime, runners in models.items():
        for found in chain_findings(bundle, runners, upstream, pictures):
            yield runtime, found


def _described(runners: dict[str, Runner]) -> str:
    info = next(iter(runners.values())).info
    return f"{info.runtime} {info.version}, {info.device}"
