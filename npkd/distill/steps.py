"""The six steps, and what they share: nets, images, and the figures so far."""

import math
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import scipy

from npkd import __version__, objectives, optim
from npkd.arguments import as_float
from npkd.data import Dataset, Images
from npkd.distill import evaluate
from npkd.distill.config import RATES, Config
from npkd.distill.events import Epoch, Event, Finished, Note, Stage, Training
from npkd.distill.outputs import Kept, Outputs, TeacherFeatures, batches_of
from npkd.distill.preparation import Preparation
from npkd.distill.state import State, require_alike, require_history
from npkd.distill.tasks.classify import Classify
from npkd.distill.tasks.task import Figures
from npkd.engine import threads
from npkd.objectives import Objective, from_truth
from npkd.training import Diverged, Update, train

STEPS = {
    1: Classify.first_step,  # super-resolving, another
    2: "run the large net on low-resolution images",
    3: "compare its outputs with the truth",
    4: "run the small net on the low-resolution images",
    5: "train the small net towards the large net's outputs",
    6: "predict unseen low-resolution images, and evaluate",
}
TRAININGS = (1, 5)  # the steps that train nets; in the others a run's state stays as it is


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
            require_history(name, state.history[name], done, self.task.figures)
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
        for part in batches_of(len(images)):
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
        for part in batches_of(len(images)):
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
