"""A bundle: one folder with a manifest, four ONNX files and the prompts' vectors.

Loading hashes every file before anything parses it, and hands out the very bytes that were
hashed: nobody can swap a file between the check and its use. Writing is all or nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from markcut.contracts import MODELS, ModelSpec
from markcut.errors import BundleError, InvalidInput
from markcut.manifest import (
    Checkpoint,
    FileEntry,
    Manifest,
    ModelEntry,
    Provenance,
    check_manifest,
    parse_manifest,
)
from markcut.manifest_fields import MANIFEST

__all__ = [
    "MANIFEST",
    "Bundle",
    "Checkpoint",
    "FileEntry",
    "Manifest",
    "ModelEntry",
    "Provenance",
    "check_target",
    "load_bundle",
    "pack_conds",
    "read_manifest",
    "write_bundle",
]

_MANIFEST_LIMIT = 4 << 20
_REPLACEABLE = (".onnx", ".npy")


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory.

    ``onnx`` holds the bytes of every model that was loaded, by its name, as hashed; ``conds`` is
    float32 (prompts, D), read-only, row k for ``manifest.prompts[k]``. Drop the bundle once the
    runners are open: the bytes go with it.
    """

    folder: Path
    manifest: Manifest
    onnx: Mapping[str, bytes]
    conds: NDArray[np.float32]

    def spec(self, model: str) -> ModelSpec:
        """The contract of ``model`` with this bundle's sizes filled in."""
        return MODELS[model].resolve(self.manifest.sizes)

    def cond(self, prompt: str | None = None) -> NDArray[np.float32]:
        """The vector (D,) of ``prompt``, or of the default prompt; InvalidInput if unknown."""
        prompts = self.manifest.prompts
        if prompt is not None and prompt not in prompts:
            known = ", ".join(repr(p) for p in prompts)
            raise InvalidInput("prompt", f"got {prompt!r}, expected one of the bundle's: {known}")
        row: NDArray[np.float32] = self.conds[0 if prompt is None else prompts.index(prompt)]
        return row


def read_manifest(folder: str | os.PathLike[str]) -> Manifest:
    """The checked manifest of the bundle in ``folder``; its other files are not looked at."""
    folder = Path(folder)
    if not os.path.isdir(folder):  # pathlib's own raises for names that are too long
        came = "a file" if os.path.exists(folder) else "nothing"
        raise BundleError(f"{folder}: got {came}, expected a bundle's folder; name another folder")
    try:
        return parse_manifest(_read(folder, MANIFEST, limit=_MANIFEST_LIMIT))
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from None


def load_bundle(
    folder: str | os.PathLike[str], *, models: Collection[str] = tuple(MODELS)
) -> Bundle:
    """Read and verify the bundle in ``folder``; of its networks only ``models``.

    Raises :class:`BundleError` with one sentence: no folder, no manifest, a manifest that is not
    sound, or a file that is missing, truncated, altered or outside the folder.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    try:
        onnx = {name: _verified(folder, manifest.models[name]) for name in models}
        conds = _unpack_conds(_verified(folder, manifest.conds), manifest)
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from None
    return Bundle(folder=folder, manifest=manifest, onnx=onnx, conds=conds)


def pack_conds(conds: NDArray[np.floating]) -> bytes:
    """The bytes of ``conds.npy`` for vectors (prompts, D)."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(conds, np.float32), allow_pickle=False)
    return buffer.getvalue()


def check_target(folder: str | os.PathLike[str]) -> None:
    """Raise :class:`BundleError` unless a bundle can be written to ``folder``: before the work.

    It must be new or hold nothing but a bundle's files, and a folder can be made beside it.
    """
    target = Path(folder)
    try:
        target = target.resolve()
        _check_replaceable(target)
        there = next(path for path in target.parents if path.exists())
        os.rmdir(tempfile.mkdtemp(prefix=f".{target.name}.", dir=there))
    except OSError as error:
        raise _unwritable(target, error) from None


