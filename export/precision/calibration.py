"""What int8 graphs are calibrated on: pictures, the models' inputs for them, and ranges of values.

The pictures are generated scenes and the photos that bundles are verified with; every model is fed
as the comparison of :mod:`export.fidelity` feeds it. Nothing here is random between two runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from export.around import Around
from export.fidelity import NamedPicture, ask_clipseg, ask_sam2, ask_yolo
from markcut.bundle import Bundle
from markcut.contracts import CLIPSEG, SAM2_DECODER, SAM2_ENCODER, YOLO11_SEG
from markcut.runners import Array, Runner, Value

Feeds = Mapping[str, Array]

CALIBRATION_SEED = 70_000
"""Scenes for calibration begin here, scenes to judge on at :data:`JUDGING_SEED`."""
JUDGING_SEED = 80_000

_SIZES = ((480, 640), (800, 600), (720, 1280), (512, 512))  # height, width, in turn
_AT_ONCE = 24  # tensors that are looked at in one pass, so that they fit the memory


def scenes(count: int, *, seed: int) -> list[NamedPicture]:
    """``count`` generated scenes of different sizes, each with a mark or two."""
    from training.scenes.generate import generate
    from training.scenes.photos import PhotoPool

    photos = PhotoPool.load(None, split="train")
    return [
        NamedPicture(
            f"scene {seed + index}",
            generate(
                seed + index, photos=photos, size=_SIZES[index % len(_SIZES)], marks=1 + index % 2
            ).picture,
        )
        for index in range(count)
    ]


def feeds_of(
    model: str, runners: Mapping[str, Runner], bundle: Bundle, pictures: Sequence[NamedPicture]
) -> list[Feeds]:
    """What ``model`` is fed for ``pictures``; ``runners`` are the fp32 graphs, ready to run."""
    spy = _Spy(runners[model])
    if model == CLIPSEG.name:
        ask_clipseg(spy, bundle.conds, pictures)
    elif model == YOLO11_SEG.name:
        ask_yolo(spy, pictures, threshold=bundle.manifest.defaults["mark_threshold"])
    else:
        chain: dict[str, Runner] = {**runners, model: spy}
        ask_sam2(chain[SAM2_ENCODER.name], chain[SAM2_DECODER.name], pictures)
    return spy.seen


def ranges(
    model: Any,
    tensors: Sequence[str],
    feeds: Sequence[Feeds],
    *,
    threads: int | None = None,
    step: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """For each of ``tensors`` the magnitude that int8's 127 should stand for: the largest seen.

    Nothing is clipped. In vision transformers the few large values carry the answer: ranges of
    least squared error cut a tenth of them off and left two thirds of SAM2's masks.
    ``model`` is an ONNX model, ``step`` is called after each feed of each pass.
    """
    peaks = dict.fromkeys(tensors, 0.0)
    for start in range(0, len(tensors), _AT_ONCE):
        names = list(tensors[start : start + _AT_ONCE])
        for values in _values(model, names, feeds, threads=threads):
            for name, array in values.items():
                peaks[name] = max(peaks[name], float(np.abs(array).max()))
            step()
    return {name: peak if np.isfinite(peak) and peak > 0 else 1.0 for name, peak in peaks.items()}


def passes(tensors: Sequence[str], feeds: Sequence[Feeds]) -> int:
    """How often :func:`ranges` calls its ``step``."""
    return -(-len(tensors) // _AT_ONCE) * len(feeds)


def _values(
    model: Any, names: Sequence[str], feeds: Sequence[Feeds], *, threads: int | None
) -> Iterator[dict[str, Array]]:
    """Values of the tensors ``names`` for each of ``feeds``."""
    import onnx
    import onnxruntime as ort

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    session = ort.InferenceSession(
        copy.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for feed in feeds:
        yield dict(zip(names, session.run(list(names), dict(feed)), strict=True))


class _Spy(Around):
    """A runner that remembers what it was fed."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        self.seen: list[Feeds] = []

    def infer(self, feeds: Mapping[str, Value]) -> dict[str, Array]:
        self.seen.append({name: np.asarray(value) for name, value in feeds.items()})
        return super().infer(feeds)
