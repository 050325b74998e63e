"""How much the latency benchmark measures at each size of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from benchmarks.chain import Effort

PARTS = ("chain", "networks", "scenarios", "start", "roofline", "growth")
GROUPS = ("upstream", "peers", "ours", "triton")


@dataclass(frozen=True)
class Run:
    """``cells`` are (size, marks) of the chain's pictures; seconds are per contender and step.

    ``compiled`` says whether ``torch.compile`` takes part, which costs minutes.
    """

    cells: tuple[tuple[str, int], ...]
    chain: Effort
    rounds: int
    calls: int
    seconds: float
    scenario_s: float
    clients: tuple[int, ...]
    clients_s: float
    batches: tuple[int, ...]
    compiled: bool


RUNS: Mapping[str, Run] = MappingProxyType(
    {
        "small": Run(
            cells=(("1 MP", 1),),
            chain=Effort(rounds=1, calls=2, seconds=1.0, warm_up=1),
            rounds=1, calls=3, seconds=1.0, scenario_s=2.0,
            clients=(1, 2), clients_s=2.0, batches=(1, 2), compiled=False,
        ),
        "default": Run(
            cells=(
                ("0.3 MP", 1), ("1 MP", 1), ("1 MP", 4), ("1 MP", 16), ("12 MP", 1), ("12 MP", 16),
            ),
            chain=Effort(rounds=3, calls=3, seconds=1.0, warm_up=1),
            rounds=3, calls=5, seconds=0.6, scenario_s=4.0,
            clients=(1, 2, 4), clients_s=4.0, batches=(1, 2, 4), compiled=False,
        ),
        "full": Run(
            cells=tuple((size, marks) for size in ("0.3 MP", "1 MP", "12 MP")
                        for marks in (1, 4, 16)),
            chain=Effort(rounds=10, calls=6, seconds=4.0, warm_up=3),
            rounds=10, calls=10, seconds=4.0, scenario_s=60.0,
            clients=(1, 2, 4, 8, 16), clients_s=20.0, batches=(1, 2, 4, 8), compiled=True,
        ),
    }
)  # fmt: skip
"""By the name that ``--size`` takes."""
