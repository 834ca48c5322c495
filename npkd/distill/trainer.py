"""The training of one of the three nets: its loss, batches, optimiser and schedule, its events."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from npkd import objectives, optim
from npkd.distill import evaluate
from npkd.distill.config import RATES, Config, optimiser_of
from npkd.distill.events import Epoch, Event, Note, Training
from npkd.distill.outputs import Outputs, TeacherFeatures
from npkd.distill.preparation import Preparation
from npkd.distill.state import Progress
from npkd.distill.tasks.task import with_layers
from npkd.nets import Network
from npkd.objectives import Objective, from_truth
from npkd.training import Diverged, Update, train


class Trainer:
    """What trains the three nets of a run, one at a time.

    networks: by name. objective: the loss of step 5, which the distilled one is trained by.
    """

    def __init__(self, prepare: Preparation, networks: Mapping[str, Network], objective: Objective):
        self.prepare, self.networks, self.objective = prepare, networks, objective
        self.config, self.task = prepare.config, prepare.task

    def train(
        self,
        name: str,
        progress: Progress,
        teacher: Sequence[TeacherFeatures] = (),
        epochs: int | None = None,
    ) -> Iterator[Event]:
        """Train one of the three nets, or go on with it; keep its progress, and yield its events.

        teacher: the large net's outputs by version, for the net that learns from it. epochs: that
        it has had then, all of them by default.
        """
        network, steps = self.networks[name], self.prepare.updates(name)
        dataset, view = self.prepare.dataset, self.task.view(name)
        if name not in progress.optimisers:
            done = progress.restore(name, optimiser_of(self.config, name))
            if done:
                yield Note(f"{name}: {done} of {steps} updates had been made")
        done = progress.updates.get(name, 0)
        last = steps
        if epochs is not None:
            last = epochs * self.prepare.batches_of_an_epoch(name)
        if done >= last:
            return
        updates = self.updates_of(name, teacher, progress.optimisers[name], done)
        clock = time.perf_counter()
        for update in islice(updates, last - done):
            progress.add(name, update, time.perf_counter() - clock)
            epoch = None
            if progress.samples == self.prepare.samples(name):
                outputs = Outputs(network, dataset.test_images, view)
                try:
                    measured = evaluate.measured(self.task, outputs, dataset.test_labels)
                except Diverged as error:
                    raise Diverged(
                        f"{name}: {error} after step {update.step + 1}, the end of epoch "
                        f"{update.epoch + 1}; {self.advice(name)}"
                    ) from error
                figures = evaluate.means(measured)
                mean = progress.end_epoch(name, update.epoch, figures)
                epoch = Epoch(name, update.epoch, self.prepare.epochs(name), mean, figures)
            yield Training(name, update, steps)
            if epoch is not None:
                yield epoch
            clock = time.perf_counter()

    def updates_of(
        self,
        name: str,
        teacher: Sequence[TeacherFeatures] = (),
        optimiser: optim.Optimiser | None = None,
        first: int = 0,
    ) -> Iterator[Update]:
        """The updates of one of the three nets, from this one on, made one by one. See `train`."""
        config, rate = self.config, getattr(self.config, RATES[name])
        loss, batches = self.objective, self.prepare.large_batches(first)
        if name != "small":
            loss = from_truth(self.task.loss, self.networks[name].last)
        if name != "large":
            batches = self.prepare.small_batches(teacher, first)
        try:
            yield from train(
                self.networks[name],
                batches,
                loss=loss,
                optimiser=optimiser or optimiser_of(config, name),
                schedule=schedule(config, rate, self.prepare.updates(name)),
                clip_norm=math.inf if config.clip_norm is None else config.clip_norm,
                first_step=first,
                rng=lambda step: self.prepare.dropping(name, step),
            )
        except Diverged as error:
            raise Diverged(f"{name}: {error}; {self.advice(name)}") from error

    def advice(self, name: str) -> str:
        """What to try where this net diverges."""
        return f"try --{RATES[name].replace('_', '-')} below {getattr(self.config, RATES[name])}"


def schedule(config: Config, rate: float, steps: int) -> optim.Schedule:
    """The preset's schedule over so many updates."""
    warmup = int(config.warmup * steps)
    if config.schedule == "constant":
        return optim.constant(rate, warmup=warmup)
    return optim.cosine(rate, steps=steps, warmup=warmup)


def objective_of(
    prepare: Preparation, large: Network, small: Network, rng: np.random.Generator
) -> Objective:
    """The loss of step 5, with what its losses train. Raises ValueError if these do not fit."""
    config, task, dataset = prepare.config, prepare.task, prepare.dataset
    images, labels = dataset.train_images[:2], dataset.train_labels[:2]
    try:
        terms = [with_layers(term, small, large) for term in config.loss]
        found = Objective(
            config.label_weight,
            task.loss_in_distilling,
            terms,
            small.last,
            large.last,
            objectives.trained(terms, small, large, rng),
        )
        labelled = np.arange(2) if config.unlabelled else None
        found.require_fitting(small, large, task.truth(images, labels), labelled)
    except ValueError as error:
        raise ValueError(f"loss does not fit: {error}") from error
    return found
