"""The document's six steps: a large net learns from labels, a small one from the large one.

    1  train the large net on high-resolution images, with their labels
    2  run it on low-resolution images
    3  compare its outputs with the truth
    4  run the small net on the low-resolution images
    5  train the small net towards the large net's outputs, by ½‖y_large − y_small‖²
    6  let the small net predict low-resolution images that it has never seen, and evaluate

`run` walks through them and yields an event for whatever happens; who calls it decides what to
show. At each event `Run.state` says all that is needed to go on from there, with the same bits as
if nothing had come between. Beside the distilled net stands a small net trained from labels alone,
from the same initial weights, on the same images in the same order, as far as these have labels.
"""

import math
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import Any

import numpy as np
import scipy

from npkd import __version__, evaluate, objectives, optim, threads
from npkd.data import Augmentation, Augmented, Dataset, Images, batches
from npkd.evaluate import Kept, Outputs, TeacherFeatures
from npkd.layers import Network
from npkd.objectives import Batch, Objective, Term, from_truth
from npkd.ops.contract import as_float, shown
from npkd.tasks import TASKS, Classify, Figures, Task

STEPS = {
    1: Classify.first_step,  # super-resolving, another
    2: "run the large net on low-resolution images",
    3: "compare its outputs with the truth",
    4: "run the small net on the low-resolution images",
    5: "train the small net towards the large net's outputs",
    6: "predict unseen low-resolution images, and evaluate",
}
TRAININGS = (1, 5)  # the steps that train nets; in the others a run's state stays as it is

MOST = 10**9  # epochs, versions and images in a batch: far above any use, far below overflow


RATES = {  # the settings that hold the nets' learning rates
    "large": "large_learning_rate",
    "small": "learning_rate",
    "small_from_labels": "labels_learning_rate",
}


