"""A ``tensorrt`` package without a GPU, in five ages, whose engines run in ONNX Runtime.

Each age has exactly the names that the released package of that version has (``tensorrt_api.json``,
listed from the packages themselves) and none more, so that code which reaches for what an age lacks
fails here as it would there. What the names do is a model of the real ones: networks are typed or
flagged, engines carry their version and fit no other, contexts check shapes against profiles.
"""

from __future__ import annotations

import ctypes
import enum
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from markcut.runners import tensorrt_cuda
from tests.markcut.fake_cuda import FakeDriver

API = json.loads(Path(__file__).with_name("tensorrt_api.json").read_text())
AGES: tuple[str, ...] = tuple(API["versions"])

_MAGIC = b"FAKEPLAN"
_TYPES = {
    TensorProto.FLOAT: "FLOAT", TensorProto.FLOAT16: "HALF", TensorProto.BFLOAT16: "BF16",
    TensorProto.INT32: "INT32", TensorProto.INT64: "INT64", TensorProto.UINT8: "UINT8",
    TensorProto.BOOL: "BOOL", TensorProto.INT8: "INT8",
}  # fmt: skip
_SHOWN = {"FLOAT": "FP32", "HALF": "FP16", "BF16": "BF16", "INT8": "Int8"}
_SIZES: dict[str, Any] = {"FLOAT": np.float32, "INT32": np.int32, "UINT8": np.uint8}
_KINDS = {"Softmax": "SOFTMAX", "ReduceMean": "REDUCE", "Constant": "CONSTANT", "Shape": "SHAPE"}


class FakeTensorRT:
    """One age of the package as ``module``, and what happens to it.

    ``altered`` changes an engine's outputs; ``on_build`` runs in the middle of a build.
    ``loaded`` counts engines that were deserialised; ``fused`` makes one layer of every network.
    """

    def __init__(self, age: str, driver: FakeDriver) -> None:
        self.age, self.version, self.driver = age, API["versions"][age], driver
        self.number = tuple(map(int, age.split(".")))
        self.loaded = 0
        self.dla_cores = 0
        self.fused = False
        self.altered: Callable[[dict[str, Any]], None] = lambda outputs: None
        self.on_build: Callable[[], None] = lambda: None
        self.configs: list[Any] = []
        self.networks: list[Any] = []
        module: Any = ModuleType("tensorrt")
        module.__version__ = self.version
        for name in API["classes"]:
            if made := self._made(name):
                setattr(module, name, made)
        self.module = module

    def names(self, kind: str) -> set[str]:
        """What this age's class ``kind`` has."""
        groups = API["classes"][kind].items()
        return {n for ages, names in groups if self.age in ages.split() for n in names.split()}

    def _made(self, name: str) -> Any:
        names = self.names(name)
        if not names:
            return None
        if "value" in names:
            return enum.IntEnum(name, [n for n in sorted(names) if n not in ("name", "value")])
        template = _TEMPLATES.get(name)
        if template is None:
            return None
        held = {k: v for k, v in vars(template).items() if k.startswith("_") or k in names}
        held |= {"_names": frozenset(names), "_world": self}
        held.setdefault("__setattr__", _guarded_set)
        held.pop("__dict__", None)
        held.pop("__weakref__", None)
        return type(name, (), held)


def install(
    monkeypatch: pytest.MonkeyPatch, age: str, driver: FakeDriver | None = None
) -> FakeTensorRT:
    """Let this process find the fake package of ``age`` and a fake driver."""
    driver = driver or FakeDriver()
    fake = FakeTensorRT(age, driver)
    monkeypatch.setitem(sys.modules, "tensorrt", fake.module)
    monkeypatch.setattr(tensorrt_cuda, "_load", lambda: driver)
    return fake


def _guarded_set(self: Any, name: str, value: Any) -> None:
    if not name.startswith("_") and name not in self._names:
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
    object.__setattr__(self, name, value)


class _ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    # a pybind class that Python may subclass takes any attribute
    __setattr__ = object.__setattr__


class _IProgressMonitor:
    __setattr__ = object.__setattr__


