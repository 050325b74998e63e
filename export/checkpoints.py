"""Reading checkpoints without running anything that is hidden in them, and rounding weights."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from export.errors import ExportError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WRAPPER = "module."
_BEFORE_1_6 = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)


def is_hub_id(source: str) -> bool:
    """Whether ``source`` can be a hub's ``owner/name``."""
    return _HUB_ID.fullmatch(source) is not None


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_torch_file(
    path: Path, *, flag: str, known: Callable[[str], Callable[..., Any] | None] = lambda name: None
) -> Any:
    """What ``torch.save`` wrote to ``path``, on the CPU: tensors, plain containers, and no code.

    ``known`` gives what else may occur, by dotted name (None: refused); classes that it gives are
    made empty and filled with attributes. Raises :class:`ExportError` that begins with the option
    ``flag``: no such file, not whole, or something that ``known`` refuses.
    """
    check_file(path, flag=flag)
    allowed = _allowed(path, flag=flag, known=known)
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch raise many kinds on damaged files
        raise _damaged(path, error, flag=flag) from None


def check_file(path: Path, *, flag: str) -> None:
    """Raise :class:`ExportError` that begins with the option ``flag`` unless ``path`` is a file."""
    if not path.is_file():
        came = "is no file" if path.exists() else "does not exist"
        raise ExportError(f"{flag}: {path} {came}; name a checkpoint file (.pt)")


def unwrapped(weights: Mapping[Any, Any]) -> dict[str, Any]:
    """``weights`` without the ``module.`` that parallel training puts before every name."""
    named = {str(name): values for name, values in weights.items()}
    if all(name.startswith(_WRAPPER) for name in named):
        return {name.removeprefix(_WRAPPER): values for name, values in named.items()}
    return named


def check_no_code(path: Path, *, flag: str) -> None:
    """Raise :class:`ExportError` when the torch file asks for more than tensors and containers."""
    _allowed(path, flag=flag, known=lambda name: None)


def _allowed(
    path: Path, *, flag: str, known: Callable[[str], Callable[..., Any] | None]
) -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What the file asks for beside tensors, as ``known`` gives it."""
    try:
        needed = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception as error:  # zip, pickle and torch raise many kinds on damaged files
        raise _damaged(path, error, flag=flag) from None
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = []
    refused = []
    for name in needed:
        found = known(name)
        if found is None:
            refused.append(name)
        else:
            allowed.append((found, name))
    if refused:
        raise ExportError(
            f"{flag}: {path} asks for {', '.join(refused[:3])} beside weights, which could run "
            "code hidden in the file; expected a checkpoint as its project writes it"
        )
    return allowed


def _damaged(path: Path, error: Exception, *, flag: str) -> ExportError:
    with path.open("rb") as file:
        if file.read(len(_BEFORE_1_6)) == _BEFORE_1_6:
            return ExportError(
                f"{flag}: {path} is in torch's format of before 1.6, in which nothing can be "
                "looked for before it is loaded; load it with torch and save it again"
            )
    return ExportError(
        f"{flag}: {path} is no whole torch checkpoint ({short(error)}); copy it again, "
        "or name the file that torch.save wrote"
    )


def module_class(name: str, *packages: str) -> type[nn.Module] | None:
    """The class of the dotted ``name``, if it is an ``nn.Module`` from one of ``packages``."""
    module, _, attribute = name.rpartition(".")
    if not any(module == package or module.startswith(f"{package}.") for package in packages):
        return None
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None
    return found if isinstance(found, type) and issubclass(found, nn.Module) else None


def check_numbers(model: nn.Module, *, source: str | Path, flag: str) -> None:
    """Raise :class:`ExportError` for a weight that is not a number: no graph could be proved."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ExportError(
                f"{flag}: {source}: {name} holds NaN or infinity, so its training went wrong; "
                "name an earlier checkpoint"
            )


@torch.no_grad()
def round_to_half(model: nn.Module) -> None:
    """Round every matrix and kernel of ``model`` to what 16 bit can hold; dtypes stay.

    Vectors (biases, norms, scales) are few and sensitive: they stay as they are, and so does a
    tensor with values beyond the range of 16 bit.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype == torch.float32 and tensor.dim() > 1:
            half = tensor.half()
            if half.isfinite().all():
                tensor.copy_(half)


def short(error: Exception) -> str:
    """Another package's message on one line, for use inside a sentence of ours."""
    return " ".join(str(error).split())[:200] or type(error).__name__
