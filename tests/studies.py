"""A study small enough for tests, nets smaller than the document's, and executors of one thread."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import tiny

from npkd import zoo
from npkd.distill.tasks.super_resolve import LargeSuperResolver, SmallSuperResolver
from npkd.nets import models
from npkd.study import cells, plan, processes, results, running
from npkd.study.cells import Job, Result, Source, Teacher, figures_of
from npkd.study.plan import Cell

# One large net, one from labels, and three that are distilled, one of them by its inner layers
TEXT = """
seeds = [3]

[all]
large_epochs = 1
epochs = 2
batch_size = 11

[[setting]]
name = "L2"
teacher_input = ["low", "high"]

[[setting]]
name = "labels and maps"
label_weight = 0.5
loss = "kl temperature=4 + attention weight=500"
"""
CELLS = 5


NETS = (models.LargeCNN, models.SmallCNN, LargeSuperResolver, SmallSuperResolver)


def shrink() -> None:
    """Give the nets a tenth of their channels, to save time."""
    for net in NETS:
        net.channels = (3, 4)
    models.LargeCNN.hidden = models.SmallCNN.hidden = 8
    zoo.MODELS["resnet8"] = partial(zoo.ResNet, 8, (2, 2, 3, 4))


@contextmanager
def small_nets() -> Iterator[None]:
    """`shrink` meanwhile."""
    channels = [net.channels for net in NETS]
    hidden = models.LargeCNN.hidden, models.SmallCNN.hidden
    shrink()
    try:
        yield
    finally:
        for net, before in zip(NETS, channels, strict=True):
            net.channels = before
        models.LargeCNN.hidden, models.SmallCNN.hidden = hidden
        zoo.MODELS["resnet8"] = zoo.resnet8


def never_distil() -> None:
    """Let this process have such nets, and be at work on distilled ones for ever."""

    def endless(job: Job) -> Result:
        while job.cell.net == "small":
            np.ones((300, 300)) @ np.ones((300, 300))
        return train(job)

    shrink()
    train, cells.train = cells.train, endless


def obey(pipe: Connection) -> None:
    """So in a process of `processes.Processes`."""
    never_distil()
    processes._obey(pipe)


class AtOnce(Executor):
    """Does each job as it is given, or what `work` makes of it; remembers the jobs."""

    def __init__(self, work: Callable[[Job], Result] | None = None):
        self.work, self.jobs = work, []

    def submit(self, train, /, job):
        self.jobs.append(job)
        future = Future()
        try:
            future.set_result((self.work or train)(job))
        except Exception as error:
            future.set_exception(error)
        return future

    @property
    def keys(self) -> list[str]:
        """Of the cells that it was given."""
        return [job.cell.key for job in self.jobs]


def invented(job: Job) -> Result:
    """Figures that nobody trained for, the same for the same cell."""
    rng = np.random.default_rng(list(hashlib.sha256(job.cell.key.encode()).digest()))
    figures = {name: float(rng.integers(0, 101)) / 100 for name in figures_of(job.cell)}
    if job.cell.net == "large":
        net = models.LargeCNN(rng, num_classes=4)
        return Result(figures, by_image(figures, job.source), 0.5, Teacher(net.params, {}))
    if job.teacher is not None:
        figures["teacher_accuracy"] = float(next(iter(job.teacher.params.values())).flat[0]) % 1
    return Result(figures, by_image(figures, job.source), 0.25)


def by_image(figures: Mapping[str, float], source: Source) -> np.ndarray:
    """The accuracy of each test image, so that its mean is as it should be."""
    return np.full(len(source.load().test_labels), figures["accuracy"])


def as_done(figures: Mapping[str, float], cell: Cell, images: int = 12) -> running.Done:
    """A cell that has ended with these figures, the main one the same for all images."""
    main = results.main_figure(cell.config.task)
    return running.Done(cell, dict(figures), np.full(images, figures[main]), 1.0, 1)


def run(study: plan.Study, source: Source, executor: Executor, folder: Path, **how):
    """All events of a study."""
    return list(running.run(study, source, executor, folder, **{"at_once": 4} | how))


def done(events) -> dict[str, running.Done]:
    """The cells that are done, by their keys."""
    return {one.cell.key: one for one in events if isinstance(one, running.Done)}


def figures(events) -> dict[str, dict[str, float]]:
    """Theirs."""
    return {key: one.figures for key, one in done(events).items()}


def reasons(events) -> dict[str, str]:
    """Why the others failed."""
    return {one.cell.key: one.reason for one in events if isinstance(one, running.Failed)}


def report(study: plan.Study, source: Source, events) -> dict:
    """What study.json would hold."""
    return results.report(study, source, tiny.dataset(), done(events), reasons(events))
