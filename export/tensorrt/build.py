"""One graph -> one TensorRT engine in memory, with TensorRT 8.5 to 11.

Nothing here asks ``hasattr`` whether a precision can be had: that is decided from the version
(:func:`~export.tensorrt.plan.typing_of`), and the engine is asked afterwards what it computes in.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.errors import ExportError
from export.tensorrt.check import refused
from export.tensorrt.graph import SPELLED_OUT, precision_of, prepared
from export.tensorrt.plan import Options, Typing, profiles_of, typing_of
from export.tensorrt.progress import building
from export.tensorrt.support import support_of
from markcut.contracts import ModelSpec
from markcut.errors import RuntimeUnavailable
from markcut.machine import describe_machine
from markcut.runners.base import one_line
from markcut.runners.tensorrt_package import Package, logger_of, what_it_said
from markcut.runners.tensorrt_sidecar import Profile

if TYPE_CHECKING:
    from rich.console import Console

_COMPATIBLE = (8, 6)  # from here on engines can be made to fit other versions and GPUs
_SENSITIVE = ("SOFTMAX", "NORMALIZATION", "REDUCE")  # layers that 16 bit goes wrong in
_WITHOUT_TYPE = ("CONSTANT", "SHAPE")
_FUSED = "fused"  # many layers compiled into one, of which TensorRT tells the outer tensors alone
# how the inspector names types: up to 10 within a sentence, from 11 on as the type's name
_NAMES = {
    "fp8": ("FP8",), "int8": ("INT8", "INT8X", "INT 8"), "bf16": ("BF16", "BFLOAT16"),
    "fp16": ("FP16", "HALF"), "fp32": ("FP32", "FLOAT"),
}  # fmt: skip


@dataclass(frozen=True)
class Built:
    """An engine's bytes, how it got its precision, its profiles, and its layers by precision.

    ``precisions`` is empty where TensorRT does not tell; ``fused`` counts layers made of many.
    """

    plan: bytes
    typing: Typing
    profiles: tuple[Profile, ...]
    precisions: Mapping[str, int]


def build(
    package: Package,
    spec: ModelSpec,
    onnx: bytes,
    options: Options,
    *,
    timing_cache: Path | None,
    console: Console,
) -> Built:
    """Build ``spec``'s engine from its ONNX bytes; ``timing_cache`` is read and kept up to date.

    Raises :class:`ExportError` for a graph that TensorRT does not take, for a precision or switch
    that cannot be applied, and when the engine does not compute in the precision asked for.
    """
    trt, logger = package.module, logger_of(package)
    support = support_of(package.age)
    model = prepared(onnx, support)
    typing = typing_of(spec.name, precision_of(model), options, package.age)
    if problems := refused(model, support):
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ExportError(
            f"{spec.name}: TensorRT {package.version} does not take the graph: {problems[0]}{more}"
        )
    builder = _builder(package, logger)
    network = builder.create_network(_network_flags(trt, package, typing))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model.SerializeToString()):
        said = parser.get_error(0).desc() if parser.num_errors else what_it_said(logger)
        raise ExportError(f"{spec.name}: TensorRT {package.version} cannot read it ({said})")
    config = builder.create_builder_config()
    profiles = profiles_of(spec, options)
    for shapes in profiles:
        profile = builder.create_optimization_profile()
        for name, (least, best, largest) in shapes.items():
            profile.set_shape(name, least, best, largest)
        if config.add_optimization_profile(profile) < 0:
            raise ExportError(f"{spec.name}: TensorRT refuses the profile {dict(shapes)}")
    _configure(package, builder, config, spec, options, typing)
    if typing.flags:
        _pin(trt, network, typing)
    _load_cache(config, timing_cache, console)
    with building(trt, config, spec.name, console):
        serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise ExportError(f"{spec.name}: TensorRT built no engine ({what_it_said(logger)})")
    if timing_cache is not None:
        write_atomically(timing_cache, bytes(config.get_timing_cache().serialize()))
    plan = bytes(serialized)
    precisions = _read_back(package, logger, spec, plan, options)
    _require_precision(spec, typing, precisions)
    return Built(plan, typing, profiles, precisions)


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it: whoever looks sees the old file or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _builder(package: Package, logger: Any) -> Any:
    try:
        return package.module.Builder(logger)
    except Exception as error:  # pybind's own kinds
        said = "; ".join(logger.errors) or one_line(error)
        raise RuntimeUnavailable(
            f"device: TensorRT {package.version} finds no GPU that it can use ({said}); run this "
            "on the machine with the GPU that shall run the engines"
        ) from None


def _network_flags(trt: Any, package: Package, typing: Typing) -> int:
    kinds = trt.NetworkDefinitionCreationFlag
    if package.age < (10, 0):
        return 1 << int(kinds.EXPLICIT_BATCH)
    return 1 << int(kinds.STRONGLY_TYPED) if typing.strong else 0


def _configure(
    package: Package, builder: Any, config: Any, spec: ModelSpec, options: Options, typing: Typing
) -> None:
    trt = package.module
    flag = trt.BuilderFlag
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the inspector
    if not options.tf32:
        config.clear_flag(flag.TF32)  # so that fp32 means fp32
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    for name in typing.flags:
        config.set_flag(getattr(flag, name))
    if typing.flags and typing.flags != ("INT8",):
        config.set_flag(flag.OBEY_PRECISION_CONSTRAINTS)
    if options.version_compatible or options.hardware_compatible:
        if package.age < _COMPATIBLE:
            raise ExportError(
                f"TensorRT {package.version} builds engines for itself and this GPU alone; leave "
                "out --version-compatible and --hardware-compatible, or install 8.6 or newer"
            )
        if options.version_compatible:
            config.set_flag(flag.VERSION_COMPATIBLE)
        if options.hardware_compatible:
            if describe_machine().jetson:
                raise ExportError(
                    "--hardware-compatible: a Jetson has no such engines; leave it out"
                )
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.dla >= 0:
        _use_dla(trt, builder, config, spec, options, typing)


def _use_dla(
    trt: Any, builder: Any, config: Any, spec: ModelSpec, options: Options, typing: Typing
) -> None:
    """A DLA core for what it can do, the GPU for the rest."""
    cores = int(builder.num_DLA_cores)
    if options.dla >= cores:
        have = f"cores 0 to {cores - 1}" if cores else "none here that this TensorRT can use"
        raise ExportError(f"--dla: got core {options.dla}, but there are {have}; leave it out")
    if typing.precision not in ("fp16", "int8"):
        raise ExportError(
            f"--dla: a DLA computes in fp16 and int8, not in {typing.precision}; ask for "
            "--precision fp16 or leave --dla out"
        )
    if options.max_batch > 1:
        raise ExportError("--dla: a DLA takes one size of batch; ask for --max-batch 1")
    if any(isinstance(dim, str) and dim != "B" for t in spec.inputs for dim in t.dims):
        return  # prompts come in any number: the GPU's work
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = options.dla
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _pin(trt: Any, network: Any, typing: Typing) -> None:
    """Where flags allow 16 bit, keep in fp32 what the graph has so or what goes wrong in 16 bit."""
    wide = trt.DataType.FLOAT
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        kind = layer.type.name
        outputs = [layer.get_output(k) for k in range(layer.num_outputs)]
        if kind in _WITHOUT_TYPE or any(o is None or o.dtype != wide for o in outputs):
            continue
        if typing.pin_wide or kind in _SENSITIVE or SPELLED_OUT in layer.name:
            layer.precision = wide
            for k in range(layer.num_outputs):
                layer.set_output_type(k, wide)


def _load_cache(config: Any, path: Path | None, console: Console) -> None:
    if path is None:
        return
    held = path.read_bytes() if path.exists() else b""
    if not config.set_timing_cache(config.create_timing_cache(held), False):
        console.print(f"{path}: it was made by another TensorRT or GPU and starts afresh")
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _read_back(
    package: Package, logger: Any, spec: ModelSpec, plan: bytes, options: Options
) -> dict[str, int]:
    """Layers of the engine by the narrowest floating type of their outputs, or as fused."""
    trt = package.module
    runtime = trt.Runtime(logger)
    if options.version_compatible:
        runtime.engine_host_code_allowed = True
    if options.dla >= 0:
        runtime.DLA_core = options.dla
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ExportError(
            f"{spec.name}: TensorRT cannot load what it built ({what_it_said(logger)})"
        )
    inspector = engine.create_engine_inspector()
    counts: Counter[str] = Counter()
    for index in range(engine.num_layers):
        text = inspector.get_layer_information(index, trt.LayerInformationFormat.JSON)
        try:
            layer = json.loads(text)
        except ValueError:
            continue
        if isinstance(layer, dict) and (kind := _kind(layer)):
            counts[kind] += 1
    return dict(sorted(counts.items()))


def _kind(layer: Mapping[str, Any]) -> str:
    if layer.get("LayerType") == "Myelin" or "ForeignNode" in str(layer.get("Name")):
        return _FUSED
    return _narrowest(layer.get("Outputs", []))


def _narrowest(tensors: Any) -> str:
    words: set[str] = set()
    for tensor in tensors if isinstance(tensors, list) else []:
        for key in ("Format/Datatype", "DataType", "Datatype"):
            words.update(str(tensor.get(key, "")).upper().replace(",", " ").split())
    return next((kind for kind, names in _NAMES.items() if words & set(names)), "")


def _require_precision(spec: ModelSpec, typing: Typing, found: Mapping[str, int]) -> None:
    narrow = set(found) - {"fp32", _FUSED}
    # what is inside a fused layer only the comparison with ONNX Runtime can tell
    possible = typing.precision in found or _FUSED in found
    applied = possible and not (typing.precision == "fp32" and narrow)
    if applied or not found:
        return
    layers = ", ".join(f"{count} {name}" for name, count in found.items())
    raise ExportError(
        f"{spec.name}: asked for {typing.precision}, but TensorRT built layers of {layers}; "
        "nothing was written"
    )
