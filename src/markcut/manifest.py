"""What a bundle's ``manifest.json`` says, and the strict way from its text to dataclasses.

A manifest of format 1::

    {"format": 1, "name": "demo", "licence": "...",
     "kinds": [...], "stages": [...],
     "sizes": {"S": 512, "C": 128, "D": 512},
     "models": {"clipseg": {"file": "clipseg.onnx", "sha256": "...", "bytes": 123,
                            "precision": "fp16"}, ...},
     "prompts": ["annotated", ...],
     "conds": {"file": "conds.npy", "sha256": "...", "bytes": 123},
     "defaults": {"mark_threshold": 0.25, "heat_threshold": 0.5, ...},
     "provenance": {"checkpoints": {"clipseg": {"name": "...", "sha256": "..."}, ...},
                    "tools": {"torch": "..."}, "opset": 17},
     "verification": {...}}
"""

from __future__ import annotations

import builtins
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from markcut.contracts import KINDS, MODELS, STAGES
from markcut.errors import BundleError

FORMAT = 1
"""The manifest format that this version reads and writes."""

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""How a model file may store its weights."""

SIZES = {"S": 16, "C": 8, "D": 1}
"""Sizes that a bundle fixes, and what each must be a multiple of (see ``contracts``)."""

REQUIRED_DEFAULTS = ("mark_threshold", "heat_threshold")
"""Defaults that every bundle sets; more may stand beside them."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIDE_LIMIT = 1 << 14


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle: its plain name inside the folder, its SHA-256 and its size."""

    file: str
    sha256: str
    bytes: int

    @classmethod
    def of(cls, file: str, data: builtins.bytes) -> FileEntry:
        """The entry that describes ``data`` under the name ``file``."""
        return cls(file=file, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


@dataclass(frozen=True)
class ModelEntry(FileEntry):
    """One ONNX file; ``precision`` is how its weights are stored (one of :data:`PRECISIONS`)."""

    precision: str = "fp32"

    @classmethod
    def of(cls, file: str, data: builtins.bytes, *, precision: str = "fp32") -> ModelEntry:
        """The entry that describes the ONNX bytes ``data`` under the name ``file``."""
        sha256 = hashlib.sha256(data).hexdigest()
        return cls(file=file, sha256=sha256, bytes=len(data), precision=precision)


@dataclass(frozen=True)
class Checkpoint:
    """The weights that a model came from: their name and the SHA-256 of their file."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Provenance:
    """Where a bundle comes from: checkpoints by model, tool versions by name, ONNX opset."""

    checkpoints: Mapping[str, Checkpoint]
    tools: Mapping[str, str]
    opset: int


