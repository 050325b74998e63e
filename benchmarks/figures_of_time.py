"""What is kept of many times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def spread(milliseconds: Sequence[float]) -> dict[str, float]:
    """Median and 90th percentile."""
    return {
        "median": round(float(np.median(milliseconds)), 3),
        "p90": round(float(np.percentile(milliseconds, 90)), 3),
    }
