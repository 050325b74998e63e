"""What a training run says while it runs: a progress bar or log lines, and ``curve.jsonl``."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

CURVE = "curve.jsonl"


class Reporter:
    """Shows progress and keeps the curve; figures are means since the last line.

    On a terminal a bar with the latest figures, elsewhere one plain line per curve entry.
    """

    def __init__(self, name: str, out: Path, *, total_s: float, start_s: float) -> None:
        self._name = name
        self._path = out / CURVE
        self._keep_curve_until(start_s)
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn(f"[bold]{name}[/]"),
                BarColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=self._console,
            )
            self._bar_task = self._bar.add_task("", total=total_s, completed=int(start_s))
        self._total_s = total_s
        self._elapsed_s = start_s
        self._step = 0
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._since = (time.monotonic(), 0)
        self._shown = 0.0

    def __enter__(self) -> Reporter:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, elapsed_s: float, step: int, figures: Mapping[str, float]) -> None:
        """Take in one step's figures."""
        if not self._step:
            self._since = (time.monotonic(), step)
        self._elapsed_s, self._step = elapsed_s, step
        for name, value in figures.items():
            self._sums[name] += value
            self._counts[name] += 1
        if self._bar is not None and time.monotonic() - self._shown > 0.5:
            self._shown = time.monotonic()
            self._bar.update(
                self._bar_task, completed=elapsed_s, description=f"step {step} {self._figures()}"
            )

    def curve(self, learning_rate: float) -> None:
        """Write one line of the curve from the figures since the last one."""
        if not self._counts:
            return
        now = time.monotonic()
        steps = max(1, self._step - self._since[1])
        entry = {
            "elapsed_s": round(self._elapsed_s, 1),
            "step": self._step,
            "step_s": round((now - self._since[0]) / steps, 3),
            "learning_rate": float(f"{learning_rate:.3g}"),
            **{n: float(f"{self._sums[n] / self._counts[n]:.4g}") for n in self._sums},
        }
        self._append(entry)
        if self._bar is None:
            self._say(
                f"{self._elapsed_s / 60:6.1f}/{self._total_s / 60:.3g} min  step {self._step}  "
                f"{entry['step_s']:.2f} s/step  lr {learning_rate:.2g}  {self._figures()}"
            )
        self._sums.clear()
        self._counts.clear()
        self._since = (now, self._step)

    def evaluation(self, elapsed_s: float, step: int, figures: Mapping[str, float]) -> None:
        """Write one line of held-out figures."""
        shown = {f"held_out_{n}": float(f"{v:.4g}") for n, v in figures.items()}
        self._append({"elapsed_s": round(elapsed_s, 1), "step": step, **shown})
        self._say("held out: " + "  ".join(f"{n} {v:.3f}" for n, v in figures.items()))

    def note(self, text: str) -> None:
        """Say something beside the figures."""
        self._say(text)

    def _figures(self) -> str:
        return "  ".join(f"{n} {self._sums[n] / self._counts[n]:.3f}" for n in self._sums)

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
        else:
            print(f"{self._name}: {text}", file=sys.stderr, flush=True)

    def _append(self, entry: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def _keep_curve_until(self, elapsed_s: float) -> None:
        """Drop what an earlier run wrote after the checkpoint that this one starts from."""
        if not self._path.exists():
            return
        kept = [
            line
            for line in self._path.read_text(encoding="utf-8").splitlines()
            if elapsed_s and json.loads(line)["elapsed_s"] <= elapsed_s + 0.1
        ]
        self._path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