@dataclass(frozen=True)
class Manifest:
    """Everything a bundle says about itself.

    ``prompts`` are texts, the default first; row k of the conds file is prompt k's vector.
    ``defaults`` are finite floats by name; those called ``*_threshold`` lie in 0..1.
    ``verification`` is the exporter's report, kept as JSON. :func:`check_manifest` says whether
    the whole is sound; :func:`parse_manifest` calls it.
    """

    name: str
    models: Mapping[str, ModelEntry]
    conds: FileEntry
    sizes: Mapping[str, int]
    prompts: tuple[str, ...]
    defaults: Mapping[str, float]
    provenance: Provenance
    licence: str
    verification: Mapping[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = KINDS
    stages: tuple[str, ...] = STAGES
    format: int = FORMAT

    def files(self) -> tuple[FileEntry, ...]:
        """Entries of all files: the models in their order, then the conds."""
        return (*self.models.values(), self.conds)

    def to_json(self) -> str:
        """The text of ``manifest.json``."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse_manifest(text: str | bytes) -> Manifest:
    """The manifest that ``text`` spells; :class:`BundleError` names the first key at fault."""
    try:
        raw = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"manifest.json is no valid JSON ({error}); export the bundle again"
        ) from None
    top = _object(raw, "manifest.json")
    found = top.get("format")
    if isinstance(found, bool) or found != FORMAT:
        raise _wrong("format", found, f"{FORMAT}; export again or use the markcut that wrote it")
    _keys(top, "manifest.json", tuple(Manifest.__dataclass_fields__))
    manifest = Manifest(
        format=FORMAT,
        name=_text(top["name"], "name"),
        kinds=_texts(top["kinds"], "kinds"),
        stages=_texts(top["stages"], "stages"),
        models={
            name: _file_entry(ModelEntry, entry, f"models.{name}")
            for name, entry in _object(top["models"], "models").items()
        },
        conds=_file_entry(FileEntry, top["conds"], "conds"),
        sizes={k: _integer(v, f"sizes.{k}") for k, v in _object(top["sizes"], "sizes").items()},
        prompts=_texts(top["prompts"], "prompts"),
        defaults={
            k: _number(v, f"defaults.{k}") for k, v in _object(top["defaults"], "defaults").items()
        },
        provenance=_provenance(top["provenance"]),
        verification=_object(top["verification"], "verification"),
        licence=_text(top["licence"], "licence"),
    )
    check_manifest(manifest)
    return manifest


def check_manifest(manifest: Manifest) -> None:
    """Raise :class:`BundleError` with the first thing that makes ``manifest`` unusable."""
    if tuple(manifest.kinds) != KINDS:
        raise _wrong("kinds", list(manifest.kinds), f"{list(KINDS)}; export the bundle again")
    if tuple(manifest.stages) != STAGES:
        raise _wrong("stages", list(manifest.stages), f"{list(STAGES)}; export the bundle again")
    _same_names("models", manifest.models, MODELS)
    _same_names("sizes", manifest.sizes, SIZES)
    for symbol, size in manifest.sizes.items():
        if not 0 < size <= _SIDE_LIMIT or size % SIZES[symbol]:
            wanted = f"a multiple of {SIZES[symbol]} from {SIZES[symbol]} to {_SIDE_LIMIT}"
            raise _wrong(f"sizes.{symbol}", size, wanted)
    for key, entry in (
        *((f"models.{n}", e) for n, e in manifest.models.items()),
        ("conds", manifest.conds),
    ):
        _check_entry(key, entry)
    names = [entry.file for entry in manifest.files()]
    if len({*names, "manifest.json"}) <= len(names):
        raise _wrong("models", names, "a file of its own for every model")
    if not manifest.prompts or len(set(manifest.prompts)) != len(manifest.prompts):
        raise _wrong("prompts", list(manifest.prompts), "at least one text and none twice")
    _check_defaults(manifest.defaults)


def _check_entry(key: str, entry: FileEntry) -> None:
    if not _FILE_NAME.fullmatch(entry.file):
        raise _wrong(f"{key}.file", entry.file, "a plain file name inside the bundle's folder")
    if not _SHA256.fullmatch(entry.sha256):
        raise _wrong(f"{key}.sha256", entry.sha256, "64 lowercase hexadecimal digits")
    if entry.bytes <= 0:
        raise _wrong(f"{key}.bytes", entry.bytes, "the file's size, at least 1")
    if isinstance(entry, ModelEntry) and entry.precision not in PRECISIONS:
        raise _wrong(f"{key}.precision", entry.precision, f"one of {', '.join(PRECISIONS)}")


def _check_defaults(defaults: Mapping[str, float]) -> None:
    for name in REQUIRED_DEFAULTS:
        if name not in defaults:
            raise _wrong("defaults", list(defaults), f"a number called {name!r} among them")
    for name, value in defaults.items():
        if not _IDENTIFIER.fullmatch(name):
            raise _wrong("defaults", name, "names that are lowercase identifiers")
        if not math.isfinite(value) or (name.endswith("_threshold") and not 0 <= value <= 1):
            wanted = "a number in 0..1" if name.endswith("_threshold") else "a finite number"
            raise _wrong(f"defaults.{name}", value, wanted)


def _provenance(raw: object) -> Provenance:
    top = _object(raw, "provenance")
    _keys(top, "provenance", ("checkpoints", "tools", "opset"))
    checkpoints = {}
    for name, entry in _object(top["checkpoints"], "provenance.checkpoints").items():
        key = f"provenance.checkpoints.{name}"
        fields = _object(entry, key)
        _keys(fields, key, ("name", "sha256"))
        checkpoints[name] = Checkpoint(
            name=_text(fields["name"], f"{key}.name"),
            sha256=_text(fields["sha256"], f"{key}.sha256"),
        )
    tools = _object(top["tools"], "provenance.tools")
    return Provenance(
        checkpoints=checkpoints,
        tools={name: _text(version, f"provenance.tools.{name}") for name, version in tools.items()},
        opset=_integer(top["opset"], "provenance.opset"),
    )


def _file_entry(kind: type[Any], raw: object, key: str) -> Any:
    fields = _object(raw, key)
    _keys(fields, key, tuple(kind.__dataclass_fields__))
    read = {"bytes": _integer}
    return kind(**{name: read.get(name, _text)(fields[name], f"{key}.{name}") for name in fields})


def _wrong(key: str, came: object, wanted: str) -> BundleError:
    shown = json.dumps(came, default=repr, ensure_ascii=False)
    if len(shown) > 120:
        shown = shown[:117] + "..."
    return BundleError(f"manifest.json: {key}: got {shown}, expected {wanted}")


def _object(value: object, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(key, value, "an object")
    return value


def _keys(fields: Mapping[str, object], key: str, wanted: tuple[str, ...]) -> None:
    missing = [name for name in wanted if name not in fields]
    unknown = [name for name in fields if name not in wanted]
    if missing or unknown:
        fault = f"no {missing[0]!r}" if missing else f"the unknown key {unknown[0]!r}"
        raise _wrong(key, list(fields), f"the keys {', '.join(wanted)}; it has {fault}")


def _same_names(key: str, came: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    if set(came) != set(wanted):
        raise _wrong(key, list(came), f"exactly {', '.join(wanted)}")


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(key, value, "a text that is not empty")
    return value


def _texts(value: object, key: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _wrong(key, value, "a list of texts")
    return tuple(_text(item, f"{key}[{i}]") for i, item in enumerate(value))


def _integer(value: object, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(key, value, "a whole number")
    return value


def _number(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(key, value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise _wrong(key, value, "a number that fits a float") from None


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return keys
