"""Render a bundle's model repository for Triton Inference Server.

Ensembles, the chain's own steps and the four networks, configured for whoever runs the networks:
  onnxruntime  Triton's ONNX Runtime backend, on a GPU or, with --device cpu, without one
  tensorrt     engines for this machine's GPU; build them first: python -m export engines BUNDLE
  python       a Python backend that holds a runner of this project: for servers that have no
               other backend, such as the one that `make serve` starts

examples:
  python -m export repository artifacts/demo --runner onnxruntime --out out/repository
  python -m export repository artifacts/demo --runner python --threads 2 --out out/repository
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from export.errors import ExportError
from export.pbtxt import to_pbtxt
from export.triton_config import BATCH, CHAINS, RUNNERS, Flavour, configurations, weights_file
from export.triton_warmup import warmup_files
from markcut.bundle import MANIFEST, Bundle, load_bundle, pack_conds
from markcut.contracts import MODELS, SAM2_DECODER, STEPS
from markcut.manifest import PRECISIONS, Manifest
from markcut.runners import RUNTIMES
from markcut.runners.tensorrt_sidecar import FOLDER, read_engine, sha256

MODEL_PY = Path(__file__).parents[1] / "model_repository" / "preprocess" / "1" / "model.py"
"""The one source of every Python model."""

VERSION = "1"
_MOST_THREADS = 1024
_HEADER = (
    "# Rendered from markcut.contracts by `python -m export repository`; edit those instead.\n"
)
_OURS = {*CHAINS, *STEPS, *MODELS, "README.md", ".gitignore"}
_IGNORED = "*.onnx\n*.plan\n*.npy\nmanifest.json\n"
_README = """\
# Model repository

Two ensembles, `marked_object` and `prompted_object`, their own steps as Python backends, and four
networks. Everything here is rendered: change `src/markcut/contracts.py` or `export/`, then

    python -m export repository artifacts/demo --runner onnxruntime --out model_repository

which also fills in what is not kept in version control: the networks' files, and the bundle's
manifest with its prompts' vectors beside every Python model. The server's Python needs the package
`markcut` (`pip install .`), the server a version of 26.03 or newer: older ones never answer when a
queue inside an ensemble overflows.

`stage_ms` of an answer: with `--runner python` every network tells its own time. Otherwise nobody
does, so `clipseg` and `yolo11_seg` both hold the time between the steps `preprocess` and
`point_sampler`, `sam2_decoder` the time between its neighbours, and `sam2_encoder` 0, for not
measured (in `prompted_object` it is part of `sam2_decoder`). Triton's metrics know each network's.

Two steps ask other models themselves: `point_sampler` asks `yolo11_seg` for its nearer looks, and
`mask_selection`, where the bundle has `nearer_look` and objects are small, `sam2_encoder` and
`sam2_decoder` for theirs. That time counts under the networks' names in every flavour. SAM2's
features go from one to the other as they are.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m export repository``."""
    parser.description = __doc__
    parser.add_argument("bundle", type=Path, help="a bundle's folder")
    parser.add_argument("--runner", choices=RUNNERS, required=True, help="who runs the networks")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, all or nothing")
    parser.add_argument(
        "--device", choices=("cpu", "gpu"),
        help="where the networks run; default: gpu, and cpu for the python runner",
    )  # fmt: skip
    parser.add_argument(
        "--runtime", choices=("auto", *RUNTIMES), default="auto",
        help="what the python runner runs the networks with (default: auto, as embedded)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=int, default=0,
        help="CPU threads of each network; default: the runtime's own choice",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("auto", *PRECISIONS[:3]), default="auto",
        help="of the python runner's arithmetic (default: auto, as the graphs are typed)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Render the repository; the last line of standard output is JSON."""
    device = options.device or ("cpu" if options.runner == "python" else "gpu")
    if (options.runner, device) in (("python", "gpu"), ("tensorrt", "cpu")):
        raise ExportError(f"--device: got {device!r}, which the {options.runner} runner has not")
    if not 0 <= options.threads <= _MOST_THREADS:
        raise ExportError(
            f"--threads: got {options.threads}, expected a number from 0 to {_MOST_THREADS}"
        )
    if options.runtime != "auto" and options.runner != "python":
        raise ExportError(
            f"--runtime: got {options.runtime!r}, but Triton's own backend runs the networks of "
            f"{options.runner}; leave the option out, or take --runner python"
        )
    if options.precision != "auto" and options.runner != "python":
        raise ExportError(
            f"--precision: got {options.precision!r}, but {options.runner} computes as the graphs "
            "are typed; convert the bundle with python -m export precision"
        )
    flavour = Flavour(
        options.runner,
        device,
        runtime=options.runtime,
        threads=options.threads,
        precision=options.precision,
    )
    write_repository(options.bundle, flavour, options.out)
    print(f"{options.out}: the repository of {options.bundle} for {flavour.runner} on {device}")
    print(
        json.dumps({"repository": str(options.out), "models": sorted({*CHAINS, *STEPS, *MODELS})})
    )
    return 0


