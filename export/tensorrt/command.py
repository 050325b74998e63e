"""Build TensorRT engines from a bundle, on the machine and for the GPU that will run them.

Every engine is run beside ONNX Runtime before it is written, and a file beside it says what it was
built from and for: nothing loads it anywhere else. Engines that fit already are left alone. Their
place is BUNDLE/engines, where the runtime `tensorrt` and `python -m export repository --runner
tensorrt` look for them. Works with TensorRT 8.5 to 11.

The precision is the graphs' own: export a bundle in fp16 to get fp16 engines. Below TensorRT 10.12
--precision can also make fp16 of an fp32 graph; what cannot be applied is refused.

examples:
  python -m export engines artifacts/demo
  python -m export engines bundles/fp16 --max-batch 1 --workspace 2048 --timing-cache trt.cache
  python -m export engines bundles/fp16 --check

exit status: 0 all engines are there and fit; 1 one failed, the others are written; 2 wrong use, or
no TensorRT or GPU here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from export.errors import ExportError
from export.tensorrt.make import Task
from export.tensorrt.plan import PRECISIONS, Options
from markcut.bundle import Bundle, load_bundle
from markcut.contracts import MODELS
from markcut.errors import RunnerError, RuntimeUnavailable
from markcut.machine import describe_machine
from markcut.runners.tensorrt_sidecar import FOLDER, PLAN

if TYPE_CHECKING:
    from rich.console import Console

    from export.tensorrt.verify import References

EXAMPLES = Path(__file__).parents[1] / "examples"
_PICTURES = 3  # of the examples, where no picture is named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m export engines``."""
    parser.description = __doc__
    parser.add_argument("bundle", type=Path, help="a bundle's folder")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"where engines go (default: BUNDLE/{FOLDER})"
    )
    parser.add_argument(
        "--model", action="append", choices=tuple(MODELS), metavar="NAME",
        help=f"build this one alone; repeatable (default: all of {', '.join(MODELS)})",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="of the arithmetic (default: each graph's own)"
    )
    parser.add_argument(
        "--max-batch", type=int, metavar="N",
        help="most pictures of one run; Triton's configuration asks for 8 (default: 8, and 1 on "
        "a Jetson)",
    )  # fmt: skip
    parser.add_argument(
        "--max-objects", type=int, default=64, metavar="N",
        help="most prompts of one decoder run; the runner splits more, Triton refuses more, and "
        "memory grows with it (default: 64)",
    )  # fmt: skip
    parser.add_argument(
        "--workspace", type=int, metavar="MB",
        help="most memory that a layer may use beside weights and activations (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--timing-cache", type=Path, metavar="FILE",
        help="what TensorRT measured, kept for the next build",
    )  # fmt: skip
    parser.add_argument(
        "--version-compatible", action="store_true",
        help="engines for later TensorRT of the same major version too, from 8.6 on; such an "
        "engine brings code of its own along",
    )  # fmt: skip
    parser.add_argument(
        "--hardware-compatible", action="store_true",
        help="engines for all GPUs from Ampere on, from TensorRT 8.6 on; slower, not on a Jetson",
    )  # fmt: skip
    parser.add_argument(
        "--dla", type=int, default=-1, metavar="N",
        help="run what a deep learning accelerator can do on core N, the rest on the GPU",
    )  # fmt: skip
    parser.add_argument(
        "--tf32", action="store_true",
        help="allow fp32 products of 10 bits' mantissa (default: fp32 is fp32)",
    )  # fmt: skip
    parser.add_argument(
        "--picture", type=Path, action="append", metavar="FILE",
        help="a picture to verify engines on; repeatable (default: some of examples/)",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true", help="build nothing; tell which engines are there and fit"
    )


def run(options: argparse.Namespace) -> int:
    """Build, verify and write what is missing; the last line of standard output is JSON."""
    from rich.console import Console

    from markcut.runners.tensorrt_cuda import Cuda
    from markcut.runners.tensorrt_package import import_tensorrt

    asked = _options(options)
    bundle = load_bundle(options.bundle, models=options.model or tuple(MODELS))
    folder = options.out or options.bundle / FOLDER
    package, cuda = import_tensorrt(), Cuda()
    try:
        console = Console(stderr=True, highlight=False)
        console.print(f"TensorRT {package.version}, {cuda.name} (SM {cuda.sm}), CUDA {cuda.driver}")
        task = Task(bundle, folder, asked, package, cuda, console)
        states = _states(task, bundle, folder, options, console)
    finally:
        cuda.close()
    print(json.dumps({"engines": str(folder), "models": states}))
    return 0 if set(states.values()) <= {"fits", "built"} else 1


def _states(
    task: Task, bundle: Bundle, folder: Path, options: argparse.Namespace, console: Console
) -> dict[str, str]:
    """What became of every model's engine: fits, built, failed, or missing where only looked."""
    states: dict[str, str] = {}
    references: References | None = None
    for model in bundle.onnx:
        if not (why := task.stale(model)):
            states[model] = "fits"
            console.print(f"{model}: {folder / (model + PLAN)} fits", soft_wrap=True)
            continue
        if options.check:
            states[model] = "missing"
            console.print(f"{model}: {why}", soft_wrap=True, markup=False)
            continue
        references = references or _references(bundle, options)
        try:
            task.make(model, references, options.timing_cache)
            states[model] = "built"
        except RuntimeUnavailable:
            raise
        except (ExportError, RunnerError) as error:
            states[model] = "failed"
            console.print(f"{error}", style="red", soft_wrap=True, markup=False)
    return states


def _options(options: argparse.Namespace) -> Options:
    batch = options.max_batch
    if batch is None:
        from export.triton_config import BATCH

        batch = 1 if describe_machine().jetson or options.dla >= 0 else BATCH
    for flag, value in (("--max-batch", batch), ("--max-objects", options.max_objects)):
        if not 1 <= value <= 512:
            raise ExportError(f"{flag}: got {value}, expected a number from 1 to 512")
    if options.workspace is not None and options.workspace < 16:
        raise ExportError(f"--workspace: got {options.workspace}, expected megabytes, at least 16")
    return Options(
        precision=options.precision,
        max_batch=batch,
        max_objects=options.max_objects,
        workspace=options.workspace,
        version_compatible=options.version_compatible,
        hardware_compatible=options.hardware_compatible,
        tf32=options.tf32,
        dla=options.dla,
    )


def _references(bundle: Bundle, options: argparse.Namespace) -> References:
    """The whole bundle in ONNX Runtime, and the pictures to run it on."""
    from export.tensorrt.verify import References

    whole = bundle if len(bundle.onnx) == len(MODELS) else load_bundle(options.bundle)
    return References(whole, _pictures(options.picture))


def _pictures(named: Sequence[Path] | None) -> list[bytes]:
    files = list(named) if named else sorted(EXAMPLES.glob("*.jpg"))[:_PICTURES]
    if not files:
        raise ExportError("--picture: got none, and there are no examples; name a picture")
    try:
        return [file.read_bytes() for file in files]
    except OSError as error:
        raise ExportError(
            f"--picture: {error.filename} cannot be read ({error.strerror})"
        ) from None
