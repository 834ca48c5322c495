"""One training with its figures: `train(job)`, which any process can run, on any machine.

A job and its result are values that can be pickled. What a job needs beside its own values is the
data set, by a path that the process can read.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from npkd import data, distill
from npkd.data import Dataset
from npkd.distill import Config, evaluate
from npkd.distill.eight_bits import in_eight_bits
from npkd.distill.outputs import Kept, Net, Outputs, TeacherFeatures
from npkd.distill.report.contents import CALIBRATION, DISTANCE, FIGURES, Kind
from npkd.distill.tasks import TASKS
from npkd.distill.tasks.task import Task
from npkd.engine import threads
from npkd.files import BadInput
from npkd.nets import Params
from npkd.study.plan import Cell

Figures = dict[str, float]


@dataclass(frozen=True)
class Source:
    """Where a data set is, and its digest: a process that finds another one there says so.

    held_out: whether it is tested on training images that are held out (`Dataset.hold_out`). size,
    background, labels: how it is read, as `data.load` takes them.
    """

    path: str
    digest: str
    held_out: bool = False
    size: int | None = None
    background: str | None = None
    labels: str = "fine"

    @classmethod
    def of(cls, path: str, held_out: bool = False, **reading: Any) -> "Source":
        """The data set at a path, as `data.load` takes it, with the digest that it has now."""
        _loaded.cache_clear()
        source = cls(path, "", held_out, **reading)
        _, digest = source._loaded()
        return replace(source, digest=digest)

    @property
    def reading(self) -> dict[str, Any]:
        """How it is read."""
        return {"size": self.size, "background": self.background, "labels": self.labels}

    def load(self) -> Dataset:
        """The data set. Raises BadInput if it is not the one that is meant."""
        dataset, digest = self._loaded()
        if digest != self.digest:
            _loaded.cache_clear()  # a process that lives on may have read what was here before
            dataset, digest = self._loaded()
        if digest != self.digest:
            raise BadInput(f"{self.path}: the data here are others than those of the study")
        return dataset

    def _loaded(self) -> tuple[Dataset, str]:
        return _loaded(self.path, self.held_out, **self.reading)


@lru_cache(maxsize=2)
def _loaded(path: str, held_out: bool, **reading: Any) -> tuple[Dataset, str]:
    """The data set, and its digest."""
    dataset = data.load(path, **reading)
    if held_out:
        dataset = dataset.hold_out()
    return dataset, dataset.digest()


@dataclass(frozen=True)
class Teacher:
    """A trained large net: its parameters, and outputs that are kept, by `kept_as`."""

    params: Params
    kept: dict[str, Kept]


def kept_as(config: Config, version: int) -> str:
    """The name of the outputs for a version of the training images, as this setting shows them."""
    return f"{config.teacher_input}/{version}"


@dataclass(frozen=True)
class Job:
    """What a process needs for one cell.

    teacher: what the distilled net learns from. pupils: of a large net, settings of distilled nets
    whose outputs it shall keep. threads: for this process.
    """

    cell: Cell
    source: Source
    threads: int
    teacher: Teacher | None = None
    pupils: tuple[Config, ...] = ()


@dataclass(frozen=True)
class Result:
    """The figures of a net on test images, and a large net itself.

    figures     those of the task (accuracy, …), and of its calibration; "…_low" a large net's that
                is shown x_low brought back to its size; "train_…" on unaltered training images; of
                a distilled net also its distance to the large one's outputs and its agreement with
                it, "teacher_…", the large net's figures as it teaches, and of both small nets
                "best_…", the first of the task's figures after the epoch in which it was best on
                these same images, so that it flatters; all else is of the last epoch
    by_image    the first of the task's figures, of each image
    seconds     that the training took
    """

    figures: Figures
    by_image: np.ndarray
    seconds: float
    teacher: Teacher | None = None


def figures_of(cell: Cell) -> dict[str, Kind]:
    """The figures of a net by name, in order (see `Result`): what each can be."""
    task = TASKS[cell.config.task]
    tested = {name: FIGURES[name] for name in task.figures}
    main = task.figures[0]
    calibrated = {name: CALIBRATION[name] for name in task.calibrated}
    if cell.net == "large":
        low = {f"{name}_low": kind for name, kind in tested.items() if task.takes_high}
        return tested | calibrated | low
    best = {f"best_{main}": tested[main]}
    trained = {f"train_{name}": kind for name, kind in tested.items()}
    if cell.teacher is None:
        return tested | calibrated | trained | best
    compared = {"mse": DISTANCE, **{name: FIGURES[name] for name in task.same}}
    taught = {f"teacher_{name}": tested[name] for name in tested}
    return tested | compared | calibrated | trained | taught | best


def train(job: Job) -> Result:
    """Train the net of a cell, and test it.

    Raises training.Diverged if it does, BadInput if the data are not those that are meant.
    """
    if threads.get_num_threads() != job.threads:
        threads.set_num_threads(job.threads)
    with threads.one_blas_thread(), np.errstate(all="ignore"):
        run = distill.Run(job.source.load(), job.cell.config)
        if job.cell.net == "large":
            return _large(run, job.pupils)
        return _small(run, job.cell.net, job.teacher)


def _large(run: distill.Run, pupils: Sequence[Config]) -> Result:
    seconds, _ = _trained(run, "large", ())
    task, images, labels = run.task, run.dataset.test_images, run.dataset.test_labels
    figures, by_image = _tested(task, Outputs(run.large, images, task.x_large), labels)
    if task.takes_high:
        low = evaluate.measured(task, Outputs(run.large, images, task.x_back), labels)
        figures |= {f"{name}_low": value for name, value in evaluate.means(low).items()}
    kept: dict[str, Kept] = {}
    for config in pupils:
        pupil = distill.Run(run.dataset, config)
        pupil.large.load(run.large.state_dict())
        for version in range(pupil.prepare.versions):
            name = kept_as(config, version)
            outputs = None if name in kept else pupil.teacher_outputs(version).to_keep()
            if outputs is not None:
                kept[name] = outputs
    return Result(figures, by_image, seconds, Teacher(run.large.state_dict(), kept))


def _small(run: distill.Run, name: str, teacher: Teacher | None) -> Result:
    features: list[TeacherFeatures] = []
    target = None
    task, dataset = run.task, run.dataset
    if teacher is not None:
        run.large.load(teacher.params)
        features = [
            run.teacher_outputs(version, teacher.kept.get(kept_as(run.config, version)))
            for version in range(run.prepare.versions)
        ]
        target = Outputs(run.large, dataset.test_images, task.x_teaching)
    seconds, tested = _trained(run, name, features, run.config.epochs)
    net = in_bits(run, name)
    outputs = Outputs(net, dataset.test_images, task.x_small)
    figures, by_image = _tested(task, outputs, dataset.test_labels, target)
    outputs = Outputs(net, dataset.train_images, task.x_small)
    on_training = evaluate.means(evaluate.measured(task, outputs, dataset.train_labels))
    figures |= {f"train_{figure}": value for figure, value in on_training.items()}
    if target is not None:
        of_teacher = evaluate.means(evaluate.measured(task, target, dataset.test_labels))
        figures |= {f"teacher_{figure}": value for figure, value in of_teacher.items()}
    return Result(figures | {f"best_{task.figures[0]}": max(tested)}, by_image, seconds)


def in_bits(run: distill.Run, name: str) -> Net:
    """One of a run's nets, a small one as the settings have it tested."""
    network = run.networks[name]
    if name == "large" or run.config.bits == Config.bits:
        return network
    return in_eight_bits(run.task, name, network)


