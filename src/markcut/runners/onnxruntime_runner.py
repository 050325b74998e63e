"""ONNX Runtime behind the runner seam: one session on exactly the provider that was asked for."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from markcut.contracts import Dim, ModelSpec
from markcut.errors import RunnerError, RuntimeUnavailable
from markcut.runners.base import (
    Array,
    RunnerInfo,
    Value,
    check_graph,
    check_values,
    one_line,
)
from markcut.runners.products import most, product_precisions

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""ONNX Runtime's provider for each device name."""

_CUDA = {
    "use_tf32": "0",  # fp32 means fp32
    # an exhaustive search chooses by the stopwatch: slowly at every new shape, and not twice alike
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",  # doubling its memory, four models starve others
}

_TYPES = {"tensor(uint8)": "uint8", "tensor(int32)": "int32", "tensor(float)": "float32"}


class OrtResident:
    """A :class:`~markcut.runners.Resident` that ONNX Runtime holds."""

    def __init__(self, value: Any, provider: str) -> None:
        self.value = value
        self.provider = provider
        self.shape = tuple(int(size) for size in value.shape())
        self.dtype = np.dtype(_TYPES[value.data_type()])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        numbers: Array = self.value.numpy()
        return numbers if dtype is None else numbers.astype(dtype, copy=False)


class OnnxRuntimeRunner:
    """A :class:`~markcut.runners.Runner` over one ``onnxruntime.InferenceSession``.

    ONNX Runtime computes in the precision that the graph is typed in, or in fp32 with casts where
    its provider lacks that; which of both is read back from the graph that it made. A precision
    that is asked for and is not this one is refused. On ``cuda`` TF32 is off, so that fp32 means
    fp32. With ``lean`` it keeps no memory between calls on the CPU.
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
        lean: bool = False,
    ) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise RuntimeUnavailable(
                f"runtime: got 'onnxruntime', which cannot be imported ({error}); "
                "install the extra: pip install -e '.[onnxruntime]'"
            ) from None
        provider = _provider(ort, device)
        self._spec = spec.resolve(fixed or {})
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = not lean
        options.log_severity_level = 3  # its warnings about constant folding help nobody
        # idle threads must not spin: several models take turns on the same cores
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        for symbol, size in (fixed or {}).items():
            options.add_free_dimension_override_by_name(symbol, size)
        settings = _CUDA if device == "cuda" else {}
        if device == "cuda":
            _preload(ort)
        try:
            session, computed = _session(ort, onnx, options, (provider, settings))
        except Exception as error:  # its exception classes are private
            raise RunnerError(
                f"{spec.name}: ONNX Runtime cannot load it ({one_line(error)})"
            ) from None
        used = session.get_providers()
        if not used or used[0] != provider:
            raise RuntimeUnavailable(
                f"device: got {device!r}, but ONNX Runtime fell back to {', '.join(used)}; "
                "install what the provider needs (markcut doctor shows it) or ask for 'cpu'"
            )
        session.disable_fallback()
        if precision not in (None, computed):
            raise RuntimeUnavailable(
                f"precision: got {precision!r}, but ONNX Runtime runs a graph as it is typed, and "
                f"this one in {computed} on {provider}; leave it out, convert the bundle with "
                "python -m export precision, or use the runtime 'openvino'"
            )
        check_graph(
            self._spec, map(_tensor, session.get_inputs()), map(_tensor, session.get_outputs())
        )
        self._device = device
        self._outputs = [tensor.name for tensor in spec.outputs]
        self._session: Any = session
        self._info = RunnerInfo(
            runtime="onnxruntime",
            version=ort.__version__,
            device=provider,
            precision=computed,
            threads=threads or 0,
        )

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def info(self) -> RunnerInfo:
        return self._info

    def infer(self, feeds: Mapping[str, Value]) -> dict[str, Array]:
        session, given = self._ready(feeds)
        try:
            values = session.run(self._outputs, given)  # safe from several threads
        except Exception as error:
            raise self._failed(error) from None
        return dict(zip(self._outputs, values, strict=True))

    def infer_resident(self, feeds: Mapping[str, Value]) -> dict[str, OrtResident]:
        """As :meth:`infer`, but the outputs stay in the provider's memory."""
        session, given = self._ready(feeds)
        try:
            binding = session.io_binding()  # of this call alone: others may run at the same time
            for name, value in given.items():
                if isinstance(value, np.ndarray):
                    binding.bind_cpu_input(name, value)
                else:
                    binding.bind_ortvalue_input(name, value)
            for name in self._outputs:
                binding.bind_output(name, self._device)
            session.run_with_iobinding(binding)
            values = binding.get_outputs()
        except Exception as error:
            raise self._failed(error) from None
        held = [OrtResident(value, self._info.device) for value in values]
        return dict(zip(self._outputs, held, strict=True))

    def _ready(self, feeds: Mapping[str, Value]) -> tuple[Any, dict[str, Any]]:
        """The session, and ``feeds`` as it takes them: arrays, and values of its own memory."""
        session = self._session
        if session is None:
            raise RunnerError(f"{self._spec.name}: the runner is closed; open another one")
        given: dict[str, Any] = {}
        for name, value in check_values(self._spec, feeds).items():
            if isinstance(value, OrtResident) and value.provider == self._info.device:
                given[name] = value.value
            else:
                given[name] = np.ascontiguousarray(value)
        return session, given

    def _failed(self, error: Exception) -> RunnerError:
        return RunnerError(f"{self._spec.name}: ONNX Runtime failed ({one_line(error)})")

    def close(self) -> None:
        self._session = None


def _session(
    ort: Any, onnx: bytes, options: Any, provider: tuple[str, dict[str, str]]
) -> tuple[Any, str]:
    """A session, and the precision that most of its products have."""
    if set(product_precisions(onnx)) <= {"fp32"}:
        return ort.InferenceSession(onnx, sess_options=options, providers=[provider]), "fp32"
    # what becomes of a graph of other types depends on the provider's kernels, and the optimised
    # graph is the only place that tells
    with tempfile.TemporaryDirectory(prefix="markcut-") as folder:
        optimised = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(optimised)
        session = ort.InferenceSession(onnx, sess_options=options, providers=[provider])
        return session, most(product_precisions(optimised.read_bytes(), final=True))


def _preload(ort: Any) -> None:
    """Load CUDA's libraries from where pip installs them, which the provider would not find.

    What is missing is printed, on the caller's standard output; the provider says it itself.
    """
    if hasattr(ort, "preload_dlls"):  # from 1.21 on
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()


def _provider(ort: Any, device: str) -> str:
    available = ort.get_available_providers()
    provider = PROVIDERS.get(device, "none")
    if provider not in available:
        have = [name for name, provider in PROVIDERS.items() if provider in available]
        raise RuntimeUnavailable(
            f"device: got {device!r}, expected one that this ONNX Runtime has: {', '.join(have)}; "
            "for 'cuda' install the extra 'gpu' in place of 'onnxruntime'"
        )
    return provider


def _tensor(argument: Any) -> tuple[str, str, tuple[Dim, ...]]:
    dims = tuple(dim if isinstance(dim, int) else str(dim) for dim in argument.shape)
    kind = str(argument.type)
    return str(argument.name), _TYPES.get(kind, kind), dims
