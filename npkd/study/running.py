"""All cells of a study, by any executor, each kept in a folder as soon as it is done.

A cell that fails is reported, and what needs it with it; the others go on. A process that dies
takes its executor along: where another can be had (`renew`) the cells that were in it are tried
again, one at a time, so that the one that kills its process is known by name.
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from npkd import files
from npkd.distill import checkpoint
from npkd.files import BadInput, one_line
from npkd.study.cells import Figures, Job, Result, Source, Teacher, train
from npkd.study.kept import Form
from npkd.study.plan import Cell, Study, cells, pupils

FOLDER, RESULT = "cells", "study.json"  # in that of the study
WRITTEN = re.compile(r"study\.(json|png|html)|[a-z_]+-\d+-[0-9a-f]{16}-[0-9a-f]{8}\.npkd")


class Gone(BadInput):
    """The executor has called off what it was given: who was to do it has gone."""


@dataclass(frozen=True)
class Planned:
    """How many cells there are, and how many of them the folder holds already."""

    cells: int
    found: int


@dataclass(frozen=True)
class Damaged:
    """A file of the folder is damaged; its cell is made anew."""

    reason: str


@dataclass(frozen=True)
class Done:
    """A cell is done: so many of all are now. For the rest see `cells.Result`."""

    cell: Cell
    figures: Figures
    by_image: np.ndarray
    seconds: float
    number: int


@dataclass(frozen=True)
class Failed:
    """A cell has no figures, and why."""

    cell: Cell
    reason: str
    number: int


Event = Planned | Damaged | Done | Failed


@contextmanager
def study_folder(path: str | Path, resume: bool = False) -> Iterator[Path]:
    """A folder for one study at a time, found writable; one that holds a study needs `resume`.

    Raises BadInput if it holds one, if something else is at work in it, or if it cannot be made.
    """
    folder = Path(path)
    with checkpoint.one_at_work(folder):
        for name in (RESULT, "study.png", "study.html"):
            if (folder / name).is_dir():
                raise BadInput(f"{folder / name}: is a folder, where a file is to be written")
        held = [name for name in (RESULT, FOLDER) if files.is_there(folder / name)]
        if held and not resume:
            raise BadInput(
                f"{folder}: already holds a study ({', '.join(held)}); go on with it by --resume, "
                "or give another --out"
            )
        yield folder


class Cells:
    """The cells that are done, in a folder: a file for each, by its key and that of the data.

    So a file is used only for the same settings and the same data, to the last bit.
    """

    def __init__(self, folder: Path, source: Source):
        self.folder, self.source, self.form = folder / FOLDER, source, Form(source)

    def path(self, cell: Cell) -> Path:
        """Its file."""
        return self.folder / f"{cell.key}-{self.source.digest[:8]}.npkd"

    def save(self, cell: Cell, result: Result) -> None:
        """Keep a cell; of a large net no outputs, if they are too many for a file.

        Raises BadInput if it cannot be written.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            checkpoint.write(self.path(cell), *self.form.of(cell, result))
        except OSError as error:
            raise BadInput(
                f"{self.folder.parent}: cannot be written to: {error.strerror or error}; what is "
                "done is kept, and --resume goes on from it"
            ) from error
        except BadInput:
            if result.teacher is None or not result.teacher.kept:
                raise
            self.save(cell, replace(result, teacher=replace(result.teacher, kept={})))

    def load(self, cell: Cell) -> Result | None:
        """A cell that was kept, or None.

        Raises what `checkpoint.load` does, and BadInput if the file is no result of this cell.
        """
        path = self.path(cell)
        if not files.is_there(path):
            return None
        about, arrays = checkpoint.load(path)
        try:
            return self.form.read(cell, about, arrays)
        except BadInput:  # of the data
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problem = "no result of this training, and nothing is touched"
            raise BadInput(f"{path}: {problem}: {error}") from error

    def teacher(self, cell: Cell) -> Teacher:
        """A large net that was kept. Raises BadInput if it is no longer there."""
        result = self.load(cell)
        if result is None or result.teacher is None:
            raise BadInput(f"{self.path(cell)}: is gone")
        return result.teacher

    def tidy(self) -> None:
        """Take away what writes have left that a kill cut short. Raises BadInput if it cannot."""
        with files.writing_to(self.folder.parent):
            for folder in (self.folder, self.folder.parent):
                for path in files.files_in(folder, "the folder of a study"):
                    if WRITTEN.fullmatch(files.half_of(path)):
                        path.unlink(missing_ok=True)


def run(
    study: Study,
    source: Source,
    executor: Executor,
    folder: Path,
    *,
    at_once: int,
    threads: int = 1,
    renew: Callable[[], Executor] | None = None,
) -> Iterator[Event]:
    """Do what of a study is not in the folder yet; an event for each cell as it ends.

    executor: any of `concurrent.futures`. at_once: how many cells it is given at a time, twice its
    workers, say, so that none waits for work. threads: of each. renew: makes another executor when
    a worker has died.

    Raises BadInput, before anything is done, for a cell in the folder that cannot be used and is
    not just damaged; later if the folder cannot be written to; and Gone.
    """
    return _Run(study, Cells(folder, source), executor, at_once, threads, renew).events()


