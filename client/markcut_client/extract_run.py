"""One run of ``markcut extract``: from outcomes to files, lines and the table at the end."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from markcut_client.console import print_table, printable, say, stderr_console
from markcut_client.contact_sheet import arrange, card
from markcut_client.errors import (
    ClientError,
    InferenceError,
    OutputError,
    ParameterError,
    PictureError,
)
from markcut_client.output_folder import OutputFolder
from markcut_client.outputs import encoded
from markcut_client.results import Extraction
from markcut_client.whole_files import InTheWayError, write_whole

if TYPE_CHECKING:
    from rich.table import Table

Outcome = Extraction | PictureError | InferenceError

_INTERRUPTED = 130
_MOST_CARDS = 60  # on the sheet
_MOST_ROWS = 60  # in the table


@dataclass(frozen=True)
class _Row:
    picture: str
    size: str
    marks: str
    scores: str
    ms: str


@dataclass
class Run:
    """Takes the outcomes of ``pictures`` one by one, keeps nothing big, and sums up."""

    pictures: Sequence[Path]
    folder: OutputFolder | None
    sheet: Path | None
    json_lines: bool
    overwrite: bool  # the sheet; the folder knows for itself
    _rows: list[_Row] = field(default_factory=list, init=False)
    _failures: list[tuple[Path, str]] = field(default_factory=list, init=False)
    _cards: list[Image.Image] = field(default_factory=list, init=False)
    _done: int = field(default=0, init=False)
    _objects: int = field(default=0, init=False)
    _has_sheet: bool = field(default=False, init=False)

    def process(self, outcomes: Iterable[Outcome]) -> int:
        """Everything that ``outcomes`` brings, and the summary; the exit status.

        What was done stays done: whatever ends the run early, the files of the run as a whole
        are written for the pictures until then.
        """
        start = time.perf_counter()
        status = 0
        try:
            with _progress(len(self.pictures)) as advance:
                for index, outcome in enumerate(outcomes):
                    self._take(index, outcome)
                    advance()
        except KeyboardInterrupt:
            say(f"interrupted after {self._done} of {len(self.pictures)} pictures")
            status = _INTERRUPTED
        except ParameterError:
            raise  # found at the first picture: nothing was done
        except ClientError as error:
            say(str(error))
            say(f"stopped after {self._done} of {len(self.pictures)} pictures")
            status = 1
        except BaseException as error:
            if isinstance(error, SystemExit):
                say(f"told to end after {self._done} of {len(self.pictures)} pictures")
            with contextlib.suppress(OutputError):
                self._finish()
            raise
        try:
            self._finish()
        except OutputError as error:
            say(str(error))
            status = status or 1
        self._sum_up(time.perf_counter() - start)
        return status or int(bool(self._failures))

    def _take(self, index: int, outcome: Outcome) -> None:
        picture = self.pictures[index]
        problem = ""
        if isinstance(outcome, Extraction):
            try:
                self._keep(index, outcome)
            except (PictureError, InTheWayError) as error:
                problem = str(error)  # no pixels for its cut-outs, or no names for its files
        else:
            problem = str(outcome)
        if problem:
            problem = problem.removeprefix(f"{picture}: ")
            self._failures.append((picture, problem))
            if self.json_lines:
                print(json.dumps({"picture": str(picture), "error": problem}), flush=True)
        self._done += 1

    def _keep(self, index: int, extraction: Extraction) -> None:
        if self.folder is not None:
            self.folder.write(index, extraction)
        if self.sheet is not None and len(self._cards) < _MOST_CARDS:
            self._cards.append(card(extraction))
        if self.json_lines:
            print(json.dumps(extraction.to_json(), allow_nan=False), flush=True)
        self._objects += len(extraction)
        if len(self._rows) < _MOST_ROWS:
            self._rows.append(
                _Row(
                    picture=extraction.picture,
                    size=f"{extraction.width} x {extraction.height}",
                    marks=", ".join(f"{f.mark.kind} {f.mark.score:.2f}" for f in extraction),
                    scores=", ".join(f"{f.score:.2f}" for f in extraction),
                    ms=f"{extraction.stage_ms['total']:.0f}",
                )
            )

    def _finish(self) -> None:
        if self.folder is not None:
            self.folder.finish()
        if self.sheet is not None and self._cards:
            sheet = encoded(arrange(self._cards), self.sheet.suffix)
            write_whole(self.sheet, sheet, overwrite=self.overwrite)
            self._has_sheet = True

    def _sum_up(self, seconds: float) -> None:
        extracted = self._done - len(self._failures)
        if self._rows and not self.json_lines:
            print_table(_table(self._rows))
            if extracted > len(self._rows):
                print(f"... and {extracted - len(self._rows)} more pictures")
        say(f"{_count(extracted, 'picture')}, {_count(self._objects, 'object')}, {seconds:.1f} s")
        if self.folder is not None and extracted:
            say(f"results are in {self.folder.folder}")
            for path in self.folder.leftovers():
                say(f"not of this run, though named like a result: {path}")
        if self._has_sheet:
            more = extracted - len(self._cards)
            say(f"sheet: {self.sheet}" + (f", without the last {more} pictures" if more else ""))
        if self._failures:
            say(f"{_count(len(self._failures), 'picture')} failed:")
            for picture, problem in self._failures:
                say(f"  {picture}: {problem}")


def _table(rows: Sequence[_Row]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("picture", overflow="fold")
    table.add_column("size", no_wrap=True)
    table.add_column("marks")
    table.add_column("masks' scores")
    table.add_column("ms", justify="right")
    for row in rows:
        table.add_row(printable(row.picture), row.size, row.marks or "no mark", row.scores, row.ms)
    return table


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error for more than one picture, where somebody looks."""
    console = stderr_console()
    if total < 2 or not console.is_terminal:
        yield lambda: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("extracting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)