class _Builder:
    _world: FakeTensorRT

    def __init__(self, logger: Any) -> None:
        if not self._world.driver.devices or self._world.driver.stale:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802
        return self._world.dla_cores

    def create_network(self, flags: int = 0) -> Any:
        network = self._world.module.INetworkDefinition()
        flag = self._world.module.NetworkDefinitionCreationFlag
        if self._world.number < (10, 0):
            assert flags == 1 << int(flag.EXPLICIT_BATCH)
        strong = bool(flags & 1 << int(flag.STRONGLY_TYPED)) if hasattr(
            flag, "STRONGLY_TYPED") else False  # fmt: skip
        network._strong = strong or self._world.number >= (11, 0)
        self._world.networks.append(network)
        return network

    def create_builder_config(self) -> Any:
        config = self._world.module.IBuilderConfig()
        config._flags = {int(self._world.module.BuilderFlag.TF32)}
        config._profiles, config._cache = [], None
        config._pools = {}
        self._world.configs.append(config)
        return config

    def create_optimization_profile(self) -> Any:
        profile = self._world.module.IOptimizationProfile()
        profile._shapes = {}
        return profile

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        if problem := _buildable(self._world, network, config):
            self._logger.log(self._world.module.ILogger.Severity.ERROR, problem)
            return None
        monitor = getattr(config, "progress_monitor", None)
        if monitor is not None:
            monitor.phase_start("Building Engine", None, 2)
            assert monitor.step_complete("Building Engine", 0)
            monitor.phase_finish("Building Engine")
        self._world.on_build()
        if config._cache is not None:
            config._cache._data += b"+"
        header = {
            "version": self._world.version,
            "portable": _has(self._world, config, "VERSION_COMPATIBLE"),
            "profiles": [p._shapes for p in config._profiles],
            "layers": [(x.name, x._built_as(network, config)) for x in network._layers],
        }
        text = json.dumps(header).encode()
        return _host(self._world, _MAGIC + len(text).to_bytes(4, "big") + text + network._bytes)


class _IBuilderConfig:
    _world: FakeTensorRT

    def set_flag(self, flag: Any) -> None:
        assert isinstance(flag, self._world.module.BuilderFlag)
        self._flags.add(int(flag))  # type: ignore[attr-defined]

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(int(flag))  # type: ignore[attr-defined]

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool.name] = pool_size  # type: ignore[attr-defined]

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile)  # type: ignore[attr-defined]
        return len(self._profiles) - 1  # type: ignore[attr-defined]

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        cache = self._world.module.ITimingCache()
        cache._data = bytes(serialized_timing_cache) or f"cache {self._world.version}".encode()
        return cache

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if not cache._data.startswith(f"cache {self._world.version}".encode()):
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._cache


class _ITimingCache:
    _world: FakeTensorRT

    def serialize(self) -> Any:
        return _host(self._world, self._data)  # type: ignore[attr-defined]


class _IOptimizationProfile:
    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes[input] = [list(min), list(opt), list(max)]  # type: ignore[attr-defined]


class _INetworkDefinition:
    _layers: list[Any]

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_layer(self, index: int) -> Any:
        return self._layers[index]


class _ILayer:
    _world: FakeTensorRT

    @property
    def type(self) -> Any:
        kinds = self._world.module.LayerType
        return getattr(kinds, self._kind, kinds.ELEMENTWISE)  # type: ignore[attr-defined]

    @property
    def name(self) -> str:
        return str(self._name)  # type: ignore[attr-defined]

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)  # type: ignore[attr-defined]

    def get_output(self, index: int) -> Any:
        return self._outputs[index]  # type: ignore[attr-defined]

    def set_output_type(self, index: int, dtype: Any) -> None:
        self._pinned = dtype

    def _built_as(self, network: Any, config: Any) -> str:
        kind = str(self._outputs[0].dtype.name) if self._outputs else ""  # type: ignore[attr-defined]
        if network._strong or kind != "FLOAT":
            return kind
        pinned = getattr(self, "precision", None) is not None
        flagged = {"FP16": "HALF", "BF16": "BF16"}
        narrow = [n for f, n in flagged.items() if _has(self._world, config, f)]
        return narrow[0] if narrow and not pinned else kind


class _ITensor:
    pass


