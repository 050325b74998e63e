"""TensorRT engines on disk: ``MODEL.plan`` and, beside it, what it was built from and for.

An engine is native code for one version of TensorRT and one kind of GPU. Nothing deserialises it
before its own hash, the hash of the graph that it was built from, the version and the GPU are
proved to be the right ones. The hashes show that files belong together, not who wrote them: load
engines that you built yourself, or got from somebody you would run a program of.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markcut.errors import BundleError, RuntimeUnavailable

FOLDER = "engines"
"""Where a bundle's engines lie, inside its folder."""

FORMAT = 1
PLAN, SIDECAR = ".plan", ".plan.json"

VERSION_COMPATIBLE = "version-compatible"
HARDWARE_COMPATIBLE = "hardware-compatible"

_SIDECAR_LIMIT = 1 << 20
_ENGINE_LIMIT = 16 << 30
_AMPERE = (8, 0)

Profile = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]


@dataclass(frozen=True)
class Sidecar:
    """What is known about an engine.

    ``tensorrt`` is the version that built it, ``gpu`` and ``sm`` are the GPU's name and compute
    capability, ``onnx_sha256`` is that of the bundle's graph. ``precision`` is what was asked,
    ``precisions`` counts layers by what the engine really computes in. ``flags`` are the options
    that change the engine. ``profiles`` give (least, best, largest) shapes by input. ``dla`` is
    the core that it runs on, -1 for the GPU.
    """

    model: str
    tensorrt: str
    gpu: str
    sm: str
    onnx_sha256: str
    engine_sha256: str
    engine_bytes: int
    precision: str
    flags: tuple[str, ...]
    profiles: tuple[Profile, ...]
    precisions: Mapping[str, int]
    verification: Mapping[str, Any]
    dla: int = -1
    format: int = FORMAT

    def to_json(self) -> str:
        """The text of the sidecar, a line for each field."""
        fields = (f' "{k}": {json.dumps(v, allow_nan=False)}' for k, v in asdict(self).items())
        return "{\n" + ",\n".join(fields) + "\n}\n"

    def misfit(self, *, tensorrt: str, gpu: str, sm: str) -> str:
        """Why the engine cannot run with this TensorRT on this GPU, or nothing."""
        if not self._knows_version(tensorrt):
            return f"it was built by TensorRT {self.tensorrt}, and here is {tensorrt}"
        if not self._knows_gpu(gpu, sm):
            return f"it was built for {self.gpu} (SM {self.sm}), and here is {gpu} (SM {sm})"
        return ""

    def _knows_version(self, version: str) -> bool:
        if version == self.tensorrt:
            return True
        built, here = _numbers(self.tensorrt), _numbers(version)
        return VERSION_COMPATIBLE in self.flags and built[:1] == here[:1] and built <= here

    def _knows_gpu(self, gpu: str, sm: str) -> bool:
        if HARDWARE_COMPATIBLE in self.flags:
            return _numbers(sm) >= _AMPERE
        return gpu == self.gpu and sm == self.sm


def read_engine(folder: Path, model: str, onnx_sha256: str) -> tuple[bytes, Sidecar]:
    """The engine of ``model`` in ``folder`` and its sidecar, both proved to be whole.

    ``onnx_sha256`` is that of the graph that the engine must have been built from. Raises
    :class:`RuntimeUnavailable` where there is no engine or it is another graph's, and
    :class:`BundleError` where one of the files is truncated, altered or no such file.
    """
    sidecar = read_sidecar(folder, model)
    path = folder / f"{model}{PLAN}"
    if sidecar.onnx_sha256 != onnx_sha256:
        raise RuntimeUnavailable(
            f"{path}: it was built from another {model} than this bundle's; {remedy(folder)}"
        )
    plan = _read(path, limit=min(sidecar.engine_bytes, _ENGINE_LIMIT))
    if len(plan) != sidecar.engine_bytes or sha256(plan) != sidecar.engine_sha256:
        raise BundleError(
            f"{path} was altered or is not whole: it is not what its sidecar vouches for, so it "
            f"was not loaded; {remedy(folder)}"
        )
    return plan, sidecar


def read_sidecar(folder: Path, model: str) -> Sidecar:
    """What is said about the engine of ``model`` in ``folder``; the engine is not looked at."""
    path = folder / f"{model}{SIDECAR}"
    if not (path.exists() and (folder / f"{model}{PLAN}").exists()):
        raise RuntimeUnavailable(
            f"{folder / (model + PLAN)}: there is no finished TensorRT engine; {remedy(folder)}"
        )
    try:
        fields = json.loads(_read(path, limit=_SIDECAR_LIMIT))
        sidecar = _parsed(fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sidecar = None
    if sidecar is None or sidecar.format != FORMAT or sidecar.model != model:
        raise BundleError(f"{path} is no sidecar of a {model} engine; {remedy(folder)}")
    return sidecar


def remedy(folder: Path) -> str:
    """How to get the engines of ``folder`` built for this machine."""
    if folder.name == FOLDER:
        return f"build it on this machine: python -m export engines {folder.parent}"
    return f"build it on this machine: python -m export engines BUNDLE --out {folder}"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _parsed(fields: Mapping[str, Any]) -> Sidecar:
    texts = ("model", "tensorrt", "gpu", "sm", "onnx_sha256", "engine_sha256", "precision")
    if set(fields) != set(Sidecar.__dataclass_fields__):
        raise KeyError
    if not all(isinstance(fields[name], str) for name in texts):
        raise TypeError
    profiles = []
    for profile in fields["profiles"]:
        shapes = {
            name: tuple(tuple(int(size) for size in shape) for shape in three)
            for name, three in profile.items()
        }
        if any(len(three) != 3 for three in shapes.values()):
            raise ValueError
        profiles.append(shapes)
    return Sidecar(
        **{name: fields[name] for name in texts},
        engine_bytes=int(fields["engine_bytes"]),
        flags=tuple(str(flag) for flag in fields["flags"]),
        profiles=tuple(profiles),  # type: ignore[arg-type]  # three each, as checked above
        precisions={str(name): int(count) for name, count in fields["precisions"].items()},
        verification=dict(fields["verification"]),
        dla=int(fields["dla"]),
        format=int(fields["format"]),
    )


def _read(path: Path, *, limit: int) -> bytes:
    """At most ``limit`` + 1 bytes of a regular file that is no link."""
    try:
        # O_NONBLOCK: opening a pipe must not wait for somebody to write into it
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(path, "rb", opener=lambda p, _: os.open(p, flags)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BundleError(f"{path} is not a regular file; {remedy(path.parent)}")
            return file.read(limit + 1)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror}); put the file itself there, no link"
        ) from None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))