class _Run:
    """What of a study is done, what is being done, and what waits."""

    def __init__(
        self,
        study: Study,
        kept: Cells,
        executor: Executor,
        at_once: int,
        threads: int,
        renew: Callable[[], Executor] | None,
    ):
        self.study, self.kept, self.executor = study, kept, executor
        self.at_once, self.threads, self.renew = at_once, threads, renew
        self.waiting = {cell.key: cell for cell in cells(study)}
        self.suspects: list[Cell] = []  # were in an executor as it broke; now one at a time
        self.running: dict[Future[Result], Cell] = {}
        self.broken: BrokenExecutor | None = None
        self.fresh = True  # whether the executor has had nothing to do yet
        self.done: set[str] = set()
        self.failed: dict[str, str] = {}
        self.number = 0  # of cells that have ended

    def events(self) -> Iterator[Event]:
        """Until nothing waits."""
        yield from self._found()
        self.kept.tidy()
        try:
            while self.waiting or self.suspects or self.running:
                yield from self._failed_with_their_teachers()
                self._submit()
                if self.running:
                    ended, _ = wait(self.running, return_when=FIRST_COMPLETED)
                    for future in [one for one in self.running if one in ended]:  # in order
                        yield from self._ended(future)
                if self.broken and not self.running:
                    yield from self._renewed()
        finally:
            for future in self.running:
                future.cancel()

    def _found(self) -> Iterator[Event]:
        """What the folder holds."""
        found: list[tuple[Cell, Result]] = []
        damaged = []
        for cell in self.waiting.values():
            try:
                result = self.kept.load(cell)
            except files.Damaged as error:
                damaged.append(Damaged(str(error)))
                continue
            if result is not None:
                found.append((cell, replace(result, teacher=None)))
        yield Planned(len(self.waiting), len(found))
        yield from damaged
        for cell, result in found:
            del self.waiting[cell.key]
            yield self._success(cell, result)

    def _success(self, cell: Cell, result: Result) -> Done:
        self.number += 1
        self.done.add(cell.key)
        return Done(cell, result.figures, result.by_image, result.seconds, self.number)

    def _failure(self, cell: Cell, reason: str) -> Failed:
        self.number += 1
        self.failed[cell.key] = one_line(reason)
        return Failed(cell, self.failed[cell.key], self.number)

    def _failed_with_their_teachers(self) -> Iterator[Event]:
        for cell in list(self.waiting.values()):
            if cell.teacher and cell.teacher.key in self.failed:
                del self.waiting[cell.key]
                yield self._failure(cell, f"its teacher failed: {self.failed[cell.teacher.key]}")

    def _submit(self) -> None:
        """Give the executor what it can take: cells whose teachers are done."""
        if self.suspects:
            if not self.running:
                self._start(self.suspects[0])
            return
        for cell in list(self.waiting.values()):
            if self.broken or len(self.running) >= self.at_once:
                return
            if cell.teacher is None or cell.teacher.key in self.done:
                self._start(cell)

    def _start(self, cell: Cell) -> None:
        teacher = self.kept.teacher(cell.teacher) if cell.teacher else None
        of_large = pupils(self.study, cell) if cell.net == "large" else ()
        job = Job(cell, self.kept.source, self.threads, teacher, of_large)
        try:
            future = self.executor.submit(train, job)
        except BrokenExecutor as error:
            self.broken = error
            return
        self.running[future], self.fresh = cell, False
        self.waiting.pop(cell.key, None)  # a suspect no longer waits

    def _ended(self, future: Future[Result]) -> Iterator[Event]:
        """Keep a cell's figures, or say why there are none."""
        cell = self.running.pop(future)
        suspected = cell in self.suspects
        if suspected:
            self.suspects.remove(cell)
        try:
            result = future.result()
        except BrokenExecutor as error:
            self.broken = error
            if self.renew and not suspected:
                self.suspects.append(cell)
            else:
                yield self._failure(cell, f"its process died: {error}")
        except CancelledError as error:
            raise Gone("the executor has called off the trainings; go on by --resume") from error
        except Exception as error:  # whatever it is, the other cells are none the worse for it
            yield self._failure(cell, str(error) or type(error).__name__)
        else:
            self.kept.save(cell, result)
            yield self._success(cell, result)

    def _renewed(self) -> Iterator[Event]:
        """Another executor in place of one that broke; without one nothing more can be done."""
        if self.renew and not self.fresh:
            self.executor, self.broken, self.fresh = self.renew(), None, True
            return
        for cell in (*self.suspects, *self.waiting.values()):
            yield self._failure(cell, f"not begun, as the executor broke: {self.broken}")
        self.suspects, self.waiting = [], {}