class _OnnxParser:
    _world: FakeTensorRT

    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._error = network, ""

    @property
    def num_errors(self) -> int:
        return int(bool(self._error))

    def get_error(self, index: int) -> Any:
        error = self._world.module.ParserError()
        error._text = self._error
        return error

    def parse(self, model: bytes, path: str | None = None) -> bool:
        parsed = onnx.load_from_string(model)
        if self._world.number < (8, 6) and "LayerNormalization" in {
            node.op_type for node in parsed.graph.node
        }:
            self._error = "No importer registered for op: LayerNormalization"
            return False
        inferred = onnx.shape_inference.infer_shapes(parsed).graph
        kinds = {
            v.name: v.type.tensor_type.elem_type
            for v in (*inferred.value_info, *inferred.input, *inferred.output)
        }
        trt = self._world.module
        layers = []
        for node in parsed.graph.node:
            layer = trt.ILayer()
            layer._name, layer._outputs = node.name or node.output[0], []
            layer._kind = _KINDS.get(node.op_type, "ELEMENTWISE")
            for name in node.output:
                tensor = trt.ITensor()
                shown = _TYPES.get(kinds.get(name, 0), "FLOAT")
                tensor.dtype = getattr(trt.DataType, shown, trt.DataType.INT32)
                layer._outputs.append(tensor)
            layers.append(layer)
        self._network._layers, self._network._bytes = layers, model
        self._network._model = parsed
        return True


class _ParserError:
    def desc(self) -> str:
        return str(self._text)  # type: ignore[attr-defined]


class _IHostMemory:
    @property
    def nbytes(self) -> int:
        return len(self._data)  # type: ignore[attr-defined]

    def __bytes__(self) -> bytes:
        return bytes(self._data)  # type: ignore[attr-defined]


class _Runtime:
    _world: FakeTensorRT

    def __init__(self, logger: Any) -> None:
        if not self._world.driver.devices:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        self._world.loaded += 1
        if not serialized_engine.startswith(_MAGIC):
            return self._refuse("Magic tag does not match")
        start = len(_MAGIC) + 4
        size = int.from_bytes(serialized_engine[len(_MAGIC) : start], "big")
        header = json.loads(serialized_engine[start : start + size])
        other = header["version"] != self._world.version
        if other and not (header["portable"] and getattr(self, "engine_host_code_allowed", False)):
            return self._refuse("The engine plan file is not compatible with this version")
        engine = self._world.module.ICudaEngine()
        engine._header = header
        engine._model = onnx.load_from_string(serialized_engine[start + size :])
        engine._bytes = serialized_engine[start + size :]
        return engine

    def _refuse(self, why: str) -> None:
        self._logger.log(self._world.module.ILogger.Severity.ERROR, why)


class _ICudaEngine:
    _world: FakeTensorRT
    _header: dict[str, Any]

    @property
    def num_io_tensors(self) -> int:
        return len(self._io())

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._header["profiles"])

    @property
    def num_layers(self) -> int:
        return 1 if self._world.fused else len(self._header["layers"])

    def get_tensor_name(self, index: int) -> str:
        return list(self._io())[index]

    def get_tensor_mode(self, name: str) -> Any:
        modes = self._world.module.TensorIOMode
        return modes.INPUT if self._io()[name][0] else modes.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        kind = self._io()[name][1].type.tensor_type.elem_type
        return getattr(self._world.module.DataType, _TYPES[kind])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(d if isinstance(d, int) else -1 for d in self._dims(name))

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        return [tuple(shape) for shape in self._header["profiles"][profile_index][name]]

    def create_execution_context(self) -> Any:
        context = self._world.module.IExecutionContext()
        context._engine, context._index = self, -1
        context._shapes, context._addresses = {}, {}
        context._session = onnxruntime.InferenceSession(
            self._bytes,  # type: ignore[attr-defined]
            providers=["CPUExecutionProvider"],
        )
        return context

    def create_engine_inspector(self) -> Any:
        inspector = self._world.module.EngineInspector()
        inspector._layers = self._header["layers"]
        return inspector

    def _io(self) -> dict[str, tuple[bool, Any]]:
        graph = self._model.graph  # type: ignore[attr-defined]
        return {v.name: (True, v) for v in graph.input} | {v.name: (False, v) for v in graph.output}

    def _dims(self, name: str) -> list[int | str]:
        dims = self._io()[name][1].type.tensor_type.shape.dim
        return [d.dim_param or d.dim_value for d in dims]


