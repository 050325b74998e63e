"""An endless, seeded stream of batches, made by worker processes.

A scene costs more time to generate than a small network needs to learn from it. So each worker
keeps a pool of the last scenes and shows every one a few times, each time through another view
(crop, flip, colours); new scenes replace the oldest ones for ever.
"""

from __future__ import annotations

import atexit
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.errors import TrainingError
from training.seeds import TRAINING_SEEDS

MOST_SAMPLES = 128
"""Samples in a batch, at most."""

_BAD_SCENES = 5  # in a row

Item = TypeVar("Item")
Sample = TypeVar("Sample")


@dataclass(frozen=True)
class Recipe(Generic[Item, Sample]):
    """How a batch comes about; the three functions run in the workers and must be picklable.

    ``item(seed)`` makes what is worth keeping of one scene (small: hundreds stay in memory),
    ``sample(item, rng, progress)`` one random view of it, ``collate(samples)`` the batch of
    tensors; ``batch_size(progress)`` the number of samples in it. ``progress`` is the part of the
    training time that is spent, 0..1, so that views may grow while the network learns.
    """

    item: Callable[[int], Item]
    sample: Callable[[Item, np.random.Generator, float], Sample]
    collate: Callable[[Sequence[Sample]], Any]
    batch_size: Callable[[float], int]


class Feed:
    """Batches of a recipe for ever; ``workers`` processes, one thread each (0: in this process).

    ``pool`` scenes stay in each worker's memory and each is shown about ``replay`` times.
    """

    def __init__(
        self,
        recipe: Recipe[Any, Any],
        *,
        seed: int = 0,
        workers: int = 1,
        pool: int = 300,
        replay: float = 3.0,
    ) -> None:
        self._stream = _Stream(recipe, seed=seed, pool=pool, replay=replay)
        self._workers = workers

    def seek(self, batch: int) -> None:
        """Start behind the scenes that the first ``batch`` batches may have used."""
        self._stream.start = batch

    def progress(self, fraction: float) -> None:
        """Tell the workers the part of the training time that is spent, 0..1."""
        self._stream.fraction[0] = fraction

    def __iter__(self) -> Iterator[Any]:
        if not self._workers:
            return iter(self._stream)
        loader: DataLoader[Any] = DataLoader(
            self._stream,
            batch_size=None,
            num_workers=self._workers,
            multiprocessing_context="fork",
            prefetch_factor=4,
            worker_init_fn=self._stream.settle_into_worker,
        )
        atexit.register(self._stream.over.fill_, True)
        return iter(loader)


class _Stream(IterableDataset[Any]):
    def __init__(self, recipe: Recipe[Any, Any], *, seed: int, pool: int, replay: float) -> None:
        self.recipe = recipe
        self.seed = seed
        self.pool = pool
        self.replay = replay
        self.start = 0
        self.fraction = torch.zeros(1, dtype=torch.float64)
        self.fraction.share_memory_()
        self.over = torch.zeros(1, dtype=torch.bool)  # the main process is at its end
        self.over.share_memory_()

    def settle_into_worker(self, _worker: int) -> None:
        """Take one core, leave it to the main process when to stop, and end when it is no more."""
        threading.Thread(target=_end_after_main, daemon=True).start()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._end_with_main)
        import cv2

        torch.set_num_threads(1)
        cv2.setNumThreads(1)

    def _end_with_main(self, _number: int, _frame: FrameType | None) -> None:
        """A stop sent to the whole group is the main process's; at its end it sends its own."""
        if self.over[0]:
            os._exit(0)

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info is not None else (0, 1)
        rng = np.random.default_rng((self.seed, self.start, worker))
        items = self._items(rng, worker, workers)
        while True:
            progress = float(self.fraction[0])
            size = self.recipe.batch_size(progress)
            yield self.recipe.collate(
                [self.recipe.sample(next(items), rng, progress) for _ in range(size)]
            )

    def _items(self, rng: np.random.Generator, worker: int, workers: int) -> Iterator[Any]:
        seeds = _training_seeds(self.seed, self.start, worker, workers)
        pool: list[Any] = []
        oldest = 0
        while True:
            if not pool or rng.random() * self.replay < 1.0:
                item = self._made(seeds)
                if len(pool) < self.pool:
                    pool.append(item)
                else:
                    pool[oldest] = item
                    oldest = (oldest + 1) % self.pool
                yield item
            else:
                yield pool[rng.integers(len(pool))]

    def _made(self, seeds: Iterator[int]) -> Any:
        """The next item; a scene that cannot be made is named and left out, not a run's end."""
        for seed in itertools.islice(seeds, _BAD_SCENES):
            try:
                return self.recipe.item(seed)
            except TrainingError:
                raise
            except Exception as error:
                print(f"scene {seed} left out: {error!r}", file=sys.stderr, flush=True)
        raise TrainingError(f"{_BAD_SCENES} scenes in a row could not be made, see above")


def _end_after_main() -> None:
    """End this worker once the main process is gone, however it went.

    The watchdog of PyTorch's loader remembers the parent that it starts with: a worker whose main
    process was killed before that would wait for ever.
    """
    main = multiprocessing.parent_process()
    if main is not None:
        main.join()
        os._exit(1)


def _training_seeds(seed: int, start: int, worker: int, workers: int) -> Iterator[int]:
    """Seeds of TRAINING_SEEDS, never the same for two workers or two parts of a resumed run."""
    # an earlier run used less than this many scenes
    position = start * MOST_SAMPLES * workers + worker
    while True:
        yield (position + seed * 100_000_007) % len(TRAINING_SEEDS)
        position += workers
