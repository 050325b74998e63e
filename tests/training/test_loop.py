"""The training loop: schedule, resuming, averaging, guards."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training import loop  # noqa: E402
from training.feed import Feed, Recipe  # noqa: E402
from training.optimizers import adamw, muon_with_adamw  # noqa: E402
from training.seeds import HELD_OUT_SEEDS, TRAINING_SEEDS  # noqa: E402


class Line:
    """Learns y = 2 x + 1."""

    name = "line"

    def __init__(self, *, poison: int | None = None, stop_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(1, 1)
        self.calls = 0
        self.poison = poison
        self.stop_at = stop_at

    def optimizers(self, learning_rate: float) -> Sequence[Any]:
        return adamw(self.model, learning_rate)

    def loss(self, batch: Any) -> tuple[Any, dict[str, float]]:
        self.calls += 1
        if self.calls == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        loss = ((self.model(batch) - (2 * batch + 1)) ** 2).mean()
        if self.poison is not None and self.calls >= self.poison:
            loss = loss * float("nan")
        return loss, {"calls": float(self.calls)}

    def evaluate(self, model: Any) -> dict[str, float]:
        return {"weight": float(model.weight)}

    def save(self, folder: Path, model: Any) -> None:
        torch.save(model.state_dict(), folder / "line.pt")


def batches() -> Iterator[Any]:
    generator = torch.Generator().manual_seed(1)
    while True:
        yield torch.randn(16, 1, generator=generator)


def trained_s(folder: Path) -> float:
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    return float(state["position"]["elapsed_s"])


def run(task: Line, out: Path, **options: Any) -> bool:
    settings = {"minutes": 0.5 / 60, "learning_rate": 0.05, "ema_decay": 0.9} | options
    return loop.train(task, settings.pop("batches", batches()), out=out, **settings)


def test_schedule_warms_up_stays_and_decays() -> None:
    total = 100 * 60.0
    assert loop.rate(0.0, 100, 0) < 0.1
    assert 0.4 < loop.rate(60.0, 100, 20) < 0.6
    assert loop.rate(0.6 * total, 100, 500) == pytest.approx(1.0)
    assert 0.4 < loop.rate(0.83 * total, 100, 500) < 0.6
    assert loop.rate(total, 100, 500) == pytest.approx(0.02)


def test_training_learns_and_writes_its_files(tmp_path: Path) -> None:
    assert not run(Line(stop_at=300), tmp_path, minutes=60.0)
    saved = torch.load(tmp_path / "line.pt", weights_only=True)
    assert float(saved["weight"]) == pytest.approx(2.0, abs=0.2)
    minutes = trained_s(tmp_path) / 60 + 1e-3
    assert run(Line(), tmp_path, minutes=minutes)
    assert json.loads((tmp_path / "recipe.json").read_text())["minutes"] == minutes
    entries = [json.loads(x) for x in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert {"loss", "calls", "step", "elapsed_s"} <= set(entries[0])
    assert "held_out_weight" in entries[-1]
    assert json.loads((tmp_path / "recipe.json").read_text())["task"] == "line"
    assert not list(tmp_path.glob("*.tmp"))


def test_sigterm_keeps_everything_and_resume_goes_on(tmp_path: Path) -> None:
    first = Line(stop_at=5)
    assert not run(first, tmp_path, minutes=5.0)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["position"]["step"] == 5
    second = Line(stop_at=1)
    before = first.model.weight.detach().clone()
    assert not run(second, tmp_path, minutes=6.0)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["position"]["step"] == 6
    assert (second.model.weight - before).abs() < 0.05
    third = Line()
    assert run(third, tmp_path, resume=False)
    assert third.calls > 0


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_whose_time_is_used_up_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not run(Line(stop_at=5), tmp_path, minutes=5.0)
    before = contents(tmp_path)
    capsys.readouterr()
    again = Line()
    assert run(again, tmp_path, minutes=trained_s(tmp_path) / 60)
    assert again.calls == 0
    assert contents(tmp_path) == before
    (said,) = capsys.readouterr().err.splitlines()
    assert all(part in said for part in ("trained for ", "--minutes", "--fresh"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 8}, r"--seed 8 \(at its start: 7\)"),
        ({"learning_rate": 0.5}, r"--learning-rate 0.5 \(at its start: 0.05\)"),
        ({"recipe": {"batch": 8, "tuned": True}}, r"--batch 8 \(at its start: 16\)"),
        ({"recipe": {"batch": 16}, "minutes": 1e-6, "seed": 1}, "--seed 1"),
        ({"recipe": {"tuned": False}}, r"--weights not given \(at its start: given\)"),
    ],
)
def test_what_would_be_another_run_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    start = {"minutes": 5.0, "seed": 7, "recipe": {"batch": 16, "tuned": True}}
    assert not run(Line(stop_at=2), tmp_path, **start)
    before = contents(tmp_path)
    with pytest.raises(loop.TrainingError, match=rf"{message}.*another --out.*--fresh"):
        run(Line(), tmp_path, **start | options)
    assert contents(tmp_path) == before


def test_what_only_speeds_a_run_up_may_change(tmp_path: Path) -> None:
    start = {"minutes": 5.0, "recipe": {"workers": 1, "device": "cpu"}}
    assert not run(Line(stop_at=2), tmp_path, **start)
    changed = {"minutes": 4.0, "recipe": {"workers": 2, "device": "auto", "data": True}}
    assert not run(Line(stop_at=2), tmp_path, **changed)
    recorded = json.loads((tmp_path / "recipe.json").read_text())
    assert recorded["minutes"] == 4.0
    assert recorded["data"]
    for lost in ("", "[]", "{}"):
        (tmp_path / "recipe.json").write_text(lost)
        assert not run(Line(stop_at=2), tmp_path, **changed)


class StoppedLine(Line):
    """A stop comes, twice, while it evaluates."""

    def evaluate(self, model: Any) -> dict[str, float]:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("it goes on")


@pytest.mark.parametrize("every", [None, 0.0])
def test_a_stop_cuts_the_evaluation_short(
    tmp_path: Path, every: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    minutes = 5.0 if every is not None else 1e-3
    assert not run(StoppedLine(), tmp_path, minutes=minutes, evaluate_every_s=every)
    assert (tmp_path / "checkpoint.pt").exists()
    assert (tmp_path / "line.pt").exists()
    assert capsys.readouterr().err.splitlines()[-1].startswith("line: stopped")


def test_endless_nan_is_an_error_and_leaves_the_weights_alone(tmp_path: Path) -> None:
    task = Line(poison=1)
    before = task.model.weight.detach().clone()
    with pytest.raises(loop.TrainingError, match="in a row gave no finite loss"):
        run(task, tmp_path)
    assert torch.equal(task.model.weight, before)


def test_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run(Line(stop_at=2), tmp_path, minutes=5.0)
    other = Line()
    other.name = "curve"
    with pytest.raises(loop.TrainingError, match=r"checkpoint of line.*--fresh"):
        run(other, tmp_path)


def test_batches_that_end_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(loop.TrainingError, match="endless"):
        run(Line(), tmp_path, batches=itertools.islice(batches(), 3), minutes=5.0)


def test_muon_takes_hidden_matrices_only() -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(7, 4), torch.nn.Linear(4, 3))
    muon, rest = muon_with_adamw(model, 1e-3, muon_rate=1e-2, hidden=lambda n: n != "0.weight")
    assert [p.shape for g in muon.param_groups for p in g["params"]] == [(3, 4)]
    assert sum(len(g["params"]) for g in rest.param_groups) == 2


def item(seed: int) -> int:
    return seed


def sample(seed: int, rng: np.random.Generator, progress: float) -> int:
    return seed


def collate(samples: Sequence[int]) -> list[int]:
    return list(samples)


def batch_size(progress: float) -> int:
    return 8 if progress < 0.5 else 4


def test_feed_replays_scenes_and_never_takes_held_out_seeds() -> None:
    feed = Feed(Recipe(item, sample, collate, batch_size), seed=3, workers=0, pool=5, replay=3)
    feed.seek(10)
    seen = list(itertools.chain.from_iterable(itertools.islice(iter(feed), 100)))
    assert len(seen) == 800
    assert 800 / len(set(seen)) == pytest.approx(3.0, rel=0.25)
    assert all(s in TRAINING_SEEDS and s not in HELD_OUT_SEEDS for s in seen)


def test_feed_in_two_workers_shares_no_seed_and_follows_progress() -> None:
    feed = Feed(Recipe(item, sample, collate, batch_size), workers=2, pool=5, replay=1)
    feed.progress(0.9)
    got = list(itertools.islice(iter(feed), 6))
    assert all(len(b) == 4 for b in got)
    flat = list(itertools.chain.from_iterable(got))
    assert len(set(flat)) == len(flat)


def gone(pid: int) -> bool:
    """Whether that process ended (a zombie that nobody waits for has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_stop_of_the_group_is_left_to_the_main_process() -> None:
    stream = iter(Feed(Recipe(item, sample, collate, batch_size), workers=2))
    assert len(list(itertools.islice(stream, 2))) == 2  # one of each: both have started
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    for worker in workers:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(worker.pid or 0, number)
    assert all(len(batch) == 8 for batch in itertools.islice(stream, 20))
    assert all(worker.is_alive() for worker in workers)
    del stream
    assert not any(worker.is_alive() for worker in workers)


ENDS = {
    "exception": "raise ValueError(stream)",  # at the exit, the stream is still held
    "exit": "sys.exit(stream is None)",
    "killed": "os.kill(os.getpid(), 9)",
}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("first", ["next(stream)", ""], ids=["working", "starting"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_workers_end_with_the_main_process(end: str, first: str) -> None:
    program = f"""
import multiprocessing, os, sys
from tests.training.test_loop import Feed, Recipe, batch_size, collate, item, sample
stream = iter(Feed(Recipe(item, sample, collate, batch_size), workers=2))
{first}
print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
{end}
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2
        process.wait(timeout=60)
    for _ in range(200):
        if all(map(gone, pids)):
            return
        time.sleep(0.1)
    raise AssertionError(f"workers {pids} are left")
