"""``python -m training scenes``: scenes on disk, to look at and to train on."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from markcut.contracts import KINDS
from training.errors import TrainingError

if TYPE_CHECKING:
    from PIL import Image

    from training.scenes.scene import Scene

_EXPLANATION = """
Under --out, for every scene NAME:
  images/NAME.png     the marked picture
  ink/NAME.png        0 where nothing is drawn, k on the ink of mark k (1, 2, ...)
  objects/NAME.png    0 on the background, k on every object; truth/NAME.json says which is meant
  truth/NAME.json     seed, layout, size, and per mark: kind, box, object, stroke width, arrow's tip
--format yolo-seg adds labels/NAME.txt (class and ink polygon per mark) and data.yaml;
--format raw adds clean/NAME.png, the same picture without marks.

Example: python -m training scenes --out out/scenes --count 200 --sheet out/scenes.png
"""
_ON_SHEET = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``scenes``."""
    parser.epilog = _EXPLANATION
    parser.add_argument("--out", type=Path, help="folder to write to")
    parser.add_argument(
        "--count", type=int, default=24, help="number of scenes (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0,
        help="seed of the first scene, the next have the following numbers (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--photos", type=Path, metavar="DIR",
        help="folder of photos to make scenes from; NAME.mask.png beside NAME.jpg (0 background, k "
        "object k) makes its objects ones to mark (default: those of installed packages)",
    )  # fmt: skip
    parser.add_argument(
        "--size", metavar="WxH", help="size of every scene (default: 180 px to 12 MP, mixed)"
    )
    parser.add_argument(
        "--format", choices=("yolo-seg", "raw"), default="yolo-seg", help="default: %(default)s"
    )
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE",
        help=f"write a contact sheet of the first {_ON_SHEET} scenes and their truth",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Write the scenes; 0 when all are written."""
    from rich.progress import track

    from training.scenes.generate import generate
    from training.scenes.photos import PhotoFolderError, PhotoPool
    from training.scenes.sheet import contact_sheet

    size = _check(options)
    try:
        photos = PhotoPool.load(options.photos)
    except PhotoFolderError as error:
        raise TrainingError(f"--photos: {error}") from None
    shown: list[Scene] = []
    seeds = range(options.seed, options.seed + options.count)
    try:
        for seed in track(seeds, "scenes", disable=not sys.stderr.isatty()):
            scene = generate(seed, photos=photos, size=size)
            if options.out is not None:
                _write(scene, options.out, options.format)
            if options.sheet is not None and len(shown) < _ON_SHEET:
                shown.append(scene)
        if options.out is not None and options.format == "yolo-seg":
            names = "".join(f"  {i}: {kind}\n" for i, kind in enumerate(KINDS))
            text = f"train: images\nval: images\nnames:\n{names}"
            _replace(options.out / "data.yaml", text.encode())
        if options.sheet is not None:
            _save_picture(options.sheet, contact_sheet(shown))
    except OSError as error:
        raise TrainingError(f"cannot write {error.filename}: {error.strerror}") from None
    return 0


def _check(options: argparse.Namespace) -> tuple[int, int] | None:
    """The size as (h, w); TrainingError for options that cannot be meant."""
    if options.out is None and options.sheet is None:
        raise TrainingError("nothing to write: give --out DIR, --sheet FILE or both")
    if options.count < 0:
        raise TrainingError(f"--count: got {options.count}, expected 0 or more")
    if options.seed < 0:
        raise TrainingError(f"--seed: got {options.seed}, expected 0 or more")
    if options.photos is not None and not options.photos.is_dir():
        raise TrainingError(f"--photos: {options.photos} is not a folder")
    if options.size is None:
        return None
    width, _, height = options.size.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise TrainingError(f"--size: got {options.size!r}, expected WIDTHxHEIGHT such as 640x480")
    size = int(height), int(width)
    if min(size) < 64 or size[0] * size[1] > 50_000_000:
        raise TrainingError(f"--size: got {options.size}, expected 64 px a side to 50 MP")
    return size


def _write(scene: Scene, out: Path, layout: str) -> None:
    from PIL import Image

    from training.scenes.polygons import mask_polygon

    name = f"{scene.seed:06d}"
    height, width = scene.picture.shape[:2]
    ink = np.zeros((height, width), np.uint8)
    labels, marks = [], []
    for number, mark in enumerate(scene.marks, start=1):
        ink[mark.ink] = number
        ys, xs = np.nonzero(mark.ink)
        marks.append({
            "kind": mark.kind,
            "box": [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1],
            "object": mark.instance, "width": round(mark.width, 2),
            "tip": None if mark.tip is None else [round(v, 1) for v in mark.tip],
        })  # fmt: skip
        polygon = (mask_polygon(mark.ink) + 0.5) / (width, height)
        numbers = " ".join(f"{v:.6f}" for v in np.clip(polygon, 0, 1).ravel().tolist())
        labels.append(f"{KINDS.index(mark.kind)} {numbers}\n")
    truth = {
        "seed": scene.seed, "layout": scene.layout, "width": width, "height": height,
        "marks": marks,
    }  # fmt: skip
    _save_picture(out / "ink" / f"{name}.png", Image.fromarray(ink))
    _save_picture(out / "objects" / f"{name}.png", Image.fromarray(_narrow(scene.instances)))
    _replace(out / "truth" / f"{name}.json", json.dumps(truth, indent=1).encode())
    if layout == "yolo-seg":
        _replace(out / "labels" / f"{name}.txt", "".join(labels).encode())
    else:
        _save_picture(out / "clean" / f"{name}.png", Image.fromarray(scene.clean))
    _save_picture(out / "images" / f"{name}.png", Image.fromarray(scene.picture))


def _narrow(instances: NDArray[np.int32]) -> NDArray[np.uint8]:
    if instances.max() > 255:
        raise TrainingError(f"a scene has {instances.max()} objects, expected 255 at most")
    return instances.astype(np.uint8)


def _save_picture(path: Path, image: Image.Image) -> None:
    import io

    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    _replace(path, buffer.getvalue())


def _replace(path: Path, data: bytes) -> None:
    """Write ``data`` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
