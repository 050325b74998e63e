"""COCO's compressed run lengths, read with care.

pycocotools writes outside of its memory on malformed run lengths (seen with 2.0.11), and answers
come over a network: so this reader checks everything, and needs numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from markcut_client.errors import AnswerError

Mask = NDArray[np.bool_]  # (h, w)

_MAX_GROUPS = 7  # of 5 bits: enough for any 32-bit run


@dataclass(frozen=True)
class Rle:
    """A mask of ``height`` x ``width`` as COCO's compressed run lengths, column by column.

    Anything but valid run lengths of exactly that size raises :class:`AnswerError` at the first
    look at them.
    """

    height: int
    width: int
    counts: bytes

    @cached_property
    def runs(self) -> NDArray[np.int64]:
        """Lengths of the runs, outside first; their sum is ``height * width``."""
        runs = _inflate(self.counts)
        # every run from the fourth on is stored as its difference to the one before the last;
        # the two sums wrap around on nonsense, which shows as a negative run or a wrong total
        if len(runs) > 2:
            runs[1::2] = np.cumsum(runs[1::2])
            runs[2::2] = np.cumsum(runs[2::2])
        pixels = self.height * self.width
        if (runs < 0).any() or (runs > pixels).any() or int(runs.sum()) != pixels:
            raise AnswerError(
                f"a mask's run lengths do not fill {self.width} x {self.height} pixels; "
                "install client and engine of the same version"
            )
        runs.flags.writeable = False
        return runs

    @property
    def area(self) -> int:
        """Number of pixels inside."""
        return int(self.runs[1::2].sum())

    @cached_property
    def bbox(self) -> tuple[int, int, int, int]:
        """Smallest box around the mask: x, y, width, height; zeros for an empty mask."""
        edges = np.cumsum(self.runs)
        starts, ends = edges[:-1:2], edges[1::2]
        starts = starts[: len(ends)]
        inside = ends > starts
        if not inside.any():
            return (0, 0, 0, 0)
        first, last = starts[inside], ends[inside] - 1
        x0, x1 = int(first[0]) // self.height, int(last[-1]) // self.height
        if (first // self.height != last // self.height).any():  # a run goes round a corner
            rows = self.decode().any(axis=1).nonzero()[0]
            y0, y1 = int(rows[0]), int(rows[-1])
        else:
            y0, y1 = int((first % self.height).min()), int((last % self.height).max())
        return (x0, y0, x1 - x0 + 1, y1 - y0 + 1)

    def decode(self) -> Mask:
        """The mask as a new bool array (height, width)."""
        values = np.arange(len(self.runs)) % 2 == 1
        return np.ascontiguousarray(
            np.repeat(values, self.runs).reshape((self.height, self.width), order="F")
        )

    def to_json(self) -> dict[str, list[int] | str]:
        """COCO's ``segmentation``: ``{"size": [h, w], "counts": "..."}``."""
        return {"size": [self.height, self.width], "counts": self.counts.decode("ascii")}


def _inflate(counts: bytes) -> NDArray[np.int64]:
    """The numbers in ``counts``: 5 bits a character, lowest first, the sixth says: more follow."""
    groups = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if len(groups) == 0 or (groups < 0).any() or (groups > 63).any() or groups[-1] & 32:
        raise AnswerError("a mask is not in COCO's compressed run lengths")
    is_last = (groups & 32) == 0
    starts = np.concatenate(([0], is_last.nonzero()[0][:-1] + 1))
    lengths = np.diff(np.append(starts, len(groups)))
    if lengths.max() > _MAX_GROUPS:
        raise AnswerError("a mask is not in COCO's compressed run lengths")
    shifts = 5 * (np.arange(len(groups)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((groups & 31) << shifts, starts)
    negative = groups[is_last] & 16
    numbers[negative != 0] -= np.int64(1) << (5 * lengths[negative != 0])
    return np.asarray(numbers, np.int64)
