"""One training loop for the three models: it runs for a time, not for a number of steps.

The schedule (warm-up, constant, decay) is a function of the training time spent, so the same
command gives a finished model on any machine, and a stopped run goes on where it stopped, also
with more ``minutes`` than at first.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from training.checkpoint import Position, WeightAverage, load_checkpoint, save_checkpoint
from training.errors import TrainingError
from training.reporting import Reporter
from training.run_folder import check_same, write_recipe
from training.stopping import stop_signals

CHECKPOINT = "checkpoint.pt"

_WARM_UP_STEPS = 40
_DECAY = 0.35  # of the time, at its end
_LAST_RATE = 0.02
_CHECKPOINT_S = 120.0
_CURVE_S = 20.0
_BAD_STEPS = 5  # in a row


class Task(Protocol):
    """What a model brings to the loop."""

    @property
    def name(self) -> str:
        """What checkpoints and log lines call it."""
        ...

    @property
    def model(self) -> nn.Module:
        """The network, trained in place."""
        ...

    def optimizers(self, learning_rate: float) -> Sequence[torch.optim.Optimizer]:
        """Optimisers that together hold every trained parameter once (``training.optimizers``).

        The loop multiplies each group's own ``lr`` by the schedule.
        """
        ...

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """The loss to minimise, and figures worth showing (plain floats, averaged over steps)."""
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on held-out data; ``model`` holds averaged weights, in evaluation mode."""
        ...

    def save(self, folder: Path, model: nn.Module) -> None:
        """Write ``model`` into ``folder`` in the upstream project's own format."""
        ...


@runtime_checkable
class SteeredBatches(Protocol):
    """A stream of batches that wants to know where training stands (``training.feed.Feed``)."""

    def seek(self, batch: int) -> None:
        """Called once before iterating: this many batches were used by earlier runs."""
        ...

    def progress(self, fraction: float) -> None:
        """Called every step: the part of the time that is spent, 0..1."""
        ...


def rate(elapsed_s: float, minutes: float, step: int) -> float:
    """The schedule: factor of the learning rate after ``elapsed_s`` seconds of ``minutes``.

    Warm-up counts steps: where a step takes long, a minute is not yet a start.
    """
    total = minutes * 60.0
    warm_up = min(1.0, (step + 1) / _WARM_UP_STEPS)
    left = (total - elapsed_s) / (_DECAY * total)
    return warm_up * (_LAST_RATE + (1.0 - _LAST_RATE) * min(1.0, max(0.0, left)))


