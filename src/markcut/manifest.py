"""What a bundle's ``manifest.json`` says, and the strict way from its text to dataclasses.

A manifest of format 1::

    {"format": 1, "name": "demo", "licence": "...",
     "kinds": [...], "stages": [...],
     "sizes": {"S": 512, "C": 128, "D": 512},
     "models": {"clipseg": {"file": "clipseg.onnx", "sha256": "...", "bytes": 123,
                            "precision": "fp16", "arithmetic": "fp32", "kept_fp32": []}, ...},
     "prompts": ["annotated", ...],
     "conds": {"file": "conds.npy", "sha256": "...", "bytes": 123},
     "defaults": {"mark_threshold": 0.25, "heat_threshold": 0.5, ...},
     "belief": {"clues": [...], "units": [...], ...},
     "provenance": {"checkpoints": {"clipseg": {"name": "...", "sha256": "..."}, ...},
                    "tools": {"torch": "..."}, "opset": 17},
     "verification": {...}}
"""

from __future__ import annotations

import builtins
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from markcut.belief_weights import Weights, parse_weights
from markcut.contracts import KINDS, MODELS, STAGES
from markcut.manifest_fields import (
    MANIFEST,
    as_integer,
    as_number,
    as_object,
    as_text,
    as_texts,
    check_keys,
    check_names,
    read_json,
    to_text,
    wrong,
)
from markcut.parameters import MAX_MARKS, MAX_POINTS

