"""One engine after the other: is it there, build it, prove it, write it."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from export.errors import ExportError
from export.tensorrt.build import build, write_atomically
from export.tensorrt.graph import parsed, precision_of
from export.tensorrt.plan import Options, flags_of, profiles_of, typing_of
from markcut.bundle import Bundle
from markcut.errors import BundleError, RuntimeUnavailable
from markcut.runners.tensorrt_sidecar import PLAN, SIDECAR, Sidecar, read_engine, sha256

if TYPE_CHECKING:
    from rich.console import Console

    from export.tensorrt.verify import Proof, References
    from markcut.runners.tensorrt_cuda import Cuda
    from markcut.runners.tensorrt_package import Package


class Task:
    """The engines of one bundle for this machine."""

    def __init__(
        self,
        bundle: Bundle,
        folder: Path,
        options: Options,
        package: Package,
        cuda: Cuda,
        console: Console,
    ) -> None:
        self._bundle, self._folder, self._options = bundle, folder, options
        self._package, self._cuda, self._console = package, cuda, console

    def stale(self, model: str) -> str:
        """Why the engine of ``model`` must be built, or nothing when the one there fits."""
        onnx = self._bundle.onnx[model]
        try:
            _, sidecar = read_engine(self._folder, model, sha256(onnx))
        except (RuntimeUnavailable, BundleError) as error:
            return str(error)
        misfit = sidecar.misfit(
            tensorrt=self._package.version, gpu=self._cuda.name, sm=self._cuda.sm
        )
        if misfit:
            return f"{self._folder / (model + PLAN)} does not fit: {misfit}"
        typing = typing_of(model, precision_of(parsed(onnx)), self._options, self._package.age)
        spec = self._bundle.spec(model)
        wanted = (
            typing.precision, flags_of(typing, self._options), self._options.dla,
            profiles_of(spec, self._options),
        )  # fmt: skip
        there = (sidecar.precision, sidecar.flags, sidecar.dla, sidecar.profiles)
        return "" if there == wanted else "the engine there was built with other options"

    def make(self, model: str, references: References, timing_cache: Path | None) -> None:
        """Build, verify and write one engine; what is wrong raises, and writes nothing."""
        from export.tensorrt.verify import verify
        from markcut.runners.tensorrt_runner import TensorRTRunner

        spec, onnx = self._bundle.spec(model), self._bundle.onnx[model]
        start = time.perf_counter()
        built = build(
            self._package, spec, onnx, self._options, timing_cache=timing_cache,
            console=self._console,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        sidecar = Sidecar(
            model=model,
            tensorrt=self._package.version,
            gpu=self._cuda.name,
            sm=self._cuda.sm,
            onnx_sha256=sha256(onnx),
            engine_sha256=sha256(built.plan),
            engine_bytes=len(built.plan),
            precision=built.typing.precision,
            flags=flags_of(built.typing, self._options),
            profiles=built.profiles,
            precisions=built.precisions,
            verification={},
            dla=self._options.dla,
        )
        with self._console.status(f"{model}: running beside ONNX Runtime"):
            engine = TensorRTRunner(spec, built.plan, sidecar, where=self._folder)
            try:
                proof = verify(
                    engine, references, precision=sidecar.precision, batch=self._options.max_batch
                )
            finally:
                engine.close()
        _show(self._console, sidecar, proof, seconds)
        if proof.faults:
            raise ExportError(f"{model}: {'; '.join(proof.faults)}; the engine was not written")
        proved = {**proof.as_json(), "seconds": round(seconds, 1)}
        sidecar = dataclasses.replace(sidecar, verification=proved)
        _publish(self._folder, built.plan, sidecar)


def _publish(folder: Path, plan: bytes, sidecar: Sidecar) -> None:
    """Write an engine so that it can be loaded once all of it is there, and not before.

    The sidecar goes first and comes last: without one, or with one of other bytes, nothing loads.
    """
    try:
        (folder / f"{sidecar.model}{SIDECAR}").unlink(missing_ok=True)
        for left in folder.glob(f".{sidecar.model}{PLAN}*.part"):
            left.unlink(missing_ok=True)  # of a build that was killed
        write_atomically(folder / f"{sidecar.model}{PLAN}", plan)
        write_atomically(folder / f"{sidecar.model}{SIDECAR}", sidecar.to_json().encode())
    except OSError as error:
        raise ExportError(f"{folder}: cannot be written ({error.strerror})") from None


def _show(console: Console, sidecar: Sidecar, proof: Proof, seconds: float) -> None:
    layers = ", ".join(f"{count} {name}" for name, count in sidecar.precisions.items())
    console.print(
        f"[bold]{sidecar.model}[/]: {sidecar.precision}, layers {layers or 'not told'}; "
        f"{sidecar.engine_bytes / 1e6:.1f} MB in {seconds:.0f} s; {proof.feeds} runs beside "
        f"{proof.runtime}",
        soft_wrap=True,
    )
    for name, found in proof.outputs.items():
        iou = "" if found.mask_iou is None else f", mask IoU {found.mask_iou:.4f}"
        console.print(
            f"  {name}: max abs {found.max_abs:.1e}, relative {found.max_rel:.1e}, "
            f"cosine {found.cosine:.6f}{iou}",
            soft_wrap=True,
        )