class _EngineInspector:
    _world: FakeTensorRT

    def get_layer_information(self, layer_index: int, format: Any) -> str:
        if self._world.fused:
            ends = [{"Name": "y", "Format/Datatype": "Row major linear FP32"}]
            names = "{ForeignNode[cast...softmax]}"
            return json.dumps({"Name": names, "LayerType": "Myelin", "Outputs": ends})
        name, kind = self._layers[layer_index]  # type: ignore[attr-defined]
        if self._world.number >= (11, 0):
            shown = {"FLOAT": "Float", "HALF": "Half", "BF16": "BFloat16"}.get(kind, kind)
            output = {"Name": name, "DataType": shown, "Format": "Row major linear format"}
        else:
            shown = _SHOWN.get(kind, kind)
            output = {"Name": name, "Format/Datatype": f"Row major linear {shown} format"}
        return json.dumps({"Name": name, "Outputs": [output]})


class _IExecutionContext:
    _world: FakeTensorRT
    _engine: Any
    _shapes: dict[str, tuple[int, ...]]
    _addresses: dict[str, int]
    _index: int

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        assert stream_handle in self._world.driver.streams
        self._index = profile_index
        return bool(0 <= profile_index < self._engine.num_optimization_profiles)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, largest = self._engine.get_tensor_profile_shape(name, self._index)
        fits = all(a <= b <= c for a, b, c in zip(least, shape, largest, strict=True))
        if fits:
            self._shapes[name] = tuple(shape)
        return fits

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        known: dict[str, int] = {}
        for held, shape in self._shapes.items():
            for dim, size in zip(self._engine._dims(held), shape, strict=True):
                if isinstance(dim, str):
                    known[dim] = size
        return tuple(
            d if isinstance(d, int) else known.get(d, -1) for d in self._engine._dims(name)
        )

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return memory in self._world.driver.memory

    def execute_async_v3(self, stream_handle: int) -> bool:
        shapes = {n: self.get_tensor_shape(n) for n in self._engine._io()}
        self._world.driver.enqueue(stream_handle, lambda: self._execute(shapes))
        return True

    def _execute(self, shapes: dict[str, tuple[int, ...]]) -> None:
        feeds: dict[str, Any] = {}
        outputs: dict[str, Any] = {}
        for name, (is_input, _) in self._engine._io().items():
            kind = _SIZES[self._engine.get_tensor_dtype(name).name]
            size = int(np.prod(shapes[name])) * np.dtype(kind).itemsize
            held = self._world.driver.memory[self._addresses[name]]
            assert size <= len(held)
            view = np.frombuffer((ctypes.c_uint8 * size).from_buffer(held), kind)
            (feeds if is_input else outputs)[name] = view.reshape(shapes[name])
        names = list(outputs)
        answers = self._session.run(names, feeds)  # type: ignore[attr-defined]
        results = {n: np.array(a) for n, a in zip(names, answers, strict=True)}
        self._world.altered(results)
        for name, result in results.items():
            outputs[name][...] = result


def _has(world: FakeTensorRT, config: Any, flag: str) -> bool:
    flags = world.module.BuilderFlag
    return hasattr(flags, flag) and int(getattr(flags, flag)) in config._flags


def _buildable(world: FakeTensorRT, network: Any, config: Any) -> str:
    """Why no engine is built, or nothing."""
    named = ("FP16", "BF16", "INT8")
    if network._strong and any(_has(world, config, flag) for flag in named):
        return "a strongly typed network takes no precision flags"
    kinds = {o.dtype.name for layer in network._layers for o in layer._outputs}
    if not network._strong and "HALF" in kinds and not _has(world, config, "FP16"):
        return "the network has HALF tensors, but fp16 precision has not been enabled"
    for value in network._model.graph.input:
        dims = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for profile in config._profiles:
            three = profile._shapes.get(value.name)
            if three is None:
                return f"{value.name} has no shape in an optimization profile"
            for dim, low, best, high in zip(dims, *three, strict=True):
                wrong = not low <= best <= high or (isinstance(dim, int) and {low, high} != {dim})
                if wrong:
                    return f"{value.name} has a wrong shape in an optimization profile"
    return "" if config._profiles else "there is no optimization profile"


def _host(world: FakeTensorRT, data: bytes) -> Any:
    memory = world.module.IHostMemory()
    memory._data = data
    return memory


_TEMPLATES: dict[str, type] = {
    name[1:]: held
    for name, held in list(globals().items())
    if isinstance(held, type) and name.startswith("_")
}
