from __future__ import annotations

import numpy as np
import pytest

from markcut.marks import Mark
from markcut.passing import NOBODY, pack_marks, pack_prompts, unpack_marks, unpack_prompts
from markcut.point_sampler import sample_prompts
from tests.markcut.drawn import ellipse, loop, mark, scene, strokes

SHAPE = (120, 160)
THING = ellipse(SHAPE, (80, 60), (30, 20))
INKS = (strokes(SHAPE, [loop((80, 60), (45, 32))], 4), strokes(SHAPE, [[(10, 90), (20, 100)]], 3))
MARKS = [mark("circle", INKS[0]), mark("line", INKS[1])]


def same(one: Mark, other: Mark) -> bool:
    return (
        (one.kind, one.origin) == (other.kind, other.origin)
        and np.float32(one.score) == other.score
        and np.array_equal(one.box, other.box)
        and np.array_equal(one.ink, other.ink)
    )


def test_marks_come_back_as_they_were() -> None:
    back = unpack_marks(*pack_marks(MARKS))
    assert [same(one, other) for one, other in zip(MARKS, back, strict=True)] == [True, True]
    assert back[0].ink.dtype == np.bool_


def test_no_marks_travel_as_one_mark_of_no_kind() -> None:
    packed = pack_marks([])
    assert [len(array) for array in packed] == [1, 1, 1, 1]
    assert packed[0].tolist() == [NOBODY]
    assert unpack_marks(*packed) == []


def test_ink_that_is_not_the_boxes_is_refused() -> None:
    *rest, ink = pack_marks(MARKS)
    with pytest.raises(ValueError, match="pixels of ink"):
        unpack_marks(*rest, ink[:-1])


def test_prompts_come_back_as_they_were() -> None:
    prompts = sample_prompts(scene(THING, INKS[0] | INKS[1]), MARKS)
    packed = pack_prompts(prompts)
    back = unpack_prompts(packed.coords, packed.labels, packed.owners)
    assert np.array_equal(back.coords, prompts.coords)
    assert np.array_equal(back.labels, prompts.labels)
    assert np.array_equal(back.owners, prompts.owners)


def test_no_prompts_travel_as_one_row_of_nobody() -> None:
    prompts = sample_prompts(scene(THING, INKS[0]), [])
    packed = pack_prompts(prompts)
    assert (packed.owners.tolist(), packed.labels.tolist()) == ([NOBODY], [[-1]])
    back = unpack_prompts(packed.coords, packed.labels, packed.owners)
    assert back.coords.shape == prompts.coords.shape
    assert len(back.owners) == 0
