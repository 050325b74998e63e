"""What an engine shall be, decided before TensorRT is asked: its precision and its shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from export.errors import ExportError
from markcut.contracts import ModelSpec
from markcut.prompted import MAX_POINTS
from markcut.runners.tensorrt_sidecar import HARDWARE_COMPATIBLE, VERSION_COMPATIBLE, Profile

PRECISIONS = ("fp32", "fp16", "bf16", "int8")

STRONGLY_TYPED = "strongly-typed"
TF32 = "tf32"

_STRONG = (10, 0)  # from here on a network can be bound to the graph's own types
_STRONG_DLA = (11, 0)
_NO_FLAGS = (10, 12)  # from here on precision flags are deprecated, and gone in 11
_BF16 = (10, 0)
_CORNERS = 2  # of a box, which are points too
_USUAL_OBJECTS, _USUAL_POINTS = 16, 4


@dataclass(frozen=True)
class Options:
    """What the user asks of all engines; the names are the command's.

    ``precision`` None is each graph's own, ``workspace`` None all memory, in MB; ``dla`` -1 is
    none.
    """

    precision: str | None = None
    max_batch: int = 1
    max_objects: int = 64
    workspace: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    tf32: bool = False
    dla: int = -1


@dataclass(frozen=True)
class Typing:
    """How a network gets its precision: bound to the graph's types, or by builder flags.

    ``pin_wide`` keeps in fp32 what the graph has in fp32 while flags allow less.
    """

    precision: str
    strong: bool
    flags: tuple[str, ...] = ()
    pin_wide: bool = False


def typing_of(model: str, graph: str, options: Options, age: tuple[int, int]) -> Typing:
    """How TensorRT ``age`` builds a graph typed ``graph`` in the precision that is asked for.

    Raises :class:`ExportError` for what cannot be applied: nothing is built in another precision
    than the one that was asked for.
    """
    wanted = options.precision or graph
    version = ".".join(map(str, age))
    if wanted == "bf16" and age < _BF16:
        raise ExportError(
            f"--precision: {model} cannot be built in bf16 by TensorRT {version}, which has no "
            "such type; ask for fp16 or fp32"
        )
    if wanted == graph:
        if age >= (_STRONG if options.dla < 0 else _STRONG_DLA):
            return Typing(wanted, strong=True)
        flags = {"fp16": ("FP16",), "int8": ("INT8",)}.get(wanted, ())
        return Typing(wanted, strong=False, flags=flags, pin_wide=wanted == "fp16")
    if graph != "fp32" or wanted == "int8" or age >= _NO_FLAGS:
        why = f"its graph is typed {graph}"
        if graph == "fp32" and wanted != "int8":
            why += f", and TensorRT {version} takes the precision from the graph alone"
        raise ExportError(
            f"--precision: got {wanted!r} for {model}, but {why}; build from a bundle in {wanted}: "
            f"python -m export precision BUNDLE --precision {wanted} --out DIR"
        )
    return Typing(wanted, strong=False, flags=(wanted.upper(),))


def flags_of(typing: Typing, options: Options) -> tuple[str, ...]:
    """What else than the graph decides about the engine, as its sidecar tells it."""
    flags = [STRONGLY_TYPED if typing.strong else "weakly-typed", *typing.flags]
    flags += [TF32] if options.tf32 else []
    flags += [VERSION_COMPATIBLE] if options.version_compatible else []
    flags += [HARDWARE_COMPATIBLE] if options.hardware_compatible else []
    flags += [f"workspace={options.workspace}"] if options.workspace else []
    return tuple(flags)


def profiles_of(spec: ModelSpec, options: Options) -> tuple[Profile, ...]:
    """Optimisation profiles for the symbols that ``spec`` leaves open.

    The first holds every size, and is what Triton takes. Where it is larger than one, a second one
    is tuned for a single picture or object, which is what a person waits for.
    """
    first = {
        "B": (1, options.max_batch, options.max_batch),
        "N": (1, min(_USUAL_OBJECTS, options.max_objects), options.max_objects),
        "P": (1, _USUAL_POINTS, MAX_POINTS + _CORNERS),
    }
    single = {**first, "B": (1, 1, 1), "N": (1, 1, 1)}
    found = [_profile(spec, first)]
    if (alone := _profile(spec, single)) not in found:
        found.append(alone)
    return tuple(found)


def _profile(spec: ModelSpec, sizes: Mapping[str, tuple[int, int, int]]) -> Profile:
    for tensor in spec.inputs:
        for dim in tensor.dims:
            if isinstance(dim, str) and dim not in sizes:
                raise ExportError(f"{spec.name}.{tensor.name}: nothing is known about the size of "
                                  f"{dim!r}; fill it in with the bundle's sizes")  # fmt: skip
    least, best, largest = (
        {
            t.name: tuple(d if isinstance(d, int) else sizes[d][k] for d in t.dims)
            for t in spec.inputs
        }
        for k in range(3)
    )
    return {name: (least[name], best[name], largest[name]) for name in least}