FORMAT = 1
"""The manifest format that this version reads and writes."""

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""How a model file may store its weights, and what its graph may be typed in."""

SIZES = {"S": 16, "C": 8, "D": 1}
"""Sizes that a bundle fixes, and what each must be a multiple of (see ``contracts``)."""

REQUIRED_DEFAULTS = ("mark_threshold", "heat_threshold")
"""Defaults that every bundle sets."""

DEFAULTS: Mapping[str, tuple[int, int]] = {
    "mark_threshold": (0, 1), "heat_threshold": (0, 1), "mask_threshold": (-32, 32),
    "max_marks": (1, MAX_MARKS), "points_per_mark": (1, MAX_POINTS), "max_windows": (0, 100),
    "nearer_look": (0, 1),
}  # fmt: skip
"""What a bundle may set, and from what to what."""

_WHOLE = ("max_marks", "points_per_mark", "max_windows")

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEPT_LIMIT = 2000  # operations of one model
_KEPT_LENGTH = 300  # characters of one operation's name
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIDE_LIMIT = 1 << 14
# keys that format 1 did not have from the beginning
_LATER: Mapping[str, Any] = {"arithmetic": "fp32", "kept_fp32": [], "belief": None}


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
    """One ONNX file, how its weights are stored and what its graph computes in.

    ``precision`` is how most of the weights are stored, ``arithmetic`` what most of the graph is
    typed in (both of :data:`PRECISIONS`): weights in fp16 before fp32 arithmetic only make the
    file smaller. ``kept_fp32`` names what was kept in fp32 in a graph of another arithmetic: one
    node each, or a kind of operation where all of its nodes were kept. Manifests from before
    these two keys hold fp32 arithmetic.
    """

    precision: str = "fp32"
    arithmetic: str = "fp32"
    kept_fp32: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        file: str,
        data: builtins.bytes,
        *,
        precision: str = "fp32",
        arithmetic: str = "fp32",
        kept_fp32: tuple[str, ...] = (),
    ) -> ModelEntry:
        """The entry that describes the ONNX bytes ``data`` under the name ``file``."""
        return cls(
            file=file,
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            precision=precision,
            arithmetic=arithmetic,
            kept_fp32=kept_fp32,
        )


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
    ``defaults`` are numbers by the names of :data:`DEFAULTS`, ``belief`` what the clues to a mark
    count; without it, YOLO's score is all that counts.
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
    belief: Weights | None = None
    verification: Mapping[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = KINDS
    stages: tuple[str, ...] = STAGES
    format: int = FORMAT

    def files(self) -> tuple[FileEntry, ...]:
        """Entries of all files: the models in their order, then the conds."""
        return (*self.models.values(), self.conds)

    def to_json(self) -> str:
        """The text of ``manifest.json``."""
        return to_text(asdict(self))


def parse_manifest(text: str | bytes) -> Manifest:
    """The manifest that ``text`` spells; :class:`BundleError` names the first key at fault."""
    top = {"belief": _LATER["belief"], **read_json(text)}
    found = top.get("format")
    if isinstance(found, bool) or found != FORMAT:
        raise wrong("format", found, f"{FORMAT}; export again or use the markcut that wrote it")
    check_keys(top, MANIFEST, tuple(Manifest.__dataclass_fields__))
    manifest = Manifest(
        format=FORMAT,
        name=as_text(top["name"], "name"),
        kinds=as_texts(top["kinds"], "kinds"),
        stages=as_texts(top["stages"], "stages"),
        models={
            name: _file_entry(ModelEntry, entry, f"models.{name}")
            for name, entry in as_object(top["models"], "models").items()
        },
        conds=_file_entry(FileEntry, top["conds"], "conds"),
        sizes={k: as_integer(v, f"sizes.{k}") for k, v in as_object(top["sizes"], "sizes").items()},
        prompts=as_texts(top["prompts"], "prompts"),
        defaults={
            k: as_number(v, f"defaults.{k}")
            for k, v in as_object(top["defaults"], "defaults").items()
        },
        belief=parse_weights(top["belief"], "belief"),
        provenance=_provenance(top["provenance"]),
        verification=as_object(top["verification"], "verification"),
        licence=as_text(top["licence"], "licence"),
    )
    check_manifest(manifest)
    return manifest


def check_manifest(manifest: Manifest) -> None:
    """Raise :class:`BundleError` with the first thing that makes ``manifest`` unusable."""
    if tuple(manifest.kinds) != KINDS:
        raise wrong("kinds", list(manifest.kinds), f"{list(KINDS)}; export the bundle again")
    if tuple(manifest.stages) != STAGES:
        raise wrong("stages", list(manifest.stages), f"{list(STAGES)}; export the bundle again")
    check_names("models", manifest.models, MODELS)
    check_names("sizes", manifest.sizes, SIZES)
    for symbol, size in manifest.sizes.items():
        if not 0 < size <= _SIDE_LIMIT or size % SIZES[symbol]:
            wanted = f"a multiple of {SIZES[symbol]} from {SIZES[symbol]} to {_SIDE_LIMIT}"
            raise wrong(f"sizes.{symbol}", size, wanted)
    for key, entry in (
        *((f"models.{n}", e) for n, e in manifest.models.items()),
        ("conds", manifest.conds),
    ):
        _check_entry(key, entry)
    names = [entry.file for entry in manifest.files()]
    if len({*names, MANIFEST}) <= len(names):
        raise wrong("models", names, "a file of its own for every model")
    if not manifest.prompts or len(set(manifest.prompts)) != len(manifest.prompts):
        raise wrong("prompts", list(manifest.prompts), "at least one text and none twice")
    _check_defaults(manifest.defaults)


def _check_entry(key: str, entry: FileEntry) -> None:
    if not _FILE_NAME.fullmatch(entry.file):
        raise wrong(f"{key}.file", entry.file, "a plain file name inside the bundle's folder")
    if not _SHA256.fullmatch(entry.sha256):
        raise wrong(f"{key}.sha256", entry.sha256, "64 lowercase hexadecimal digits")
    if entry.bytes <= 0:
        raise wrong(f"{key}.bytes", entry.bytes, "the file's size, at least 1")
    if isinstance(entry, ModelEntry):
        for name in ("precision", "arithmetic"):
            if getattr(entry, name) not in PRECISIONS:
                known = f"one of {', '.join(PRECISIONS)}"
                raise wrong(f"{key}.{name}", getattr(entry, name), known)
        _check_kept(f"{key}.kept_fp32", entry)


def _check_kept(key: str, entry: ModelEntry) -> None:
    kept = entry.kept_fp32
    if kept and entry.arithmetic == "fp32":
        raise wrong(key, list(kept), "nothing, since all of the arithmetic is fp32")
    if len(kept) > _KEPT_LIMIT or len(set(kept)) != len(kept):
        raise wrong(key, f"{len(kept)} names", f"at most {_KEPT_LIMIT}, none twice")
    for index, name in enumerate(kept):
        if not name or len(name) > _KEPT_LENGTH:
            raise wrong(f"{key}[{index}]", name, f"a text of 1 to {_KEPT_LENGTH} characters")


def _check_defaults(defaults: Mapping[str, float]) -> None:
    for name in REQUIRED_DEFAULTS:
        if name not in defaults:
            raise wrong("defaults", list(defaults), f"a number called {name!r} among them")
    for name, value in defaults.items():
        if name not in DEFAULTS:
            known = ", ".join(DEFAULTS)
            raise wrong(f"defaults.{name}"[:80], value, f"one of the names {known}")
        low, high = DEFAULTS[name]
        if not low <= value <= high or (name in _WHOLE and value != int(value)):
            kind = "a whole number" if name in _WHOLE else "a number"
            raise wrong(f"defaults.{name}", value, f"{kind} from {low} to {high}")


def _provenance(raw: object) -> Provenance:
    top = as_object(raw, "provenance")
    check_keys(top, "provenance", ("checkpoints", "tools", "opset"))
    checkpoints = {}
    for name, entry in as_object(top["checkpoints"], "provenance.checkpoints").items():
        key = f"provenance.checkpoints.{name}"
        fields = as_object(entry, key)
        check_keys(fields, key, ("name", "sha256"))
        checkpoints[name] = Checkpoint(
            name=as_text(fields["name"], f"{key}.name"),
            sha256=as_text(fields["sha256"], f"{key}.sha256"),
        )
    tools = as_object(top["tools"], "provenance.tools")
    return Provenance(
        checkpoints=checkpoints,
        tools={
            name: as_text(version, f"provenance.tools.{name}") for name, version in tools.items()
        },
        opset=as_integer(top["opset"], "provenance.opset"),
    )


def _file_entry(kind: type[Any], raw: object, key: str) -> Any:
    known = tuple(kind.__dataclass_fields__)
    fields = {**{name: _LATER[name] for name in known if name in _LATER}, **as_object(raw, key)}
    check_keys(fields, key, known)
    read: Mapping[str, Callable[[object, str], object]]
    read = {"bytes": as_integer, "kept_fp32": as_texts}
    return kind(**{name: read.get(name, as_text)(fields[name], f"{key}.{name}") for name in fields})
