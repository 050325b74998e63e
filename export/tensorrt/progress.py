"""How far TensorRT is with an engine: its own report where it gives one, else that it works."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def building(trt: Any, config: Any, title: str, console: Console) -> Iterator[None]:
    """Show progress while an engine is built; TensorRT reports phases from 10.0 on."""
    if not hasattr(trt, "IProgressMonitor"):
        with console.status(f"{title}: TensorRT is building, which takes minutes"):
            yield
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        config.progress_monitor = _monitor(trt, progress, title)
        yield


def _monitor(trt: Any, progress: Any, title: str) -> Any:
    base: Any = trt.IProgressMonitor

    class Monitor(base):  # type: ignore[misc]  # the module is not typed
        """Every phase a bar; TensorRT calls from several threads."""

        def __init__(self) -> None:
            base.__init__(self)  # what pybind11 asks for
            self._lock = threading.Lock()
            self._tasks: dict[str, Any] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                label = f"{'  ' if parent_phase else ''}{title}: {phase_name}"
                self._tasks[phase_name] = progress.add_task(label[:70], total=num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                if phase_name in self._tasks:
                    progress.update(self._tasks[phase_name], completed=step + 1)
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                if phase_name in self._tasks:
                    progress.remove_task(self._tasks.pop(phase_name))

    return Monitor()