@dataclass(frozen=True)
class Config:
    """What a run does. The defaults are the preset "default" for digits; see `preset`.

    task               "classify" or "super-resolve"; see `npkd.tasks`
    teacher_input      what the large net is shown when it teaches: "low", x_low brought back to its
                       size, or "high", x_high. A net that super-resolves takes x_low as it is
    teacher_views      what it is trained on in step 1: "high", x_high, or "both", batches of x_high
                       and of x_low brought back to its size in turn. Super-resolving, always x_low
    loss               the losses to the large net in step 5, a tuple of `objectives.Term`
    label_weight       share of the loss to the truth, labels or true images, in step 5, 0 to 1; the
                       rest are the losses to the large net
    labelled           how many training images, chosen at random, have labels that are known: the
                       large net and the small one from labels see no others; None: all of them
    unlabelled         how many of the others the distilled net sees too, with the large net's
                       outputs alone; the one from labels gets as many updates
    large_epochs       passes over the training images in step 1
    epochs             passes of each small net
    versions           augmented versions of the training images that the small nets go through,
                       pass after pass, the first one unaltered; the large net's logits for each
                       are computed once, its images again for each batch
    augment            whether images are augmented, as their data set has it by default
    batch_size         images for one update; the last batch of a pass may be smaller
    …_learning_rate    the highest rate of the large net, the distilled small net (learning_rate)
                       and the small net that learns from labels
    weight_decay       of the small nets; large_weight_decay of the large one
    momentum, clip_norm (None: gradients are not clipped), schedule ("constant" or "cosine"), warmup
                       (share of the updates): of all three trainings

    Raises ValueError for a value out of its range.
    """

    preset: str = "default"
    task: str = "classify"
    teacher_input: str = "low"
    teacher_views: str = "both"
    loss: tuple[Term, ...] = (Term(),)
    label_weight: float = 0.0
    labelled: int | None = None
    unlabelled: int = 0
    large_epochs: int = 5
    epochs: int = 8
    versions: int = 2
    augment: bool = True
    batch_size: int = 32
    large_learning_rate: float = 0.03
    learning_rate: float = 0.015
    labels_learning_rate: float = 0.03
    momentum: float = 0.9
    large_weight_decay: float = 5e-4
    weight_decay: float = 5e-4
    clip_norm: float | None = 5.0
    schedule: str = "cosine"
    warmup: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, offered in (
            ("preset", ("default", "document")),
            ("task", tuple(TASKS)),
            ("teacher_input", ("low", "high")),
            ("teacher_views", ("high", "both")),
            ("schedule", ("constant", "cosine")),
        ):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in offered:
                raise ValueError(f"{name} is {shown(value)}, expected one of {offered}")
        if self.task == "super-resolve" and self.teacher_input == "high":
            raise ValueError(
                "teacher_input is 'high', expected 'low': what is to be super-resolved"
            )
        if (
            not isinstance(self.loss, tuple)
            or not self.loss
            or not all(isinstance(term, Term) for term in self.loss)
        ):
            raise ValueError(f"loss is {shown(self.loss)}, expected a tuple of objectives.Term")
        if not isinstance(self.augment, bool):
            raise ValueError(f"augment is {shown(self.augment)}, expected True or False")
        for name, least, most in (
            *[("labelled", 1, MOST)] * (self.labelled is not None),
            ("unlabelled", 0, MOST),
            ("large_epochs", 1, MOST),
            ("epochs", 1, MOST),
            ("versions", 1, MOST),
            ("batch_size", 1, MOST),
            ("seed", 0, math.inf),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(
                    f"{name} is {shown(value)}, expected a whole number from {least}"
                    + (f" to {most:,}" if most < math.inf else "")
                )
        for name, most in (
            ("momentum", 1.0),
            ("large_weight_decay", math.inf),
            ("weight_decay", math.inf),
            ("warmup", 1.0),
        ):
            if not 0 <= self._number(name) < most:
                raise ValueError(
                    f"{name} is {shown(getattr(self, name))}, expected 0 or more, below {most}"
                )
        for field in fields(self):
            if field.name.endswith("learning_rate") and not 0 < self._number(field.name) < math.inf:
                value = getattr(self, field.name)
                raise ValueError(f"{field.name} is {shown(value)}, expected a number above 0")
        if not 0 <= self._number("label_weight") <= 1:
            raise ValueError(
                f"label_weight is {shown(self.label_weight)}, expected a share from 0 to 1"
            )
        if self.clip_norm is not None and not 0 < self._number("clip_norm") < math.inf:
            raise ValueError(
                f"clip_norm is {shown(self.clip_norm)}, expected a number above 0, or None"
            )

    def _number(self, name: str) -> float:
        """The value of a setting as a float, which it then is; NaN if it is no number."""
        number = as_float(getattr(self, name))
        if not math.isnan(number):
            object.__setattr__(self, name, number)  # frozen, but not yet out of its making
        return number


PHOTOGRAPHS = Config(
    teacher_input="high",
    teacher_views="high",
    large_epochs=16,
    epochs=20,
    versions=8,
    labels_learning_rate=0.05,
    large_weight_decay=2e-3,
)
SUPER_RESOLUTION = Config(
    task="super-resolve",
    teacher_views="high",
    large_epochs=12,
    epochs=12,
    versions=4,
    large_learning_rate=2e-3,
    learning_rate=1e-3,
    labels_learning_rate=1e-3,
    large_weight_decay=0.0,
    weight_decay=0.0,
    clip_norm=50.0,
)
PRESETS = {
    "default": Config(),
    "document": Config(
        preset="document",
        teacher_views="high",
        batch_size=64,
        large_epochs=10,
        epochs=10,
        versions=10,
        augment=False,
        large_learning_rate=0.01,
        learning_rate=0.01,
        labels_learning_rate=0.01,
        momentum=0.0,
        large_weight_decay=0.0,
        weight_decay=0.0,
        clip_norm=None,
        schedule="constant",
        warmup=0.0,
    ),
}


def preset(name: str, dataset: Dataset, task: str = "classify") -> Config:
    """The settings of a preset for a data set and a task.

    The default one trains longer on photographs, and to super-resolve at rates for a loss that sums
    over all cells of an image. Raises ValueError for another preset to super-resolve.
    """
    if task == "super-resolve":
        if name != "default":
            raise ValueError(
                f"preset is {name}, expected default to super-resolve: the document's rate of 0.01 "
                "diverges with a loss that sums over the cells of images"
            )
        return SUPER_RESOLUTION
    if name != "default":
        return PRESETS[name]
    return PHOTOGRAPHS if dataset.photographs else PRESETS[name]


class Diverged(ArithmeticError):
    """A loss is no longer finite. The message says where, and what to try."""


@dataclass(frozen=True)
class Update:
    """One update was made: of epoch and step (both from 0), on so many samples, at this rate."""

    epoch: int
    step: int
    loss: float
    samples: int
    learning_rate: float


@dataclass(frozen=True)
class Stage:
    """One of the six steps is reached."""

    number: int
    title: str


@dataclass(frozen=True)
class Training:
    """An update of one of the three nets, out of the `steps` that it gets."""

    net: str
    update: Update
    steps: int


@dataclass(frozen=True)
class Epoch:
    """A pass of one of the three nets is over: mean loss of the samples, figures in the test."""

    net: str
    epoch: int
    epochs: int
    loss: float
    figures: dict[str, float]


@dataclass(frozen=True)
class Note:
    """Something worth saying."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The end: all figures, as in report.json; the nets; what the pictures show, `Task.samples`."""

    report: dict[str, Any]
    networks: dict[str, Network]
    samples: dict[str, Any]


Event = Stage | Training | Epoch | Note | Finished


@dataclass(frozen=True)
class State:
    """Where a run stands between two updates.

    updates: how many each net has had. Images, their order and the schedule follow from the
    settings' seed and these numbers. loss, samples: their sum in the epoch that is under way.
    history, seconds: of the report. arrays: "NET/PARAMETER" of each net that has had an update, and
    "velocity/PARAMETER" of the net that is being trained; "loss/PARAMETER" of what the distilled
    net's losses train, while it is being trained. The arrays themselves, not copies.
    """

    updates: dict[str, int]
    loss: float
    samples: int
    history: dict[str, list[dict[str, float]]]
    seconds: dict[str, float]
    arrays: dict[str, np.ndarray]


def train(
    network: Network,
    batches: Iterable[Batch],
    *,
    loss: Objective,
    optimiser: optim.SGD,
    schedule: optim.Schedule,
    clip_norm: float = math.inf,
    first_step: int = 0,
) -> Iterator[Update]:
    """The one training loop: an update of `network` for each batch, an event for each update.

    loss: taps the outputs of the layers that it names, and its gradients by them go into the
    backward pass where these layers stand; what it trains itself gets the same update. clip_norm
    bounds the norm of all gradients together (`optim.clipped`). first_step is the number of the
    first batch, above 0 where a training goes on.

    Raises Diverged, before the update, when the loss or a gradient is not finite.
    """
    params = network.params | loss.params

    def diverged(what: str, step: int, epoch: int) -> Diverged:
        largest = max(params, key=lambda name: float(np.abs(params[name]).max()))
        return Diverged(
            f"{type(network).__name__}: {what} at step {step + 1}, in epoch {epoch + 1}, at a "
            f"learning rate of {optimiser.lr:.3g}; the largest weight is "
            f"{np.abs(params[largest]).max():.3g}, in {largest}"
        )

    for step, batch in enumerate(batches, first_step):
        optimiser.lr = schedule(step)
        outputs, backward = network.features(batch.x, loss.layers)
        value, gradients, of_loss = loss(outputs, batch)
        if not np.isfinite(value):
            raise diverged(f"the loss became {value}", step, batch.epoch)
        _, grads = backward(gradients, need_dx=False)
        grads |= of_loss
        for name, g in grads.items():
            if not np.isfinite(g.sum()) and not np.isfinite(g).all():  # the sum is the quicker one
                raise diverged(f"the gradient by {name} is no longer finite", step, batch.epoch)
        if clip_norm < math.inf:
            grads = optim.clipped(grads, clip_norm)
        optimiser.step(params, grads)
        yield Update(batch.epoch, step, float(value), len(batch.x), optimiser.lr)


# What random numbers are drawn for: each use has a seed of its own, [seed, use, epoch or version].
LARGE_IMAGES, LARGE_ORDER, SMALL_IMAGES, SMALL_ORDER, LABELLED = range(5)


class Preparation:
    """The batches of a run: images augmented, shuffled, and as the task shows them to the nets.

    Every version of the training images, and every order, can be made again from its seed.

    labelled, taught: the indices of the training images whose labels are known, and of all that
    the distilled net sees. Raises ValueError if there are not so many.
    """

    def __init__(self, dataset: Dataset, config: Config):
        self.dataset, self.config = dataset, config
        self.task: Task = TASKS[config.task](dataset, config.teacher_input, config.teacher_views)
        count = len(dataset.train_labels)
        known = count if config.labelled is None else config.labelled
        if known + config.unlabelled > count:
            name = "unlabelled" if known <= count else "labelled"
            raise ValueError(
                f"{name} is {getattr(config, name)}, but {dataset.name} has {count} images to train"
                + (f", and {known} of them are labelled" if known <= count else "")
            )
        order = np.arange(count)
        if known < count:
            order = np.random.default_rng([config.seed, LABELLED]).permutation(count)
        self.labelled = np.sort(order[:known])
        self.taught = np.sort(order[: known + config.unlabelled])

    def version(self, use: int, number: int) -> Augmented:
        """The training images as uint8 (N, 3, 32, 32), augmented with this use's seed."""
        rng = np.random.default_rng([self.config.seed, use, number])
        return Augmented(self.dataset.train_images, self.task.augmentation, rng)

    def small_version(self, epoch: int) -> Images:
        """The training images that the small nets see in this epoch."""
        number = epoch % self.versions
        return self.version(SMALL_IMAGES, number) if number else self.dataset.train_images

    @property
    def versions(self) -> int:
        """How many versions of the training images the small nets go through."""
        if not self.config.augment or self.task.augmentation == Augmentation():
            return 1
        return min(self.config.versions, self.config.epochs)

    def order(
        self, use: int, epoch: int, images: np.ndarray, count: int | None = None
    ) -> Iterator[np.ndarray]:
        """The indices of one epoch's batches: `images`, shuffled with this use's seed.

        count: how many indices there are in all, by default each image once; of more, each image
        comes again when all have been.
        """
        rng = np.random.default_rng([self.config.seed, use, epoch])
        count = len(images) if count is None else count
        passes = [rng.permutation(len(images)) for _ in range(0, count, len(images))]
        shuffled = images[np.concatenate(passes)[:count]]
        return (shuffled[part] for part in batches(count, self.config.batch_size))

    def samples(self, net: str) -> int:
        """How many images one of the three nets is shown in an epoch."""
        return len(self.labelled if net == "large" else self.taught)

    def batches_of_an_epoch(self, net: str) -> int:
        """And in how many batches."""
        return math.ceil(self.samples(net) / self.config.batch_size)

    def large_batches(self, first: int = 0) -> Iterator[Batch]:
        """Step 1: a new version of the images in every epoch; see Config.teacher_views.

        first: the number of the batch to begin with.
        """
        begin, skipped = divmod(first, self.batches_of_an_epoch("large"))
        for epoch in range(begin, self.config.large_epochs):
            images: Images = self.dataset.train_images
            if self.config.augment:
                images = self.version(LARGE_IMAGES, epoch)
            step = epoch * self.batches_of_an_epoch("large") + skipped
            for indices in islice(self.order(LARGE_ORDER, epoch, self.labelled), skipped, None):
                shown, labels = images[indices], self.dataset.train_labels[indices]
                x, truth = self.task.x_training(shown, step), self.task.truth(shown, labels)
                yield Batch(epoch, x, truth)
                step += 1
            skipped = 0

    def small_batches(
        self, teacher: Sequence[TeacherFeatures] = (), first: int = 0
    ) -> Iterator[Batch]:
        """Step 5: x_low with the large net's outputs for the same version of the same images.

        teacher: its outputs by version; without them batches of labelled images, as many. first:
        the number of the batch to begin with. Raises ValueError if kept outputs are of other
        images, or if the large net has changed since.
        """
        begin, skipped = divmod(first, self.batches_of_an_epoch("small"))
        of, count = self.taught if teacher else self.labelled, len(self.taught)
        all_known = len(of) == len(self.labelled)
        for epoch in range(begin, self.config.epochs):
            images = self.small_version(epoch)
            outputs = teacher[epoch % self.versions] if teacher else None
            if outputs:
                outputs.require(images)
            for indices in islice(self.order(SMALL_ORDER, epoch, of, count), skipped, None):
                shown = images[indices]
                rows = None if all_known else np.flatnonzero(np.isin(indices, self.labelled))
                labelled = slice(None) if rows is None else rows
                labels = self.dataset.train_labels[indices[labelled]]
                x, truth = self.task.x_low(shown), self.task.truth(shown[labelled], labels)
                of_teacher = outputs[indices] if outputs else None
                yield Batch(epoch, x, truth, of_teacher, rows)
            skipped = 0


def run(dataset: Dataset, config: Config) -> Iterator[Event]:
    """The six steps, from a data set to a `Finished` event.

    Raises Diverged if a training does.
    """
    return Run(dataset, config).steps()


class Run:
    """The six steps, and what they share: the nets, the images, the figures so far.

    state: where an earlier run on this data set with these settings stood, to go on from there.
    """

    def __init__(self, dataset: Dataset, config: Config, state: State | None = None):
        self.dataset, self.config = dataset, config
        self.prepare = Preparation(dataset, config)
        self.task = self.prepare.task
        large_rng, small_rng, loss_rng = np.random.default_rng(config.seed).spawn(3)
        classes = dataset.num_classes
        self.large, self.small = self.task.networks(classes, large_rng, small_rng)
        self.objective = self._objective(loss_rng)
        self.small_from_labels = self.small.astype(self.small.dtype)  # a copy: the same start
        self.networks = {
            "large": self.large,
            "small": self.small,
            "small_from_labels": self.small_from_labels,
        }
        self.resumed = state or State({}, 0.0, 0, {}, {}, {})
        self._require_fitting(self.resumed)
        self.caught_up = not self.resumed.updates  # whether the nets are as far as `resumed`
        self.updates = dict(self.resumed.updates)
        self.history = {name: list(epochs) for name, epochs in self.resumed.history.items()}
        self.seconds = dict(self.resumed.seconds)
        self.loss, self.samples = self.resumed.loss, self.resumed.samples
        self.velocity: dict[str, np.ndarray] = {}
        self.started = time.perf_counter() - self.seconds.pop("total", 0.0)

    def _objective(self, rng: np.random.Generator) -> Objective:
        """That of step 5, with what its losses train. Raises ValueError if these do not fit."""
        images, labels = self.dataset.train_images[:2], self.dataset.train_labels[:2]
        terms = [self.task.with_layers(term) for term in self.config.loss]
        try:
            objective = Objective(
                self.config.label_weight,
                self.task.loss,
                terms,
                self.small.last,
                self.large.last,
                objectives.trained(terms, self.small, self.large, rng),
            )
            truth = self.task.truth(images, labels)
            labelled = np.arange(2) if self.config.unlabelled else None
            objective.require_fitting(self.small, self.large, truth, labelled)
        except ValueError as error:
            raise ValueError(f"loss does not fit: {error}") from error
        return objective

    def _require_fitting(self, state: State) -> None:
        """Raise ValueError, or what comes of a wrong type, unless this run can go on from it."""
        names = list(state.updates)
        if names != list(self.networks)[: len(names)]:
            raise ValueError(f"it has updates of {names}, expected some of {list(self.networks)}")
        expected: dict[str, np.ndarray] = {}
        into_epoch = 0
        for name, updates in state.updates.items():
            per_epoch, steps = self.prepare.batches_of_an_epoch(name), self.steps_of(name)
            least = 1 if name == names[-1] else steps
            if type(updates) is not int or not least <= updates <= steps:
                raise ValueError(f"{name} has had {updates} updates, expected {least} to {steps}")
            done, into_epoch = divmod(updates, per_epoch)
            _require_history(name, state.history[name], done, self.task.figures)
            params = self.networks[name].params
            expected |= {f"{name}/{key}": theta for key, theta in params.items()}
            if updates < steps:
                of_loss = self.objective.params if name == "small" else {}
                expected |= {f"loss/{key}": theta for key, theta in of_loss.items()}
                if self.config.momentum:
                    moving = params | of_loss
                    expected |= {f"velocity/{key}": theta for key, theta in moving.items()}
        samples = into_epoch * self.config.batch_size
        if type(state.samples) is not int or state.samples != samples:
            raise ValueError(f"its epoch has had {state.samples} samples, expected {samples}")
        if not math.isfinite(as_float(state.loss)):
            raise ValueError(f"its loss is {state.loss}")
        timed = {*names, "teacher_outputs", "total"}
        if not set(names) <= state.seconds.keys() <= timed or state.history.keys() != set(names):
            raise ValueError("its history or its seconds are of other nets than its updates")
        if not all(0 <= as_float(seconds) < math.inf for seconds in state.seconds.values()):
            raise ValueError(f"its seconds are {state.seconds}")
        require_alike(state.arrays, expected)

    def state(self) -> State:
        """Where the run stands, at any event that `steps` has yielded."""
        if not self.caught_up:
            return self.resumed
        arrays = {
            f"{name}/{key}": theta
            for name in self.updates
            for key, theta in self.networks[name].params.items()
        }
        arrays |= {f"velocity/{key}": v for key, v in self.velocity.items()}
        if 0 < self.updates.get("small", 0) < self.steps_of("small"):
            arrays |= {f"loss/{key}": theta for key, theta in self.objective.params.items()}
        seconds = self.seconds | {"total": time.perf_counter() - self.started}
        return State(self.updates, self.loss, self.samples, self.history, seconds, arrays)

    def epochs(self, net: str) -> int:
        """How many passes one of the three nets gets."""
        return self.config.large_epochs if net == "large" else self.config.epochs

    def steps_of(self, net: str) -> int:
        """And how many updates."""
        return self.epochs(net) * self.prepare.batches_of_an_epoch(net)

    def steps(self) -> Iterator[Event]:
        """The six steps in order."""
        config, prepare, task = self.config, self.prepare, self.task
        large, small, images = self.large, self.small, self.dataset.test_images

        yield Stage(1, task.first_step)
        yield from self.train("large")
        for theta in large.params.values():
            theta.setflags(write=False)  # from here on the teacher is frozen

        yield Stage(2, STEPS[2])
        clock = time.perf_counter()
        teacher = [self.teacher_outputs(version) for version in range(prepare.versions)]
        outputs = {"large": Outputs(large, images, task.x_large)}
        if task.takes_high:
            outputs["large_low"] = Outputs(large, images, task.x_back)
        low = outputs.get("large_low", outputs["large"])
        target = outputs["large"] if config.teacher_input == "high" else low
        self.seconds["teacher_outputs"] = time.perf_counter() - clock
        count = len(self.dataset.train_labels)
        kept = f"{self.seconds['teacher_outputs']:.1f} s"
        if teacher[0].kept is None:
            kept = "outputs made again for each batch, as they are large"
        yield Note(f"{count:,} training images in {prepare.versions} version(s), {kept}")

        yield Stage(3, STEPS[3])
        truth = self.against_truth(low)
        text = evaluate.in_words(truth)
        if task.takes_high:
            high = self.against_truth(outputs["large"])
            text += f" (on high resolution {evaluate.in_words(high)})"
            truth |= {f"{name}_high": value for name, value in high.items()}
        yield Note(text)

        yield Stage(4, STEPS[4])
        untrained = evaluate.means(self.measured(Outputs(small, images, task.x_low), target))
        distance = untrained["mse"] * math.prod(target[:1].shape[1:]) / 2
        yield Note(
            f"untrained: ½‖y_large − y_small‖² = {distance:.3f}, {evaluate.in_words(untrained)}"
        )

        yield Stage(5, STEPS[5])
        if config.loss != Config.loss or config.label_weight:
            yield Note(f"loss: {self.objective}")
        yield from self.train("small", teacher)
        yield Note(f"for comparison, the same small net from {task.truth_name} alone")
        yield from self.train("small_from_labels")

        yield Stage(6, STEPS[6])
        for name in ("small", "small_from_labels"):
            outputs[name] = Outputs(self.networks[name], images, task.x_low)
        measured = {name: self.measured(y, target) for name, y in outputs.items()}
        networks = self.networks
        models = {name: self.figures(name, evaluate.means(measured[name])) for name in networks}
        if task.takes_high:
            of_low = evaluate.means(measured["large_low"])
            models["large"] |= {f"{name}_low": of_low[name] for name in task.figures}
        models["large"] |= {"mse": 0.0, **task.same}
        _require_finite({**models, "the teacher": truth, "the untrained net": {"l2": distance}})
        report = {
            "task": config.task,
            "data": {"name": self.dataset.name, "train": count, "test": len(images)},
            "seed": config.seed,
            "config": asdict(config),
            "loss": str(self.objective),
            "versions": {
                "python": platform.python_version(),
                "numpy": np.__version__,
                "scipy": scipy.__version__,
                "npkd": __version__,
            },
            "threads": threads.get_num_threads(),
            "class_names": list(self.dataset.class_names),
            "image_versions": prepare.versions,
            "models": models,
            "compression": _compression(models["large"], models["small"]),
            "teacher_against_truth": truth,
            "untrained": {"l2": distance},
            **task.more(images),
            "history": self.history,
            "seconds": self.seconds | {"total": time.perf_counter() - self.started},
        }
        samples = task.samples(images, self.dataset.test_labels, outputs, measured)
        yield Finished(report, networks, samples)

    def train(self, name: str, teacher: Sequence[TeacherFeatures] = ()) -> Iterator[Event]:
        """Train one of the three nets, or go on with it; keep its history, and yield its events.

        teacher: the large net's outputs by version, for the net that learns from it.
        """
        network, epochs, steps = self.networks[name], self.epochs(name), self.steps_of(name)
        view = self.task.x_large if name == "large" else self.task.x_low
        optimiser = self.optimiser(name)
        done = self.restore(name, optimiser)
        self.velocity = optimiser.velocity
        if done:
            yield Note(f"{name}: {done} of {steps} updates had been made")
        if done == steps:
            return
        self.history.setdefault(name, [])
        self.seconds.setdefault(name, 0.0)
        clock = time.perf_counter()
        for update in self.updates_of(name, teacher, optimiser, done):
            self.seconds[name] += time.perf_counter() - clock
            self.updates[name] = update.step + 1
            self.loss += update.loss * update.samples
            self.samples += update.samples
            epoch = None
            if self.samples == self.prepare.samples(name):
                mean = self.loss / self.samples
                try:
                    measured = self.measured(Outputs(network, self.dataset.test_images, view))
                except Diverged as error:
                    raise Diverged(
                        f"{name}: {error} after step {update.step + 1}, the end of epoch "
                        f"{update.epoch + 1}; {self.advice(name)}"
                    ) from error
                figures = evaluate.means(measured)
                self.history[name].append({"epoch": update.epoch + 1, "loss": mean, **figures})
                epoch = Epoch(name, update.epoch, epochs, mean, figures)
                self.loss, self.samples = 0.0, 0
                if update.step + 1 == steps:
                    self.velocity = {}
            yield Training(name, update, steps)
            if epoch is not None:
                yield epoch
            clock = time.perf_counter()

    def optimiser(self, name: str) -> optim.SGD:
        """What trains this net, at its highest rate."""
        config = self.config
        decay = config.large_weight_decay if name == "large" else config.weight_decay
        return optim.SGD(getattr(config, RATES[name]), config.momentum, decay)

    def updates_of(
        self,
        name: str,
        teacher: Sequence[TeacherFeatures] = (),
        optimiser: optim.SGD | None = None,
        first: int = 0,
    ) -> Iterator[Update]:
        """The updates of one of the three nets, from this one on, made one by one. See `train`."""
        config = self.config
        optimiser = optimiser or self.optimiser(name)
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
                optimiser=optimiser,
                schedule=_schedule(config, getattr(config, RATES[name]), self.steps_of(name)),
                clip_norm=math.inf if config.clip_norm is None else config.clip_norm,
                first_step=first,
            )
        except Diverged as error:
            raise Diverged(f"{name}: {error}; {self.advice(name)}") from error

    def advice(self, name: str) -> str:
        """What to try where this net diverges."""
        return f"try --{RATES[name].replace('_', '-')} below {getattr(self.config, RATES[name])}"

    def restore(self, name: str, optimiser: optim.SGD) -> int:
        """The net and its optimiser as `resumed` has them; how many updates the net has had."""

        def arrays(prefix: str) -> dict[str, np.ndarray]:
            resumed = self.resumed.arrays.items()
            return {key.removeprefix(prefix): v for key, v in resumed if key.startswith(prefix)}

        done = self.resumed.updates.get(name, 0)
        if done:
            self.networks[name].load(arrays(f"{name}/"))
            if name == "small":
                self.objective.params |= arrays("loss/")
        if done and name == list(self.resumed.updates)[-1]:
            optimiser.velocity = {key: v.copy() for key, v in arrays("velocity/").items()}
            self.caught_up = True
        return done

    def teacher_outputs(self, version: int, kept: Kept | None = None) -> TeacherFeatures:
        """What the large net's layers that teach make of a version of the training images.

        kept: if it has been made before.
        """
        images, layers = self.prepare.small_version(version), self.objective.teacher_layers
        layers = layers or [self.large.last]
        return TeacherFeatures(self.large, images, self.task.x_teaching, layers, kept)

    def measured(self, outputs: Outputs, teacher: Outputs | None = None) -> Figures:
        """The task's figures of each test image, with a teacher also how near to it outputs are.

        Raises Diverged if outputs are not finite.
        """
        return self.over(self.dataset.test_images, self.dataset.test_labels, outputs, teacher)

    @np.errstate(under="ignore")  # rounding, as in threads.run
    def over(
        self, images: Images, labels: np.ndarray, outputs: Outputs, teacher: Outputs | None = None
    ) -> Figures:
        """The same, of other images than those for testing."""
        parts = []
        for part in evaluate.batches_of(len(images)):
            y = outputs[part]
            if not np.isfinite(y).all():
                raise Diverged("outputs are no longer finite")
            parts.append(self.task.measure(y, self.task.truth(images[part], labels[part])))
            if teacher is not None:
                parts[-1] |= self.task.compare(y, teacher[part])
        return {name: np.concatenate([figures[name] for figures in parts]) for name in parts[0]}

    @np.errstate(under="ignore")  # rounding, as in threads.run
    def against_truth(self, outputs: Outputs) -> dict[str, float]:
        """The mean loss to the truth over the test images, and the task's figures."""
        images, labels, total = self.dataset.test_images, self.dataset.test_labels, 0.0
        for part in evaluate.batches_of(len(images)):
            loss, _ = self.task.loss(outputs[part], self.task.truth(images[part], labels[part]))
            total += float(loss) * len(labels[part])
        return {self.task.loss_name: total / len(images), **evaluate.means(self.measured(outputs))}

    def figures(self, name: str, tested: dict[str, float]) -> dict[str, Any]:
        """What report.json holds of one net. Training figures are those of unaltered images."""
        view = self.task.x_large if name == "large" else self.task.x_low
        images, labels, network = (
            self.dataset.train_images,
            self.dataset.train_labels,
            self.networks[name],
        )
        trained = evaluate.means(self.over(images, labels, Outputs(network, images, view)))
        return {
            **evaluate.size(network),
            **tested,
            **{f"train_{figure}": value for figure, value in trained.items()},
            "train_seconds": self.seconds[name],
            "latency_ms": {str(b): evaluate.latency_ms(network, b) for b in (1, 64)},
        }


