"""Which scene seeds training draws from, and which it never sees."""

from __future__ import annotations

TRAINING_SEEDS = range(2**31)
"""Scene seeds that training draws from, whatever ``--seed`` is."""

HELD_OUT_SEEDS = range(2**31, 2**32)
"""Scene seeds that training never sees: evaluation during training takes the first ones."""
