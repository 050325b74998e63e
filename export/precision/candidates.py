"""What one model can be turned into: its graph in another precision, some nodes kept in fp32."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from export.precision.calibration import Feeds, passes, ranges
from export.precision.int8 import quantisable, quantised
from export.precision.typed import TYPES, plain, simulated, typed


@dataclass(frozen=True)
class Candidate:
    """A graph in a new precision, as it will lie in the file, and as it is to be judged."""

    data: bytes
    judged: bytes


class Conversion:
    """What one model can be turned into: ``nodes`` in order, :meth:`build` without some of them."""

    def __init__(self, data: bytes, precision: str) -> None:
        import onnx

        self.precision = precision
        self.model = plain(onnx.load_from_string(data), precision)
        self.forced: Mapping[str, str] = {}
        self.ranges: Mapping[str, float] = {}
        if precision in TYPES:
            whole = typed(self.model, precision)
            self.nodes, self.forced = whole.low, whole.forced
        else:
            self.inputs = quantisable(self.model)
            self.nodes = tuple(self.inputs)

    def calibrate(
        self, feeds: Sequence[Feeds], *, threads: int | None, step: Callable[[int, int], None]
    ) -> None:
        """Find the ranges of int8 values on ``feeds``; nothing to do for other precisions."""
        if self.precision != "int8":
            return
        tensors = list(dict.fromkeys(self.inputs.values()))
        done, total = 0, passes(tensors, feeds)

        def one() -> None:
            nonlocal done
            done += 1
            step(done, total)

        self.ranges = ranges(self.model, tensors, feeds, threads=threads, step=one)

    def build(self, keep: Collection[str]) -> Candidate:
        """The graph with all nodes but those of ``keep`` in the new precision."""
        if self.precision == "int8":
            data = _bytes(quantised(self.model, self.ranges, keep=keep))
            return Candidate(data, data)
        model = typed(self.model, self.precision, keep=keep).model
        return Candidate(_bytes(model), _bytes(simulated(model)))

    def kept(self, keep: Collection[str]) -> tuple[str, ...]:
        """``keep`` and what had to stay, whole kinds of operations by the kind's name."""
        every = {*self.nodes, *self.forced}
        kinds = {n.name: n.op_type for n in self.model.graph.node if n.name in every}
        left = [name for name in kinds if name in keep or name in self.forced]
        of_all, of_left = Counter(kinds.values()), Counter(kinds[name] for name in left)
        whole = {kind for kind, count in of_left.items() if count == of_all[kind] and count > 1}
        return (*sorted(whole), *(name for name in left if kinds[name] not in whole))


def _bytes(model: Any) -> bytes:
    import onnx

    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data
