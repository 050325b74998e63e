"""A tiny engine, built and run on the spot: does TensorRT really work here?"""

from __future__ import annotations

from markcut.contracts import ModelSpec
from markcut.errors import RunnerError, RuntimeUnavailable
from markcut.runners.base import one_line
from markcut.runners.tensorrt_cuda import Cuda
from markcut.runners.tensorrt_package import import_tensorrt, logger_of, what_it_said
from markcut.runners.tensorrt_runner import TensorRTRunner
from markcut.runners.tensorrt_sidecar import Sidecar, sha256


def open_probe(spec: ModelSpec, onnx: bytes, *, rows: int) -> TensorRTRunner:
    """The runner of an engine for ``onnx`` that is built here and now, in fp32.

    ``onnx`` is a graph that every TensorRT takes; symbols of ``spec`` may be 1 to ``rows``.
    """
    package = import_tensorrt()
    trt, logger = package.module, logger_of(package)
    cuda = Cuda()  # before TensorRT, whose own complaint about a missing GPU says less
    gpu, sm = cuda.name, cuda.sm
    cuda.close()
    try:
        builder = trt.Builder(logger)
    except Exception as error:  # pybind's own kinds
        raise RuntimeUnavailable(
            f"device: TensorRT {package.version} cannot use the GPU ({one_line(error)})"
        ) from None
    kinds = trt.NetworkDefinitionCreationFlag
    old = package.age < (10, 0)
    network = builder.create_network(
        1 << int(kinds.EXPLICIT_BATCH if old else kinds.STRONGLY_TYPED)
    )
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        raise RunnerError(f"{spec.name}: TensorRT cannot read it ({what_it_said(logger)})")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    for tensor in spec.inputs:
        least, most = (
            tuple(dim if isinstance(dim, int) else size for dim in tensor.dims)
            for size in (1, rows)
        )
        profile.set_shape(tensor.name, least, most, most)
    config.add_optimization_profile(profile)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise RunnerError(f"{spec.name}: TensorRT built no engine ({what_it_said(logger)})")
    plan = bytes(serialized)
    sidecar = Sidecar(
        model=spec.name,
        tensorrt=package.version,
        gpu=gpu,
        sm=sm,
        onnx_sha256=sha256(onnx),
        engine_sha256=sha256(plan),
        engine_bytes=len(plan),
        precision="fp32",
        flags=(),
        profiles=(),
        precisions={},
        verification={},
    )
    return TensorRTRunner(spec, plan, sidecar)
