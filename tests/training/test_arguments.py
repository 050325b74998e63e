"""What the trainers' arguments become: precision by what the hardware does, values that fit."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pytest
import torch

from training.arguments import add_common, bf16_pays, check_common
from training.errors import TrainingError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_common(parser, name="yolo", minutes=1, batch=16)
    parser.add_argument("--weights")
    return parser.parse_args(list(words))


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True}, False),
        ({"avx2": True, "avx512_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True, "avx512_bf16": True}, True),
    ],
)
def test_sixteen_bit_training_only_where_the_processor_multiplies_in_it(
    capabilities: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert bf16_pays(torch.device("cpu")) is expected
    assert not bf16_pays(torch.device("mps"))


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--replay", "0.5"], "--replay"),
        (["--learning-rate", "0"], "--learning-rate"),
        (["--learning-rate", "nan"], "--learning-rate"),
        (["--batch", "1000"], "--batch"),
        (["--minutes", "0"], "--minutes"),
    ],
)
def test_values_that_cannot_be_meant_are_named(words: Sequence[str], field: str) -> None:
    with pytest.raises(TrainingError, match=f"^{field}: got "):
        check_common(parsed(*words))


def test_what_is_sensible_passes() -> None:
    check_common(parsed("--replay", "8", "--learning-rate", "1e-3", "--batch", "128"))
