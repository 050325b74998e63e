"""OpenVINO behind the runner seam: a compiled model tuned for the latency of one request."""

from __future__ import annotations

import contextlib
import functools
import io
import threading
from collections import Counter
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from markcut.contracts import Dim, ModelSpec
from markcut.errors import RunnerError, RuntimeUnavailable
from markcut.runners import compiled_cache
from markcut.runners.base import Array, RunnerInfo, Value, check_feeds, check_graph, one_line
from markcut.runners.openvino_package import import_openvino
from markcut.runners.products import most

_PRECISIONS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}  # the hint for each
_OURS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}
_PRODUCTS = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}  # kinds of layers
_TYPES = {"u8": "uint8", "i32": "int32", "f32": "float32"}


class OpenVinoRunner:
    """A :class:`~markcut.runners.Runner` over one compiled model and one infer request.

    ``precision`` None means as the graph is typed, where fp32 stays fp32, which is not OpenVINO's
    own default: on CPUs with bfloat16 it would use that unasked. ``"bf16"`` makes bfloat16 of an
    fp32 graph, ``"int8"`` wants a graph with quantised products. What came of it is read back
    from the layers that OpenVINO made; another precision than asked is refused. ``fixed`` makes
    the compiled shapes static. Calls from several threads take turns, as they would inside a
    model that is compiled for latency.
    """

    def __init__(
        self,
        spec: ModelSpec,
        onnx: bytes,
        *,
        device: str = "cpu",
        threads: int | None = None,
        precision: str | None = None,
        fixed: Mapping[str, int] | None = None,
    ) -> None:
        try:
            ov = import_openvino()
        except ImportError as error:
            raise RuntimeUnavailable(
                f"runtime: got 'openvino', which cannot be imported ({error}); "
                "install the extra: pip install -e '.[openvino]'"
            ) from None
        if precision not in (None, *_PRECISIONS):
            raise RuntimeUnavailable(
                f"precision: got {precision!r}, expected one of {', '.join(_PRECISIONS)}"
            )
        core = _core()
        name = device.upper()
        if name not in core.available_devices:
            have = ", ".join(d.lower() for d in core.available_devices)
            raise RuntimeUnavailable(
                f"device: got {device!r}, expected one that OpenVINO finds here: {have or 'none'}"
            )
        self._open, self._spec = spec, spec.resolve(fixed or {})
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision or "fp32"],
        }
        if name == "CPU":
            settings["INFERENCE_NUM_THREADS"] = threads or 0
            # pinned, two models of one thread each would both sit on the first core
            settings["ENABLE_CPU_PINNING"] = False
        compiled = self._compiled(core, onnx, name, settings, fixed=bool(fixed))
        try:
            self._request: Any = compiled.create_infer_request()
        except Exception as error:
            raise RunnerError(f"{spec.name}: OpenVINO cannot run it ({one_line(error)})") from None
        used = _precision_in_use(compiled)
        if precision not in (None, used):
            raise RuntimeUnavailable(
                f"precision: got {precision!r}, but OpenVINO would use {used} on this {name}; "
                f"ask for {used!r} or leave it out"
            )
        self._lock = threading.Lock()
        self._info = RunnerInfo(
            runtime="openvino",
            version=ov.get_version().partition("-")[0],
            device=name,
            precision=used,
            threads=threads or 0,
        )

    def _compiled(
        self, core: Any, onnx: bytes, device: str, settings: Mapping[str, Any], *, fixed: bool
    ) -> Any:
        """The model as OpenVINO runs it: as it was kept by an earlier start, or new."""
        kept = _kept(core, onnx, device, settings, self._spec) if device == "CPU" else None
        blob = kept.read() if kept else None
        if blob is not None:
            try:
                compiled = core.import_model(blob, device, settings)
                _check(self._spec, compiled)
            except Exception:  # whatever is wrong with it, the graph itself decides
                blob = None
            else:
                return compiled
        compiled = self._compile(core, onnx, device, settings, fixed=fixed)
        if kept:
            with contextlib.suppress(RuntimeError):  # not every model can be exported
                exported = io.BytesIO()
                compiled.export_model(exported)
                kept.write(exported.getvalue())
        return compiled

    def _compile(
        self, core: Any, onnx: bytes, device: str, settings: Mapping[str, Any], *, fixed: bool
    ) -> Any:
        ov = import_openvino()
        name = self._spec.name
        try:
            model = core.read_model(onnx, b"")
        except Exception as error:
            raise RunnerError(f"{name}: OpenVINO cannot read it ({one_line(error)})") from None
        _check(self._open, model)
        try:
            if fixed:
                model.reshape(
                    {
                        tensor.name: ov.PartialShape(
                            [d if isinstance(d, int) else ov.Dimension() for d in tensor.dims]
                        )
                        for tensor in self._spec.inputs
                    }
                )
            return core.compile_model(model, device, settings)
        except Exception as error:
            raise RunnerError(f"{name}: OpenVINO cannot compile it ({one_line(error)})") from None

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def info(self) -> RunnerInfo:
        return self._info

    def infer(self, feeds: Mapping[str, Value]) -> dict[str, Array]:
        checked = check_feeds(self._spec, feeds)
        with self._lock:
            if self._request is None:
                raise RunnerError(f"{self._spec.name}: the runner is closed; open another one")
            try:
                # feeds are read in place, results are copies: they outlive the next call
                results = self._request.infer(checked, share_inputs=True, share_outputs=False)
            except Exception as error:
                raise RunnerError(
                    f"{self._spec.name}: OpenVINO failed ({one_line(error)})"
                ) from None
        return {tensor.name: results[tensor.name] for tensor in self._spec.outputs}

    def close(self) -> None:
        with self._lock:
            self._request = None


