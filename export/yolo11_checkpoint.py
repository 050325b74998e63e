"""A YOLO11-seg checkpoint as ultralytics writes it: read without running code from it, proved."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import nn

from export.checkpoints import check_numbers, module_class, read_torch_file, short
from export.errors import ExportError
from markcut.contracts import KINDS, YOLO_SIDE

_YOLO11 = {"C3k2", "C2PSA"}  # no other generation has both below a plain Segment
_FORWARDS = ("forward", "forward_fuse")
_NEVER = -30.0  # logit of a kind that the checkpoint does not know: a score of 1e-13


def read_checkpoint(path: Path) -> Any:
    """The ``SegmentationModel`` in ``path``, in fp32, fused, its classes :data:`KINDS` in order.

    Its own classes may be some of the kinds in any order: the last layer's rows are sorted, and
    what it does not know gets a score of nothing. Raises :class:`ExportError`: nothing there,
    damaged, with code in it, not a segmentation model of this family, with classes that are no
    kinds of marks, or one that does not run.
    """
    content = read_torch_file(path, flag="--yolo", known=known)
    model = (content.get("ema") or content.get("model")) if isinstance(content, dict) else None
    layers = getattr(model, "model", None)
    if not isinstance(model, nn.Module) or not isinstance(layers, nn.Sequential) or not len(layers):
        raise ExportError(
            f"--yolo: {path} holds no ultralytics model; name the .pt of a YOLO11-seg"
        )
    _check_family(layers, path)
    kinds = _kinds(model, path)
    check_numbers(model, source=path, flag="--yolo")
    try:
        fuse: Any = model.float().eval().requires_grad_(False).fuse
        fused = fuse(verbose=False)
        _sort_classes(fused, kinds)
        with torch.no_grad():
            decoded, _ = fused(torch.zeros(1, 3, YOLO_SIDE, YOLO_SIDE))[0]
        head = fused.model[-1]
        places = sum(round(YOLO_SIDE / float(stride)) ** 2 for stride in head.stride)
        whole = decoded.shape[1:] == (4 + len(KINDS) + head.nm, places)
    except Exception as error:  # layers that do not fit together raise many kinds
        raise _broken(path, short(error)) from None
    if not whole:
        raise _broken(path, f"its answer is {tuple(decoded.shape)}")
    return fused


def known(name: str) -> Callable[..., Any] | None:
    """What ultralytics' files hold beside tensors: layers, settings, paths, numpy's numbers."""
    from ultralytics.utils import IterableSimpleNamespace

    module, _, attribute = name.rpartition(".")
    if attribute == "IterableSimpleNamespace" and module.startswith("ultralytics."):
        return IterableSimpleNamespace
    if module in ("pathlib", "pathlib._local") and attribute in ("PosixPath", "WindowsPath"):
        return PurePosixPath
    if name == "builtins.getattr":
        return _forward_of  # of fused layers, and of heads in older releases
    if attribute == "scalar" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        make: Callable[..., Any] = np.float64(0).__reduce__()[0]
        return make
    if name == "numpy.dtype":
        return np.dtype
    return module_class(name, "ultralytics.nn", "torch.nn.modules")


def _forward_of(owner: object, name: str) -> object:
    """``getattr`` as a file may call it: the forward of a layer and nothing else."""
    layer = owner if isinstance(owner, type) else type(owner)
    if name not in _FORWARDS or not issubclass(layer, nn.Module) or not hasattr(layer, name):
        raise pickle.UnpicklingError(f"getattr({layer.__name__}, {name!r})")
    return getattr(owner, name)


def _check_family(layers: nn.Sequential, path: Path) -> None:
    from ultralytics.nn.modules.head import Segment

    head = layers[-1]
    if type(head) is not Segment or head.cv2 is None:
        raise ExportError(
            f"--yolo: {path} ends in {type(head).__name__}, expected Segment; "
            "name the .pt of a YOLO11-seg (yolo11n-seg, yolo11s-seg, ...)"
        )
    lacking = _YOLO11 - {type(layer).__name__ for layer in layers}
    if lacking:
        raise ExportError(
            f"--yolo: {path} has no {' and no '.join(sorted(lacking))} layers, so it is no "
            "YOLO11-seg but of another generation; name the .pt of a YOLO11-seg"
        )


def kind_of(name: str) -> int:
    """The kind, as an index into :data:`KINDS`, of a class called ``name``; ValueError for none."""
    return KINDS.index(name.strip().lower())


def _kinds(model: Any, path: Path) -> list[int]:
    """The kind that each class of ``model`` stands for, as an index into :data:`KINDS`."""
    names = getattr(model, "names", None)
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        names = {}
    by_class = {str(key): str(name) for key, name in names.items()}
    classes = [by_class.get(str(index)) for index in range(model.model[-1].nc)]
    kinds = []
    for name in classes:
        with suppress(ValueError):
            kinds.append(kind_of(name or ""))
    if len(by_class) == len(classes) == len(kinds) == len(set(kinds)) and kinds:
        return kinds
    shown = ", ".join(list(by_class.values())[:8]) + (", ..." if len(by_class) > 8 else "")
    raise ExportError(
        f"--yolo: {path} knows the classes {shown or 'of no name'}, expected {', '.join(KINDS)} "
        f"or some of them, each once, for its {len(classes)} outputs; give its model.names those "
        "names, or train one with: python -m training yolo"
    )


def _sort_classes(model: Any, kinds: list[int]) -> None:
    """Give the fused ``model`` one output for each kind, in the kinds' order."""
    if kinds != list(range(len(KINDS))):
        head = model.model[-1]
        for level in head.cv3:
            last = level[-1]
            wide = nn.Conv2d(last.in_channels, len(KINDS), 1)
            weight, bias = torch.zeros_like(wide.weight), torch.full((len(KINDS),), _NEVER)
            weight[kinds], bias[kinds] = last.weight, last.bias
            wide.load_state_dict({"weight": weight, "bias": bias})
            level[-1] = wide.requires_grad_(False)
        head.no += len(KINDS) - head.nc
        head.nc = len(KINDS)
    model.names = dict(enumerate(KINDS))


def _broken(path: Path, reason: str) -> ExportError:
    return ExportError(
        f"--yolo: {path} does not run as the YOLO11-seg that it says it is ({reason}); name a .pt "
        "as ultralytics' training wrote it"
    )
