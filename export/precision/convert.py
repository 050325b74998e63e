"""One bundle -> the same bundle with faster arithmetic, as far as its masks survive it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import isfinite
from typing import Any

from export.errors import ExportError
from export.fidelity import NamedPicture
from export.precision.calibration import feeds_of
from export.precision.candidates import Candidate, Conversion
from export.precision.judge import Judge, Verdict
from export.precision.search import Found, search
from markcut.bundle import Bundle
from markcut.contracts import MODELS, SAM2_ENCODER
from markcut.errors import RunnerError
from markcut.manifest import ModelEntry
from markcut.runners import RUNTIMES

LIMITS: Mapping[str, float] = {"fp16": 0.995, "bf16": 0.99, "int8": 0.98}
"""Mean IoU with the masks of the fp32 graphs that each precision must reach."""

TRIES = 48
"""Measurements that the search for sensitive operations may take, for each model."""

_RUNTIMES = tuple(name for name in RUNTIMES if name in ("onnxruntime", "openvino"))
_SEARCHED_ON = 4  # pictures; the final judgement is on all of them
_ALLOWED = (0.9, 0.5)  # share of what is allowed that may be lost on those few, first and second

Say = Callable[[str, str], None]  # model, what happens
Step = Callable[[str, int, int], None]  # what is under way, how far, of how much


@dataclass(frozen=True)
class Converted:
    """One model after the attempt: ``data`` are its bytes, ``arithmetic`` what it came to.

    ``kept`` names what stayed in fp32 (see :class:`~markcut.manifest.ModelEntry`), ``said`` tells
    in words what was done, ``report`` in figures.
    """

    data: bytes
    arithmetic: str
    kept: tuple[str, ...]
    said: str
    report: Mapping[str, Any]


def convert_bundle(
    bundle: Bundle,
    asked: Mapping[str, str],
    *,
    judging: Sequence[NamedPicture],
    calibrating: Sequence[NamedPicture],
    threads: int | None = None,
    tries: int = TRIES,
    say: Say = lambda model, said: None,
    step: Step = lambda said, done, total: None,
) -> Bundle:
    """``bundle``, fp32 throughout, with the models of ``asked`` in the precision that it names.

    Each is judged on ``judging`` against the fp32 graphs; int8 takes its ranges from
    ``calibrating``. A model that fails keeps its sensitive operations in fp32, or stays fp32
    altogether; ``say`` is told which, and the manifest too. Raises :class:`ExportError` where a
    graph is not fp32 to begin with, or has nothing to convert.
    """
    check_fp32(bundle, asked)
    entries, files, notes = {}, dict(bundle.onnx), dict(bundle.manifest.verification)
    with Judge(bundle, judging, threads=threads) as judge:
        for name in MODELS:  # the encoder before the decoder, which is judged behind it
            entry = bundle.manifest.models[name]
            if name in asked and asked[name] != "fp32":
                done = _convert(
                    bundle, name, asked[name], judge, calibrating,
                    threads=threads, tries=tries, step=step,
                )  # fmt: skip
                say(name, done.said)
                notes[name] = {
                    "fp32_graph": notes.get(name, {}),
                    "precision": {"asked": asked[name], **done.report, "said": done.said},
                }
                if done.arithmetic != "fp32":
                    files[name] = done.data
                    entry = ModelEntry.of(
                        entry.file, done.data,
                        precision=done.arithmetic, arithmetic=done.arithmetic, kept_fp32=done.kept,
                    )  # fmt: skip
            entries[name] = entry
    manifest = dataclasses.replace(bundle.manifest, models=entries, verification=notes)
    return dataclasses.replace(bundle, manifest=manifest, onnx=files)


def check_fp32(bundle: Bundle, asked: Mapping[str, str]) -> None:
    """Raise :class:`ExportError` unless all models that ``asked`` converts compute in fp32."""
    for name, precision in asked.items():
        found = bundle.manifest.models[name].arithmetic
        if precision != "fp32" and found != "fp32":
            raise ExportError(
                f"{bundle.folder}: its {name} computes in {found}, expected fp32; "
                "start from the fp32 bundle"
            )


def _convert(
    bundle: Bundle,
    name: str,
    precision: str,
    judge: Judge,
    calibrating: Sequence[NamedPicture],
    *,
    threads: int | None,
    tries: int,
    step: Step,
) -> Converted:
    limit = LIMITS[precision]
    conversion = Conversion(bundle.onnx[name], precision)
    if not conversion.nodes:
        raise ExportError(f"--precision: {name} has nothing to compute in {precision}")
    if precision == "int8":
        feeds = feeds_of(name, judge.reference, bundle, calibrating)
        conversion.calibrate(
            feeds, threads=threads, step=lambda done, of: step(f"{name}: ranges", done, of)
        )
    # a graph that rounds by itself says the same everywhere; int8 is searched where it is fast
    runtime = _installed()[-1 if precision == "int8" else 0]
    count = 0

    def damage(keep: Collection[str]) -> float:
        candidate = conversion.build(keep)
        verdict = _judged(judge, name, candidate.judged, runtime, first=_SEARCHED_ON)
        return (1 - verdict.mean_iou) / (1 - limit)

    def report(said: str) -> None:
        nonlocal count
        count += 1
        step(f"{name} {precision}: {said}", count, tries)

    verdicts: dict[str, Verdict] = {}
    for allowed in _ALLOWED:
        found = search(conversion.nodes, damage, allowed=allowed, most=tries, step=report)
        if found.keep is None:
            break
        candidate = conversion.build(found.keep)
        verdicts = _final(judge, name, candidate)
        if min(verdict.mean_iou for verdict in verdicts.values()) >= limit:
            break
    else:
        found = dataclasses.replace(found, keep=None)
    if found.keep is None:
        return _stays(bundle.onnx[name], precision, found, limit, verdicts)
    worst = min(verdicts, key=lambda where: verdicts[where].mean_iou)
    runner = judge.open(name, candidate.judged)
    outputs = judge.differences(name, runner)
    if name == SAM2_ENCODER.name:
        judge.settle(runner)
    else:
        runner.close()
    if not all(isfinite(one["max_rel"]) for one in outputs.values()):
        raise ExportError(f"{name}: {precision} gives values that are no numbers")
    kept = conversion.kept(found.keep)
    return Converted(
        candidate.data, precision, kept,
        _said(precision, conversion, found, kept, verdicts[worst], limit),
        {"limit": limit, "tries": found.tries, "outputs": outputs, **_figures(verdicts)},
    )  # fmt: skip


def _final(judge: Judge, name: str, candidate: Candidate) -> dict[str, Verdict]:
    """Verdicts on all pictures: of the graph as it rounds, and of the file where it runs."""
    verdicts: dict[str, Verdict] = {}
    refusal: RunnerError | None = None
    if candidate.judged != candidate.data:
        verdicts["rounded after every operation"] = _judged(judge, name, candidate.judged)
    for runtime in _installed():
        try:
            verdicts[runtime] = _judged(judge, name, candidate.data, runtime)
        except RunnerError as error:  # ONNX Runtime's CPU provider has no bf16, for one
            refusal = error
    if refusal is not None and not set(verdicts) & set(_RUNTIMES):
        raise ExportError(
            f"--precision: no runtime here runs {name} as converted, so that nothing proves it "
            f"({refusal}); install OpenVINO, or ask for another precision"
        )
    return verdicts


def _judged(
    judge: Judge, name: str, data: bytes, runtime: str = "onnxruntime", *, first: int | None = None
) -> Verdict:
    runner = judge.open(name, data, runtime=runtime)
    try:
        return judge.verdict(name, runner, first=first)
    finally:
        runner.close()


def _installed() -> list[str]:
    return [name for name in _RUNTIMES if find_spec(name) is not None]


def _said(
    precision: str,
    conversion: Conversion,
    found: Found,
    kept: Sequence[str],
    verdict: Verdict,
    limit: float,
) -> str:
    count, all_of = len(found.keep or ()), len(conversion.nodes)
    result = (
        f"mask IoU with fp32 {verdict.mean_iou:.4f} (limit {limit}), worst {verdict.min_iou:.4f}"
    )
    if count == 0:
        said = f"{precision} in all {all_of} operations that have it: {result}"
    else:
        lost = 1 - found.whole * (1 - limit)
        said = (
            f"{precision} in {all_of - count} of {all_of} operations: {result}; with all of them "
            f"it was {max(lost, 0):.4f} on the first {_SEARCHED_ON} pictures, so {count} stay in "
            f"fp32 (found in {found.tries} tries)"
        )
    return said + (f"; in fp32: {_some(kept)}" if kept else "")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _stays(
    data: bytes,
    precision: str,
    found: Found,
    limit: float,
    verdicts: Mapping[str, Verdict],
) -> Converted:
    iou = max(0.0, 1 - found.whole * (1 - limit))
    said = f"stays fp32: in {precision} the mask IoU with fp32 is {iou:.4f} (limit {limit})"
    if verdicts:
        worst = min(verdicts, key=lambda where: verdicts[where].mean_iou)
        said += (
            f", and {verdicts[worst].mean_iou:.4f} on all pictures with what helped kept in fp32"
        )
    elif found.tries == 1:
        said += ", and so few tries leave none to look for operations to keep in fp32"
    else:
        said += f", and no set of operations found in {found.tries} tries mends it"
    report = {"limit": limit, "tries": found.tries, **_figures(verdicts)}
    return Converted(data, "fp32", (), said, report)


def _figures(verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    return {"masks": {where: verdict.as_json() for where, verdict in verdicts.items()}}