@functools.cache
def _core() -> Any:
    """One core for the process: its plug-ins load once."""
    ov = import_openvino()
    # OpenVINO learns numpy's interface when the first array comes. Two threads that bring their
    # first ones at once wait for each other for ever (2026.4), so it learns it here.
    ov.Tensor(np.zeros(1, np.float32), shared_memory=True)
    return ov.Core()


def _kept(
    core: Any, onnx: bytes, device: str, settings: Mapping[str, Any], spec: ModelSpec
) -> compiled_cache.Entry | None:
    """Where the compiled graph is kept, by all that OpenVINO's compiling depends on."""
    ov = import_openvino()
    return compiled_cache.entry(
        onnx,
        {
            **settings,
            "version": ov.get_version(),
            "device": device,
            "name": core.get_property(device, "FULL_DEVICE_NAME"),
            "abilities": sorted(core.get_property(device, "OPTIMIZATION_CAPABILITIES")),
            "spec": spec,
        },
    )


def _precision_in_use(compiled: Any) -> str:
    """The precision of most layers that are products, or the hint's where there are none."""
    found: Counter[str] = Counter()
    for layer in compiled.get_runtime_model().get_ops():
        facts = layer.get_rt_info()
        if "layerType" in facts and facts["layerType"].astype(str) in _PRODUCTS:
            kind = facts["runtimePrecision"].astype(str)
            found[_OURS.get(kind, kind)] += 1
    if found:
        return most(found)
    hint: str = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return _OURS.get(hint, hint)


def _check(spec: ModelSpec, model: Any) -> None:
    """:class:`RunnerError` unless ``model``, compiled or not, has the tensors of ``spec``."""
    inputs, outputs = (
        [_tensor(port, {tensor.name for tensor in tensors}) for port in ports]
        for tensors, ports in ((spec.inputs, model.inputs), (spec.outputs, model.outputs))
    )
    check_graph(spec, inputs, outputs)


def _tensor(port: Any, known: Set[str]) -> tuple[str, str, tuple[Dim, ...]]:
    """Name, type and dims; of several names, which compiling gives, the one that is ``known``."""
    shape = port.partial_shape
    dims = tuple("?" if dim.is_dynamic else dim.get_length() for dim in shape)
    kind = str(port.element_type.get_type_name())
    name = next(iter(known & port.names), port.any_name)
    return str(name), _TYPES.get(kind, kind), dims