def train(
    task: Task,
    batches: Iterable[Any],
    *,
    out: Path,
    minutes: float,
    device: torch.device | str = "cpu",
    learning_rate: float,
    resume: bool = True,
    evaluate_every_s: float | None = 600.0,
    seed: int = 0,
    bf16: bool = False,
    ema_decay: float = 0.998,
    clip_norm: float = 5.0,
    recipe: Mapping[str, Any] | None = None,
) -> bool:
    """Train ``task.model`` for ``minutes`` of wall time, earlier runs into ``out`` included.

    Writes ``checkpoint.pt`` (every two minutes, at the end, at SIGTERM and Ctrl-C),
    ``curve.jsonl``, ``recipe.json`` and, through ``task.save``, the model itself with averaged
    weights. ``bf16`` wraps ``task.loss`` in autocast; a task turns it off again where it costs.
    A run that used up its time before is left as it is, and so is one that was started with
    another ``recipe``. Returns whether all is done (False: stopped by a signal, go on with
    ``resume``). Raises TrainingError when the loss stays without a value, or the checkpoint or
    the recipe does not fit.
    """
    device = torch.device(device)
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    task.model.to(device).train()
    average = WeightAverage(task.model, decay=ema_decay)
    optimizers = list(task.optimizers(learning_rate))
    for group in _groups(optimizers):
        group["initial_lr"] = group["lr"]
    position = Position()
    content = {
        "task": task.name,
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "minutes": minutes,
        "learning_rate": learning_rate,
        "seed": seed,
        "bf16": bf16,
        "torch": str(torch.__version__),
        **(recipe or {}),
    }
    total_s = minutes * 60.0
    checkpoint = out / CHECKPOINT
    if resume and checkpoint.exists():
        position = load_checkpoint(checkpoint, task.name, task.model, average, optimizers, device)
        check_same(out, content)
        if position.elapsed_s >= total_s:
            trained = f"trained for {position.elapsed_s / 60:.2f} of {minutes:.2f} minutes already"
            remedy = "a larger --minutes trains on, --fresh starts over"
            print(f"{task.name}: {out} is {trained}; {remedy}", file=sys.stderr)
            return True
    write_recipe(out, content)

    def save_now() -> None:
        task.save(out, average.model)

    def checkpoint_now() -> None:
        save_checkpoint(checkpoint, task.name, task.model, average, optimizers, position)

    def evaluate_now(note: str) -> None:
        reporter.note(note)
        with torch.no_grad():
            figures = stop.unless_asked(lambda: task.evaluate(average.model))
        task.model.train()
        if figures:
            reporter.evaluation(position.elapsed_s, position.step, figures)

    parameters = [p for group in _groups(optimizers) for p in group["params"]]
    steered = batches if isinstance(batches, SteeredBatches) else None
    if steered is not None:
        steered.seek(position.batches)
    bad = 0
    with (
        Reporter(task.name, out, total_s=total_s, start_s=position.elapsed_s) as reporter,
        stop_signals() as stop,
    ):
        last_checkpoint = last_evaluation = last_curve = position.elapsed_s
        clock = time.monotonic()
        stream = iter(batches)
        while position.elapsed_s < total_s and not stop.asked:
            if steered is not None:
                steered.progress(position.elapsed_s / total_s)
            try:
                batch = next(stream)
            except StopIteration:
                raise TrainingError(
                    f"{task.name}: the batches ended after {position.batches}; training runs for a "
                    "time, so its data must be an endless stream"
                ) from None
            factor = rate(position.elapsed_s, minutes, position.step)
            for group in _groups(optimizers):
                group["lr"] = group["initial_lr"] * factor
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss, figures = task.loss(batch)
            good = _step(loss, optimizers, parameters, clip_norm)
            position.batches += 1
            if good:
                bad = 0
                position.step += 1
                average.update(task.model, step=position.step)
            else:
                bad += 1
                reporter.note(f"step {position.step}: loss or gradient without a value, skipped")
                if bad >= _BAD_STEPS:
                    raise TrainingError(
                        f"{task.name}: {bad} steps in a row gave no finite loss; start again with "
                        f"--resume from the last checkpoint in {out}, or with a lower learning rate"
                    )
            now = time.monotonic()
            position.elapsed_s += now - clock
            clock = now
            reporter.step(
                position.elapsed_s,
                position.step,
                {"loss": float(loss.detach()), **figures} if good else {},
            )
            if position.elapsed_s - last_curve >= _CURVE_S:
                last_curve = position.elapsed_s
                reporter.curve(learning_rate * factor)
            if position.elapsed_s - last_checkpoint >= _CHECKPOINT_S:
                checkpoint_now()
                last_checkpoint = position.elapsed_s
            due = evaluate_every_s is not None
            if due and position.elapsed_s - last_evaluation >= (evaluate_every_s or 0.0):
                save_now()
                evaluate_now("evaluating")
                position.elapsed_s += time.monotonic() - clock
                clock = time.monotonic()
                last_evaluation = position.elapsed_s
        reporter.curve(learning_rate * rate(position.elapsed_s, minutes, position.step))
        save_now()  # first: from a checkpoint whose time is used up, nothing goes on to save it
        checkpoint_now()
        if position.elapsed_s >= total_s:
            evaluate_now("time is up: evaluating")
            if stop.asked:
                reporter.note("stopped: the model is whole, only its held-out figures are missing")
        else:
            reporter.note(f"stopped at step {position.step}; --resume goes on from here")
    return not stop.asked


def _step(
    loss: Tensor,
    optimizers: Sequence[torch.optim.Optimizer],
    parameters: Sequence[nn.Parameter],
    clip_norm: float,
) -> bool:
    """One optimiser step; False (and nothing changed) when the loss or a gradient is not finite."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    if not math.isfinite(float(loss.detach())):
        return False
    loss.backward()
    norm = float(nn.utils.clip_grad_norm_(parameters, clip_norm))
    if not math.isfinite(norm):
        return False
    for optimizer in optimizers:
        optimizer.step()
    return True


def _groups(optimizers: Sequence[torch.optim.Optimizer]) -> Iterator[dict[str, Any]]:
    return itertools.chain.from_iterable(o.param_groups for o in optimizers)