def write_bundle(
    folder: str | os.PathLike[str], manifest: Manifest, files: Mapping[str, bytes]
) -> None:
    """Write ``manifest`` and ``files`` (bytes by file name) as the bundle ``folder``.

    Everything goes to a temporary folder beside it, which is renamed at the end: whoever looks
    sees the old bundle or the new one (or, between two renames, none), never a mixture. An old
    bundle is replaced; a folder that holds anything but a bundle's files is refused.
    """
    check_manifest(manifest)
    _check_files(manifest, files)
    target = Path(folder).resolve()
    _check_replaceable(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from None
    try:
        temporary.chmod(0o777 & ~_umask())
        for name, data in (*files.items(), (MANIFEST, manifest.to_json().encode())):
            _write_synced(temporary / name, data)
        _swap_in(temporary, target)
    except OSError as error:
        raise _unwritable(target, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read(folder: Path, name: str, *, limit: int) -> bytes:
    """At most ``limit`` + 1 bytes of a regular file that really lies in ``folder``."""
    path = folder / name
    try:
        if path.resolve().parent != folder.resolve():
            raise BundleError(f"{name} is a link out of the folder; put the file itself there")
        # O_NONBLOCK: opening a pipe must not wait for somebody to write into it
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise BundleError(f"{name} is not a regular file; export the bundle again")
            data = file.read(min(limit, found.st_size) + 1)  # whatever size the manifest tells
    except FileNotFoundError:
        raise BundleError(f"{name} is missing; copy it again or export the bundle again") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        reason = getattr(error, "strerror", None) or error
        raise BundleError(f"{name} cannot be read ({reason})") from None
    if name == MANIFEST and len(data) > limit:
        raise BundleError(f"{name} has more than {limit} bytes; export the bundle again")
    return data


def _verified(folder: Path, entry: FileEntry) -> bytes:
    data = _read(folder, entry.file, limit=entry.bytes)
    if len(data) < entry.bytes:
        raise BundleError(
            f"{entry.file} is truncated: got {len(data)} bytes, expected {entry.bytes}; "
            "copy it again"
        )
    if len(data) > entry.bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise BundleError(
            f"{entry.file} was altered: its content is not what the manifest vouches for; "
            "copy it again or export the bundle again"
        )
    return data


def _unpack_conds(data: bytes, manifest: Manifest) -> NDArray[np.float32]:
    name = manifest.conds.file
    try:
        conds = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:
        raise BundleError(f"{name} is no array file ({error}); export the bundle again") from None
    wanted = (len(manifest.prompts), manifest.sizes["D"])
    if conds.dtype != np.float32 or conds.shape != wanted or not np.isfinite(conds).all():
        raise BundleError(
            f"{name}: got {conds.dtype} {conds.shape}, expected finite float32 {wanted}; "
            "export the bundle again"
        )
    conds.flags.writeable = False
    return np.asarray(conds, np.float32)


def _check_files(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    entries = {entry.file: entry for entry in manifest.files()}
    if set(entries) != set(files):
        raise BundleError(f"got the files {sorted(files)}, expected {sorted(entries)}")
    for name, entry in entries.items():
        if FileEntry.of(name, files[name]) != FileEntry(entry.file, entry.sha256, entry.bytes):
            raise BundleError(f"{name}: its bytes are not what the manifest vouches for")
    _unpack_conds(files[manifest.conds.file], manifest)


def _check_replaceable(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise BundleError(f"{target}: got a file, expected a folder; name another one")
    for entry in sorted(target.iterdir()):
        if not entry.is_file() or (entry.name != MANIFEST and entry.suffix not in _REPLACEABLE):
            raise BundleError(
                f"{target} holds {entry.name!r}, which is no part of a bundle and would be lost; "
                "move it away or name another folder"
            )


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _swap_in(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        target.rename(old)  # rename onto an empty folder replaces it
        try:
            temporary.rename(target)
        except OSError:
            with contextlib.suppress(OSError):
                old.rename(target)
            raise
    finally:
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


def _unwritable(target: Path, error: OSError) -> BundleError:
    return BundleError(
        f"{target}: cannot be written ({error.strerror}), nothing was changed; name another folder"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