def _tested(
    task: Task, outputs: Outputs, labels: np.ndarray, target: Outputs | None = None
) -> tuple[Figures, np.ndarray]:
    """Figures on these images, and the first of the task's of each."""
    measured = evaluate.measured(task, outputs, labels, target)
    figures = evaluate.means(measured)
    if task.calibrated:
        figures |= task.calibration(outputs[:], labels)
    return figures, measured[task.figures[0]].astype(np.float64)


def _trained(
    run: distill.Run, name: str, features: Sequence[TeacherFeatures], tests: int = 0
) -> tuple[float, list[float]]:
    """Train this net of the run; how many seconds it took, and the first figure in so many tests.

    These are spread over the updates, as epochs are: those of a few labelled images are short.
    """
    task, dataset, last = run.task, run.dataset, run.prepare.updates(name)
    ends = {last * number // tests for number in range(1, tests + 1)}
    seconds, tested, clock = 0.0, [], time.perf_counter()
    for number, _ in enumerate(run.trainer.updates_of(name, features), start=1):
        if number in ends:
            seconds += time.perf_counter() - clock
            outputs = Outputs(in_bits(run, name), dataset.test_images, task.view(name))
            found = evaluate.measured(task, outputs, dataset.test_labels)
            tested.append(evaluate.means(found)[task.figures[0]])
            clock = time.perf_counter()
    return seconds + time.perf_counter() - clock, tested