def _require_finite(figures: dict[str, dict[str, Any]]) -> None:
    """Raise Diverged for outputs that are finite, yet too large to reckon with."""
    for name, of_one in figures.items():
        for key, value in of_one.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise Diverged(f"{name}: {key} is {value}; try lower learning rates")


def _require_history(
    name: str, history: list[dict[str, float]], epochs: int, figures: Sequence[str]
) -> None:
    """Raise ValueError unless a net's history, read from a file, is one of so many epochs."""
    values = [list(map(as_float, entry.values())) for entry in history]
    if (
        [list(entry) for entry in history] != [["epoch", "loss", *figures]] * epochs
        or [entry[0] for entry in values] != list(range(1, epochs + 1))
        or not np.isfinite(values).all()
    ):
        raise ValueError(f"its history of {name} is not one of {epochs} epochs")


def require_alike(arrays: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Raise ValueError unless arrays, read from a file, are finite and otherwise as expected."""
    if expected.keys() != arrays.keys():
        differ = sorted(expected.keys() ^ arrays.keys())
        raise ValueError(f"it lacks arrays, or has some that are not its: {differ}")
    for key, theta in expected.items():
        array = arrays[key]
        if (array.shape, array.dtype) != (theta.shape, theta.dtype):
            raise ValueError(
                f"its {key} is {array.dtype} {array.shape}, expected {theta.dtype} {theta.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"its {key} holds values that are not finite")


def _schedule(config: Config, rate: float, steps: int) -> optim.Schedule:
    """The preset's schedule over so many updates."""
    warmup = int(config.warmup * steps)
    if config.schedule == "constant":
        return optim.constant(rate, warmup=warmup)
    return optim.cosine(rate, steps=steps, warmup=warmup)


def _compression(large: dict[str, Any], small: dict[str, Any]) -> dict[str, Any]:
    """How many times less the small net takes."""
    ratios = {key: large[key] / small[key] for key in ("parameters", "bytes", "macs")}
    latency = {b: large["latency_ms"][b] / small["latency_ms"][b] for b in large["latency_ms"]}
    return ratios | {"latency": latency}