def write_repository(bundle: Path, flavour: Flavour, out: Path) -> None:
    """Render the bundle's repository as the folder ``out``: all of it, or nothing.

    A repository of ours is replaced; a folder that holds anything else is refused.
    """
    loaded = load_bundle(bundle)
    files = {**rendered(loaded.manifest, flavour), **_weights(loaded, flavour)}
    _check_replaceable(out)
    if loaded.folder.resolve() in out.resolve().parents:
        raise ExportError(f"{out}: lies inside of the bundle {bundle}; name a folder beside it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as held:
            fresh = Path(held) / "fresh"
            for name, data in files.items():
                path = fresh / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            old = Path(held) / "old"
            if out.exists():
                out.rename(old)
            try:
                fresh.rename(out)
            except OSError:
                if old.exists():
                    old.rename(out)
                raise
    except OSError as error:
        raise ExportError(f"{out}: cannot be written ({error.strerror})") from None


def rendered(manifest: Manifest, flavour: Flavour) -> dict[str, bytes]:
    """Every file but those that hold weights, by its path inside of the repository."""
    files = {"README.md": _README.encode(), ".gitignore": _IGNORED.encode()}
    model_py = MODEL_PY.read_bytes()
    for name, config in configurations(manifest.sizes, flavour).items():
        files[f"{name}/config.pbtxt"] = f"{_HEADER}{to_pbtxt(config)}\n".encode()
        if config.get("backend") == "python":
            files[f"{name}/{VERSION}/model.py"] = model_py
        else:
            files[f"{name}/{VERSION}/.gitkeep"] = b""  # Triton wants the folder
    for name, held in warmup_files().items():
        files |= {f"{name}/warmup/{key}": data for key, data in held.items()}
    return files


def _weights(bundle: Bundle, flavour: Flavour) -> dict[str, bytes]:
    """What comes from the bundle. Python models get as much of the bundle as they open."""
    manifest = bundle.manifest
    shared = {
        MANIFEST: (bundle.folder / MANIFEST).read_bytes(),
        manifest.conds.file: pack_conds(bundle.conds),
    }
    files: dict[str, bytes] = {}
    for name in STEPS:
        files |= {f"{name}/{VERSION}/{key}": data for key, data in shared.items()}
    for name, onnx in bundle.onnx.items():
        folder = f"{name}/{VERSION}"
        if flavour.in_python:
            own = {**shared, manifest.models[name].file: onnx}
            files |= {f"{folder}/{key}": data for key, data in own.items()}
        elif flavour.runner == "tensorrt":
            files[f"{folder}/{weights_file(flavour)}"] = _engine(bundle, name)
        else:
            files[f"{folder}/{weights_file(flavour)}"] = onnx
    return files


def _engine(bundle: Bundle, name: str) -> bytes:
    """The engine of a model, once it is sure that it was built from this bundle's graph."""
    plan, sidecar = read_engine(bundle.folder / FOLDER, name, sha256(bundle.onnx[name]))
    rows = next(iter(sidecar.profiles[0].values()))[2][0]
    if name != SAM2_DECODER.name and rows < BATCH:
        raise ExportError(
            f"{name}: its engine takes {rows} pictures at once, and Triton is configured for "
            f"{BATCH}; build it with --max-batch {BATCH}"
        )
    return plan


def _check_replaceable(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ExportError(f"{out}: got a file, expected a folder; name another one")
    for entry in sorted(out.iterdir()):
        if entry.name not in _OURS:
            raise ExportError(
                f"{out} holds {entry.name!r}, which is no part of a model repository and would be "
                "lost; move it away or name another folder"
            )
